//! The maps. Sizes marked "at load" are set by the agent.
//!
//! Every map is a BTF map, so that other loaders (bpftool) can read the object too.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{
        Array, ArrayOfMaps, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray,
        RingBuf,
    },
    macros::btf_map,
};
use lb_common::{
    abi::{
        Affinity, Backend, Bucket, BucketKey, Counters, DEFAULT_BACKENDS, Device, Exception,
        FlowBucketKey, FlowEntry, FlowKey, FragmentBudget, Fragmented, Handshakes, HopWord,
        Ipv4Address, Ipv6Address, Limited, Limits, Load, MAX_ACCESS, MAX_BUCKETS, MAX_DEVICES,
        MAX_FLOW_BUCKETS, MAX_FRAGMENT_SOURCES, MAX_FRAGMENTED, MAX_IFINDEX, MAX_LISTENING,
        MAX_PORT_BLOCKS, MAX_SERVERS, MAX_SERVICES, MAX_SOURCES, MAX_TABLES, MAX_VLANS, NextHop,
        OWN_WORDS, Occupancy, OldTable, PROBE_PORTS, PROGRAM_COUNT, PortData, PrefixData,
        RecordBudget, Reverse, SERVICE_POSITIONS, Service, Slot, TABLE_SIZES, Timeouts, Unrecorded,
        VlanKey,
    },
    datapath::{Outcome, Scratch, Tagged},
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
pub(super) type SlotTable<const SLOTS: usize> = Array<Slot, SLOTS, MMAPABLE>;

/// The programs that the packet program goes on to.
#[btf_map]
pub(super) static PROGRAMS: ProgramArray<{ PROGRAM_COUNT as usize }> = ProgramArray::new();
/// MAC address and index of our devices, by the kernel's number.
#[btf_map]
pub(super) static INGRESS: Array<HopWord, { MAX_IFINDEX as usize }> = Array::new();
/// MAC address and index of our VLAN devices, by the device below and the tags.
#[btf_map]
pub(super) static VLANS: HashMap<VlanKey, HopWord, { MAX_VLANS as usize }> = HashMap::new();
/// What is known of the tags of the packet at hand.
#[btf_map]
pub(super) static TAGGED: PerCpuArray<Tagged, 1> = PerCpuArray::new();
/// Our devices as senders.
#[btf_map]
pub(super) static DEVICES: Array<Device, { MAX_DEVICES as usize }> = Array::new();
/// Our devices as targets of a redirect.
#[btf_map]
pub(super) static REDIRECT: DevMap<{ MAX_DEVICES as usize }> = DevMap::new();
#[btf_map]
pub(super) static NEXT_HOPS: Array<NextHop, { DEFAULT_BACKENDS as usize }> = Array::new();
#[btf_map]
pub(super) static BACKENDS: Array<Backend, { DEFAULT_BACKENDS as usize }> = Array::new();
#[btf_map]
pub(super) static SERVICES_V4: Array<Service<Ipv4Address>, { SERVICE_POSITIONS as usize }> =
    Array::new();
#[btf_map]
pub(super) static SERVICES_V6: Array<Service<Ipv6Address>, { SERVICE_POSITIONS as usize }> =
    Array::new();
/// What services listen on with other than single ports: groups.
#[btf_map]
pub(super) static LISTENING: LpmTrie<PrefixData, u32, { MAX_LISTENING as usize }> = LpmTrie::new();
/// Numbers of the services of groups, by blocks of ports.
#[btf_map]
pub(super) static PORTS: LpmTrie<PortData, u32, { MAX_PORT_BLOCKS as usize }> = LpmTrie::new();
/// Backends that connection ids name.
#[btf_map]
pub(super) static SERVERS: LpmTrie<PrefixData, u32, { MAX_SERVERS as usize }> = LpmTrie::new();
/// The filter of our own addresses.
#[btf_map]
pub(super) static OWN: Array<u64, { OWN_WORDS as usize }> = Array::new();
/// All access lists.
#[btf_map]
pub(super) static ACCESS: LpmTrie<PrefixData, u32, { MAX_ACCESS as usize }> = LpmTrie::new();
/// By service.
#[btf_map]
pub(super) static LIMITS: Array<Limits, { MAX_SERVICES as usize }> = Array::new();
/// Buckets by service.
#[btf_map]
pub(super) static FLOW_BUCKETS: Array<u64, { MAX_SERVICES as usize }> = Array::new();
#[btf_map]
pub(super) static SOURCE_FLOW_BUCKETS: LruHashMap<
    FlowBucketKey,
    u64,
    { MAX_FLOW_BUCKETS as usize },
> = LruHashMap::new();
#[btf_map]
pub(super) static REVERSES_V4: Array<Reverse<Ipv4Address>, { DEFAULT_BACKENDS as usize }> =
    Array::new();
#[btf_map]
pub(super) static REVERSES_V6: Array<Reverse<Ipv6Address>, { DEFAULT_BACKENDS as usize }> =
    Array::new();
#[btf_map]
pub(super) static SOURCES_V4: Array<Ipv4Address, { MAX_SOURCES as usize }> = Array::new();
#[btf_map]
pub(super) static SOURCES_V6: Array<Ipv6Address, { MAX_SOURCES as usize }> = Array::new();
#[btf_map]
pub(super) static SLOTS_S: ArrayOfMaps<
    SlotTable<{ TABLE_SIZES[0] as usize }>,
    { MAX_TABLES as usize },
> = ArrayOfMaps::new();
#[btf_map]
pub(super) static SLOTS_M: ArrayOfMaps<
    SlotTable<{ TABLE_SIZES[1] as usize }>,
    { MAX_TABLES as usize },
> = ArrayOfMaps::new();
#[btf_map]
pub(super) static SLOTS_L: ArrayOfMaps<
    SlotTable<{ TABLE_SIZES[2] as usize }>,
    { MAX_TABLES as usize },
> = ArrayOfMaps::new();
/// The tables that others replace, by the index of the new one; a size class after the other.
#[btf_map]
pub(super) static OLD_TABLES: Array<OldTable, { OldTable::POSITIONS as usize }> = Array::new();
/// Size: at load.
#[btf_map]
pub(super) static EXCEPTIONS_V4: HashMap<FlowKey<Ipv4Address>, Exception, 1024> = HashMap::new();
/// Size: at load.
#[btf_map]
pub(super) static EXCEPTIONS_V6: HashMap<FlowKey<Ipv6Address>, Exception, 1024> = HashMap::new();
/// How full the exceptions are: the numbers of an [`Occupancy`] for IPv4, then for IPv6.
#[btf_map]
pub(super) static OCCUPANCY: Array<u64, { Occupancy::POSITIONS as usize }> = Array::new();
#[btf_map]
pub(super) static RECORD_BUDGET: PerCpuArray<RecordBudget, 1> = PerCpuArray::new();
#[btf_map]
pub(super) static UNRECORDED: Array<Unrecorded, { MAX_SERVICES as usize }> = Array::new();
/// How much backends are meant to take.
#[btf_map]
pub(super) static LOADS: Array<Load, { DEFAULT_BACKENDS as usize }> = Array::new();
/// How many flows backends have; the agent counts anew from time to time.
#[btf_map]
pub(super) static ACTIVE: Array<u64, { DEFAULT_BACKENDS as usize }> = Array::new();
#[btf_map]
pub(super) static TIMEOUTS: Array<Timeouts, { MAX_SERVICES as usize }> = Array::new();
/// How large TCP segments clients and backends of services may say they take, bytes; 0: any.
#[btf_map]
pub(super) static LARGEST_SEGMENTS: Array<u32, { MAX_SERVICES as usize }> = Array::new();
/// How many flows of a service each CPU has given away by turns.
#[btf_map]
pub(super) static TURNS: PerCpuArray<u32, { MAX_SERVICES as usize }> = PerCpuArray::new();
pub(super) type Flows<A> = LruHashMap<FlowKey<A>, FlowEntry<A>, 1024>;
/// Committed flows. Size: at load.
#[btf_map]
pub(super) static FLOWS_V4: Flows<Ipv4Address> = LruHashMap::new();
/// Committed flows. Size: at load.
#[btf_map]
pub(super) static FLOWS_V6: Flows<Ipv6Address> = LruHashMap::new();
/// Young flows. Size: at load.
#[btf_map]
pub(super) static YOUNG_V4: Flows<Ipv4Address> = LruHashMap::new();
/// Young flows. Size: at load.
#[btf_map]
pub(super) static YOUNG_V6: Flows<Ipv6Address> = LruHashMap::new();
/// Whom clients keep to. Size: at load.
#[btf_map]
pub(super) static AFFINITIES_V4: LruHashMap<FlowKey<Ipv4Address>, Affinity, 1024> =
    LruHashMap::new();
/// Whom clients keep to. Size: at load.
#[btf_map]
pub(super) static AFFINITIES_V6: LruHashMap<FlowKey<Ipv6Address>, Affinity, 1024> =
    LruHashMap::new();
#[btf_map]
pub(super) static FRAGMENTED_V4: LruHashMap<
    FlowKey<Ipv4Address>,
    Fragmented,
    { MAX_FRAGMENTED as usize },
> = LruHashMap::new();
#[btf_map]
pub(super) static FRAGMENTED_V6: LruHashMap<
    FlowKey<Ipv6Address>,
    Fragmented,
    { MAX_FRAGMENTED as usize },
> = LruHashMap::new();
#[btf_map]
pub(super) static FRAGMENT_SOURCES_V4: LruHashMap<
    Ipv4Address,
    FragmentBudget,
    { MAX_FRAGMENT_SOURCES as usize },
> = LruHashMap::new();
#[btf_map]
pub(super) static FRAGMENT_SOURCES_V6: LruHashMap<
    Ipv6Address,
    FragmentBudget,
    { MAX_FRAGMENT_SOURCES as usize },
> = LruHashMap::new();
#[btf_map]
pub(super) static SCRATCH_V4: PerCpuArray<Scratch<Ipv4Address>, 1> = PerCpuArray::new();
#[btf_map]
pub(super) static SCRATCH_V6: PerCpuArray<Scratch<Ipv6Address>, 1> = PerCpuArray::new();
#[btf_map]
pub(super) static SERVICE_COUNTERS: PerCpuArray<Counters, { MAX_SERVICES as usize }> =
    PerCpuArray::new();
#[btf_map]
pub(super) static BACKEND_COUNTERS: PerCpuArray<Counters, { DEFAULT_BACKENDS as usize }> =
    PerCpuArray::new();
#[btf_map]
pub(super) static HANDSHAKES: PerCpuArray<Handshakes, { DEFAULT_BACKENDS as usize }> =
    PerCpuArray::new();
/// One counter per device and outcome.
#[btf_map]
pub(super) static OUTCOMES: PerCpuArray<u64, { (MAX_DEVICES * Outcome::CODES) as usize }> =
    PerCpuArray::new();
/// The question that a packet was left aside with, as a word.
#[btf_map]
pub(super) static ASKED: PerCpuArray<u32, 1> = PerCpuArray::new();
/// Buckets of what all share, by [`Limited`].
#[btf_map]
pub(super) static BUCKETS: PerCpuArray<Bucket, { Limited::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
pub(super) static SOURCE_BUCKETS: LruHashMap<BucketKey, Bucket, { MAX_BUCKETS as usize }> =
    LruHashMap::new();
/// The backends that probes are for, as words, by the ports that they come from.
#[btf_map]
pub(super) static PROBED: Array<u32, { PROBE_PORTS as usize }> = Array::new();
/// What the agent is asked for.
#[btf_map]
pub(super) static WANTED: RingBuf<(), 65536> = RingBuf::new();
