//! The service table: what is served, by (address, port, protocol), and which addresses carry a
//! mark of their own. Written by the agent only.
//!
//! An entry lies at one of two positions that its key gives (cuckoo hashing: Pagh, Rodler 2001),
//! in an array, since an array look-up is inlined and a hash map's is not. A mark is an entry
//! with port and protocol 0; it is looked for when no service matches. Behind the positions that
//! keys give there are two for each service, by its number: that is where ranges of ports lead to; and
//! two more, where packets find it whose IPv4 addresses are mapped.

use zerocopy::{FromBytes, FromZeros, Immutable, KnownLayout};

use crate::net::UdpHeader;

use super::{
    MAX_SERVICES,
    address::Address,
    flow::FlowKey,
    hash::{FlowHash, Seed},
    slot::{TableId, TableSize},
};

/// Positions of each family's table that keys may give; a power of two.
const KEYED_POSITIONS: u32 = 1 << 15;

/// Positions of each family's table.
pub const SERVICE_POSITIONS: u32 = MAPPED_SOURCE + 1;

/// Where the mark lies, in IPv6's table, that stands for all source addresses of IPv4 of flows that
/// may have ends of both families.
pub const MAPPED_SOURCE: u32 = KEYED_POSITIONS + 4 * MAX_SERVICES;

/// Where the service of a number lies, for ranges of ports of a protocol. Behind the table, if there
/// is no such number.
#[inline(always)]
pub fn numbered_position(id: u32, protocol: u8) -> u32 {
    let udp = u32::from(protocol == UdpHeader::PROTOCOL);
    KEYED_POSITIONS.saturating_add(id.saturating_mul(2)) | udp
}

/// Where the service of a number lies, in IPv6's table, for packets of IPv4 that are mapped.
#[inline(always)]
pub fn mapped_position(id: u32, protocol: u8) -> u32 {
    numbered_position(id, protocol).saturating_add(2 * MAX_SERVICES)
}

/// Positions that one key may lie at.
pub const SERVICE_PROBES: usize = 2;

/// What a position is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey<A> {
    address: A,
    port: [u8; 2],
    protocol: u8,
}

impl<A: Address> ServiceKey<A> {
    /// The key of a service.
    #[inline(always)]
    pub fn service(address: A, port: [u8; 2], protocol: u8) -> Self {
        Self {
            address,
            port,
            protocol,
        }
    }

    /// The key of the service that answers echo requests to an address, of that protocol.
    #[inline(always)]
    pub fn echo(address: A, icmp: u8) -> Self {
        Self::service(address, [0; 2], icmp)
    }

    /// The key of what answers from a backend's port, for which no packet's protocol stands.
    #[inline(always)]
    pub fn reverse(address: A, port: [u8; 2], protocol: u8) -> Self {
        Self {
            address,
            port,
            protocol: protocol | 0x80,
        }
    }

    /// The key of an address's mark.
    #[inline(always)]
    pub fn mark(address: A) -> Self {
        Self {
            address,
            port: [0; 2],
            protocol: 0,
        }
    }

    /// The address that it is of.
    pub fn address(&self) -> A {
        self.address
    }

    /// The port, network order.
    pub fn port(&self) -> [u8; 2] {
        self.port
    }

    /// The protocol, with the upper bit set where it is what answers from a backend's port; 0 in marks.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Where an entry of this key may lie. `salt` is the agent's choice: it takes another if the
    /// entries do not fit. Not keyed against an attacker: only the agent writes here.
    #[inline(always)]
    pub fn positions(&self, salt: u64) -> [u32; SERVICE_PROBES] {
        let (low, high) = self.address.words();
        let port = u64::from(u16::from_le_bytes(self.port)) << 8 | u64::from(self.protocol);
        let mut h = (low ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ high.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
            ^ port.wrapping_mul(0x1656_67b1_9e37_79f9);
        h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mask = KEYED_POSITIONS - 1;
        [(h >> 16) as u32 & mask, (h >> 40) as u32 & mask]
    }
}

/// One position of the service table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Service<A> {
    address: A,
    port: [u8; 2],
    protocol: u8,
    kind: u8,
    id: [u8; 4],
    table: [u8; 4],
    traits: [u8; 2],
    /// The slot table's size, and in the upper half the scheduler.
    size_and_scheduler: u8,
    prefix: u8,
}

/// How a tracked service chooses a new flow's backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Scheduler {
    /// The flow's hash names a slot.
    #[default]
    Hash = 0,
    /// One slot after the other, on each CPU.
    RoundRobin = 1,
    /// The less loaded of two slots that the hash names.
    LeastConnections = 2,
}

/// Where a tracked service's backends are found, and how one of them is chosen; as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choosing(pub u64);

impl Choosing {
    /// The slot table.
    #[inline(always)]
    pub fn table(self) -> TableId {
        TableId {
            size: TableSize::from_class((self.0 >> u32::BITS) as u8 & 15),
            index: self.0 as u32,
        }
    }

    /// The scheduler.
    #[inline(always)]
    pub fn scheduler(self) -> Scheduler {
        match (self.0 >> u32::BITS) as u8 >> 4 {
            1 => Scheduler::RoundRobin,
            2 => Scheduler::LeastConnections,
            _ => Scheduler::Hash,
        }
    }
}

/// What a service's entry is made from, beside its key.
#[derive(Clone, Copy, Debug)]
pub struct ServiceSpec {
    /// Index of its counters.
    pub id: u32,
    /// The slot table of its backends.
    pub table: TableId,
    /// How its flows are told apart and kept.
    pub traits: ServiceTraits,
    /// How a tracked service chooses.
    pub scheduler: Scheduler,
    /// Bits of the client's address that alone choose the slot (0: the whole flow does), or that
    /// clients have in common who keep to one backend.
    pub prefix: u8,
}

/// How a service's flows are told apart and kept: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceTraits(u16);

impl ServiceTraits {
    /// None: flows are found by their hash, and end as TCP or UDP flows do.
    pub const NONE: Self = Self(0);
    /// Every flow is recorded.
    pub const TRACKED: Self = Self(1);
    /// Every packet is a flow of its own (DNS): it goes to its slot's current backend.
    pub const ONE_PACKET: Self = Self(2);
    /// Its flows are QUIC connections.
    pub const QUIC: Self = Self(4);
    /// A flow whose backend is gone is reset, not sent elsewhere.
    pub const RESETS: Self = Self(8);
    /// Its packets leave as they came, or within others: what is recorded is the backend alone.
    pub const STEERED: Self = Self(16);
    /// A client keeps to its backend for a while.
    pub const AFFINITY: Self = Self(32);
    /// Where it has no backend, its clients are told so.
    pub const REJECTS: Self = Self(64);
    /// Its flows, or those of a source address, may have ends of both families: the program for these
    /// decides.
    pub const CROSSES: Self = Self(128);
    /// It has an access list.
    pub const LISTED: Self = Self(256);
    /// It has limits on new flows.
    pub const LIMITED: Self = Self(512);
    /// There is an access list of all services.
    pub const ALL_LISTED: Self = Self(1024);
    /// Connection ids that its backends give out name them.
    pub const SERVER_IDS: Self = Self(2048);
    /// Flows of IPv4 may be recorded without mapped addresses, from before their pools' crossed.
    pub const UNMAPPED: Self = Self(4096);
    /// It is in the configuration no more: flows that are recorded go on, and no others begin. Of
    /// tracked services alone.
    pub const REMOVED: Self = Self(8192);
    /// That, and its flows are reset.
    pub const ENDED: Self = Self::REMOVED.and(Self::RESETS);

    /// Both sets.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it holds all of `other`.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A service's number and traits in one word: what says who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission(pub u64);

impl Admission {
    /// Number of the service.
    #[inline(always)]
    pub const fn service(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The service's traits.
    #[inline(always)]
    pub const fn traits(self) -> ServiceTraits {
        ServiceTraits(self.0 as u16)
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Nothing lies here.
    Empty,
    /// A service.
    Service,
    /// A mark: one of our own source addresses.
    Source,
    /// A mark: an address of this host, whose packets are its own; or that its probes are sent from.
    Own,
    /// A backend's port in `nat` mode: what comes from there answers for a service.
    Reverse,
    /// A mark: an address with services on more than single ports, its group's.
    Group,
}

/// Whom a backend's port answers for in `nat` mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Reverse<A> {
    /// The service's address.
    pub address: A,
    /// Index of the backend.
    pub backend: u32,
    /// The service's port, network order.
    pub port: [u8; 2],
    /// Zeros.
    pub padding: [u8; 2],
}

/// The ports that our flows use at every source address. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePorts {
    /// The lowest one.
    pub first: u16,
    /// How many there are, itself included.
    pub count: u16,
}

impl SourcePorts {
    /// Whether a port (network order) is one of them.
    #[inline(always)]
    pub fn contain(self, port: [u8; 2]) -> bool {
        u16::from_be_bytes(port).wrapping_sub(self.first) < self.count
    }
}

impl<A: Address> Service<A> {
    const KIND_SERVICE: u8 = 1;
    const KIND_SOURCE: u8 = 2;
    const KIND_OWN: u8 = 3;
    const KIND_REVERSE: u8 = 4;
    const KIND_GROUP: u8 = 5;

    /// A position where nothing lies.
    pub fn empty() -> Self {
        Self::new_zeroed()
    }

    /// A service.
    pub fn new(key: ServiceKey<A>, spec: ServiceSpec) -> Self {
        Self {
            kind: Self::KIND_SERVICE,
            id: spec.id.to_ne_bytes(),
            table: spec.table.index.to_ne_bytes(),
            traits: spec.traits.0.to_ne_bytes(),
            size_and_scheduler: spec.table.size as u8 | (spec.scheduler as u8) << 4,
            prefix: spec.prefix,
            ..Self::keyed(key)
        }
    }

    /// A service where ranges of ports lead to: it has no key of its own.
    pub fn numbered(spec: ServiceSpec) -> Self {
        Self::new(ServiceKey::mark(Self::empty().address), spec)
    }

    /// The mark of a source address.
    pub fn source(address: A) -> Self {
        Self {
            kind: Self::KIND_SOURCE,
            ..Self::keyed(ServiceKey::mark(address))
        }
    }

    /// The same, with these traits too.
    pub fn with(self, traits: ServiceTraits) -> Self {
        Self {
            traits: self.traits().and(traits).0.to_ne_bytes(),
            ..self
        }
    }

    /// The mark of an address of this host.
    pub fn own(address: A) -> Self {
        Self {
            kind: Self::KIND_OWN,
            ..Self::keyed(ServiceKey::mark(address))
        }
    }

    /// The mark of an address with services on more than single ports.
    pub fn group(address: A, group: u32) -> Self {
        Self {
            kind: Self::KIND_GROUP,
            table: group.to_ne_bytes(),
            ..Self::keyed(ServiceKey::mark(address))
        }
    }

    /// The mark of an address that probes are sent from: this host's own, but behind this next hop.
    pub fn probe(address: A, next_hop: u32) -> Self {
        Self {
            table: next_hop.to_ne_bytes(),
            ..Self::own(address)
        }
    }

    /// A backend's port that answers for the service of number `id`; `index`: where the
    /// [`Reverse`] is that says more, unless flows are recorded (`traits`).
    pub fn reverse(key: ServiceKey<A>, id: u32, index: u32, traits: ServiceTraits) -> Self {
        Self {
            kind: Self::KIND_REVERSE,
            id: id.to_ne_bytes(),
            table: index.to_ne_bytes(),
            traits: traits.0.to_ne_bytes(),
            ..Self::keyed(key)
        }
    }

    fn keyed(key: ServiceKey<A>) -> Self {
        Self {
            address: key.address,
            port: key.port,
            protocol: key.protocol,
            ..Self::empty()
        }
    }

    /// Whether this position holds what `key` names.
    #[inline(always)]
    pub fn is(&self, key: &ServiceKey<A>) -> bool {
        self.kind != 0
            && self.address == key.address
            && u16::from_ne_bytes(self.port) == u16::from_ne_bytes(key.port)
            && self.protocol == key.protocol
    }

    /// What it is looked up by, if anything lies here.
    #[inline(always)]
    pub fn key(&self) -> ServiceKey<A> {
        ServiceKey {
            address: self.address,
            port: self.port,
            protocol: self.protocol,
        }
    }

    /// What lies here.
    #[inline(always)]
    pub fn kind(&self) -> ServiceKind {
        match self.kind {
            Self::KIND_SERVICE => ServiceKind::Service,
            Self::KIND_SOURCE => ServiceKind::Source,
            Self::KIND_OWN => ServiceKind::Own,
            Self::KIND_REVERSE => ServiceKind::Reverse,
            Self::KIND_GROUP => ServiceKind::Group,
            _ => ServiceKind::Empty,
        }
    }

    /// Index of its counters.
    #[inline(always)]
    pub fn id(&self) -> u32 {
        u32::from_ne_bytes(self.id)
    }

    /// The slot table of its backends.
    #[inline(always)]
    pub fn table(&self) -> TableId {
        self.choosing().table()
    }

    /// How a backend is chosen for a new flow of a tracked service.
    #[inline(always)]
    pub fn choosing(&self) -> Choosing {
        let index = u32::from_ne_bytes(self.table);
        Choosing(u64::from(index) | u64::from(self.size_and_scheduler) << u32::BITS)
    }

    /// The group of an address's mark.
    #[inline(always)]
    pub fn group_index(&self) -> u32 {
        u32::from_ne_bytes(self.table)
    }

    /// Index of the next hop that an address of this host is behind, if probes are sent from there; else 0.
    #[inline(always)]
    pub fn next_hop(&self) -> u32 {
        u32::from_ne_bytes(self.table)
    }

    /// Index of a backend's port's [`Reverse`].
    #[inline(always)]
    pub fn reverse_index(&self) -> u32 {
        u32::from_ne_bytes(self.table)
    }

    /// How its flows are told apart and kept.
    #[inline(always)]
    pub fn traits(&self) -> ServiceTraits {
        ServiceTraits(u16::from_ne_bytes(self.traits))
    }

    /// What says who may use it.
    #[inline(always)]
    pub fn admission(&self) -> Admission {
        Admission(u64::from(self.id()) << 16 | u64::from(self.traits().0))
    }

    /// Whether every flow is recorded.
    #[inline(always)]
    pub fn tracked(&self) -> bool {
        self.traits().has(ServiceTraits::TRACKED)
    }

    /// Whether it is in the configuration no more: only its recorded flows are left.
    #[inline(always)]
    pub fn is_removed(&self) -> bool {
        self.traits().has(ServiceTraits::REMOVED)
    }

    /// Bits of the client's address that alone choose the slot (0: the whole flow does), or that
    /// clients have in common who keep to one backend.
    #[inline(always)]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether its flows may have ends of both families.
    #[inline(always)]
    pub fn crosses(&self) -> bool {
        self.traits().has(ServiceTraits::CROSSES)
    }

    /// Whether flows of IPv4 may be recorded without mapped addresses though they cross.
    #[inline(always)]
    pub fn has_unmapped(&self) -> bool {
        self.traits().has(ServiceTraits::UNMAPPED)
    }

    /// Whether its packets are not rewritten by what is recorded of their flows.
    #[inline(always)]
    pub fn is_steered(&self) -> bool {
        !self.tracked() || self.traits().has(ServiceTraits::STEERED)
    }

    /// How it chooses a new flow's backend, if it is tracked.
    #[inline(always)]
    pub fn scheduler(&self) -> Scheduler {
        self.choosing().scheduler()
    }

    /// The hash that chooses the slot of a flow.
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey<A>, seed: Seed) -> FlowHash {
        key.slot_hash(seed, self.prefix)
    }
}
