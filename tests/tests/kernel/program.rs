//! The packet program and its maps, written from a row's world.

use std::collections::{BTreeMap, BTreeSet};

use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Array, ArrayOfMaps, DevMap, HashMap, Map, MapData,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use lb_common::abi::{
    Affinity, Exception, FlowTable, Fragmented, HopWord, Ipv4Address, Ipv6Address, OldTable,
    PortKey, PrefixKey, Service, Slot, TableId, TableSize, VlanKey,
};
use lb_userspace::kernel::{
    OBJECT, Wire, link_crossing_programs, link_probe_programs, link_programs,
};
use sluice_tests::cases::{
    places::PROBE,
    world::{Constants, HERTZ, World},
};
use zerocopy::{FromBytes, Immutable};

use crate::flows::Flows;

/// The entry point.
const NAME: &str = "sluice";

/// A loaded program.
pub(crate) struct Program {
    ebpf: Ebpf,
    world: World,
    slots: BTreeMap<TableId, Array<MapData, Wire<Slot>>>,
    /// Backends that may have counted something.
    pub(crate) counted: BTreeSet<u32>,
    /// What was counted before the row.
    pub(crate) before: BTreeMap<(u16, &'static str), u64>,
    /// Bytes of a frame in the first part of its buffer; the rest is in others.
    pub(crate) first_part: usize,
    /// Whether the programs of probes are loaded.
    probes: bool,
}

impl Program {
    /// Loads the program with these constants.
    pub(crate) fn load(constants: Constants) -> Self {
        let Constants {
            seed,
            salt,
            ports,
            limits,
            replies,
            nat,
            nat_ranges,
            prefixes,
            crossing,
            vlans,
            probes,
            asks_older,
        } = constants;
        let mut ebpf = EbpfLoader::new()
            .override_global("SEED_0", &seed.k0, true)
            .override_global("SEED_1", &seed.k1, true)
            .override_global("SERVICE_SALT", &salt, true)
            .override_global("HERTZ", &HERTZ, true)
            .override_global("FIRST_PORT", &ports.first, true)
            .override_global("PORT_COUNT", &ports.count, true)
            .override_global("HAS_NAT", &u8::from(nat), true)
            .override_global("ERROR_RATE", &replies.errors, true)
            .override_global("ERROR_RATE_PER_SOURCE", &replies.errors_per_source, true)
            .override_global("RESET_RATE", &replies.resets, true)
            .override_global("RESET_RATE_PER_SOURCE", &replies.resets_per_source, true)
            .override_global("HAS_NAT_RANGES", &u8::from(nat_ranges), true)
            .override_global("HAS_PREFIXES", &u8::from(prefixes), true)
            .override_global("HAS_CROSSING", &u8::from(crossing), true)
            .override_global("HAS_VLANS", &u8::from(vlans), true)
            .override_global("HAS_PROBES", &u8::from(probes), true)
            .override_global("ASKS_OLDER", &u8::from(asks_older), true)
            .override_global("EXCEPTION_CAPACITY", &limits.capacity, true)
            .override_global("EXCEPTION_RATE", &limits.rate, true)
            .map_max_entries("EXCEPTIONS_V4", limits.capacity)
            .map_max_entries("EXCEPTIONS_V6", limits.capacity)
            .map_max_entries("FLOWS_V4", 8192)
            .map_max_entries("FLOWS_V6", 8192)
            .map_max_entries("YOUNG_V4", 8192)
            .map_max_entries("YOUNG_V6", 8192)
            .map_max_entries("AFFINITIES_V4", 1024)
            .map_max_entries("AFFINITIES_V6", 1024)
            .load(OBJECT)
            .expect("the packet program");
        if crossing {
            link_crossing_programs(&mut ebpf).expect("programs that the verifier takes");
        }
        link_programs(&mut ebpf).expect("programs that the verifier takes");
        let mut world = World::without_services();
        world.constants = constants;
        world.ingress.clear();
        world.devices.clear();
        world.redirect.clear();
        world.next_hops.clear();
        Self {
            ebpf,
            world,
            slots: BTreeMap::new(),
            counted: BTreeSet::new(),
            before: BTreeMap::new(),
            first_part: usize::MAX,
            probes: false,
        }
    }

    /// Loads the programs of probes, unless they are: that takes a while, and few rows have such.
    fn load_probes(&mut self) {
        if !std::mem::replace(&mut self.probes, true) {
            let loaded = link_probe_programs(&mut self.ebpf, true);
            loaded.expect("programs of probes that the verifier takes");
        }
    }

    /// The constants that it was loaded with.
    pub(crate) fn constants(&self) -> Constants {
        self.world.constants
    }

    /// The program itself.
    pub(crate) fn xdp(&self) -> &Xdp {
        self.named(NAME)
    }

    fn named(&self, name: &str) -> &Xdp {
        let program = self.ebpf.program(name).expect("a program of this name");
        program.try_into().expect("an XDP program")
    }

    /// Runs the program of the device `ifindex` on a frame that comes in through it: its answer, and the frame
    /// afterwards.
    pub(crate) fn run(&self, ifindex: u32, frame: &[u8]) -> (u32, Vec<u8>) {
        let name = match ifindex == PROBE.ifindex {
            true => "probe",
            false => NAME,
        };
        run(self.named(name), ifindex, frame, self.first_part)
    }

    /// The maps' world becomes this one.
    pub(crate) fn change(&mut self, new: &World) {
        let old = std::mem::replace(&mut self.world, new.clone());
        if new.ingress.contains_key(&PROBE.ifindex) {
            self.load_probes();
        }
        self.values("INGRESS", &old.ingress, &new.ingress);
        self.vlans(&old.vlans, &new.vlans);
        self.values("DEVICES", &wide(&old.devices), &wide(&new.devices));
        self.values("NEXT_HOPS", &old.next_hops, &new.next_hops);
        self.values("BACKENDS", &old.backends, &new.backends);
        self.values("PROBED", &old.probed, &new.probed);
        self.values("LOADS", &old.loads, &new.loads);
        self.values("TIMEOUTS", &old.timeouts, &new.timeouts);
        self.values(
            "LARGEST_SEGMENTS",
            &old.largest_segments,
            &new.largest_segments,
        );
        self.values("REVERSES_V4", &old.reverses_v4, &new.reverses_v4);
        self.values("REVERSES_V6", &old.reverses_v6, &new.reverses_v6);
        self.values("SOURCES_V4", &old.sources_v4, &new.sources_v4);
        self.values("SOURCES_V6", &old.sources_v6, &new.sources_v6);
        self.services("SERVICES_V4", &old.services_v4, &new.services_v4);
        self.services("SERVICES_V6", &old.services_v6, &new.services_v6);
        let prefix = |key: &PrefixKey| (key.length(), key.data());
        let port = |key: &PortKey| (key.length(), key.data());
        self.trie("SERVERS", &old.servers, &new.servers, prefix);
        self.values("OWN", &old.own, &new.own);
        self.values("LIMITS", &old.limits, &new.limits);
        self.trie("ACCESS", &old.access, &new.access, prefix);
        self.trie("LISTENING", &old.listening, &new.listening, prefix);
        self.trie("PORTS", &old.ports, &new.ports, port);
        let (was, is) = (positions(&old.old_tables), positions(&new.old_tables));
        self.values("OLD_TABLES", &was, &is);
        self.redirects(&old, new);
        // A table that is there once stays: rows that want none use an index of their own.
        for (id, slots) in &new.slots {
            if old.slots.get(id) != Some(slots) {
                self.fill(*id, slots);
            }
        }
        self.counted.extend(new.backends.keys());
    }

    /// Writes what differs.
    fn values<T>(&mut self, name: &str, old: &BTreeMap<u32, T>, new: &BTreeMap<u32, T>)
    where
        T: Copy + PartialEq + Default + FromBytes + Immutable + 'static,
    {
        self.write(name, old, new, T::default());
    }

    fn services<A: lb_common::abi::Address>(
        &mut self,
        name: &str,
        old: &BTreeMap<u32, Service<A>>,
        new: &BTreeMap<u32, Service<A>>,
    ) {
        self.write(name, old, new, Service::empty());
    }

    fn write<T: Copy + PartialEq + FromBytes + Immutable + 'static>(
        &mut self,
        name: &str,
        old: &BTreeMap<u32, T>,
        new: &BTreeMap<u32, T>,
        empty: T,
    ) {
        let mut array: Array<_, Wire<T>> = self.map(name);
        for index in old.keys().filter(|index| !new.contains_key(index)) {
            array
                .set(*index, Wire(empty), 0)
                .expect("an index that was written before");
        }
        for (index, value) in new
            .iter()
            .filter(|(index, value)| old.get(index) != Some(value))
        {
            array
                .set(*index, Wire(*value), 0)
                .expect("an index below the array's size");
        }
    }

    fn vlans(&mut self, old: &BTreeMap<VlanKey, HopWord>, new: &BTreeMap<VlanKey, HopWord>) {
        let mut vlans: HashMap<_, Wire<VlanKey>, Wire<HopWord>> = self.map("VLANS");
        for gone in old.keys().filter(|gone| !new.contains_key(gone)) {
            vlans
                .remove(&Wire(*gone))
                .expect("a VLAN that was written before");
        }
        for (key, device) in new {
            vlans
                .insert(Wire(*key), Wire(*device), 0)
                .expect("room for a VLAN");
        }
    }

    /// Writes what differs in a trie; `of` are a key's parts.
    fn trie<K, D, T>(
        &mut self,
        name: &str,
        old: &BTreeMap<K, T>,
        new: &BTreeMap<K, T>,
        of: impl Fn(&K) -> (u32, D),
    ) where
        K: Ord,
        D: Copy + FromBytes + Immutable + 'static,
        T: Copy + PartialEq + FromBytes + Immutable + 'static,
    {
        let mut trie: LpmTrie<_, Wire<D>, Wire<T>> = self.map(name);
        let key = |key| {
            let (length, data) = of(key);
            Key::new(length, Wire(data))
        };
        for gone in old.keys().filter(|gone| !new.contains_key(gone)) {
            trie.remove(&key(gone))
                .expect("a prefix that was written before");
        }
        let differs = |(prefix, value): &(&K, &T)| old.get(prefix) != Some(value);
        for (prefix, value) in new.iter().filter(differs) {
            trie.insert(&key(prefix), Wire(*value), 0)
                .expect("room for a prefix");
        }
    }

    fn redirects(&mut self, old: &World, new: &World) {
        let gone = old
            .redirect
            .keys()
            .filter(|device| !new.redirect.contains_key(device));
        let mut devices: DevMap<_> = self.map("REDIRECT");
        for device in gone {
            // aya's map can't delete; ifindex 0 is no device, and clears the place.
            devices
                .set(u32::from(*device), 0, None, 0)
                .expect("a place to clear");
        }
        for (device, ifindex) in &new.redirect {
            devices
                .set(u32::from(*device), *ifindex, None, 0)
                .expect("an interface");
        }
    }

    /// Fills a slot table, made anew if it is not there.
    fn fill(&mut self, id: TableId, slots: &[Slot]) {
        const MMAPABLE: u32 = 1 << 10;
        let table = self.slots.remove(&id).unwrap_or_else(|| {
            let table = Array::create(id.size.slots(), MMAPABLE).expect("a slot table");
            let name = match id.size {
                TableSize::Small => "SLOTS_S",
                TableSize::Medium => "SLOTS_M",
                TableSize::Large => "SLOTS_L",
            };
            let mut outer: ArrayOfMaps<_, Array<MapData, Wire<Slot>>> = self.map(name);
            outer
                .set(id.index, &table, 0)
                .expect("a place for a slot table");
            table
        });
        let mut table = table;
        for (index, slot) in (0..id.size.slots()).zip(slots.iter().cycle()) {
            table.set(index, Wire(*slot), 0).expect("a slot");
        }
        self.slots.insert(id, table);
    }

    /// One of the flow tables of IPv4.
    pub(crate) fn flows_v4(&mut self, table: FlowTable) -> Flows<'_, Ipv4Address> {
        Flows(self.map(match table {
            FlowTable::Young => "YOUNG_V4",
            FlowTable::Committed => "FLOWS_V4",
        }))
    }

    /// One of the flow tables of IPv6.
    pub(crate) fn flows_v6(&mut self, table: FlowTable) -> Flows<'_, Ipv6Address> {
        Flows(self.map(match table {
            FlowTable::Young => "YOUNG_V6",
            FlowTable::Committed => "FLOWS_V6",
        }))
    }

    /// Whom clients of IPv4 keep to.
    pub(crate) fn affinities_v4(&mut self) -> Flows<'_, Ipv4Address, Affinity> {
        Flows(self.map("AFFINITIES_V4"))
    }

    /// Whom clients of IPv6 keep to.
    pub(crate) fn affinities_v6(&mut self) -> Flows<'_, Ipv6Address, Affinity> {
        Flows(self.map("AFFINITIES_V6"))
    }

    /// The exceptions of IPv4.
    pub(crate) fn exceptions_v4(&mut self) -> Flows<'_, Ipv4Address, Exception> {
        Flows(self.map("EXCEPTIONS_V4"))
    }

    /// The exceptions of IPv6.
    pub(crate) fn exceptions_v6(&mut self) -> Flows<'_, Ipv6Address, Exception> {
        Flows(self.map("EXCEPTIONS_V6"))
    }

    /// The packets in fragments of IPv4.
    pub(crate) fn fragmented_v4(&mut self) -> Flows<'_, Ipv4Address, Fragmented> {
        Flows(self.map("FRAGMENTED_V4"))
    }

    /// The packets in fragments of IPv6.
    pub(crate) fn fragmented_v6(&mut self) -> Flows<'_, Ipv6Address, Fragmented> {
        Flows(self.map("FRAGMENTED_V6"))
    }

    /// A map of this name, of whatever type.
    pub(crate) fn map_data(&self, name: &str) -> Option<&Map> {
        self.ebpf.map(name)
    }

    /// A map of this name.
    pub(crate) fn map<'a, M>(&'a mut self, name: &str) -> M
    where
        M: TryFrom<&'a mut Map, Error: std::fmt::Debug>,
    {
        let map = self
            .ebpf
            .map_mut(name)
            .unwrap_or_else(|| panic!("no map {name}"));
        M::try_from(map).unwrap_or_else(|error| panic!("map {name}: {error:?}"))
    }
}

/// Runs a program on a frame that comes in through `ifindex`, so many bytes of it in the first part of
/// its buffer: its answer, and the frame afterwards. Kernels before 6.18 take no frame that is in parts
/// sooner than it must be.
pub(crate) fn run(program: &Xdp, ifindex: u32, frame: &[u8], first_part: usize) -> (u32, Vec<u8>) {
    let mut output = vec![0; 16_384];
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let end = frame.len().min(first_part) as u32;
    let context = [0, end, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut output),
        ctx_in: Some(&context),
        ..TestRunOptions::default()
    };
    let result = program.test_run(options).expect("a test run");
    output.truncate(result.data_size_out as usize);
    (result.return_value, output)
}

fn positions(tables: &BTreeMap<TableId, OldTable>) -> BTreeMap<u32, OldTable> {
    let position = |(id, old): (&TableId, &OldTable)| (OldTable::position(*id), *old);
    tables.iter().map(position).collect()
}

fn wide<T: Copy>(map: &BTreeMap<u16, T>) -> BTreeMap<u32, T> {
    map.iter()
        .map(|(index, value)| (u32::from(*index), *value))
        .collect()
}
