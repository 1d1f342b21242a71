//! What to do so that the kernel's tables become the desired ones: a pure difference, as ordered
//! operations.
//!
//! The order leaves no packet without an answer: devices, next hops, sources and backends come
//! before the slots that name them, slots before the services that lead to them. Any prefix of a
//! plan is safe.

use std::collections::BTreeMap;

use lb_common::abi::{Backend, Device, Ipv4Address, Ipv6Address, NextHop, Service, Slot, TableId};

/// What the tables should hold. Maps leave out what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Our devices, by index.
    pub devices: BTreeMap<u16, Device>,
    /// Next hops, by index.
    pub next_hops: BTreeMap<u32, NextHop>,
    /// Source addresses, by index in their family.
    pub sources: Families<BTreeMap<u32, Ipv4Address>, BTreeMap<u32, Ipv6Address>>,
    /// Backends, by index.
    pub backends: BTreeMap<u32, Backend>,
    /// Slot tables, whole.
    pub slots: BTreeMap<TableId, Vec<Slot>>,
    /// Services and marks, by position in their family's table.
    pub services:
        Families<BTreeMap<u32, Service<Ipv4Address>>, BTreeMap<u32, Service<Ipv6Address>>>,
}

/// One of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families<A, B> {
    /// IPv4's.
    pub ipv4: A,
    /// IPv6's.
    pub ipv6: B,
}

/// A value of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfFamily<A, B> {
    /// IPv4's.
    Ipv4(A),
    /// IPv6's.
    Ipv6(B),
}

/// One step. What is not there is written as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a device, as sender, as target, and as a place that packets come from.
    SetDevice(u16, Device),
    /// Writes a next hop.
    SetNextHop(u32, NextHop),
    /// Writes a source address.
    SetSource(u32, OfFamily<Ipv4Address, Ipv6Address>),
    /// Writes a backend.
    SetBackend(u32, Backend),
    /// Makes a slot table, all its slots empty.
    CreateTable(TableId),
    /// Changes slots of a table, in place.
    SetSlots(TableId, Vec<(u32, Slot)>),
    /// Writes a position of a service table.
    SetService(u32, OfFamily<Service<Ipv4Address>, Service<Ipv6Address>>),
}

impl Tables {
    /// Does to these collections what the operation does to the kernel's tables.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::SetDevice(n, device) => {
                put(&mut self.devices, *n, *device, Device::default());
            }
            Operation::SetNextHop(n, hop) => {
                put(&mut self.next_hops, *n, *hop, NextHop::default());
            }
            Operation::SetSource(n, OfFamily::Ipv4(address)) => {
                self.sources.ipv4.insert(*n, *address);
            }
            Operation::SetSource(n, OfFamily::Ipv6(address)) => {
                self.sources.ipv6.insert(*n, *address);
            }
            Operation::SetBackend(n, backend) => {
                self.backends.insert(*n, *backend);
            }
            Operation::CreateTable(id) => {
                let empty = vec![Slot::EMPTY; id.size.slots() as usize];
                self.slots.insert(*id, empty);
            }
            Operation::SetSlots(id, changes) => {
                let table = self.slots.entry(*id).or_default();
                table.resize(id.size.slots() as usize, Slot::EMPTY);
                for &(n, slot) in changes {
                    if let Some(held) = table.get_mut(n as usize) {
                        *held = slot;
                    }
                }
            }
            Operation::SetService(n, OfFamily::Ipv4(service)) => {
                put(&mut self.services.ipv4, *n, *service, Service::empty());
            }
            Operation::SetService(n, OfFamily::Ipv6(service)) => {
                put(&mut self.services.ipv6, *n, *service, Service::empty());
            }
        }
    }
}

/// Inserts a value, or removes what is there if the value is the empty one.
fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V, empty: V) {
    if value == empty {
        map.remove(&key);
    } else {
        map.insert(key, value);
    }
}

/// The operations that turn `old` into `new`: first the services that go, then what is new from
/// what is pointed to up to what points, last the next hops and devices that nothing leads to any
/// more. Sources and backends that go stay as they are: nothing names them.
pub fn diff(old: &Tables, new: &Tables) -> Vec<Operation> {
    let mut plan = Vec::new();
    let ipv4 = |n, service| Operation::SetService(n, OfFamily::Ipv4(service));
    let ipv6 = |n, service| Operation::SetService(n, OfFamily::Ipv6(service));
    let (was, is) = (&old.services, &new.services);
    plan.extend(gone(&was.ipv4, &is.ipv4).map(|n| ipv4(n, Service::empty())));
    plan.extend(gone(&was.ipv6, &is.ipv6).map(|n| ipv6(n, Service::empty())));

    plan.extend(changed(&old.devices, &new.devices).map(|(n, d)| Operation::SetDevice(n, d)));
    let next_hops = changed(&old.next_hops, &new.next_hops);
    plan.extend(next_hops.map(|(n, hop)| Operation::SetNextHop(n, hop)));
    let sources = changed(&old.sources.ipv4, &new.sources.ipv4);
    plan.extend(sources.map(|(n, a)| Operation::SetSource(n, OfFamily::Ipv4(a))));
    let sources = changed(&old.sources.ipv6, &new.sources.ipv6);
    plan.extend(sources.map(|(n, a)| Operation::SetSource(n, OfFamily::Ipv6(a))));
    plan.extend(changed(&old.backends, &new.backends).map(|(n, b)| Operation::SetBackend(n, b)));
    for (&id, slots) in &new.slots {
        slots_of(id, old.slots.get(&id), slots, &mut plan);
    }
    plan.extend(changed(&was.ipv4, &is.ipv4).map(|(n, service)| ipv4(n, service)));
    plan.extend(changed(&was.ipv6, &is.ipv6).map(|(n, service)| ipv6(n, service)));

    let next_hops = gone(&old.next_hops, &new.next_hops);
    plan.extend(next_hops.map(|n| Operation::SetNextHop(n, NextHop::default())));
    let devices = gone(&old.devices, &new.devices);
    plan.extend(devices.map(|n| Operation::SetDevice(n, Device::default())));
    plan
}

/// Entries that are new or differ.
fn changed<K: Copy + Ord, V: Copy + PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
) -> impl Iterator<Item = (K, V)> {
    let differs = |(key, value): &(&K, &V)| old.get(key) != Some(value);
    new.iter()
        .filter(differs)
        .map(|(&key, &value)| (key, value))
}

/// Entries that are no longer there.
fn gone<K: Copy + Ord, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> impl Iterator<Item = K> {
    old.keys().filter(|key| !new.contains_key(key)).copied()
}

fn slots_of(id: TableId, old: Option<&Vec<Slot>>, new: &[Slot], plan: &mut Vec<Operation>) {
    if old.is_none() {
        plan.push(Operation::CreateTable(id));
    }
    let before = |n: usize| {
        old.and_then(|old| old.get(n))
            .copied()
            .unwrap_or(Slot::EMPTY)
    };
    let changes: Vec<(u32, Slot)> = new
        .iter()
        .enumerate()
        .filter(|&(n, slot)| before(n) != *slot)
        .map(|(n, slot)| (n as u32, *slot))
        .collect();
    if !changes.is_empty() {
        plan.push(Operation::SetSlots(id, changes));
    }
}
