//! The maps, [`Tables`] over them, and the global functions that the verifier walks once. Sizes marked
//! "at load" are set by the agent.
//!
//! Every map is a BTF map, so that other loaders (bpftool) can read the object too.

use core::ptr::NonNull;

use aya_ebpf::{
    Global,
    bindings::{BPF_ANY, BPF_F_MMAPABLE, BPF_NOEXIST},
    btf_maps::{
        Array, ArrayOfMaps, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray,
        RingBuf, lpm_trie::Key,
    },
    macros::btf_map,
    programs::XdpContext,
};
use lb_common::{
    abi::{
        Address, Admission, Affinity, Backend, BackendRef, Bucket, BucketKey, Counters, Device,
        Exception, FlowBucket, FlowBucketKey, FlowEntry, FlowKey, FlowState, FlowTable,
        FragmentBudget, Fragmented, HopWord, Ipv4Address, Ipv6Address, Limited, Limits, Load,
        MAX_ACCESS, MAX_BACKENDS, MAX_BUCKETS, MAX_DEVICES, MAX_FLOW_BUCKETS, MAX_FRAGMENT_SOURCES,
        MAX_FRAGMENTED, MAX_IFINDEX, MAX_LISTENING, MAX_NEXT_HOPS, MAX_PORT_BLOCKS, MAX_REVERSES,
        MAX_SERVERS, MAX_SERVICES, MAX_SOURCES, MAX_TABLES, MAX_VLANS, NeighbourWanted, NextHop,
        OWN_WORDS, Occupancy, OldTable, PROGRAM_COUNT, PortData, PortKey, PrefixData, PrefixKey,
        RecordBudget, RecordLimits, Recorded, ReplyLimits, Reverse, Rewrite, SERVICE_POSITIONS,
        Seed, Service, Slot, SourcePorts, TABLE_SIZES, TableId, TableSize, Tags, Timeouts, Traffic,
        Unrecorded, VlanKey,
    },
    datapath::{
        self, DropReason, FamilyTables, HeldException, HeldFlow, InsertError, Leaving, Outcome,
        Prefixes, Question, Route, Scratch, Tables, Tagged,
    },
    net::{Family, Ipv4, Ipv6},
};

use crate::helpers::{self, FibAnswer};

/// Key of the flow hash, first half.
#[unsafe(no_mangle)]
static SEED_0: Global<u64> = Global::new(0);
/// Key of the flow hash, second half.
#[unsafe(no_mangle)]
static SEED_1: Global<u64> = Global::new(0);
/// The service table's salt.
#[unsafe(no_mangle)]
static SERVICE_SALT: Global<u64> = Global::new(0);
/// Jiffies in a second.
#[unsafe(no_mangle)]
static HERTZ: Global<u32> = Global::new(250);
/// The lowest source port.
#[unsafe(no_mangle)]
static FIRST_PORT: Global<u16> = Global::new(1024);
/// How many source ports there are.
#[unsafe(no_mangle)]
static PORT_COUNT: Global<u16> = Global::new(1);
/// Exceptions that each family's map holds.
#[unsafe(no_mangle)]
static EXCEPTION_CAPACITY: Global<u32> = Global::new(1024);
/// Exceptions that one CPU may record in a second, of each kind.
#[unsafe(no_mangle)]
static EXCEPTION_RATE: Global<u32> = Global::new(1024);
/// ICMP errors that one CPU may make in a second.
#[unsafe(no_mangle)]
static ERROR_RATE: Global<u32> = Global::new(1000);
/// ICMP errors that may be made in a second towards one prefix.
#[unsafe(no_mangle)]
static ERROR_RATE_PER_SOURCE: Global<u32> = Global::new(10);
/// TCP resets that one CPU may make in a second.
#[unsafe(no_mangle)]
static RESET_RATE: Global<u32> = Global::new(10_000);
/// TCP resets that may be made in a second towards one prefix.
#[unsafe(no_mangle)]
static RESET_RATE_PER_SOURCE: Global<u32> = Global::new(100);
/// Whether any service is in `nat` mode.
#[unsafe(no_mangle)]
static HAS_NAT: Global<u8> = Global::new(1);
/// Whether any service in `nat` mode listens on more than single ports.
#[unsafe(no_mangle)]
static HAS_NAT_RANGES: Global<u8> = Global::new(1);
/// Whether any service listens on a whole prefix.
#[unsafe(no_mangle)]
static HAS_PREFIXES: Global<u8> = Global::new(1);
/// Whether the program of the tables before is asked for flows that these do not know.
#[unsafe(no_mangle)]
static ASKS_OLDER: Global<u8> = Global::new(0);
/// Whether any of our devices is a VLAN's.
#[unsafe(no_mangle)]
static HAS_VLANS: Global<u8> = Global::new(1);
/// Whether every outcome is logged.
#[unsafe(no_mangle)]
pub(crate) static DEBUG: Global<u8> = Global::new(0);

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
type SlotTable<const SLOTS: usize> = Array<Slot, SLOTS, MMAPABLE>;

/// The programs that the packet program goes on to.
#[btf_map]
static PROGRAMS: ProgramArray<{ PROGRAM_COUNT as usize }> = ProgramArray::new();
/// MAC address and index of our devices, by the kernel's number.
#[btf_map]
static INGRESS: Array<HopWord, { MAX_IFINDEX as usize }> = Array::new();
/// MAC address and index of our VLAN devices, by the device below and the tags.
#[btf_map]
static VLANS: HashMap<VlanKey, HopWord, { MAX_VLANS as usize }> = HashMap::new();
/// What is known of the tags of the packet at hand.
#[btf_map]
static TAGGED: PerCpuArray<Tagged, 1> = PerCpuArray::new();
/// Our devices as senders.
#[btf_map]
static DEVICES: Array<Device, { MAX_DEVICES as usize }> = Array::new();
/// Our devices as targets of a redirect.
#[btf_map]
static REDIRECT: DevMap<{ MAX_DEVICES as usize }> = DevMap::new();
#[btf_map]
static NEXT_HOPS: Array<NextHop, { MAX_NEXT_HOPS as usize }> = Array::new();
#[btf_map]
static BACKENDS: Array<Backend, { MAX_BACKENDS as usize }> = Array::new();
#[btf_map]
static SERVICES_V4: Array<Service<Ipv4Address>, { SERVICE_POSITIONS as usize }> = Array::new();
#[btf_map]
static SERVICES_V6: Array<Service<Ipv6Address>, { SERVICE_POSITIONS as usize }> = Array::new();
/// What services listen on with other than single ports: groups.
#[btf_map]
static LISTENING: LpmTrie<PrefixData, u32, { MAX_LISTENING as usize }> = LpmTrie::new();
/// Numbers of the services of groups, by blocks of ports.
#[btf_map]
static PORTS: LpmTrie<PortData, u32, { MAX_PORT_BLOCKS as usize }> = LpmTrie::new();
/// Backends that connection ids name.
#[btf_map]
static SERVERS: LpmTrie<PrefixData, u32, { MAX_SERVERS as usize }> = LpmTrie::new();
/// The filter of our own addresses.
#[btf_map]
static OWN: Array<u64, { OWN_WORDS as usize }> = Array::new();
/// All access lists.
#[btf_map]
static ACCESS: LpmTrie<PrefixData, u32, { MAX_ACCESS as usize }> = LpmTrie::new();
/// By service.
#[btf_map]
static LIMITS: Array<Limits, { MAX_SERVICES as usize }> = Array::new();
/// Buckets by service.
#[btf_map]
static FLOW_BUCKETS: Array<u64, { MAX_SERVICES as usize }> = Array::new();
#[btf_map]
static SOURCE_FLOW_BUCKETS: LruHashMap<FlowBucketKey, u64, { MAX_FLOW_BUCKETS as usize }> =
    LruHashMap::new();
#[btf_map]
static REVERSES_V4: Array<Reverse<Ipv4Address>, { MAX_REVERSES as usize }> = Array::new();
#[btf_map]
static REVERSES_V6: Array<Reverse<Ipv6Address>, { MAX_REVERSES as usize }> = Array::new();
#[btf_map]
static SOURCES_V4: Array<Ipv4Address, { MAX_SOURCES as usize }> = Array::new();
#[btf_map]
static SOURCES_V6: Array<Ipv6Address, { MAX_SOURCES as usize }> = Array::new();
#[btf_map]
static SLOTS_S: ArrayOfMaps<SlotTable<{ TABLE_SIZES[0] as usize }>, { MAX_TABLES as usize }> =
    ArrayOfMaps::new();
#[btf_map]
static SLOTS_M: ArrayOfMaps<SlotTable<{ TABLE_SIZES[1] as usize }>, { MAX_TABLES as usize }> =
    ArrayOfMaps::new();
#[btf_map]
static SLOTS_L: ArrayOfMaps<SlotTable<{ TABLE_SIZES[2] as usize }>, { MAX_TABLES as usize }> =
    ArrayOfMaps::new();
/// The tables that others replace, by the index of the new one; a size class after the other.
#[btf_map]
static OLD_TABLES: Array<OldTable, { OldTable::POSITIONS as usize }> = Array::new();
/// Size: at load.
#[btf_map]
static EXCEPTIONS_V4: HashMap<FlowKey<Ipv4Address>, Exception, 1024> = HashMap::new();
/// Size: at load.
#[btf_map]
static EXCEPTIONS_V6: HashMap<FlowKey<Ipv6Address>, Exception, 1024> = HashMap::new();
/// How full the exceptions are: the numbers of an [`Occupancy`] for IPv4, then for IPv6.
#[btf_map]
static OCCUPANCY: Array<u64, { Occupancy::POSITIONS as usize }> = Array::new();
#[btf_map]
static RECORD_BUDGET: PerCpuArray<RecordBudget, 1> = PerCpuArray::new();
#[btf_map]
static UNRECORDED: Array<Unrecorded, { MAX_SERVICES as usize }> = Array::new();
/// How much backends are meant to take.
#[btf_map]
static LOADS: Array<Load, { MAX_BACKENDS as usize }> = Array::new();
/// How many flows backends have; the agent counts anew from time to time.
#[btf_map]
static ACTIVE: Array<u64, { MAX_BACKENDS as usize }> = Array::new();
#[btf_map]
static TIMEOUTS: Array<Timeouts, { MAX_SERVICES as usize }> = Array::new();
/// How large TCP segments clients and backends of services may say they take, bytes; 0: any.
#[btf_map]
static LARGEST_SEGMENTS: Array<u32, { MAX_SERVICES as usize }> = Array::new();
/// How many flows of a service each CPU has given away by turns.
#[btf_map]
static TURNS: PerCpuArray<u32, { MAX_SERVICES as usize }> = PerCpuArray::new();
type Flows<A> = LruHashMap<FlowKey<A>, FlowEntry<A>, 1024>;
/// Committed flows. Size: at load.
#[btf_map]
static FLOWS_V4: Flows<Ipv4Address> = LruHashMap::new();
/// Committed flows. Size: at load.
#[btf_map]
static FLOWS_V6: Flows<Ipv6Address> = LruHashMap::new();
/// Young flows. Size: at load.
#[btf_map]
static YOUNG_V4: Flows<Ipv4Address> = LruHashMap::new();
/// Young flows. Size: at load.
#[btf_map]
static YOUNG_V6: Flows<Ipv6Address> = LruHashMap::new();
/// Whom clients keep to. Size: at load.
#[btf_map]
static AFFINITIES_V4: LruHashMap<FlowKey<Ipv4Address>, Affinity, 1024> = LruHashMap::new();
/// Whom clients keep to. Size: at load.
#[btf_map]
static AFFINITIES_V6: LruHashMap<FlowKey<Ipv6Address>, Affinity, 1024> = LruHashMap::new();
#[btf_map]
static FRAGMENTED_V4: LruHashMap<FlowKey<Ipv4Address>, Fragmented, { MAX_FRAGMENTED as usize }> =
    LruHashMap::new();
#[btf_map]
static FRAGMENTED_V6: LruHashMap<FlowKey<Ipv6Address>, Fragmented, { MAX_FRAGMENTED as usize }> =
    LruHashMap::new();
#[btf_map]
static FRAGMENT_SOURCES_V4: LruHashMap<
    Ipv4Address,
    FragmentBudget,
    { MAX_FRAGMENT_SOURCES as usize },
> = LruHashMap::new();
#[btf_map]
static FRAGMENT_SOURCES_V6: LruHashMap<
    Ipv6Address,
    FragmentBudget,
    { MAX_FRAGMENT_SOURCES as usize },
> = LruHashMap::new();
#[btf_map]
static SCRATCH_V4: PerCpuArray<Scratch<Ipv4Address>, 1> = PerCpuArray::new();
#[btf_map]
static SCRATCH_V6: PerCpuArray<Scratch<Ipv6Address>, 1> = PerCpuArray::new();
#[btf_map]
static SERVICE_COUNTERS: PerCpuArray<Counters, { MAX_SERVICES as usize }> = PerCpuArray::new();
#[btf_map]
static BACKEND_COUNTERS: PerCpuArray<Counters, { MAX_BACKENDS as usize }> = PerCpuArray::new();
/// One counter per device and outcome.
#[btf_map]
static OUTCOMES: PerCpuArray<u64, { (MAX_DEVICES * Outcome::CODES) as usize }> = PerCpuArray::new();
/// The question that a packet was left aside with, as a word.
#[btf_map]
static ASKED: PerCpuArray<u32, 1> = PerCpuArray::new();
/// Buckets of what all share, by [`Limited`].
#[btf_map]
static BUCKETS: PerCpuArray<Bucket, { Limited::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static SOURCE_BUCKETS: LruHashMap<BucketKey, Bucket, { MAX_BUCKETS as usize }> = LruHashMap::new();
/// What the agent is asked for.
#[btf_map]
static WANTED: RingBuf<(), 65536> = RingBuf::new();

/// Goes on to the program of this number. Comes back only if there is none.
#[inline(always)]
pub(crate) fn go_on(ctx: &XdpContext, program: u32) {
    // SAFETY: the context is the one that the kernel passed in, and nothing here waits to be dropped.
    unsafe { PROGRAMS.tail_call(ctx, program) }
}

/// Leaves a question to the next program that runs for this packet.
#[inline(always)]
pub(crate) fn ask(question: Question) {
    if let Some(asked) = ASKED.get_ptr_mut(0) {
        // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
        unsafe { *asked = question.word() }
    }
}

/// The question that this packet was left aside with.
#[inline(always)]
pub(crate) fn asked() -> Option<Question> {
    Question::of_word(ASKED.get(0).copied()?)
}

/// The maps, as one packet sees them.
pub(crate) struct KernelTables<'a> {
    ctx: &'a XdpContext,
}

impl<'a> KernelTables<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    /// The kernel's number of the device that the packet came from, which may be a VLAN's.
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        if !self.has_vlans() {
            return self.arrived_ifindex();
        }
        // SAFETY: as in `ingress`.
        noted().map_or(0, |tagged| unsafe {
            (&raw const (*tagged).ifindex).read_volatile()
        })
    }
}

/// What is known of prefixes, which is the same for all packets.
struct KernelPrefixes;

impl Prefixes for KernelPrefixes {
    #[inline(always)]
    fn listening(&self, key: &PrefixKey) -> Option<u32> {
        LISTENING.get(prefix_key(key)).copied()
    }

    #[inline(always)]
    fn own_word(&self, word: u32) -> u64 {
        OWN.get(word).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn access(&self, key: &PrefixKey) -> u32 {
        ACCESS.get(prefix_key(key)).copied().unwrap_or_default()
    }
}

impl Prefixes for KernelTables<'_> {
    #[inline(always)]
    fn listening(&self, key: &PrefixKey) -> Option<u32> {
        KernelPrefixes.listening(key)
    }

    #[inline(always)]
    fn own_word(&self, word: u32) -> u64 {
        KernelPrefixes.own_word(word)
    }

    #[inline(always)]
    fn access(&self, key: &PrefixKey) -> u32 {
        KernelPrefixes.access(key)
    }
}

/// Why a packet of IPv4 may not come in. A global function to the kernel, whose verifier walks it once
/// for any arguments: so they are numbers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refusal_v4(source: u64, destination: u64, admission: u64) -> u32 {
    let (source, destination) = (
        Ipv4Address::from_words(source, 0),
        Ipv4Address::from_words(destination, 0),
    );
    datapath::refusal(&KernelPrefixes, source, destination, Admission(admission))
}

/// Why a packet of IPv6 may not come in, likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn refusal_v6(
    source_low: u64,
    source_high: u64,
    destination_low: u64,
    destination_high: u64,
    admission: u64,
) -> u32 {
    let (source, destination) = (
        Ipv6Address::from_words(source_low, source_high),
        Ipv6Address::from_words(destination_low, destination_high),
    );
    datapath::refusal(&KernelPrefixes, source, destination, Admission(admission))
}

impl Tables for KernelTables<'_> {
    #[inline(always)]
    fn refusal<A: Address>(&self, source: A, destination: A, admission: Admission) -> u32 {
        let ((low, high), (to_low, to_high)) = (source.words(), destination.words());
        if A::VERSION == 4 {
            refusal_v4(low, to_low, admission.0)
        } else {
            refusal_v6(low, high, to_low, to_high, admission.0)
        }
    }

    #[inline(always)]
    fn seed(&self) -> Seed {
        Seed {
            k0: SEED_0.load(),
            k1: SEED_1.load(),
        }
    }

    #[inline(always)]
    fn salt(&self) -> u64 {
        SERVICE_SALT.load()
    }

    #[inline(always)]
    fn source_ports(&self) -> SourcePorts {
        SourcePorts {
            first: FIRST_PORT.load(),
            count: PORT_COUNT.load(),
        }
    }

    #[inline(always)]
    fn has_nat(&self) -> bool {
        HAS_NAT.load() != 0
    }

    #[inline(always)]
    fn has_nat_ranges(&self) -> bool {
        HAS_NAT_RANGES.load() != 0
    }

    #[inline(always)]
    fn has_prefixes(&self) -> bool {
        HAS_PREFIXES.load() != 0
    }

    #[inline(always)]
    fn at_port(&self, key: &PortKey) -> Option<u32> {
        PORTS.get(port_key(key)).copied()
    }

    #[inline(always)]
    fn limits(&self, service: u32) -> Option<Limits> {
        LIMITS.get(service).copied()
    }

    #[inline(always)]
    fn with_flow_bucket(
        &self,
        service: u32,
        work: impl FnOnce(FlowBucket) -> Option<FlowBucket>,
    ) -> bool {
        FLOW_BUCKETS
            .get_ptr_mut(service)
            .is_some_and(|bucket| change(bucket, work))
    }

    #[inline(always)]
    fn with_source_flow_bucket(
        &self,
        key: &FlowBucketKey,
        work: impl FnOnce(FlowBucket) -> Option<FlowBucket>,
    ) -> bool {
        if let Some(bucket) = SOURCE_FLOW_BUCKETS.get_ptr_mut(key) {
            return change(bucket, work);
        }
        let Some(FlowBucket(first)) = work(FlowBucket::default()) else {
            return false;
        };
        // Another CPU may have made it, or there is no room: then this flow was not counted.
        let _ = SOURCE_FLOW_BUCKETS.insert(key, first, u64::from(BPF_NOEXIST));
        true
    }

    #[inline(always)]
    fn server(&self, key: &PrefixKey) -> Option<BackendRef> {
        let server = SERVERS.get(prefix_key(key)).copied();
        server.map(BackendRef::from_word)
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        helpers::jiffies()
    }

    #[inline(always)]
    fn hertz(&self) -> u32 {
        HERTZ.load()
    }

    #[inline(always)]
    fn arrived(&self) -> HopWord {
        by_ifindex(self.arrived_ifindex())
    }

    #[inline(always)]
    fn arrived_ifindex(&self) -> u32 {
        helpers::ingress_ifindex(self.ctx)
    }

    #[inline(always)]
    fn ingress(&self) -> HopWord {
        if !self.has_vlans() {
            return self.arrived();
        }
        // SAFETY: a field of this CPU's own element, and no other program runs on it meanwhile. Volatile,
        // so that the verifier sees memory of which it knows nothing, and not a VLAN's device or another,
        // with each of which it would walk all that follows.
        noted().map_or(HopWord::NONE, |tagged| unsafe {
            (&raw const (*tagged).device).read_volatile()
        })
    }

    #[inline(always)]
    fn asks_older(&self) -> bool {
        ASKS_OLDER.load() != 0
    }

    #[inline(always)]
    fn has_vlans(&self) -> bool {
        HAS_VLANS.load() != 0
    }

    #[inline(always)]
    fn vlan(&self, tags: Tags) -> HopWord {
        let key = &VlanKey::new(self.arrived_ifindex(), tags);
        match VLANS.get_ptr(key) {
            // SAFETY: an aligned word of an element whose memory the kernel keeps while the program
            // runs; the agent alone writes to the map.
            Some(device) => unsafe { *device },
            None => HopWord::NONE,
        }
    }

    #[inline(always)]
    fn with_tagged<R>(&self, work: impl FnOnce(&mut Tagged) -> R) -> Option<R> {
        // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
        Some(work(unsafe { &mut *noted()? }))
    }

    #[inline(always)]
    fn device(&self, index: u16) -> Option<Device> {
        DEVICES.get(u32::from(index)).copied()
    }

    #[inline(always)]
    fn next_hop(&self, index: u32) -> Option<NextHop> {
        NEXT_HOPS.get(index).copied()
    }

    #[inline(always)]
    fn backend(&self, index: u32) -> Option<&Backend> {
        BACKENDS.get(index)
    }

    #[inline(always)]
    fn active(&self, index: u32) -> u64 {
        ACTIVE.get(index).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn add_active(&self, index: u32, flows: i64) {
        if let Some(active) = ACTIVE.get_ptr_mut(index) {
            // SAFETY: an aligned map value, which all CPUs add to only in this way.
            unsafe { helpers::atomic_add(active, flows as u64) }
        }
    }

    #[inline(always)]
    fn load(&self, index: u32) -> Option<Load> {
        LOADS.get(index).copied()
    }

    #[inline(always)]
    fn timeouts(&self, service: u32) -> Option<Timeouts> {
        TIMEOUTS.get(service).copied()
    }

    #[inline(always)]
    fn largest_segment(&self, service: u32) -> u16 {
        LARGEST_SEGMENTS.get(service).copied().unwrap_or_default() as u16
    }

    #[inline(always)]
    fn turn(&self, service: u32) -> u32 {
        let Some(turns) = TURNS.get_ptr_mut(service) else {
            return 0;
        };
        // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
        unsafe {
            let turn = *turns;
            *turns = turn.wrapping_add(1);
            turn
        }
    }

    #[inline(always)]
    fn slot(&self, table: TableId, slot: u32) -> Option<Slot> {
        match table.size {
            TableSize::Small => SLOTS_S.get_value(table.index, &slot),
            TableSize::Medium => SLOTS_M.get_value(table.index, &slot),
            TableSize::Large => SLOTS_L.get_value(table.index, &slot),
        }
        .copied()
    }

    #[inline(always)]
    fn old_table(&self, table: TableId) -> Option<OldTable> {
        OLD_TABLES.get(OldTable::position(table)).copied()
    }

    #[inline(always)]
    fn record_limits(&self) -> RecordLimits {
        RecordLimits {
            capacity: EXCEPTION_CAPACITY.load(),
            rate: EXCEPTION_RATE.load(),
        }
    }

    #[inline(always)]
    fn with_record_budget<R>(&self, work: impl FnOnce(&mut RecordBudget) -> R) -> Option<R> {
        let budget = RECORD_BUDGET.get_ptr_mut(0)?;
        // SAFETY: this CPU's own element, no other program runs on it meanwhile, and a packet asks
        // for it once.
        Some(work(unsafe { &mut *budget }))
    }

    #[inline(always)]
    fn note_unrecorded(&self, service: u32, kind: Recorded, now: u32) {
        if let Some(stamps) = UNRECORDED.get_ptr_mut(service) {
            // SAFETY: a single store of an aligned field, which other CPUs may make as well: any of
            // their times will do.
            unsafe {
                let stamp = match kind {
                    Recorded::Open => &raw mut (*stamps).open,
                    Recorded::Data => &raw mut (*stamps).data,
                };
                stamp.write_volatile(now);
            }
        }
    }

    #[inline(always)]
    fn reply_limits(&self) -> ReplyLimits {
        ReplyLimits {
            errors: ERROR_RATE.load(),
            errors_per_source: ERROR_RATE_PER_SOURCE.load(),
            resets: RESET_RATE.load(),
            resets_per_source: RESET_RATE_PER_SOURCE.load(),
        }
    }

    #[inline(always)]
    fn with_bucket<R>(&self, kind: Limited, work: impl FnOnce(&mut Bucket) -> R) -> Option<R> {
        let bucket = BUCKETS.get_ptr_mut(kind as u32)?;
        // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
        Some(work(unsafe { &mut *bucket }))
    }

    #[inline(always)]
    fn with_source_bucket<R>(
        &self,
        key: &BucketKey,
        work: impl FnOnce(&mut Bucket) -> R,
    ) -> Option<R> {
        if SOURCE_BUCKETS.get_ptr(key).is_none() {
            // That another CPU was faster is as good.
            let _ = SOURCE_BUCKETS.insert(key, Bucket::default(), u64::from(BPF_NOEXIST));
        }
        let bucket = SOURCE_BUCKETS.get_ptr_mut(key)?;
        // SAFETY: the kernel keeps a looked-up element's memory while the program runs. Other CPUs
        // may change it meanwhile, or reuse it for another source: plain integers, by which one of
        // them gets a few frames more or fewer.
        Some(work(unsafe { &mut *bucket }))
    }

    #[inline(always)]
    fn redirect(&self, device: u16) -> bool {
        REDIRECT.redirect(u32::from(device), 0).is_ok()
    }

    #[inline(always)]
    fn count_service(&self, id: u32, traffic: Traffic) {
        if let Some(counters) = SERVICE_COUNTERS.get_ptr_mut(id) {
            // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
            unsafe { (*counters).add(traffic) }
        }
    }

    #[inline(always)]
    fn count_backend(&self, index: u32, traffic: Traffic) {
        if let Some(counters) = BACKEND_COUNTERS.get_ptr_mut(index) {
            // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
            unsafe { (*counters).add(traffic) }
        }
    }

    #[inline(always)]
    fn count_outcome(&self, device: u16, outcome: Outcome) {
        if let Some(count) =
            OUTCOMES.get_ptr_mut(u32::from(device) * Outcome::CODES + outcome.code())
        {
            // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
            unsafe { *count += 1 }
        }
    }
}

/// Changes a bucket that other CPUs may change as well.
#[inline(always)]
fn change(bucket: *mut u64, work: impl FnOnce(FlowBucket) -> Option<FlowBucket>) -> bool {
    // SAFETY: an aligned map value, read and written as a whole. The kernel keeps its memory while
    // the program runs; should it be another source's by now, that one has this one's bucket.
    let before = FlowBucket(unsafe { bucket.read_volatile() });
    let Some(FlowBucket(after)) = work(before) else {
        return false;
    };
    // SAFETY: as above.
    unsafe { bucket.write_volatile(after) }
    true
}

/// A key as the map knows it.
#[inline(always)]
fn prefix_key(key: &PrefixKey) -> &Key<PrefixData> {
    const { assert!(size_of::<PrefixKey>() == size_of::<Key<PrefixData>>()) };
    // SAFETY: both are the length and then the data, without padding; this one asks for no
    // alignment.
    unsafe { &*(&raw const *key).cast() }
}

/// A key as the map knows it.
#[inline(always)]
fn port_key(key: &PortKey) -> &Key<PortData> {
    const { assert!(size_of::<PortKey>() >= size_of::<Key<PortData>>()) };
    // SAFETY: as in `prefix_key`; zeros follow.
    unsafe { &*(&raw const *key).cast() }
}

/// MAC address and index of the device that the kernel numbers `ifindex`.
/// What is known of this packet's tags.
#[inline(always)]
fn noted() -> Option<*mut Tagged> {
    TAGGED.get_ptr_mut(0)
}

#[inline(always)]
fn by_ifindex(ifindex: u32) -> HopWord {
    INGRESS.get(ifindex).copied().unwrap_or(HopWord::NONE)
}

macro_rules! family_tables {
    ($family:ty, $services:ident, $reverses:ident, $sources:ident, $flows:ident, $young:ident, $affinities:ident, $scratch:ident, $exceptions:ident, $occupancy:literal, $fragmented:ident, $fragment_sources:ident) => {
        impl FamilyTables<$family> for KernelTables<'_> {
            type Exception = KernelException;
            type Flow = KernelFlow<<$family as Family>::Address>;

            #[inline(always)]
            fn service(&self, position: u32) -> Option<&Service<<$family as Family>::Address>> {
                $services.get(position)
            }

            #[inline(always)]
            fn reverse(&self, index: u32) -> Option<&Reverse<<$family as Family>::Address>> {
                $reverses.get(index)
            }

            #[inline(always)]
            fn source(&self, index: u32) -> Option<<$family as Family>::Address> {
                $sources.get(index).copied()
            }

            #[inline(always)]
            fn with_scratch<R>(
                &self,
                work: impl FnOnce(&mut Scratch<<$family as Family>::Address>) -> R,
            ) -> Option<R> {
                let scratch = $scratch.get_ptr_mut(0)?;
                // SAFETY: this CPU's own element, no other program runs on it meanwhile, and a
                // packet asks for it once.
                Some(work(unsafe { &mut *scratch }))
            }

            #[inline(always)]
            fn flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
            ) -> Option<Self::Flow> {
                let held = match table {
                    FlowTable::Young => $young.get_ptr_mut(key)?,
                    FlowTable::Committed => $flows.get_ptr_mut(key)?,
                };
                NonNull::new(held).map(KernelFlow)
            }

            #[inline(always)]
            fn insert_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &FlowEntry<<$family as Family>::Address>,
            ) -> Result<(), InsertError> {
                let flags = u64::from(BPF_NOEXIST);
                match table {
                    FlowTable::Young => $young.insert(key, entry, flags),
                    FlowTable::Committed => $flows.insert(key, entry, flags),
                }
                .map_err(refused)
            }

            #[inline(always)]
            fn replace_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &FlowEntry<<$family as Family>::Address>,
            ) -> Result<(), InsertError> {
                let flags = u64::from(BPF_ANY);
                match table {
                    FlowTable::Young => $young.insert(key, entry, flags),
                    FlowTable::Committed => $flows.insert(key, entry, flags),
                }
                .map_err(refused)
            }

            #[inline(always)]
            fn remove_flow(&self, table: FlowTable, key: &FlowKey<<$family as Family>::Address>) {
                // That it is gone already is as good.
                let _ = match table {
                    FlowTable::Young => $young.remove(key),
                    FlowTable::Committed => $flows.remove(key),
                };
            }

            #[inline(always)]
            fn affinity(&self, key: &FlowKey<<$family as Family>::Address>) -> Option<Affinity> {
                let held = NonNull::new($affinities.get_ptr_mut(key)?)?;
                // SAFETY: one aligned word of an element whose memory the kernel keeps while the
                // program runs; both halves are of one moment.
                let word = unsafe { held.as_ptr().cast::<u64>().read_volatile() };
                Some(Affinity::from_word(word))
            }

            #[inline(always)]
            fn set_affinity(&self, key: &FlowKey<<$family as Family>::Address>, to: Affinity) {
                // A table that takes nothing has clients spread like others.
                let _ = $affinities.insert(key, &to, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn exception_occupancy(&self) -> Occupancy {
                let number = |index| OCCUPANCY.get(index).copied().unwrap_or_default();
                Occupancy {
                    inserted: number(Occupancy::inserted_at($occupancy)),
                    deleted: number(Occupancy::deleted_at($occupancy)),
                }
            }

            #[inline(always)]
            fn exception(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
            ) -> Option<KernelException> {
                NonNull::new($exceptions.get_ptr_mut(key)?).map(KernelException)
            }

            #[inline(always)]
            fn insert_exception(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &Exception,
            ) -> Result<(), InsertError> {
                $exceptions
                    .insert(key, entry, u64::from(BPF_NOEXIST))
                    .map_err(refused)?;
                count_inserted($occupancy);
                Ok(())
            }

            #[inline(always)]
            fn fragmented(&self, id: &FlowKey<<$family as Family>::Address>) -> Option<Fragmented> {
                read_fragmented($fragmented.get_ptr(id)?)
            }

            #[inline(always)]
            fn insert_fragmented(
                &self,
                id: &FlowKey<<$family as Family>::Address>,
                entry: &Fragmented,
            ) -> Result<(), InsertError> {
                $fragmented
                    .insert(id, entry, u64::from(BPF_NOEXIST))
                    .map_err(refused)
            }

            #[inline(always)]
            fn remove_fragmented(&self, id: &FlowKey<<$family as Family>::Address>) {
                // That it is gone already is as good.
                let _ = $fragmented.remove(id);
            }

            #[inline(always)]
            fn with_fragment_budget<R>(
                &self,
                source: &<$family as Family>::Address,
                work: impl FnOnce(&mut FragmentBudget) -> R,
            ) -> Option<R> {
                if $fragment_sources.get_ptr(source).is_none() {
                    let none = FragmentBudget::default();
                    // Another CPU may have been faster.
                    let _ = $fragment_sources.insert(source, &none, u64::from(BPF_NOEXIST));
                }
                let budget = $fragment_sources.get_ptr_mut(source)?;
                // SAFETY: an aligned value whose memory the kernel keeps while the program runs.
                // Other CPUs may write it, and it may be recycled for another source: then a few
                // are counted wrong, which is all that hangs on it.
                Some(work(unsafe { &mut *budget }))
            }

            #[inline(always)]
            fn route(
                &self,
                ends: &Rewrite<<$family as Family>::Address>,
                leaving: Leaving,
            ) -> Route<<$family as Family>::Address> {
                route::<$family>(self.ctx, self.ifindex(), ends, leaving)
            }

            #[inline(always)]
            fn want_neighbour(&self, device: u16, address: <$family as Family>::Address) {
                want_neighbour::<$family>(device, address);
            }
        }
    };
}

family_tables!(
    Ipv4,
    SERVICES_V4,
    REVERSES_V4,
    SOURCES_V4,
    FLOWS_V4,
    YOUNG_V4,
    AFFINITIES_V4,
    SCRATCH_V4,
    EXCEPTIONS_V4,
    0,
    FRAGMENTED_V4,
    FRAGMENT_SOURCES_V4
);
family_tables!(
    Ipv6,
    SERVICES_V6,
    REVERSES_V6,
    SOURCES_V6,
    FLOWS_V6,
    YOUNG_V6,
    AFFINITIES_V6,
    SCRATCH_V6,
    EXCEPTIONS_V6,
    1,
    FRAGMENTED_V6,
    FRAGMENT_SOURCES_V6
);

/// Counts an exception, on whichever CPU.
#[inline(always)]
fn count_inserted(family: u32) {
    if let Some(inserted) = OCCUPANCY.get_ptr_mut(Occupancy::inserted_at(family)) {
        // SAFETY: an aligned map value, which all CPUs add to only in this way.
        unsafe { helpers::atomic_add(inserted, 1) }
    }
}

/// Copies an entry out, its fingerprint last: an element that is recycled meanwhile for another
/// packet is found by it.
#[inline(always)]
fn read_fragmented(from: *const Fragmented) -> Option<Fragmented> {
    let mut entry = Fragmented::default();
    // SAFETY: aligned fields of an element whose memory the kernel keeps while the program runs.
    unsafe {
        entry.seen = (&raw const (*from).seen).read_volatile();
        entry.source_port = (&raw const (*from).source_port).read_volatile();
        entry.destination_port = (&raw const (*from).destination_port).read_volatile();
        entry.protocol = (&raw const (*from).protocol).read_volatile();
        entry.fingerprint = (&raw const (*from).fingerprint).read_volatile();
    }
    Some(entry)
}

/// Why a map did not take an entry.
#[inline(always)]
fn refused(error: i32) -> InsertError {
    const EEXIST: i32 = -17;
    match error {
        EEXIST => InsertError::Exists,
        _ => InsertError::Full,
    }
}

#[inline(always)]
fn route<F: Family>(
    ctx: &XdpContext,
    ifindex: u32,
    ends: &Rewrite<F::Address>,
    leaving: Leaving,
) -> Route<F::Address> {
    let Some(fib) = helpers::route::<F>(ctx, ifindex, ends, leaving) else {
        return Route::None(DropReason::Inconsistent);
    };
    let device = by_ifindex(fib.ifindex).device();
    match fib.answer() {
        FibAnswer::None(reason) => Route::None(reason),
        FibAnswer::TooBig => Route::TooBig { mtu: fib.mtu },
        _ if device == 0 => Route::None(DropReason::NoDevice),
        FibAnswer::Found => Route::Found {
            hop: HopWord::new(fib.mac, device),
            mtu: fib.mtu,
        },
        FibAnswer::NoNeighbour => Route::NoNeighbour {
            device,
            address: fib.address,
        },
    }
}

#[inline(always)]
fn want_neighbour<F: Family>(device: u16, address: F::Address) {
    let Some(ifindex) = DEVICES.get(u32::from(device)).map(|device| device.ifindex) else {
        return;
    };
    // A full ring has asked often enough.
    if let Some(mut event) = WANTED.reserve_untyped::<NeighbourWanted>(0) {
        event.write(NeighbourWanted {
            address: address.to_wide(),
            ifindex,
            family: F::VERSION,
            padding: [0; 3],
        });
        event.submit(0);
    }
}

/// A held flow entry.
pub(crate) struct KernelFlow<A>(NonNull<FlowEntry<A>>);

impl<A: Address> HeldFlow<A> for KernelFlow<A> {
    #[inline(always)]
    fn read(&self, into: &mut FlowEntry<A>) {
        let (from, to) = (
            self.0.as_ptr().cast::<u64>(),
            (&raw mut *into).cast::<u64>(),
        );
        // Downwards, so that the fingerprint, which is first, is read last: an element that is
        // recycled meanwhile is found by it.
        for word in (0..size_of::<FlowEntry<A>>() / 8).rev() {
            // SAFETY: both are a whole number of aligned words. The kernel keeps a looked-up
            // element's memory while the program runs; it may be reused for another flow, which
            // the caller finds by the fingerprint. Volatile, so that nothing is read again after
            // that check (and a copy as a whole would be a call of memmove, byte by byte).
            unsafe { to.add(word).write(from.add(word).read_volatile()) }
        }
    }

    #[inline(always)]
    fn set_seen(&self, now: u32, sequence: u32) {
        // SAFETY: as in `read`; single stores of aligned fields.
        unsafe {
            (&raw mut (*self.0.as_ptr()).last_seen).write_volatile(now);
            (&raw mut (*self.0.as_ptr()).last_seq).write_volatile(sequence);
        }
    }

    #[inline(always)]
    fn set_isn(&self, sequence: u32) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).isn).write_volatile(sequence) }
    }

    #[inline(always)]
    fn set_peer_isn(&self, sequence: u32) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).peer_isn).write_volatile(sequence) }
    }

    #[inline(always)]
    fn set_state(&self, state: FlowState) {
        // SAFETY: as in `read`; a single store of one byte.
        unsafe { (&raw mut (*self.0.as_ptr()).state).write_volatile(state as u8) }
    }

    #[inline(always)]
    fn set_route(&self, route: HopWord, mtu: u16, now: u32) {
        let entry = self.0.as_ptr();
        // SAFETY: as in `read`; single stores of aligned fields, the time last.
        unsafe {
            (&raw mut (*entry).route).write_volatile(route);
            (&raw mut (*entry).route_mtu).write_volatile(mtu);
            (&raw mut (*entry).route_seen).write_volatile(now);
        }
    }
}

/// A held exception.
pub(crate) struct KernelException(NonNull<Exception>);

impl HeldException for KernelException {
    #[inline(always)]
    fn read(&self, into: &mut Exception) {
        let from = self.0.as_ptr();
        // SAFETY: aligned fields of an element whose memory the kernel keeps while the program
        // runs; should it be reused for another flow, the fingerprint, read last, says so.
        unsafe {
            into.owners = (&raw const (*from).owners).read_volatile();
            into.mark = (&raw const (*from).mark).read_volatile();
            into.seen = (&raw const (*from).seen).read_volatile();
            into.fingerprint = (&raw const (*from).fingerprint).read_volatile();
        }
    }

    #[inline(always)]
    fn set_owners(&self, owners: u64) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).owners).write_volatile(owners) }
    }

    #[inline(always)]
    fn set_mark(&self, mark: u64) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).mark).write_volatile(mark) }
    }

    #[inline(always)]
    fn set_seen(&self, seen: u64) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).seen).write_volatile(seen) }
    }
}
