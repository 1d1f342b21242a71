//! What is recorded of flows in tables of any layout, told by the names of its fields, and the way from there to
//! this build's. What a field means is its name's business (`lb_common::abi::Field`). Pure: `agent::record` keeps
//! the description beside the tables, `kernel::OlderTables` reads by it.

use std::{collections::BTreeMap, marker::PhantomData};

use lb_common::abi::{
    Address, Affinity, Described, Exception, FlowEntry, FlowKey, Ipv4Address, Ipv6Address, Slot,
    Unrecorded,
};
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes;

/// What keys and values of a layout look like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layouts(BTreeMap<String, Layout>);

/// What one of them looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    /// Bytes.
    size: usize,
    /// Where each field begins, and its size.
    fields: BTreeMap<String, (usize, usize)>,
}

/// What is described.
pub trait Recorded: Described {
    /// What it is called.
    const NAME: &'static str;
    /// Whether something is found by it: then every field of it counts.
    const IS_KEY: bool = false;
}

/// Why something of another layout can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not described.
    #[error("nothing is known of what a {0} is there")]
    Unknown(&'static str),
    /// A field is on one side only, or of another size there.
    #[error("a {what} has no {field} there that is the same here")]
    Field {
        /// What has it.
        what: &'static str,
        /// Which one.
        field: String,
    },
}

/// The way from another layout's bytes to a value of this build.
#[derive(Clone, Debug)]
pub struct Translation<T> {
    size: usize,
    moves: Vec<Move>,
    made: PhantomData<fn() -> T>,
}

#[derive(Clone, Debug)]
struct Move {
    from: usize,
    to: usize,
    size: usize,
}

impl Layouts {
    /// Those of this build.
    pub fn of_this_build() -> Self {
        Self(BTreeMap::from([
            described::<FlowKey<Ipv4Address>>(),
            described::<FlowKey<Ipv6Address>>(),
            described::<FlowEntry<Ipv4Address>>(),
            described::<FlowEntry<Ipv6Address>>(),
            described::<Exception>(),
            described::<Affinity>(),
            described::<Unrecorded>(),
            described::<Slot>(),
        ]))
    }

    /// Those of a layout from before they were written down with the tables, if they are known.
    pub fn undescribed(layout: u32) -> Self {
        match layout {
            8 => Self(EIGHT.iter().map(listed).collect()),
            _ => Self::default(),
        }
    }

    /// Whether something is the same in this build.
    pub fn has_this_builds<T: Recorded>(&self) -> bool {
        let (name, layout) = described::<T>();
        self.0.get(&name) == Some(&layout)
    }

    /// The way to a value of this build: each field comes from the one of its name, and padding is zeros.
    pub fn to_this_builds<T: Recorded>(&self) -> Result<Translation<T>, Error> {
        let there = self.0.get(T::NAME).ok_or(Error::Unknown(T::NAME))?;
        let (_, here) = described::<T>();
        let moves = here.moves_from(there).map_err(no_field::<T>)?;
        if T::IS_KEY {
            there.moves_from(&here).map_err(no_field::<T>)?;
        }
        Ok(Translation {
            size: there.size,
            moves,
            made: PhantomData,
        })
    }
}

impl Layout {
    /// What to move to have all fields of this one; or one that can't be had.
    fn moves_from(&self, other: &Self) -> Result<Vec<Move>, String> {
        let fields = self.fields.iter();
        let fields = fields.filter(|(name, _)| !name.starts_with("padding"));
        let moved = |(name, &(to, size)): (&String, &(usize, usize))| {
            let there = other.fields.get(name);
            let there = there.filter(|(from, had)| *had == size && from + size <= other.size);
            let &(from, _) = there.ok_or_else(|| name.clone())?;
            Ok(Move { from, to, size })
        };
        fields.map(moved).collect()
    }
}

impl<T: FromBytes> Translation<T> {
    /// Of what is the same in all layouts.
    pub fn same() -> Self {
        let size = size_of::<T>();
        let (from, to) = (0, 0);
        Self {
            size,
            moves: vec![Move { from, to, size }],
            made: PhantomData,
        }
    }

    /// The size of what it takes, bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The value that these bytes are; none if they are not of that size.
    pub fn read(&self, bytes: &[u8]) -> Option<T> {
        let mut value = vec![0; size_of::<T>()];
        for &Move { from, to, size } in &self.moves {
            let field = bytes.get(from..from + size)?;
            value.get_mut(to..to + size)?.copy_from_slice(field);
        }
        T::read_from_bytes(&value).ok()
    }
}

fn no_field<T: Recorded>(field: String) -> Error {
    let what = T::NAME;
    Error::Field { what, field }
}

fn described<T: Recorded>() -> (String, Layout) {
    let field = |field: &lb_common::abi::Field| (field.name.into(), (field.offset, field.size));
    let ends = T::FIELDS.iter().map(|field| field.offset + field.size);
    let layout = Layout {
        size: ends.max().unwrap_or(0),
        fields: T::FIELDS.iter().map(field).collect(),
    };
    (T::NAME.into(), layout)
}

/// A key or value whose fields follow each other.
type Listed = (&'static str, &'static [(&'static str, usize)]);

fn listed((name, fields): &Listed) -> (String, Layout) {
    let mut layout = Layout::default();
    for &(field, size) in *fields {
        layout.fields.insert(field.into(), (layout.size, size));
        layout.size += size;
    }
    ((*name).into(), layout)
}

/// Layout 8.
const EIGHT: &[Listed] = &[
    (
        <FlowKey<Ipv4Address>>::NAME,
        &[
            ("source", 4),
            ("destination", 4),
            ("source_port", 2),
            ("destination_port", 2),
            ("protocol", 1),
            ("padding", 3),
        ],
    ),
    (
        <FlowKey<Ipv6Address>>::NAME,
        &[
            ("source", 16),
            ("destination", 16),
            ("source_port", 2),
            ("destination_port", 2),
            ("protocol", 1),
            ("padding", 3),
        ],
    ),
    (
        <FlowEntry<Ipv4Address>>::NAME,
        &[
            ("fingerprint", 8),
            ("route", 8),
            ("source", 4),
            ("destination", 4),
            ("source_port", 2),
            ("destination_port", 2),
            ("address_delta", 2),
            ("transport_delta", 2),
            ("service", 4),
            ("backend", 4),
            ("last_seen", 4),
            ("last_seq", 4),
            ("isn", 4),
            ("peer_isn", 4),
            ("route_seen", 4),
            ("route_mtu", 2),
            ("state", 1),
            ("direction", 1),
        ],
    ),
    (
        <FlowEntry<Ipv6Address>>::NAME,
        &[
            ("fingerprint", 8),
            ("route", 8),
            ("source", 16),
            ("destination", 16),
            ("source_port", 2),
            ("destination_port", 2),
            ("address_delta", 2),
            ("transport_delta", 2),
            ("service", 4),
            ("backend", 4),
            ("last_seen", 4),
            ("last_seq", 4),
            ("isn", 4),
            ("peer_isn", 4),
            ("route_seen", 4),
            ("route_mtu", 2),
            ("state", 1),
            ("direction", 1),
        ],
    ),
    (
        Exception::NAME,
        &[
            ("fingerprint", 8),
            ("owners", 8),
            ("mark", 8),
            ("seen", 8),
            ("service", 4),
            ("padding", 4),
        ],
    ),
    (Affinity::NAME, &[("backend", 4), ("last_seen", 4)]),
    (Unrecorded::NAME, &[("open", 4), ("data", 4)]),
    // By the bit.
    (
        Slot::NAME,
        &[
            ("current", 24),
            ("previous", 24),
            ("phase", 2),
            ("epoch", 14),
        ],
    ),
];

impl<A: Address> Recorded for FlowKey<A> {
    const NAME: &'static str = match A::VERSION {
        4 => "key of IPv4",
        _ => "key of IPv6",
    };
    const IS_KEY: bool = true;
}

impl<A: Address> Recorded for FlowEntry<A> {
    const NAME: &'static str = match A::VERSION {
        4 => "flow of IPv4",
        _ => "flow of IPv6",
    };
}

impl Recorded for Exception {
    const NAME: &'static str = "exception";
}

impl Recorded for Affinity {
    const NAME: &'static str = "client's affinity";
}

impl Recorded for Unrecorded {
    const NAME: &'static str = "time at which packets went unrecorded";
}

impl Recorded for Slot {
    const NAME: &'static str = "slot";
}

#[cfg(test)]
mod tests {
    use super::*;

    type Key = FlowKey<Ipv4Address>;

    /// This build's, with something of `T` told otherwise.
    fn changed<T: Recorded>(change: impl FnOnce(&mut Layout)) -> Layouts {
        let mut layouts = Layouts::of_this_build();
        change(layouts.0.get_mut(T::NAME).unwrap());
        layouts
    }

    fn bytes_of<T: Recorded>(layouts: &Layouts, value: impl Fn(&str) -> u8) -> Vec<u8> {
        let layout = &layouts.0[T::NAME];
        let mut bytes = vec![0xff; layout.size];
        for (name, &(at, size)) in &layout.fields {
            bytes[at..at + size].fill(value(name));
        }
        bytes
    }

    #[test]
    fn fields_come_from_where_they_were() {
        let layouts = changed::<Exception>(|layout| {
            layout.size += 8;
            let fields = layout.fields.values_mut();
            fields.for_each(|(at, _)| *at = (*at + 8) % 48);
        });
        let bytes = bytes_of::<Exception>(&layouts, |name| name.len() as u8);
        let way = layouts.to_this_builds::<Exception>().unwrap();
        let read = way.read(&bytes).unwrap();
        assert_eq!(read.owners, u64::from_ne_bytes([6; 8]));
        assert_eq!(read.mark, u64::from_ne_bytes([4; 8]));
        assert_eq!(
            (read.service, read.padding),
            (u32::from_ne_bytes([7; 4]), 0)
        );
        assert_eq!(way.read(&bytes[..12]), None);
    }

    #[test]
    fn what_is_not_there_can_not_be_read() {
        let without = changed::<Exception>(|layout| layout.fields.retain(|name, _| name != "mark"));
        let refused = without.to_this_builds::<Exception>().unwrap_err();
        assert!(refused.to_string().contains("mark"), "{refused}");
        let shorter = changed::<Exception>(|layout| layout.fields.get_mut("mark").unwrap().1 = 4);
        assert!(shorter.to_this_builds::<Exception>().is_err());
        let nothing = Layouts::undescribed(7).to_this_builds::<Exception>();
        assert_eq!(nothing.unwrap_err(), Error::Unknown(Exception::NAME));
    }

    #[test]
    fn what_is_new_is_left_out_of_values_and_not_of_keys() {
        let more = |layout: &mut Layout| {
            layout.fields.insert("zone".into(), (layout.size, 4));
            layout.size += 4;
        };
        assert!(
            changed::<Affinity>(more)
                .to_this_builds::<Affinity>()
                .is_ok()
        );
        assert!(changed::<Key>(more).to_this_builds::<Key>().is_err());
    }

    #[test]
    fn slots_are_the_same_or_not() {
        assert!(Layouts::of_this_build().has_this_builds::<Slot>());
        let other = changed::<Slot>(|layout| layout.fields.get_mut("epoch").unwrap().1 = 3);
        assert!(!other.has_this_builds::<Slot>());
        assert!(!Layouts::default().has_this_builds::<Slot>());
    }

    #[test]
    fn layout_8_was_this() {
        let eight = Layouts::undescribed(8);
        for (what, layout) in &eight.0 {
            let size = match what.as_str() {
                "key of IPv4" => 16,
                "key of IPv6" | "exception" => 40,
                "flow of IPv4" => 64,
                "flow of IPv6" => 88,
                "slot" => 64,
                _ => 8,
            };
            assert_eq!(layout.size, size, "{what}");
        }
        // What is recorded of flows is the same in 9.
        if lb_common::abi::LAYOUT == 9 {
            assert!(eight.to_this_builds::<Key>().is_ok());
            assert!(eight.has_this_builds::<FlowEntry<Ipv4Address>>());
            assert!(eight.has_this_builds::<FlowEntry<Ipv6Address>>());
            assert!(eight.has_this_builds::<Exception>());
            assert!(eight.has_this_builds::<Affinity>());
            assert!(eight.has_this_builds::<Unrecorded>());
            assert!(eight.has_this_builds::<Slot>());
        }
    }
}
