//! What tables that others take the place of have recorded of flows, and its way into those others: entry by entry,
//! the fields by their names, as often as it is asked for. What was there before it stays, unless it is the same flow
//! as it was earlier. When to carry what, `agent::older` says.

use std::{collections::HashSet, hash::Hash, io};

use aya::maps::MapData;
use lb_common::abi::{
    Address, Affinity, Direction, Exception, FlowEntry, FlowKey, Ipv4Address, Ipv6Address,
    Unrecorded,
};
use zerocopy::{FromBytes, Immutable};

use super::{
    elements::{Elements, RawElements, reading, writing},
    error::Error,
    pins::TableSet,
};
use crate::layouts::{Layouts, Recorded, Translation};

/// The maps of a set, as others take its place.
pub struct OlderTables {
    flows: (Flows<Ipv4Address>, Flows<Ipv6Address>),
    affinities: (
        Way<FlowKey<Ipv4Address>, Affinity>,
        Way<FlowKey<Ipv6Address>, Affinity>,
    ),
    exceptions: (
        Way<FlowKey<Ipv4Address>, Exception>,
        Way<FlowKey<Ipv6Address>, Exception>,
    ),
    unrecorded: Way<u32, Unrecorded>,
}

/// What came along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Entries of recorded flows.
    pub flows: u64,
    /// Clients that keep to a backend.
    pub affinities: u64,
    /// Exceptions of IPv4 and of IPv6.
    pub exceptions: [u64; 2],
    /// What found no room, or its source port taken.
    pub refused: u64,
}

/// The tables of a family's flows, the committed ones first.
struct Flows<A>([Way<FlowKey<A>, FlowEntry<A>>; 2]);

/// From one map to another.
struct Way<K, V> {
    /// None: what is there can't be read.
    from: Option<Source<K, V>>,
    to: Elements<K, V>,
}

struct Source<K, V> {
    map: RawElements,
    keys: Translation<K>,
    values: Translation<V>,
}

/// What became of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is new there.
    New,
    /// It was there.
    Known,
    /// Something else is there.
    Taken,
    /// There is no room.
    NoRoom,
}

/// An entry that may be there already.
trait Entry: Recorded + Copy + FromBytes + Immutable + 'static {
    /// Time of its last packet, jiffies.
    fn last_seen(&self) -> u32;

    /// Whether it is of the same flow with the same ends.
    fn continues(&self, other: &Self) -> bool;
}

impl Carried {
    /// Whether nothing was new.
    pub fn is_nothing(&self) -> bool {
        (self.flows, self.affinities, self.exceptions) == (0, 0, [0; 2])
    }

    /// This and what came later. What was refused is tried, and refused, each time.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        let [ipv4, ipv6] = self.exceptions;
        Self {
            flows: self.flows + later.flows,
            affinities: self.affinities + later.affinities,
            exceptions: [ipv4 + later.exceptions[0], ipv6 + later.exceptions[1]],
            refused: later.refused,
        }
    }

    fn count(&mut self, fate: Fate, of: impl FnOnce(&mut Self) -> &mut u64) {
        match fate {
            Fate::New => *of(self) += 1,
            Fate::Known => {}
            Fate::Taken | Fate::NoRoom => self.refused += 1,
        }
    }
}

impl OlderTables {
    /// Those of `from`, whose entries are of `layouts`, on the way to `to`. Says what can't be carried.
    pub fn open(
        from: &TableSet,
        layouts: &Layouts,
        to: &TableSet,
    ) -> Result<(Self, Vec<String>), Error> {
        let mut opening = Opening {
            from,
            layouts,
            to,
            lost: Vec::new(),
        };
        let tables = Self {
            flows: (
                Flows([opening.way("FLOWS_V4")?, opening.way("YOUNG_V4")?]),
                Flows([opening.way("FLOWS_V6")?, opening.way("YOUNG_V6")?]),
            ),
            affinities: (opening.way("AFFINITIES_V4")?, opening.way("AFFINITIES_V6")?),
            exceptions: (opening.way("EXCEPTIONS_V4")?, opening.way("EXCEPTIONS_V6")?),
            unrecorded: opening.way("UNRECORDED")?,
        };
        Ok((tables, opening.lost))
    }

    /// Carries recorded flows, and whom clients keep to. That may be done while the program of those tables decides
    /// on packets: what it changes meanwhile comes along the next time.
    pub fn carry_flows(&self, carried: &mut Carried) -> Result<(), Error> {
        self.flows.0.carry(carried)?;
        self.flows.1.carry(carried)?;
        let affinities = [
            self.affinities.0.carry_all()?,
            self.affinities.1.carry_all()?,
        ];
        for fate in affinities.into_iter().flatten() {
            carried.count(fate, |carried| &mut carried.affinities);
        }
        Ok(())
    }

    /// Carries exceptions, and when packets last went unrecorded. The program of those tables must not decide on
    /// packets that have an exception where it goes: only one knows what its next packet means.
    pub fn carry_exceptions(&self, carried: &mut Carried) -> Result<(), Error> {
        for fate in self.exceptions.0.carry_all()? {
            carried.count(fate, |carried| &mut carried.exceptions[0]);
        }
        for fate in self.exceptions.1.carry_all()? {
            carried.count(fate, |carried| &mut carried.exceptions[1]);
        }
        self.unrecorded.carry_stamps()
    }
}

impl<A: Address> Flows<A> {
    /// The replies' entries come first: they decide who owns a source port. A flow is in one of the two tables, and
    /// in the committed one once it is there.
    fn carry(&self, carried: &mut Carried) -> Result<(), Error> {
        let [committed, young] = &self.0;
        let entries = [committed.dump()?, young.dump()?];
        let mut taken = HashSet::new();
        for direction in [Direction::Out, Direction::In] {
            for (n, entries) in entries.iter().enumerate() {
                let of_direction =
                    |entry: &&(FlowKey<A>, FlowEntry<A>)| entry.1.direction() == direction;
                for (key, entry) in entries.iter().filter(of_direction) {
                    let fate = match taken.contains(&entry.rewrite().answer(key.protocol)) {
                        true => Fate::Taken,
                        false if n == 0 => self.carry_committed(key, *entry)?,
                        false => self.carry_young(key, *entry)?,
                    };
                    carried.count(fate, |carried| &mut carried.flows);
                    // Its client's packets would find no way back.
                    if matches!(fate, Fate::Taken | Fate::NoRoom) {
                        taken.insert(*key);
                    }
                }
            }
        }
        Ok(())
    }

    fn carry_committed(&self, key: &FlowKey<A>, entry: FlowEntry<A>) -> Result<Fate, Error> {
        let [committed, young] = &self.0;
        let held = young.to.get(key).map_err(reading)?;
        if held.is_some_and(|held| !held.continues(&entry)) {
            return Ok(Fate::Taken);
        }
        let fate = committed.carry(key, entry)?;
        if held.is_some() && fate != Fate::NoRoom {
            young.to.remove(key).map_err(writing)?;
        }
        Ok(fate)
    }

    fn carry_young(&self, key: &FlowKey<A>, entry: FlowEntry<A>) -> Result<Fate, Error> {
        let [committed, young] = &self.0;
        match committed.to.get(key).map_err(reading)? {
            Some(held) if held.continues(&entry) => Ok(Fate::Known),
            Some(_) => Ok(Fate::Taken),
            None => young.carry(key, entry),
        }
    }
}

impl<K, V> Way<K, V>
where
    K: Copy + FromBytes + Immutable + 'static,
    V: Copy + FromBytes + Immutable + 'static,
{
    /// All that is there now.
    fn dump(&self) -> Result<Vec<(K, V)>, Error> {
        let Some(from) = &self.from else {
            return Ok(Vec::new());
        };
        let (keys, values) = from.map.dump().map_err(reading)?;
        let (key_size, value_size) = from.map.sizes();
        let values = values.chunks_exact(value_size);
        let read = |(key, value)| from.keys.read(key).zip(from.values.read(value));
        let all = keys.chunks_exact(key_size).zip(values).filter_map(read);
        Ok(all.collect())
    }
}

impl<K, V> Way<K, V>
where
    K: Copy + FromBytes + Immutable + 'static,
    V: Entry,
{
    /// Carries all that is there, each as it is at that moment.
    fn carry_all(&self) -> Result<Vec<Fate>, Error> {
        let Some(from) = &self.from else {
            return Ok(Vec::new());
        };
        let (keys, _) = from.map.dump().map_err(reading)?;
        let (key_size, _) = from.map.sizes();
        let mut fates = Vec::new();
        for bytes in keys.chunks_exact(key_size) {
            let value = from.map.get(bytes).map_err(reading)?;
            let value = value.and_then(|value| from.values.read(&value));
            if let (Some(key), Some(value)) = (from.keys.read(bytes), value) {
                fates.push(self.carry(&key, value)?);
            }
        }
        Ok(fates)
    }

    fn carry(&self, key: &K, entry: V) -> Result<Fate, Error> {
        let Some(held) = self.to.get(key).map_err(reading)? else {
            return match self.to.insert(key, entry) {
                Ok(true) => Ok(Fate::New),
                Ok(false) => Ok(Fate::Known),
                Err(error) if is_full(&error) => Ok(Fate::NoRoom),
                Err(error) => Err(writing(error)),
            };
        };
        if !held.continues(&entry) {
            return Ok(Fate::Taken);
        }
        if entry.last_seen().wrapping_sub(held.last_seen()) as i32 > 0 {
            self.to.replace(key, entry).map_err(writing)?;
        }
        Ok(Fate::Known)
    }
}

impl Way<u32, Unrecorded> {
    /// Carries stamps that there are none of.
    fn carry_stamps(&self) -> Result<(), Error> {
        for (service, there) in self.dump()? {
            if there == Unrecorded::default() {
                continue;
            }
            let here = self.to.get(&service).map_err(reading)?.unwrap_or_default();
            let or = |here, there| if here == 0 { there } else { here };
            let stamps = Unrecorded {
                open: or(here.open, there.open),
                data: or(here.data, there.data),
            };
            self.to.replace(&service, stamps).map_err(writing)?;
        }
        Ok(())
    }
}

/// What is opened of two sets.
struct Opening<'a> {
    from: &'a TableSet,
    layouts: &'a Layouts,
    to: &'a TableSet,
    lost: Vec<String>,
}

impl Opening<'_> {
    fn way<K, V>(&mut self, name: &'static str) -> Result<Way<K, V>, Error>
    where
        K: Key,
        V: Recorded + Copy + FromBytes + Immutable + 'static,
    {
        let to = Elements::new(open(self.to, name)?).map_err(reading)?;
        let to = to.ok_or(Error::Missing(name))?;
        let from = match self.source(name) {
            Ok(source) => Some(source),
            Err(why) => {
                self.lost.push(format!("{name}: {why}"));
                None
            }
        };
        Ok(Way { from, to })
    }

    /// Where something comes from; or what is lost, and why.
    fn source<K: Key, V: Recorded + FromBytes>(
        &self,
        name: &'static str,
    ) -> Result<Source<K, V>, String> {
        let map = open(self.from, name).map_err(|error| error.to_string())?;
        let map = RawElements::new(map).map_err(|error| error.to_string())?;
        let (key_size, value_size) = map.sizes();
        let lost = |error: crate::layouts::Error| {
            let count = map.dump().map_or(0, |(keys, _)| keys.len() / key_size);
            format!("{error}; {count} entries stay behind")
        };
        let keys = K::translation(self.layouts).map_err(lost)?;
        let values = self.layouts.to_this_builds::<V>().map_err(lost)?;
        if (keys.size(), values.size()) != (key_size, value_size) {
            return Err(format!(
                "keys and values have {key_size} and {value_size} bytes, and are said to have {} and {}",
                keys.size(),
                values.size()
            ));
        }
        Ok(Source { map, keys, values })
    }
}

/// What a map is asked by.
trait Key: Copy + FromBytes + Immutable + 'static {
    /// The way to it from another layout.
    fn translation(layouts: &Layouts) -> Result<Translation<Self>, crate::layouts::Error>;
}

impl<A: Address + Hash> Key for FlowKey<A> {
    fn translation(layouts: &Layouts) -> Result<Translation<Self>, crate::layouts::Error> {
        layouts.to_this_builds()
    }
}

impl Key for u32 {
    fn translation(_: &Layouts) -> Result<Translation<Self>, crate::layouts::Error> {
        Ok(Translation::same())
    }
}

fn open(set: &TableSet, map: &'static str) -> Result<MapData, Error> {
    MapData::from_pin(set.map(map)).map_err(|error| Error::Map { map, error })
}

/// Whether a map had no room.
fn is_full(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    errno == Some(libc::E2BIG) || errno == Some(libc::ENOMEM)
}

impl<A: Address> Entry for FlowEntry<A> {
    fn last_seen(&self) -> u32 {
        self.last_seen
    }

    fn continues(&self, other: &Self) -> bool {
        (self.service, self.rewrite()) == (other.service, other.rewrite())
    }
}

impl Entry for Exception {
    fn last_seen(&self) -> u32 {
        self.last_seen()
    }

    fn continues(&self, other: &Self) -> bool {
        self.service == other.service
    }
}

impl Entry for Affinity {
    fn last_seen(&self) -> u32 {
        self.last_seen
    }

    fn continues(&self, _: &Self) -> bool {
        true
    }
}
