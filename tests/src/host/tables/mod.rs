//! [`Tables`] over a [`World`]; what is of one family is in `family`.

mod family;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    ops::Deref,
};

use lb_common::{
    abi::{
        Address, Admission, Affinity, Backend, BackendRef, Bucket, BucketKey, Choosing,
        DEFAULT_BACKENDS, Device, FIRST_PROBE_PORT, FlowBucket, FlowBucketKey, FlowHash, Handshake,
        HopWord, Ipv4Address, Ipv6Address, Limited, Limits, Load, MAX_DEVICES, MAX_SERVICES,
        MAX_TABLES, NextHop, OWN_WORDS, OldTable, PortKey, PrefixKey, RecordBudget, RecordLimits,
        Recorded, ReplyLimits, Reverse, Seed, Service, Slot, SourcePorts, TableId, Tags, Timeouts,
        Traffic, Unrecorded, VlanKey,
    },
    datapath::{self, Egress, Outcome, Prefixes, Search, Tables, Tagged},
};

use super::{
    exceptions::Exceptions,
    flows::{FlowTables, Key},
    fragments::Fragments,
};
use crate::cases::{
    case::Ends,
    places::PROBE,
    ring::Counts,
    world::{HERTZ, World},
};

/// The tables of one host. Time and everything else in them stands still unless told to go on.
pub struct HostTables {
    world: World,
    now: u32,
    ifindex: u32,
    flows_v4: FlowTables<Ipv4Address>,
    flows_v6: FlowTables<Ipv6Address>,
    affinities: RefCell<HashMap<Key, Affinity>>,
    active: RefCell<BTreeMap<u32, i64>>,
    turns: RefCell<BTreeMap<u32, u32>>,
    exceptions_v4: Exceptions<Ipv4Address>,
    exceptions_v6: Exceptions<Ipv6Address>,
    fragments_v4: Fragments<Ipv4Address>,
    fragments_v6: Fragments<Ipv6Address>,
    budget: Cell<RecordBudget>,
    buckets: RefCell<BTreeMap<Option<BucketKey>, [Bucket; Limited::COUNT as usize]>>,
    service_buckets: RefCell<HashMap<u32, FlowBucket>>,
    source_buckets: RefCell<HashMap<FlowBucketKey, FlowBucket>>,
    unrecorded: RefCell<BTreeMap<u32, Unrecorded>>,
    newly_unrecorded: RefCell<Vec<(u32, Recorded)>>,
    tagged: RefCell<Tagged>,
    came_from: Cell<u16>,
    redirected: Cell<Option<u16>>,
    wanted: RefCell<Vec<(u32, IpAddr)>>,
    counts: RefCell<Counts>,
    no_backend: Backend,
    no_service_v4: Service<Ipv4Address>,
    no_service_v6: Service<Ipv6Address>,
    no_reverse_v4: Reverse<Ipv4Address>,
    no_reverse_v6: Reverse<Ipv6Address>,
}

impl Default for HostTables {
    fn default() -> Self {
        Self::new(World::default())
    }
}

impl HostTables {
    /// Tables of this world, without flows.
    pub fn new(world: World) -> Self {
        Self {
            world,
            // Five seconds before it wraps.
            now: 0u32.wrapping_sub(5 * HERTZ),
            ifindex: 0,
            flows_v4: FlowTables::default(),
            flows_v6: FlowTables::default(),
            affinities: RefCell::default(),
            active: RefCell::default(),
            turns: RefCell::default(),
            exceptions_v4: Exceptions::default(),
            exceptions_v6: Exceptions::default(),
            fragments_v4: Fragments::default(),
            fragments_v6: Fragments::default(),
            budget: Cell::default(),
            buckets: RefCell::default(),
            service_buckets: RefCell::default(),
            source_buckets: RefCell::default(),
            unrecorded: RefCell::default(),
            newly_unrecorded: RefCell::default(),
            tagged: RefCell::default(),
            came_from: Cell::new(0),
            redirected: Cell::new(None),
            wanted: RefCell::default(),
            counts: RefCell::default(),
            no_backend: Backend::default(),
            no_service_v4: Service::empty(),
            no_service_v6: Service::empty(),
            no_reverse_v4: Reverse::default(),
            no_reverse_v6: Reverse::default(),
        }
    }

    /// Changes the world; flows and counters stay.
    pub fn set_world(&mut self, world: World) {
        self.world = world;
    }

    /// The next packet comes in through this interface.
    pub fn arrive(&mut self, ifindex: u32) {
        self.ifindex = ifindex;
        self.redirected.set(None);
    }

    /// Whether the packet comes from the device of probes.
    pub(super) fn probes(&self) -> bool {
        self.ifindex == PROBE.ifindex
    }

    /// Lets time pass.
    pub fn advance(&mut self, seconds: u32) {
        self.now = self.now.wrapping_add(seconds * HERTZ);
    }

    /// The device that a packet of this outcome leaves through.
    pub fn leaves(&self, outcome: Outcome) -> Option<u16> {
        match outcome {
            Outcome::Forward(Egress::Transmit) | Outcome::Answer(_) => Some(self.came_from.get()),
            Outcome::Forward(Egress::Redirect) => self.redirected.get(),
            Outcome::Pass(_) | Outcome::Drop(_) => None,
        }
    }

    /// The neighbours that were asked for since the last call: interface and address.
    pub fn take_wanted(&self) -> Vec<(u32, IpAddr)> {
        self.wanted.take()
    }

    /// What went unrecorded since the last call: services, and kinds of packets.
    pub fn take_unrecorded(&self) -> Vec<(u32, Recorded)> {
        self.newly_unrecorded.take()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// When packets of a service last went unrecorded.
    pub fn unrecorded(&self, service: u32) -> Unrecorded {
        let unrecorded = self.unrecorded.borrow();
        unrecorded.get(&service).copied().unwrap_or_default()
    }

    /// How many flow entries there are.
    pub fn flow_count(&self) -> usize {
        self.flows_v4.len() + self.flows_v6.len()
    }

    /// Removes a flow's entry or exception; whether it was there.
    pub fn evict(&self, ends: Ends) -> bool {
        match ends.into() {
            Key::V4(key) => self.flows_v4.remove(&key) || self.exceptions_v4.remove(&key),
            Key::V6(key) => self.flows_v6.remove(&key) || self.exceptions_v6.remove(&key),
        }
    }

    /// Makes a flow's entry or exception another's, or its own again; whether it was there.
    pub fn recycle(&self, ends: Ends) -> bool {
        match ends.into() {
            Key::V4(key) => self.flows_v4.recycle(&key) || self.exceptions_v4.recycle(&key),
            Key::V6(key) => self.flows_v6.recycle(&key) || self.exceptions_v6.recycle(&key),
        }
    }

    fn device_of(&self, ifindex: u32) -> HopWord {
        self.world
            .ingress
            .get(&ifindex)
            .copied()
            .unwrap_or(HopWord::NONE)
    }
}

/// The tables, as packets from the wire or the agent's probes see them.
pub(super) struct HostView<'a, const PROBES: bool>(pub(super) &'a HostTables);

impl<const PROBES: bool> Deref for HostView<'_, PROBES> {
    type Target = HostTables;

    fn deref(&self) -> &HostTables {
        self.0
    }
}

impl<const PROBES: bool> Prefixes for HostView<'_, PROBES> {
    fn listening(&self, key: &PrefixKey) -> Option<u32> {
        longest(&self.world.listening, key)
    }

    fn own_word(&self, word: u32) -> u64 {
        assert!(word < OWN_WORDS, "no word {word}");
        self.world.own.get(&word).copied().unwrap_or_default()
    }

    fn access(&self, key: &PrefixKey) -> u32 {
        longest(&self.world.access, key).unwrap_or_default()
    }
}

impl<const PROBES: bool> Tables for HostView<'_, PROBES> {
    const PROBES: bool = PROBES;

    fn has_probes(&self) -> bool {
        self.world.constants.probes
    }

    fn probed(&self, port: [u8; 2]) -> BackendRef {
        let index = u16::from_be_bytes(port).wrapping_sub(FIRST_PROBE_PORT);
        let word = self.world.probed.get(&u32::from(index)).copied();
        BackendRef::from_word(word.unwrap_or_default())
    }

    fn refusal<A: Address>(&self, source: A, destination: A, admission: Admission) -> u32 {
        datapath::refusal(self, source, destination, admission)
    }

    fn look(&self, choosing: Choosing, service: u32, hash: FlowHash, search: Search) -> Search {
        datapath::look(self, choosing, service, hash, search)
    }

    fn seed(&self) -> Seed {
        self.world.constants.seed
    }

    fn salt(&self) -> u64 {
        self.world.constants.salt
    }

    fn source_ports(&self) -> SourcePorts {
        self.world.constants.ports
    }

    fn has_nat(&self) -> bool {
        self.world.constants.nat
    }

    fn has_nat_ranges(&self) -> bool {
        self.world.constants.nat_ranges
    }

    fn has_prefixes(&self) -> bool {
        self.world.constants.prefixes
    }

    fn limits(&self, service: u32) -> Option<Limits> {
        let limits = self.world.limits.get(&service).copied();
        (service < MAX_SERVICES).then(|| limits.unwrap_or_default())
    }

    fn with_flow_bucket(
        &self,
        service: u32,
        work: impl FnOnce(FlowBucket) -> Option<FlowBucket>,
    ) -> bool {
        take(&mut self.service_buckets.borrow_mut(), service, work)
    }

    fn with_source_flow_bucket(
        &self,
        key: &FlowBucketKey,
        work: impl FnOnce(FlowBucket) -> Option<FlowBucket>,
    ) -> bool {
        take(&mut self.source_buckets.borrow_mut(), *key, work)
    }

    fn at_port(&self, key: &PortKey) -> Option<u32> {
        let covering = self
            .world
            .ports
            .iter()
            .filter(|(block, _)| block.covers(key));
        let longest = covering.max_by_key(|(block, _)| block.length());
        longest.map(|(_, id)| *id)
    }

    fn server(&self, key: &PrefixKey) -> Option<BackendRef> {
        let servers = self.world.servers.iter();
        let covering = servers.filter(|(server, _)| server.covers(key));
        let longest = covering
            .filter(|(server, _)| server.length() <= key.length())
            .max_by_key(|(server, _)| server.length());
        longest.map(|(_, backend)| BackendRef::from_word(*backend))
    }

    fn now(&self) -> u32 {
        self.now
    }

    fn hertz(&self) -> u32 {
        HERTZ
    }

    fn arrived(&self) -> HopWord {
        self.device_of(self.ifindex)
    }

    fn arrived_ifindex(&self) -> u32 {
        self.ifindex
    }

    fn asks_older(&self) -> bool {
        !PROBES && self.world.constants.asks_older
    }

    fn has_crossing(&self) -> bool {
        self.world.constants.crossing
    }

    fn has_vlans(&self) -> bool {
        self.world.constants.vlans
    }

    fn vlan(&self, tags: Tags) -> HopWord {
        let key = VlanKey::new(self.ifindex, tags);
        self.world.vlans.get(&key).copied().unwrap_or(HopWord::NONE)
    }

    fn with_tagged<R>(&self, work: impl FnOnce(&mut Tagged) -> R) -> Option<R> {
        Some(work(&mut self.tagged.borrow_mut()))
    }

    fn device(&self, index: u16) -> Option<Device> {
        let device = self.world.devices.get(&index).copied().unwrap_or_default();
        (u32::from(index) < MAX_DEVICES).then_some(device)
    }

    fn next_hop(&self, index: u32) -> Option<NextHop> {
        let next = self
            .world
            .next_hops
            .get(&index)
            .copied()
            .unwrap_or_default();
        (index < DEFAULT_BACKENDS).then_some(next)
    }

    fn backend(&self, index: u32) -> Option<&Backend> {
        let backend = self.world.backends.get(&index).unwrap_or(&self.no_backend);
        (index < DEFAULT_BACKENDS).then_some(backend)
    }

    fn active(&self, index: u32) -> u64 {
        let active = self.active.borrow().get(&index).copied();
        active.unwrap_or(0) as u64
    }

    fn add_active(&self, index: u32, flows: i64) {
        if index < DEFAULT_BACKENDS {
            *self.active.borrow_mut().entry(index).or_default() += flows;
        }
    }

    fn load(&self, index: u32) -> Option<Load> {
        let load = self.world.loads.get(&index).copied();
        (index < DEFAULT_BACKENDS).then(|| load.unwrap_or_default())
    }

    fn largest_segment(&self, service: u32) -> u16 {
        let bytes = self.world.largest_segments.get(&service);
        bytes.map_or(0, |bytes| *bytes as u16)
    }

    fn timeouts(&self, service: u32) -> Option<Timeouts> {
        let timeouts = self.world.timeouts.get(&service).copied();
        (service < MAX_SERVICES).then(|| timeouts.unwrap_or_default())
    }

    fn turn(&self, service: u32) -> u32 {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(service).or_default();
        *turn += 1;
        *turn - 1
    }

    fn slot(&self, table: TableId, slot: u32) -> Option<Slot> {
        if table.index >= MAX_TABLES || slot >= table.size.slots() {
            return None;
        }
        let slots = self.world.slots.get(&table)?;
        slots.get(slot as usize % slots.len()).copied()
    }

    fn old_table(&self, table: TableId) -> Option<OldTable> {
        let old = self.world.old_tables.get(&table).copied();
        (table.index < MAX_TABLES).then(|| old.unwrap_or_default())
    }

    fn record_limits(&self) -> RecordLimits {
        self.world.constants.limits
    }

    fn with_record_budget<R>(&self, work: impl FnOnce(&mut RecordBudget) -> R) -> Option<R> {
        let mut budget = self.budget.get();
        let result = work(&mut budget);
        self.budget.set(budget);
        Some(result)
    }

    fn note_unrecorded(&self, service: u32, kind: Recorded, now: u32) {
        self.newly_unrecorded.borrow_mut().push((service, kind));
        let mut unrecorded = self.unrecorded.borrow_mut();
        let stamps = unrecorded.entry(service).or_default();
        match kind {
            Recorded::Open => stamps.open = now,
            Recorded::Data => stamps.data = now,
        }
    }

    fn reply_limits(&self) -> ReplyLimits {
        self.world.constants.replies
    }

    fn with_bucket<R>(&self, kind: Limited, work: impl FnOnce(&mut Bucket) -> R) -> Option<R> {
        let mut buckets = self.buckets.borrow_mut();
        buckets
            .entry(None)
            .or_default()
            .get_mut(kind as usize)
            .map(work)
    }

    fn with_source_bucket<R>(
        &self,
        key: &BucketKey,
        work: impl FnOnce(&mut Bucket) -> R,
    ) -> Option<R> {
        let mut buckets = self.buckets.borrow_mut();
        buckets.entry(Some(*key)).or_default().first_mut().map(work)
    }

    fn redirect(&self, device: u16) -> bool {
        let known = self.world.redirect.contains_key(&device);
        self.redirected.set(known.then_some(device));
        known
    }

    fn count_service(&self, id: u32, traffic: Traffic) {
        if id < MAX_SERVICES {
            self.counts
                .borrow_mut()
                .services
                .entry(id)
                .or_default()
                .add(traffic);
        }
    }

    fn count_backend(&self, index: u32, traffic: Traffic) {
        if index < DEFAULT_BACKENDS {
            self.counts
                .borrow_mut()
                .backends
                .entry(index)
                .or_default()
                .add(traffic);
        }
    }

    fn count_handshake(&self, index: u32, step: Handshake) {
        if index < DEFAULT_BACKENDS {
            let mut counts = self.counts.borrow_mut();
            counts.handshakes.entry(index).or_default().add(step);
        }
    }

    fn count_outcome(&self, device: u16, outcome: Outcome) {
        self.came_from.set(device);
        let mut counts = self.counts.borrow_mut();
        *counts.outcomes.entry((device, outcome.name())).or_default() += 1;
    }
}

/// The value of the longest prefix that covers a key.
fn longest(trie: &BTreeMap<PrefixKey, u32>, key: &PrefixKey) -> Option<u32> {
    let covering = trie.iter().filter(|(prefix, _)| prefix.covers(key));
    let longest = covering.max_by_key(|(prefix, _)| prefix.length());
    longest.map(|(_, value)| *value)
}

/// Changes a bucket, which is there once it was asked for; whether it had a token.
fn take<K: Eq + std::hash::Hash>(
    buckets: &mut HashMap<K, FlowBucket>,
    key: K,
    work: impl FnOnce(FlowBucket) -> Option<FlowBucket>,
) -> bool {
    let bucket = buckets.entry(key).or_default();
    let after = work(*bucket);
    *bucket = after.unwrap_or(*bucket);
    after.is_some()
}
