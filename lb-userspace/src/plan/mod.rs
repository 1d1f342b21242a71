//! What to do so that the kernel's tables become the desired ones: a pure difference, as ordered
//! operations.
//!
//! The order leaves no packet without an answer: devices, the tags that lead to VLAN devices, next hops, sources,
//! backends and whom their ports answer for come before the slots that name them, slots before the services that lead to
//! them, services before the ports of groups that lead to them, those before the marks and prefixes that lead to them;
//! services that move (`services`) are at their new positions before they leave the old ones. Backends are dead once
//! neither slots nor services lead to them: a flow that looks for one would find but the dead. Any prefix of a plan is
//! safe.

mod services;

use std::collections::BTreeMap;

use lb_common::abi::{
    Backend, Device, Fate, HopWord, Ipv4Address, Ipv6Address, Limits, Load, NextHop, OldTable,
    PortKey, PrefixKey, Reverse, Service, Slot, TableId, Timeouts, VlanKey,
};

/// What the tables should hold. Maps leave out what is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// The kernel's numbers of the devices that frames leave by for good, by index of our devices: their
    /// own, or that of what a VLAN device lies over.
    pub targets: BTreeMap<u16, u32>,
    /// Our devices, by index.
    pub devices: BTreeMap<u16, Device>,
    /// Our VLAN devices, by the device below and the tags.
    pub vlans: BTreeMap<VlanKey, HopWord>,
    /// Next hops, by index.
    pub next_hops: BTreeMap<u32, NextHop>,
    /// Source addresses, by index in their family.
    pub sources: Families<BTreeMap<u32, Ipv4Address>, BTreeMap<u32, Ipv6Address>>,
    /// Backends, by index.
    pub backends: BTreeMap<u32, Backend>,
    /// Whom the ports of backends answer for, by index in their family.
    pub reverses:
        Families<BTreeMap<u32, Reverse<Ipv4Address>>, BTreeMap<u32, Reverse<Ipv6Address>>>,
    /// How much backends are meant to take, by index.
    pub loads: BTreeMap<u32, Load>,
    /// How long flows of services may be silent, by number.
    pub timeouts: BTreeMap<u32, Timeouts>,
    /// How large TCP segments may be that clients and backends of services say they take, by number.
    pub largest_segments: BTreeMap<u32, u16>,
    /// What tables replace, where slots still refer to that.
    pub old_tables: BTreeMap<TableId, OldTable>,
    /// Slot tables, whole.
    pub slots: BTreeMap<TableId, Vec<Slot>>,
    /// Backends that connection ids name, as words.
    pub servers: BTreeMap<PrefixKey, u32>,
    /// Words of the filter of our own addresses.
    pub own: BTreeMap<u32, u64>,
    /// What access lists say of prefixes.
    pub access: BTreeMap<PrefixKey, u32>,
    /// Limits on new flows, by service.
    pub limits: BTreeMap<u32, Limits>,
    /// Groups, by the prefixes that services listen on; and the addresses that they listen on.
    pub listening: BTreeMap<PrefixKey, Option<u32>>,
    /// Numbers of the services of groups, by blocks of ports.
    pub ports: BTreeMap<PortKey, u32>,
    /// Services that ports of groups lead to, by position in their family's table.
    pub numbered:
        Families<BTreeMap<u32, Service<Ipv4Address>>, BTreeMap<u32, Service<Ipv6Address>>>,
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
    /// Writes which device a redirect to one of ours goes to.
    SetTarget(u16, u32),
    /// Writes a device, as sender, and as a place that packets come from.
    SetDevice(u16, Device),
    /// Writes the VLAN device that frames with tags are for; none removes it.
    SetVlan(VlanKey, HopWord),
    /// Writes a next hop.
    SetNextHop(u32, NextHop),
    /// Writes a source address.
    SetSource(u32, OfFamily<Ipv4Address, Ipv6Address>),
    /// Writes a backend.
    SetBackend(u32, Backend),
    /// Writes whom a backend's port answers for.
    SetReverse(u32, OfFamily<Reverse<Ipv4Address>, Reverse<Ipv6Address>>),
    /// Writes how much a backend is meant to take.
    SetLoad(u32, Load),
    /// Writes how long flows of a service may be silent.
    SetTimeouts(u32, Timeouts),
    /// Writes how large TCP segments may be that a service's clients and backends say they take; 0: any.
    SetLargestSegment(u32, u16),
    /// Makes a slot table, all its slots empty.
    CreateTable(TableId),
    /// Writes what a table replaces.
    SetOldTable(TableId, OldTable),
    /// Removes a slot table that nothing leads to.
    RemoveTable(TableId),
    /// Changes slots of a table, in place.
    SetSlots(TableId, Vec<(u32, Slot)>),
    /// Writes the backend that connection ids name; 0 removes it.
    SetServer(PrefixKey, u32),
    /// Writes a word of the filter of our own addresses.
    SetOwn(u32, u64),
    /// Writes what an access list says of a prefix; 0 removes it.
    SetAccess(PrefixKey, u32),
    /// Writes a service's limits.
    SetLimits(u32, Limits),
    /// Writes the group of a prefix that services listen on (0 for an address without one), or
    /// removes it.
    SetListening(PrefixKey, Option<u32>),
    /// Writes the number of the service at a group's block of ports, or removes the block.
    SetPorts(PortKey, Option<u32>),
    /// Writes a position of a service table that ports of groups lead to.
    SetNumbered(u32, OfFamily<Service<Ipv4Address>, Service<Ipv6Address>>),
    /// Writes a position of a service table.
    SetService(u32, OfFamily<Service<Ipv4Address>, Service<Ipv6Address>>),
}

impl Tables {
    /// Does to these collections what the operation does to the kernel's tables.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::SetTarget(n, ifindex) => {
                self.targets.insert(*n, *ifindex);
            }
            Operation::SetDevice(n, device) => {
                put(&mut self.devices, *n, *device, Device::default());
            }
            Operation::SetVlan(key, device) => {
                put(&mut self.vlans, *key, *device, HopWord::NONE);
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
            Operation::SetReverse(n, OfFamily::Ipv4(reverse)) => {
                self.reverses.ipv4.insert(*n, *reverse);
            }
            Operation::SetReverse(n, OfFamily::Ipv6(reverse)) => {
                self.reverses.ipv6.insert(*n, *reverse);
            }
            Operation::SetLoad(n, load) => {
                put(&mut self.loads, *n, *load, Load::default());
            }
            Operation::SetTimeouts(n, timeouts) => {
                put(&mut self.timeouts, *n, *timeouts, Timeouts::default());
            }
            Operation::SetLargestSegment(n, bytes) => {
                put(&mut self.largest_segments, *n, *bytes, 0);
            }
            Operation::CreateTable(id) => {
                let empty = vec![Slot::EMPTY; id.size.slots() as usize];
                self.slots.insert(*id, empty);
            }
            Operation::SetOldTable(id, old) => {
                put(&mut self.old_tables, *id, *old, OldTable::default());
            }
            Operation::RemoveTable(id) => {
                self.slots.remove(id);
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
            Operation::SetServer(id, backend) => put(&mut self.servers, *id, *backend, 0),
            Operation::SetOwn(n, word) => put(&mut self.own, *n, *word, 0),
            Operation::SetAccess(prefix, verdict) => put(&mut self.access, *prefix, *verdict, 0),
            Operation::SetLimits(n, limits) => {
                put(&mut self.limits, *n, *limits, Limits::default());
            }
            Operation::SetListening(prefix, group) => {
                put(&mut self.listening, *prefix, *group, None);
            }
            Operation::SetPorts(block, None) => drop(self.ports.remove(block)),
            Operation::SetPorts(block, Some(id)) => drop(self.ports.insert(*block, *id)),
            Operation::SetNumbered(n, OfFamily::Ipv4(service)) => {
                put(&mut self.numbered.ipv4, *n, *service, Service::empty());
            }
            Operation::SetNumbered(n, OfFamily::Ipv6(service)) => {
                put(&mut self.numbered.ipv6, *n, *service, Service::empty());
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

/// The operations that turn `old` into `new`: first the services and VLANs that go, then what is new from
/// what is pointed to up to what points, last the next hops and devices that nothing leads to any
/// more. Targets, sources and reverses that go stay as they are: nothing names them. Backends that go
/// stay, dead: recorded flows may still name them.
pub fn diff(old: &Tables, new: &Tables) -> Vec<Operation> {
    let mut plan = Vec::new();
    let ipv4 = |n, service| Operation::SetService(n, OfFamily::Ipv4(service));
    let ipv6 = |n, service| Operation::SetService(n, OfFamily::Ipv6(service));
    let (was, is) = (&old.services, &new.services);
    let lost = services::gone(&was.ipv4, &is.ipv4).into_iter();
    plan.extend(lost.map(|n| ipv4(n, Service::empty())));
    let lost = services::gone(&was.ipv6, &is.ipv6).into_iter();
    plan.extend(lost.map(|n| ipv6(n, Service::empty())));

    let vlans = gone(&old.vlans, &new.vlans);
    plan.extend(vlans.map(|key| Operation::SetVlan(key, HopWord::NONE)));
    let targets = changed(&old.targets, &new.targets);
    plan.extend(targets.map(|(n, ifindex)| Operation::SetTarget(n, ifindex)));
    plan.extend(changed(&old.devices, &new.devices).map(|(n, d)| Operation::SetDevice(n, d)));
    let vlans = changed(&old.vlans, &new.vlans);
    plan.extend(vlans.map(|(key, device)| Operation::SetVlan(key, device)));
    let next_hops = changed(&old.next_hops, &new.next_hops);
    plan.extend(next_hops.map(|(n, hop)| Operation::SetNextHop(n, hop)));
    let sources = changed(&old.sources.ipv4, &new.sources.ipv4);
    plan.extend(sources.map(|(n, a)| Operation::SetSource(n, OfFamily::Ipv4(a))));
    let sources = changed(&old.sources.ipv6, &new.sources.ipv6);
    plan.extend(sources.map(|(n, a)| Operation::SetSource(n, OfFamily::Ipv6(a))));
    let backends = changed(&old.backends, &new.backends).map(|(n, b)| Operation::SetBackend(n, b));
    let (dead, living): (Vec<_>, Vec<_>) = backends.partition(kills);
    plan.extend(living);
    plan.extend(changed(&old.loads, &new.loads).map(|(n, load)| Operation::SetLoad(n, load)));
    let timeouts = changed(&old.timeouts, &new.timeouts);
    plan.extend(timeouts.map(|(n, timeouts)| Operation::SetTimeouts(n, timeouts)));
    let segments = changed(&old.largest_segments, &new.largest_segments);
    plan.extend(segments.map(|(n, bytes)| Operation::SetLargestSegment(n, bytes)));
    // Those that go are removed first: they make room.
    plan.extend(gone(&old.servers, &new.servers).map(|id| Operation::SetServer(id, 0)));
    let servers = changed(&old.servers, &new.servers);
    plan.extend(servers.map(|(id, backend)| Operation::SetServer(id, backend)));
    let reverses = changed(&old.reverses.ipv4, &new.reverses.ipv4);
    plan.extend(reverses.map(|(n, r)| Operation::SetReverse(n, OfFamily::Ipv4(r))));
    let reverses = changed(&old.reverses.ipv6, &new.reverses.ipv6);
    plan.extend(reverses.map(|(n, r)| Operation::SetReverse(n, OfFamily::Ipv6(r))));
    let new_tables = new.slots.keys().filter(|id| !old.slots.contains_key(id));
    plan.extend(new_tables.map(|id| Operation::CreateTable(*id)));
    let old_tables = changed(&old.old_tables, &new.old_tables);
    plan.extend(old_tables.map(|(id, table)| Operation::SetOldTable(id, table)));
    let slots = new.slots.iter();
    plan.extend(slots.filter_map(|(id, slots)| slots_of(*id, old.slots.get(id), slots)));
    // A list's shortest prefix, what it says of all others, last.
    let access = changed(&old.access, &new.access);
    let mut access: Vec<_> = access.collect();
    access.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length()));
    let access = access.into_iter();
    plan.extend(access.map(|(n, verdict)| Operation::SetAccess(n, verdict)));
    plan.extend(changed(&old.limits, &new.limits).map(|(n, l)| Operation::SetLimits(n, l)));
    let numbered = changed(&old.numbered.ipv4, &new.numbered.ipv4);
    plan.extend(numbered.map(|(n, s)| Operation::SetNumbered(n, OfFamily::Ipv4(s))));
    let numbered = changed(&old.numbered.ipv6, &new.numbered.ipv6);
    plan.extend(numbered.map(|(n, s)| Operation::SetNumbered(n, OfFamily::Ipv6(s))));
    plan.extend(changed(&old.ports, &new.ports).map(|(n, id)| Operation::SetPorts(n, Some(id))));
    let listening = changed(&old.listening, &new.listening);
    plan.extend(listening.map(|(n, group)| Operation::SetListening(n, group)));
    let moves = services::changed(&was.ipv4, &is.ipv4).into_iter();
    plan.extend(moves.map(|(n, service)| ipv4(n, service)));
    let moves = services::changed(&was.ipv6, &is.ipv6).into_iter();
    plan.extend(moves.map(|(n, service)| ipv6(n, service)));
    plan.extend(dead);
    plan.extend(died(&old.backends, &new.backends));

    plan.extend(changed(&old.own, &new.own).map(|(n, word)| Operation::SetOwn(n, word)));
    plan.extend(gone(&old.own, &new.own).map(|n| Operation::SetOwn(n, 0)));
    plan.extend(gone(&old.access, &new.access).map(|n| Operation::SetAccess(n, 0)));
    let limits = gone(&old.limits, &new.limits);
    plan.extend(limits.map(|n| Operation::SetLimits(n, Limits::default())));
    let listening = gone(&old.listening, &new.listening);
    plan.extend(listening.map(|n| Operation::SetListening(n, None)));
    plan.extend(gone(&old.ports, &new.ports).map(|n| Operation::SetPorts(n, None)));
    let none = OfFamily::Ipv4(Service::empty());
    let numbered = gone(&old.numbered.ipv4, &new.numbered.ipv4);
    plan.extend(numbered.map(|n| Operation::SetNumbered(n, none)));
    let none = OfFamily::Ipv6(Service::empty());
    let numbered = gone(&old.numbered.ipv6, &new.numbered.ipv6);
    plan.extend(numbered.map(|n| Operation::SetNumbered(n, none)));

    plan.extend(gone(&old.loads, &new.loads).map(|n| Operation::SetLoad(n, Load::default())));
    let timeouts = gone(&old.timeouts, &new.timeouts);
    plan.extend(timeouts.map(|n| Operation::SetTimeouts(n, Timeouts::default())));
    let segments = gone(&old.largest_segments, &new.largest_segments);
    plan.extend(segments.map(|n| Operation::SetLargestSegment(n, 0)));
    let old_tables = gone(&old.old_tables, &new.old_tables);
    plan.extend(old_tables.map(|id| Operation::SetOldTable(id, OldTable::default())));
    plan.extend(gone(&old.slots, &new.slots).map(Operation::RemoveTable));
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

/// Whether an operation leaves a backend dead.
fn kills(operation: &Operation) -> bool {
    matches!(operation, Operation::SetBackend(_, backend) if !backend.is_alive())
}

/// Backends that are no longer there: recorded flows still name them, so they stay, but dead, and what becomes of their
/// flows is their services' to say.
fn died<'a>(
    old: &'a BTreeMap<u32, Backend>,
    new: &'a BTreeMap<u32, Backend>,
) -> impl Iterator<Item = Operation> + 'a {
    let dead = |(n, backend): (&u32, &Backend)| {
        let dead = backend.dead(Fate::Service);
        let died = !new.contains_key(n) && *backend != dead;
        died.then_some(Operation::SetBackend(*n, dead))
    };
    old.iter().filter_map(dead)
}

/// What changes a table's slots from empty ones, or from what they are.
fn slots_of(id: TableId, old: Option<&Vec<Slot>>, new: &[Slot]) -> Option<Operation> {
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
    (!changes.is_empty()).then_some(Operation::SetSlots(id, changes))
}
