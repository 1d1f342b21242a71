//! The packet path's only way to state: maps in the kernel, plain collections in tests.

use zerocopy::{FromBytes, FromZeros as _, Immutable, KnownLayout};

use crate::{
    abi::{
        Address, Admission, Affinity, Backend, BackendRef, Bucket, BucketKey, Choosing, Device,
        Exception, FlowBucket, FlowBucketKey, FlowEntry, FlowHash, FlowKey, FlowState, FlowTable,
        FragmentBudget, Fragmented, Handshake, HopWord, Limited, Limits, Load, NextHop, Occupancy,
        OldTable, PortKey, PrefixKey, RecordBudget, RecordLimits, Recorded, ReplyLimits, Reverse,
        Rewrite, Seed, Service, Slot, SourcePorts, TableId, Tags, Timeouts, Traffic,
    },
    net::Family,
};

use super::{
    choose::Search,
    outcome::{DropReason, Outcome},
    state::Segment,
    unsettled::{Owner, Unsettled},
};

/// What is known of prefixes.
pub trait Prefixes {
    /// The value of the longest prefix of what services listen on.
    fn listening(&self, key: &PrefixKey) -> Option<u32>;

    /// A word of the filter of our own addresses.
    fn own_word(&self, word: u32) -> u64;

    /// The number of an access list's longest prefix; 0 if none is on it.
    fn access(&self, key: &PrefixKey) -> u32;
}

/// What does not depend on the family.
pub trait Tables: Prefixes {
    /// Whether the packets are probes: frames of the device that only the agent's own come from.
    const PROBES: bool;

    /// Whether backends' answers to probes may come in.
    fn has_probes(&self) -> bool;

    /// The backend that a probe from this port is for, as far as the port says so.
    fn probed(&self, port: [u8; 2]) -> BackendRef;

    /// What [`refusal`](super::refusal) says; asked for here, the kernel's verifier walks it once.
    fn refusal<A: Address>(&self, source: A, destination: A, admission: Admission) -> u32;

    /// What [`look`](super::look) says; asked for here, the kernel's verifier walks it once.
    fn look(&self, choosing: Choosing, service: u32, hash: FlowHash, search: Search) -> Search;

    /// Key of the flow hash.
    fn seed(&self) -> Seed;

    /// The service table's salt.
    fn salt(&self) -> u64;

    /// The ports that our flows use at source addresses.
    fn source_ports(&self) -> SourcePorts;

    /// Whether any service is in `nat` mode.
    fn has_nat(&self) -> bool;

    /// Whether any service in `nat` mode listens on more than single ports.
    fn has_nat_ranges(&self) -> bool;

    /// Whether any service listens on a whole prefix.
    fn has_prefixes(&self) -> bool;

    /// The number of the service at a group's port.
    fn at_port(&self, key: &PortKey) -> Option<u32>;

    /// The backend that connection ids name which begin like this.
    fn server(&self, key: &PrefixKey) -> Option<BackendRef>;
    /// A service's limits.
    fn limits(&self, service: u32) -> Option<Limits>;

    /// Changes the bucket of all of a service's flows; `None` leaves it. What another CPU does
    /// meanwhile may be lost.
    fn with_flow_bucket(
        &self,
        service: u32,
        work: impl FnOnce(FlowBucket) -> Option<FlowBucket>,
    ) -> bool;

    /// Changes a source's bucket, which is made if there is none, likewise.
    fn with_source_flow_bucket(
        &self,
        key: &FlowBucketKey,
        work: impl FnOnce(FlowBucket) -> Option<FlowBucket>,
    ) -> bool;

    /// The time, jiffies.
    fn now(&self) -> u32;

    /// Jiffies in a second.
    fn hertz(&self) -> u32;

    /// MAC address and index of the device that the frame came from; device 0 if it is not one of the
    /// agent's.
    fn arrived(&self) -> HopWord;

    /// The kernel's number of the device that the frame came from.
    fn arrived_ifindex(&self) -> u32;

    /// Whether flows that are not recorded may be so in tables before these, whose program is to be asked.
    fn asks_older(&self) -> bool;

    /// Whether flows of any service may have ends of both families.
    fn has_crossing(&self) -> bool;

    /// Whether any of the agent's devices is a VLAN's.
    fn has_vlans(&self) -> bool;

    /// MAC address and index of the VLAN device whose frames come through the device that this one came
    /// from, with these tags; device 0 if there is none.
    fn vlan(&self, tags: Tags) -> HopWord;

    /// Lends what is known of this packet's tags: empty when its first program starts.
    fn with_tagged<R>(&self, work: impl FnOnce(&mut Tagged) -> R) -> Option<R>;

    /// MAC address and index of the device that the packet came from, which may be a VLAN's; device 0 if
    /// it is not one of the agent's. Known once the packet
    /// program has begun.
    #[inline(always)]
    fn ingress(&self) -> HopWord {
        if !self.has_vlans() {
            return self.arrived();
        }
        let device = self.with_tagged(|tagged| tagged.device);
        device.unwrap_or(HopWord::NONE)
    }

    /// One of our devices, as a sender.
    fn device(&self, index: u16) -> Option<Device>;

    /// A next hop.
    fn next_hop(&self, index: u32) -> Option<NextHop>;

    /// A backend.
    fn backend(&self, index: u32) -> Option<&Backend>;

    /// How many flows a backend has, about.
    fn active(&self, index: u32) -> u64;

    /// Adds to the number of a backend's flows.
    fn add_active(&self, index: u32, flows: i64);

    /// How much a backend is meant to take.
    fn load(&self, index: u32) -> Option<Load>;

    /// How long flows of a service may be silent.
    fn timeouts(&self, service: u32) -> Option<Timeouts>;

    /// The largest TCP segment that clients and backends of a service may say they take, bytes; 0: any.
    fn largest_segment(&self, service: u32) -> u16;

    /// How many flows of a service this CPU has given away by turns; counts this one.
    fn turn(&self, service: u32) -> u32;

    /// A slot of a pool's table.
    fn slot(&self, table: TableId, slot: u32) -> Option<Slot>;

    /// The table that this one replaces, if slots of it may still refer to that.
    fn old_table(&self, table: TableId) -> Option<OldTable>;

    /// How many exceptions may be recorded.
    fn record_limits(&self) -> RecordLimits;

    /// Lends what this CPU has recorded of late.
    fn with_record_budget<R>(&self, work: impl FnOnce(&mut RecordBudget) -> R) -> Option<R>;

    /// Notes that a packet of a service was not recorded at the time `now`.
    fn note_unrecorded(&self, service: u32, kind: Recorded, now: u32);

    /// How many frames may be made here.
    fn reply_limits(&self) -> ReplyLimits;

    /// Lends this CPU's bucket of a kind.
    fn with_bucket<R>(&self, kind: Limited, work: impl FnOnce(&mut Bucket) -> R) -> Option<R>;

    /// Lends the bucket of a source, made now if there is none.
    fn with_source_bucket<R>(
        &self,
        key: &BucketKey,
        work: impl FnOnce(&mut Bucket) -> R,
    ) -> Option<R>;

    /// Has the frame sent through another device, once the program ends; `false` if it can't be.
    fn redirect(&self, device: u16) -> bool;

    /// Counts a packet for a service.
    fn count_service(&self, id: u32, traffic: Traffic);

    /// Counts a packet for a backend.
    fn count_backend(&self, index: u32, traffic: Traffic);

    /// Counts how a backend's connection begins.
    fn count_handshake(&self, index: u32, step: Handshake);

    /// Counts what became of a packet that came from `device`.
    fn count_outcome(&self, device: u16, outcome: Outcome);
}

/// What there is once per family.
pub trait FamilyTables<F: Family>: Tables {
    /// A held flow entry.
    type Flow: HeldFlow<F::Address>;

    /// A held exception.
    type Exception: HeldException;

    /// A position of the service table.
    fn service(&self, position: u32) -> Option<&Service<F::Address>>;

    /// Whom a backend's port answers for.
    fn reverse(&self, index: u32) -> Option<&Reverse<F::Address>>;

    /// One of our source addresses.
    fn source(&self, index: u32) -> Option<F::Address>;

    /// Lends room for keys and entries, which are too large for the kernel's stack; what it
    /// holds before is undefined. `None`: there is none.
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch<F::Address>) -> R) -> Option<R>;

    /// The entry of a flow.
    fn flow(&self, table: FlowTable, key: &FlowKey<F::Address>) -> Option<Self::Flow>;

    /// Whether a flow that is recorded without mapped addresses has the packets of a key with such.
    #[inline(always)]
    fn is_held_unmapped(&self, _: &FlowKey<F::Address>) -> bool {
        false
    }

    /// Records a flow unless its key is there.
    fn insert_flow(
        &self,
        table: FlowTable,
        key: &FlowKey<F::Address>,
        entry: &FlowEntry<F::Address>,
    ) -> Result<(), InsertError>;

    /// Records a flow in place of whatever its key has.
    fn replace_flow(
        &self,
        table: FlowTable,
        key: &FlowKey<F::Address>,
        entry: &FlowEntry<F::Address>,
    ) -> Result<(), InsertError>;

    /// Forgets a flow.
    fn remove_flow(&self, table: FlowTable, key: &FlowKey<F::Address>);

    /// Whom the client of [`FlowKey::affinity`] keeps to.
    fn affinity(&self, key: &FlowKey<F::Address>) -> Option<Affinity>;

    /// Has that client keep to a backend.
    fn set_affinity(&self, key: &FlowKey<F::Address>, to: Affinity);

    /// How full the exceptions are.
    fn exception_occupancy(&self) -> Occupancy;

    /// What [`owner`](super::owner) says; asked for here, the kernel's verifier walks it once.
    fn owner(&self, key: &FlowKey<F::Address>, packet: Unsettled) -> Owner;

    /// The exception of a flow.
    fn exception(&self, key: &FlowKey<F::Address>) -> Option<Self::Exception>;

    /// Records an exception unless its key has one, and counts it as inserted.
    fn insert_exception(
        &self,
        key: &FlowKey<F::Address>,
        entry: &Exception,
    ) -> Result<(), InsertError>;

    /// What is remembered of a packet in fragments.
    fn fragmented(&self, id: &FlowKey<F::Address>) -> Option<Fragmented>;

    /// Remembers a packet in fragments unless its key is there.
    fn insert_fragmented(
        &self,
        id: &FlowKey<F::Address>,
        entry: &Fragmented,
    ) -> Result<(), InsertError>;

    /// Forgets a packet in fragments.
    fn remove_fragmented(&self, id: &FlowKey<F::Address>);

    /// Lends what a source has had remembered of late.
    fn with_fragment_budget<R>(
        &self,
        source: &F::Address,
        work: impl FnOnce(&mut FragmentBudget) -> R,
    ) -> Option<R>;

    /// The kernel's route for a packet that leaves with these ends.
    fn route(&self, ends: &Rewrite<F::Address>, leaving: Leaving) -> Route<F::Address>;

    /// Asks the agent to resolve a neighbour.
    fn want_neighbour(&self, device: u16, address: F::Address);
}

/// A flow entry that may change, or be recycled for another flow, while it is held. So it is
/// copied out to be read, and only single fields are written back.
pub trait HeldFlow<A: Address> {
    /// Copies the entry out.
    fn read(&self, into: &mut FlowEntry<A>);

    /// Sets the time of the last packet, jiffies, and its sequence number.
    fn set_seen(&self, now: u32, sequence: u32);

    /// Sets the sequence number of the packet that opened the flow.
    fn set_isn(&self, sequence: u32);

    /// Sets the sequence number of the first answer.
    fn set_peer_isn(&self, sequence: u32);

    /// Sets the state.
    fn set_state(&self, state: FlowState);

    /// Sets the cached way back, and the time at which it was looked up.
    fn set_route(&self, route: HopWord, mtu: u16, now: u32);
}

/// An exception that may change, or be recycled for another flow, while it is held.
pub trait HeldException {
    /// Copies the exception out, its fingerprint last.
    fn read(&self, into: &mut Exception);

    /// Sets the owners.
    fn set_owners(&self, owners: u64);

    /// Sets the mark.
    fn set_mark(&self, mark: u64);

    /// Sets what was seen last.
    fn set_seen(&self, seen: u64);
}

/// Why a flow was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// Its key is there already.
    Exists,
    /// The table refused it.
    Full,
}

/// Room for what a tracked packet needs beside the stack.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Scratch<A> {
    /// Key of the packet.
    pub(super) key: FlowKey<A>,
    /// Key of the answers to it.
    pub(super) answers: FlowKey<A>,
    /// Key of another flow, which holds a source port.
    pub(super) other: FlowKey<A>,
    /// The packet's entry.
    pub(super) entry: FlowEntry<A>,
    /// Another entry.
    pub(super) found: FlowEntry<A>,
    /// What its TCP header says.
    pub(super) segment: Segment,
    /// The way that it came.
    pub(super) back: HopWord,
    /// Length of its IP packet.
    pub(super) length: u32,
    /// 1 if its entry is a young one.
    pub(super) young: u32,
    /// 1 if it opens its flow.
    pub(super) opens: u32,
    /// Whose its flow is to be.
    pub(super) chosen: u32,
}

impl<A: Address> Scratch<A> {
    /// Empty room.
    pub fn new() -> Self {
        Self::new_zeroed()
    }
}

impl<A: Address> Default for Scratch<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// What is known of a packet's tags from one program to the next.
#[derive(Clone, Copy, Debug, Default, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Tagged {
    /// The device that it came from: the VLAN's, once its tags are off; device 0: not noted yet.
    pub device: HopWord,
    /// The kernel's number for it.
    pub ifindex: u32,
    pub(super) padding: u32,
    /// Those tags.
    pub(super) came: Tags,
    /// The tags that it leaves with if it is forwarded or answered.
    pub(super) leaves: Tags,
}

/// What a route look-up needs to know of a packet beside its ends.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    /// Protocol number.
    pub protocol: u8,
    /// ToS or traffic class.
    pub traffic_class: u8,
    /// Length, IP header included, bytes.
    pub length: u16,
}

/// The kernel's answer to a route look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<A> {
    /// There is a way, up to this IP packet size.
    Found {
        /// Where to.
        hop: HopWord,
        /// Bytes.
        mtu: u16,
    },
    /// There is a way, but its neighbour is not resolved.
    NoNeighbour {
        /// One of our devices.
        device: u16,
        /// The next hop's address.
        address: A,
    },
    /// There is a way, but the packet is too large for it.
    TooBig {
        /// What is not, bytes.
        mtu: u16,
    },
    /// There is none.
    None(DropReason),
}
