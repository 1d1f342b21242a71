//! What to do so that the kernel's tables become the desired ones: a pure difference, as ordered
//! operations.
//!
//! The order leaves no packet without an answer: devices, next hops, sources and backends come
//! before the slots that name them, slots before the services that lead to them. Any prefix of a
//! plan is safe.

use std::{collections::BTreeMap, hash::Hash};

use lb_common::abi::{
    Backend, Device, HopWord, Ipv4Address, Ipv6Address, NextHop, Service, Slot, TableId,
};

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

/// The operations that turn `old` into `new`.
///
/// Entries that are no longer wanted are cleared where packets look them up first, in the service
/// tables; what they led to stays, unreachable.
pub fn diff(old: &Tables, new: &Tables) -> Vec<Operation> {
    let mut plan = Vec::new();
    let no_device = Device {
        hop: HopWord::NONE,
        ifindex: 0,
        mtu: 0,
    };
    changed(&old.devices, &new.devices, Some(no_device), |n, d| {
        plan.push(Operation::SetDevice(n, d));
    });
    changed(
        &old.next_hops,
        &new.next_hops,
        Some(NextHop::default()),
        |n, h| {
            plan.push(Operation::SetNextHop(n, h));
        },
    );
    changed(&old.sources.ipv4, &new.sources.ipv4, None, |n, a| {
        plan.push(Operation::SetSource(n, OfFamily::Ipv4(a)));
    });
    changed(&old.sources.ipv6, &new.sources.ipv6, None, |n, a| {
        plan.push(Operation::SetSource(n, OfFamily::Ipv6(a)));
    });
    changed(&old.backends, &new.backends, None, |n, b| {
        plan.push(Operation::SetBackend(n, b))
    });
    for (&id, slots) in &new.slots {
        slots_of(id, old.slots.get(&id), slots, &mut plan);
    }
    changed(
        &old.services.ipv4,
        &new.services.ipv4,
        Some(Service::empty()),
        |n, s| {
            plan.push(Operation::SetService(n, OfFamily::Ipv4(s)));
        },
    );
    changed(
        &old.services.ipv6,
        &new.services.ipv6,
        Some(Service::empty()),
        |n, s| {
            plan.push(Operation::SetService(n, OfFamily::Ipv6(s)));
        },
    );
    plan
}

/// Calls `emit` for entries that are new or differ, and with `cleared` for those that are gone.
fn changed<K: Copy + Ord + Hash, V: Copy + PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    cleared: Option<V>,
    mut emit: impl FnMut(K, V),
) {
    for (&key, &value) in new {
        if old.get(&key) != Some(&value) {
            emit(key, value);
        }
    }
    let Some(cleared) = cleared else { return };
    for &key in old.keys().filter(|key| !new.contains_key(key)) {
        emit(key, cleared);
    }
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
