//! [`Tables`] over the `maps`, and the global functions that the verifier walks once. What is of one family is in
//! `family`, what was found and is held in `held`; `constants` are what the agent says when it loads a program.

mod constants;
mod family;
mod held;
mod maps;

use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::lpm_trie::Key, programs::XdpContext};
use lb_common::{
    abi::{
        Address, Admission, Backend, BackendRef, Bucket, BucketKey, Choosing, Device,
        FIRST_PROBE_PORT, FlowBucket, FlowBucketKey, FlowHash, Handshake, HopWord, Ipv4Address,
        Ipv6Address, Limited, Limits, Load, NextHop, OldTable, PortData, PortKey, PrefixData,
        PrefixKey, RecordBudget, RecordLimits, Recorded, ReplyLimits, Seed, Slot, SourcePorts,
        TableId, TableSize, Tags, Timeouts, Traffic, VlanKey,
    },
    datapath::{self, Outcome, Prefixes, Question, Search, Tables, Tagged},
};

use crate::helpers;

pub(crate) use constants::DEBUG;
use constants::*;
use maps::*;

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

/// The maps, as packets from the wire see them.
pub(crate) type PacketTables<'a> = KernelTables<'a, false>;

/// The maps, as the agent's probes see them.
pub(crate) type ProbeTables<'a> = KernelTables<'a, true>;

/// The maps, as one packet sees them.
pub(crate) struct KernelTables<'a, const PROBES: bool> {
    ctx: &'a XdpContext,
}

impl<'a, const PROBES: bool> KernelTables<'a, PROBES> {
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

impl<const PROBES: bool> Prefixes for KernelTables<'_, PROBES> {
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

/// What looking at one slot more comes to, likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn look(choosing: u64, service: u32, hash: u64, search: u64) -> u64 {
    without_packet(|tables| {
        let (choosing, search) = (Choosing(choosing), Search(search));
        datapath::look(tables, choosing, service, FlowHash(hash), search).0
    })
}

/// Has the tables be asked for what has nothing to do with the packet at hand: the verifier refuses all else.
#[inline(always)]
fn without_packet<R>(ask: impl FnOnce(&PacketTables<'_>) -> R) -> R {
    ask(&PacketTables::new(&XdpContext::new(core::ptr::null_mut())))
}

impl<const PROBES: bool> Tables for KernelTables<'_, PROBES> {
    const PROBES: bool = PROBES;

    #[inline(always)]
    fn has_probes(&self) -> bool {
        HAS_PROBES.load() != 0
    }

    #[inline(always)]
    fn probed(&self, port: [u8; 2]) -> BackendRef {
        let index = u16::from_be_bytes(port).wrapping_sub(FIRST_PROBE_PORT);
        let word = PROBED.get(u32::from(index)).copied();
        BackendRef::from_word(word.unwrap_or_default())
    }

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
    fn look(&self, choosing: Choosing, service: u32, hash: FlowHash, search: Search) -> Search {
        Search(look(choosing.0, service, hash.0, search.0))
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
        // Probes begin with every program anew.
        !PROBES && ASKS_OLDER.load() != 0
    }

    #[inline(always)]
    fn has_crossing(&self) -> bool {
        HAS_CROSSING.load() != 0
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
    fn count_handshake(&self, index: u32, step: Handshake) {
        if let Some(handshakes) = HANDSHAKES.get_ptr_mut(index) {
            // SAFETY: this CPU's own element, and no other program runs on it meanwhile.
            unsafe { (*handshakes).add(step) }
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

/// What is known of this packet's tags.
#[inline(always)]
fn noted() -> Option<*mut Tagged> {
    TAGGED.get_ptr_mut(0)
}

/// MAC address and index of the device that the kernel numbers `ifindex`.
#[inline(always)]
fn by_ifindex(ifindex: u32) -> HopWord {
    INGRESS.get(ifindex).copied().unwrap_or(HopWord::NONE)
}
