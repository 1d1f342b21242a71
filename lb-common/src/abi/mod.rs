//! Keys and values of the maps, as both sides of the kernel line see them.
//!
//! All are `repr(C)` with explicit padding, hold addresses and ports as they stand in packets
//! (network order), and contain no enum, bool, Option or usize. Their sizes are pinned below:
//! a change there must bump [`LAYOUT`].

mod address;
mod admit;
mod backend;
mod bucket;
mod counters;
mod event;
mod exception;
mod fields;
mod flow;
mod fragment;
mod handshake;
mod hash;
mod next_hop;
mod range;
mod service;
mod slot;
mod vlan;

pub use address::{Address, Ipv4Address, Ipv6Address};
pub use admit::{
    FlowBucket, FlowBucketKey, Limits, OWN_WORDS, Rate, Verdict, global_list, own_bit, service_list,
};
pub use backend::{Backend, BackendSpec, Fate, Forward, ForwardSpec, Load, Outer};
pub use bucket::{Bucket, BucketKey, Limited, ReplyLimits};
pub use counters::{Counters, Direction, Traffic};
pub use event::NeighbourWanted;
pub use exception::{
    BackendRef, Exception, ExceptionState, Occupancy, OldTable, RecordBudget, RecordLimits,
    Recorded, Unrecorded,
};
pub use fields::{Described, Field};
pub use flow::{Affinity, FlowEntry, FlowKey, FlowSpec, FlowState, FlowTable, Rewrite, Timeouts};
pub use fragment::{
    FRAGMENT_SECONDS, FRAGMENTED_PER_SOURCE, FragmentBudget, Fragmented, MAX_FRAGMENT_SOURCES,
    MAX_FRAGMENTED,
};
pub use handshake::{Handshake, Handshakes};
pub use hash::{FlowHash, Seed, SipHash13};
pub use next_hop::{Device, HopWord, MacAddress, NextHop};
pub use range::{
    PortData, PortKey, PrefixData, PrefixKey, listening_scope, own_scope, port_blocks, server_scope,
};
pub use service::{
    Admission, Choosing, MAPPED_SOURCE, Reverse, SERVICE_POSITIONS, SERVICE_PROBES, Scheduler,
    Service, ServiceKey, ServiceKind, ServiceSpec, ServiceTraits, SourcePorts, mapped_position,
    numbered_position,
};
pub use slot::{Miss, Phase, Slot, TABLE_SIZES, TableId, TableSize};
pub use vlan::{Tag, Tags, VlanKey};

/// Version of everything in this module; part of the pin path, so that two layouts never meet.
pub const LAYOUT: u32 = 9 + NEXT;

/// Whether this is the other layout that tests of a change of it are about: it has a word more in what is recorded of
/// flows.
const NEXT: u32 = cfg!(feature = "layout-next") as u32;

/// Devices that one agent can have, the ones it only sends through included. Index 0 is no device.
pub const MAX_DEVICES: u32 = 256;

/// VLANs that frames may come in on.
pub const MAX_VLANS: u32 = 1 << 12;

/// The highest interface index (as the kernel numbers them) that can be attached to, plus one.
pub const MAX_IFINDEX: u32 = 1 << 16;

/// Backends (one address each) that the tables hold if nobody says otherwise, and as many next hops, and ports of
/// backends of each family that answer in `nat` mode. Index 0 is none.
pub const DEFAULT_BACKENDS: u32 = 1 << 16;

/// Backends that there can be, index 0 included: as many as a slot word and a [`BackendRef`] tell apart, but for the
/// word's sentinel.
pub const MAX_BACKENDS: u32 = (1 << Slot::INDEX_BITS) - 1;

/// Services that have counters of their own.
pub const MAX_SERVICES: u32 = 1 << 14;

/// Slot tables of each size.
pub const MAX_TABLES: u32 = 1 << 10;

/// Addresses and prefixes that services listen on with other than single ports. Group 0 is none.
pub const MAX_GROUPS: u32 = 1 << 14;

/// Blocks of ports that the tables hold.
pub const MAX_PORT_BLOCKS: u32 = 1 << 16;

/// Ids of servers that connection ids of services may name.
pub const MAX_SERVERS: u32 = 1 << 17;

/// Prefixes and addresses that services listen on.
pub const MAX_LISTENING: u32 = 1 << 16;

/// Prefixes of all access lists together.
pub const MAX_ACCESS: u32 = 1 << 20;

/// Source prefixes that limits are kept for: the most recent ones.
pub const MAX_FLOW_BUCKETS: u32 = 1 << 16;

/// Source addresses, of both families.
pub const MAX_SOURCES: u32 = 1 << 13;

/// The lowest port that probes are sent from that take clients' way: the first dynamic one (RFC 6335, section 6).
pub const FIRST_PROBE_PORT: u16 = 49_152;

/// How many ports those have, the last of which is the highest there is.
pub const PROBE_PORTS: u32 = 1 << 14;

/// Programs that the packet program goes on to by a tail call.
pub const PROGRAM_COUNT: u32 = 8;

/// Number of the one for packets that are not plain.
pub const UNCOMMON: u32 = 0;
/// Number of the one for packets that are answered here, and for ICMP.
pub const ASIDE: u32 = 1;
/// Number of the one for flows whose ends are of both families.
pub const CROSSING: u32 = 2;
/// Number of the one for frames with VLAN tags.
pub const TAGGED: u32 = 3;
/// Number of the packet program itself, which goes on once the tags are off.
pub const PACKET: u32 = 4;
/// Number of the one that ICMP comes to first: for errors about flows whose ends are of both families.
pub const ERRORS: u32 = 5;

/// Number of the packet program of the tables before these, while those are asked.
pub const OLDER: u32 = 6;

/// Number of the one for probes of flows whose ends are of both families.
pub const PROBE_CROSSING: u32 = 7;

/// Prefixes that frames made here are counted for.
pub const MAX_BUCKETS: u32 = 1 << 14;

const _: () = {
    assert!(FIRST_PROBE_PORT as u32 + PROBE_PORTS == 1 << 16);
    const MORE: usize = 8 * NEXT as usize;
    assert!(size_of::<Slot>() == 8);
    assert!(size_of::<Service<Ipv4Address>>() == 20);
    assert!(size_of::<Service<Ipv6Address>>() == 32);
    assert!(size_of::<Limits>() == 24);
    assert!(size_of::<FlowBucketKey>() == 24);
    assert!(size_of::<PrefixKey>() == 24);
    assert!(size_of::<PrefixData>() == 20);
    assert!(size_of::<PortKey>() == 16);
    assert!(size_of::<PortData>() == 8);
    assert!(size_of::<Reverse<Ipv4Address>>() == 12);
    assert!(size_of::<Reverse<Ipv6Address>>() == 24);
    assert!(size_of::<Backend>() == 48);
    assert!(size_of::<NextHop>() == 16);
    assert!(size_of::<Device>() == 24);
    assert!(size_of::<VlanKey>() == 16);
    assert!(size_of::<FlowKey<Ipv4Address>>() == 16);
    assert!(size_of::<FlowKey<Ipv6Address>>() == 40);
    assert!(size_of::<FlowEntry<Ipv4Address>>() == 64 + MORE);
    assert!(size_of::<FlowEntry<Ipv6Address>>() == 88 + MORE);
    assert!(size_of::<Exception>() == 40 + MORE);
    assert!(size_of::<Fragmented>() == 24);
    assert!(size_of::<FragmentBudget>() == 8);
    assert!(size_of::<OldTable>() == 24);
    assert!(size_of::<RecordBudget>() == 12);
    assert!(size_of::<Timeouts>() == 24);
    assert!(size_of::<Affinity>() == 8);
    assert!(size_of::<Load>() == 8);
    assert!(size_of::<Counters>() == 40);
    assert!(size_of::<Handshakes>() == 24);
    assert!(size_of::<NeighbourWanted>() == 24);
    assert!(size_of::<BucketKey>() == 16);
    assert!(size_of::<Bucket>() == 8);
};
