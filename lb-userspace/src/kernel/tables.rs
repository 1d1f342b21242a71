//! Writing the tables: one operation of a plan at a time.

use std::collections::BTreeMap;

use aya::{
    Ebpf, Pod,
    maps::{
        Array, ArrayOfMaps, DevMap, HashMap, Map, MapData, MapError,
        lpm_trie::{Key, LpmTrie},
    },
};
use lb_common::abi::{
    Backend, Device, HopWord, Ipv4Address, Ipv6Address, Limits, Load, NextHop, OldTable, PortData,
    PrefixData, Reverse, Service, TableId, TableSize, Timeouts, VlanKey,
};

use crate::plan::{OfFamily, Operation, Tables};

use super::{
    error::Error,
    mapped::SlotTable,
    pins::{TableSet, unpin},
    wire::Wire,
};

/// Where plans are applied.
pub trait KernelTables {
    /// Does one step. If it fails it may be done again, or another one to the same place.
    fn apply(&mut self, operation: &Operation) -> Result<(), Error>;

    /// Waits until no packet is handled any more that may have seen the tables before this call.
    fn wait_for_readers(&mut self) -> Result<(), Error>;
}

type Values<T> = Array<MapData, Wire<T>>;

/// The packet program's maps.
pub struct MapTables {
    ingress: Values<HopWord>,
    devices: Values<Device>,
    redirect: DevMap<MapData>,
    vlans: HashMap<MapData, Wire<VlanKey>, Wire<HopWord>>,
    next_hops: Values<NextHop>,
    backends: Values<Backend>,
    sources_v4: Values<Ipv4Address>,
    sources_v6: Values<Ipv6Address>,
    reverses_v4: Values<Reverse<Ipv4Address>>,
    reverses_v6: Values<Reverse<Ipv6Address>>,
    loads: Values<Load>,
    timeouts: Values<Timeouts>,
    own: Values<u64>,
    access: LpmTrie<MapData, Wire<PrefixData>, u32>,
    limits: Values<Limits>,
    largest_segments: Values<u32>,
    servers: LpmTrie<MapData, Wire<PrefixData>, u32>,
    listening: LpmTrie<MapData, Wire<PrefixData>, u32>,
    ports: LpmTrie<MapData, Wire<PortData>, u32>,
    old_tables: Values<OldTable>,
    services_v4: Values<Service<Ipv4Address>>,
    services_v6: Values<Service<Ipv6Address>>,
    /// The outer arrays, by size.
    outer: [ArrayOfMaps<MapData>; TableSize::ALL.len()],
    slots: BTreeMap<TableId, SlotTable>,
    /// A table of empty slots of each size, once one is needed: it stands where tables were removed.
    vacant: [Option<SlotTable>; TableSize::ALL.len()],
    /// The kernel's number of each device, to clear what it leaves.
    ifindexes: BTreeMap<u16, u32>,
    /// Where slot tables are pinned, if they outlive this process.
    set: Option<TableSet>,
}

impl MapTables {
    /// Takes the maps out of a loaded object, whose set this is if they are pinned.
    pub(super) fn take(ebpf: &mut Ebpf, set: Option<TableSet>) -> Result<Self, Error> {
        Ok(Self {
            ingress: take(ebpf, "INGRESS")?,
            devices: take(ebpf, "DEVICES")?,
            redirect: take(ebpf, "REDIRECT")?,
            vlans: take(ebpf, "VLANS")?,
            next_hops: take(ebpf, "NEXT_HOPS")?,
            backends: take(ebpf, "BACKENDS")?,
            sources_v4: take(ebpf, "SOURCES_V4")?,
            sources_v6: take(ebpf, "SOURCES_V6")?,
            reverses_v4: take(ebpf, "REVERSES_V4")?,
            reverses_v6: take(ebpf, "REVERSES_V6")?,
            loads: take(ebpf, "LOADS")?,
            timeouts: take(ebpf, "TIMEOUTS")?,
            own: take(ebpf, "OWN")?,
            access: take(ebpf, "ACCESS")?,
            limits: take(ebpf, "LIMITS")?,
            largest_segments: take(ebpf, "LARGEST_SEGMENTS")?,
            servers: take(ebpf, "SERVERS")?,
            listening: take(ebpf, "LISTENING")?,
            ports: take(ebpf, "PORTS")?,
            old_tables: take(ebpf, "OLD_TABLES")?,
            services_v4: take(ebpf, "SERVICES_V4")?,
            services_v6: take(ebpf, "SERVICES_V6")?,
            outer: [
                take(ebpf, "SLOTS_S")?,
                take(ebpf, "SLOTS_M")?,
                take(ebpf, "SLOTS_L")?,
            ],
            slots: BTreeMap::new(),
            vacant: [const { None }; TableSize::ALL.len()],
            ifindexes: BTreeMap::new(),
            set,
        })
    }

    /// Takes over the tables of a set, which hold this. To be called before the first change.
    pub fn adopt(&mut self, tables: &Tables) -> Result<(), Error> {
        let set = self.set.as_ref().ok_or(Error::Missing("slots"))?;
        for &id in tables.slots.keys() {
            let table = SlotTable::open(id.size, &set.slot_table(id))?;
            self.slots.insert(id, table);
        }
        let devices = tables.devices.iter();
        self.ifindexes = devices.map(|(&n, device)| (n, device.ifindex)).collect();
        Ok(())
    }

    /// The place that packets come from first, then the sender: nothing is forwarded to a device
    /// before all of it is there.
    fn set_device(&mut self, index: u16, device: Device) -> Result<(), Error> {
        let gone = self.ifindexes.get(&index).copied();
        if let Some(gone) = gone.filter(|gone| *gone != device.ifindex) {
            self.ifindexes.remove(&index);
            // Unless the number is another's by now.
            if !self.ifindexes.values().any(|ifindex| *ifindex == gone) {
                set(&mut self.ingress, "INGRESS", gone, HopWord::NONE)?;
            }
        }
        if device.ifindex != 0 {
            set(&mut self.ingress, "INGRESS", device.ifindex, device.hop)?;
            self.ifindexes.insert(index, device.ifindex);
        }
        set(&mut self.devices, "DEVICES", index.into(), device)
    }

    fn set_vlan(&mut self, key: VlanKey, device: HopWord) -> Result<(), Error> {
        let done = match device {
            HopWord::NONE => gone(self.vlans.remove(&Wire(key))),
            device => self.vlans.insert(Wire(key), Wire(device), 0),
        };
        done.map_err(|error| Error::Map {
            map: "VLANS",
            error,
        })
    }

    fn create_table(&mut self, id: TableId) -> Result<(), Error> {
        let table = SlotTable::new(id.size)?;
        place(&mut self.outer, id, &table)?;
        if let Some(set) = &self.set {
            let path = set.slot_table(id);
            // It may be there already, if this is done again.
            unpin(&path)?;
            table.pin(&path)?;
        }
        self.slots.insert(id, table);
        Ok(())
    }

    /// Puts a vacant table in its place, since the outer array would keep it alive. (The kernel could
    /// delete the element, aya's arrays of maps can't.) Its pin goes first and comes last, so that what is
    /// pinned is in its place.
    fn remove_table(&mut self, id: TableId) -> Result<(), Error> {
        if let Some(set) = &self.set {
            unpin(&set.slot_table(id))?;
        }
        let vacant = match self.vacant[id.size as usize].take() {
            Some(vacant) => vacant,
            None => SlotTable::new(id.size)?,
        };
        let placed = place(&mut self.outer, id, &vacant);
        self.vacant[id.size as usize] = Some(vacant);
        placed?;
        self.slots.remove(&id);
        Ok(())
    }
}

impl KernelTables for MapTables {
    /// An update of an outer map waits for a grace period of RCU before it returns
    /// (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c); this one changes nothing.
    fn wait_for_readers(&mut self) -> Result<(), Error> {
        let Some((id, table)) = self.slots.iter().next() else {
            return Ok(());
        };
        place(&mut self.outer, *id, table)
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::SetTarget(n, ifindex) => {
                Ok(self.redirect.set(u32::from(*n), *ifindex, None, 0)?)
            }
            Operation::SetDevice(n, device) => self.set_device(*n, *device),
            Operation::SetVlan(key, device) => self.set_vlan(*key, *device),
            Operation::SetNextHop(n, hop) => set(&mut self.next_hops, "NEXT_HOPS", *n, *hop),
            Operation::SetSource(n, OfFamily::Ipv4(a)) => {
                set(&mut self.sources_v4, "SOURCES_V4", *n, *a)
            }
            Operation::SetSource(n, OfFamily::Ipv6(a)) => {
                set(&mut self.sources_v6, "SOURCES_V6", *n, *a)
            }
            Operation::SetBackend(n, backend) => set(&mut self.backends, "BACKENDS", *n, *backend),
            Operation::SetReverse(n, OfFamily::Ipv4(r)) => {
                set(&mut self.reverses_v4, "REVERSES_V4", *n, *r)
            }
            Operation::SetReverse(n, OfFamily::Ipv6(r)) => {
                set(&mut self.reverses_v6, "REVERSES_V6", *n, *r)
            }
            Operation::SetLoad(n, load) => set(&mut self.loads, "LOADS", *n, *load),
            Operation::SetTimeouts(n, timeouts) => {
                set(&mut self.timeouts, "TIMEOUTS", *n, *timeouts)
            }
            Operation::SetLargestSegment(n, bytes) => set(
                &mut self.largest_segments,
                "LARGEST_SEGMENTS",
                *n,
                (*bytes).into(),
            ),
            Operation::CreateTable(id) => self.create_table(*id),
            Operation::SetOldTable(id, old) => {
                let position = OldTable::position(*id);
                set(&mut self.old_tables, "OLD_TABLES", position, *old)
            }
            Operation::RemoveTable(id) => self.remove_table(*id),
            Operation::SetSlots(id, changes) => {
                let table = self.slots.get(id).ok_or(Error::NoTable(*id))?;
                changes
                    .iter()
                    .for_each(|&(slot, value)| table.set(slot, value));
                Ok(())
            }
            Operation::SetServer(id, backend) => {
                let key = Key::new(id.length(), Wire(id.data()));
                let backend = (*backend != 0).then_some(*backend);
                put(&mut self.servers, "SERVERS", &key, backend)
            }
            Operation::SetListening(prefix, group) => {
                let key = Key::new(prefix.length(), Wire(prefix.data()));
                put(&mut self.listening, "LISTENING", &key, *group)
            }
            Operation::SetOwn(n, word) => set(&mut self.own, "OWN", *n, *word),
            Operation::SetAccess(prefix, verdict) => {
                let key = Key::new(prefix.length(), Wire(prefix.data()));
                let verdict = (*verdict != 0).then_some(*verdict);
                put(&mut self.access, "ACCESS", &key, verdict)
            }
            Operation::SetLimits(n, limits) => set(&mut self.limits, "LIMITS", *n, *limits),
            Operation::SetPorts(block, id) => {
                let key = Key::new(block.length(), Wire(block.data()));
                put(&mut self.ports, "PORTS", &key, *id)
            }
            Operation::SetService(n, OfFamily::Ipv4(s))
            | Operation::SetNumbered(n, OfFamily::Ipv4(s)) => {
                set(&mut self.services_v4, "SERVICES_V4", *n, *s)
            }
            Operation::SetService(n, OfFamily::Ipv6(s))
            | Operation::SetNumbered(n, OfFamily::Ipv6(s)) => {
                set(&mut self.services_v6, "SERVICES_V6", *n, *s)
            }
        }
    }
}

/// Makes a table the one of this number. Returns once no packet is handled any more that may have seen
/// another one there.
fn place(
    outer: &mut [ArrayOfMaps<MapData>; TableSize::ALL.len()],
    id: TableId,
    table: &SlotTable,
) -> Result<(), Error> {
    let placed = outer[id.size as usize].set(id.index, table.map(), 0);
    placed.map_err(|error| Error::Map {
        map: "SLOTS",
        error,
    })
}

/// Takes a map of this name out of a loaded object.
pub(super) fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::Missing(name))?;
    map.try_into()
        .map_err(|error| Error::Map { map: name, error })
}

fn set<T>(map: &mut Values<T>, name: &'static str, index: u32, value: T) -> Result<(), Error>
where
    Wire<T>: aya::Pod,
{
    map.set(index, Wire(value), 0)
        .map_err(|error| Error::Map { map: name, error })
}

/// Writes a prefix of a trie, or removes it; it may be gone already.
fn put<K: Pod, V: Pod>(
    trie: &mut LpmTrie<MapData, K, V>,
    name: &'static str,
    key: &Key<K>,
    value: Option<V>,
) -> Result<(), Error> {
    let done = match value {
        Some(value) => trie.insert(key, value, 0),
        None => gone(trie.remove(key)),
    };
    done.map_err(|error| Error::Map { map: name, error })
}

/// How a removal ended: well, too, if nothing was there.
fn gone(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        removed => removed,
    }
}
