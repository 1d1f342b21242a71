//! The flow table of tracked services: an entry is a ready-made rewrite.
//!
//! A NAT'd flow has two entries of one shape, one a direction, each keyed by its packets as they
//! arrive; so both directions (and later all modes) share one path.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{
    address::Address,
    counters::Direction,
    exception::BackendRef,
    fields::described,
    hash::{FlowHash, Seed, SipHash13},
    next_hop::HopWord,
};
use crate::net::Delta;

/// What identifies a flow in one direction: its packets as they arrive. Aligned, since the
/// verifier takes no misaligned access to the stack, where keys lie during a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct FlowKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port, network order.
    pub source_port: [u8; 2],
    /// Destination port, network order.
    pub destination_port: [u8; 2],
    /// Protocol number.
    pub protocol: u8,
    padding: u8,
    // Apart, else the compiler clears three bytes by a store that is misaligned.
    padding_too: u16,
}

described!(FlowKey<A> {
    source,
    destination,
    source_port,
    destination_port,
    protocol,
    padding,
    padding_too,
});

impl<A: Address> FlowKey<A> {
    /// A key.
    #[inline(always)]
    pub fn new(
        source: A,
        destination: A,
        source_port: [u8; 2],
        destination_port: [u8; 2],
        protocol: u8,
    ) -> Self {
        Self {
            source,
            destination,
            source_port,
            destination_port,
            protocol,
            padding: 0,
            padding_too: 0,
        }
    }

    /// The key between what `end` makes of its addresses.
    #[inline(always)]
    pub fn between<B: Address>(&self, end: impl Fn(A) -> B) -> FlowKey<B> {
        FlowKey::new(
            end(self.source),
            end(self.destination),
            self.source_port,
            self.destination_port,
            self.protocol,
        )
    }

    /// The flow hash: SipHash-1-3 of the key's bytes, without the padding.
    #[inline(always)]
    pub fn hash(&self, seed: Seed) -> FlowHash {
        let length = 2 * size_of::<A>() + 5;
        A::absorb(SipHash13::new(seed), self.source, self.destination).finish(self.tail(), length)
    }

    /// The hash that chooses a slot: of the whole flow, or, where `prefix` is not 0, of that many
    /// bits of the source address alone.
    #[inline(always)]
    pub fn slot_hash(&self, seed: Seed, prefix: u8) -> FlowHash {
        if prefix == 0 {
            return self.hash(seed);
        }
        let (high, low) = self.source.prefix(prefix).words();
        SipHash13::new(seed).word(high).word(low).finish(0, 16)
    }

    /// A mark of the key in its entry. The kernel may recycle an LRU element under a held
    /// pointer (kernel commit 275c30bcee66); an entry whose mark differs is another flow's. Cheap,
    /// since it guards against that race alone, and without a seed, since entries outlive a change
    /// of that.
    #[inline(always)]
    pub fn fingerprint(&self) -> u64 {
        let ((a, b), (c, d)) = (self.source.words(), self.destination.words());
        let h = a.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ c.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
            ^ (b ^ d.rotate_left(32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
            ^ self.tail().wrapping_mul(0x1656_67b1_9e37_79f9);
        h ^ (h >> 29)
    }

    /// The ends of a packet of this key.
    #[inline(always)]
    pub fn ends(&self) -> Rewrite<A> {
        Rewrite {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
        }
    }

    /// The ends of a packet that answers one of this key.
    #[inline(always)]
    pub fn reply(&self) -> Rewrite<A> {
        Rewrite {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }

    /// The last eight bytes as a word: ports, protocol, padding.
    #[inline(always)]
    fn tail(&self) -> u64 {
        u64::from(u16::from_le_bytes(self.source_port))
            | u64::from(u16::from_le_bytes(self.destination_port)) << 16
            | u64::from(self.protocol) << 32
    }
}

/// The ends that a packet leaves with. Aligned, as [`FlowKey`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Rewrite<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port, network order.
    pub source_port: [u8; 2],
    /// Destination port, network order.
    pub destination_port: [u8; 2],
}

impl<A: Address> Rewrite<A> {
    /// The key of the packets that answer the rewritten ones.
    #[inline(always)]
    pub fn answer(&self, protocol: u8) -> FlowKey<A> {
        FlowKey::new(
            self.destination,
            self.source,
            self.destination_port,
            self.source_port,
            protocol,
        )
    }
}

/// What is known of a flow, for sweeping and for reusing its source port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FlowState {
    /// The client has spoken.
    Opening = 0,
    /// The backend has answered.
    Answered = 1,
    /// The client has shown that it got the answer.
    Established = 2,
    /// TCP: a FIN was seen in either direction.
    Closing = 3,
    /// TCP: a RST was seen in either direction.
    Reset = 4,
}

impl FlowState {
    /// Whether the flow goes on, as far as seen.
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        (self as u8) < Self::Closing as u8
    }
}

/// Which of a family's two flow tables: so that a flood of flows that only begin evicts none that
/// have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowTable {
    /// Of flows whose client has not shown yet that it is there.
    Young,
    /// Of the others.
    Committed,
}

impl FlowTable {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Young, Self::Committed];
}

/// What every link takes, bytes: the limit of a way back that was not looked up yet (RFC 8200,
/// section 5).
const MIN_MTU: u16 = 1280;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlowEntry<A> {
    /// Zeros.
    #[cfg(feature = "layout-next")]
    pub padding_first: u64,
    /// [`FlowKey::fingerprint`] of the entry's key.
    pub fingerprint: u64,
    /// The way back to the client as last looked up. Unused in packets to a backend.
    pub route: HopWord,
    source: A,
    destination: A,
    source_port: [u8; 2],
    destination_port: [u8; 2],
    /// What the rewrite adds to the IPv4 header's checksum.
    pub address_delta: u16,
    /// What the rewrite adds to the TCP or UDP checksum.
    pub transport_delta: u16,
    /// Whom to count for: the service.
    pub service: u32,
    backend: u32,
    /// Time of the last packet, jiffies.
    pub last_seen: u32,
    /// TCP: sequence number of the last packet.
    pub last_seq: u32,
    /// TCP: the sequence number that the flow began with, as far as was seen.
    pub isn: u32,
    /// TCP, in packets to a backend: the number that the answers began with, likewise.
    pub peer_isn: u32,
    /// Time at which `route` was looked up, jiffies.
    pub route_seen: u32,
    /// Largest IP packet that `route` takes, bytes.
    pub route_mtu: u16,
    /// [`FlowState`] as a number; read through [`FlowEntry::state`].
    pub state: u8,
    direction: u8,
}

described!(FlowEntry<A> {
    #[cfg(feature = "layout-next")]
    padding_first,
    fingerprint,
    route,
    source,
    destination,
    source_port,
    destination_port,
    address_delta,
    transport_delta,
    service,
    backend,
    last_seen,
    last_seq,
    isn,
    peer_isn,
    route_seen,
    route_mtu,
    state,
    direction,
});

/// What a [`FlowEntry`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct FlowSpec<'a, A> {
    /// Key of the packets.
    pub key: &'a FlowKey<A>,
    /// The ends that they leave with.
    pub ends: Rewrite<A>,
    /// Which way they go.
    pub direction: Direction,
    /// Whom to count for: the service.
    pub service: u32,
    /// Whose flow it is.
    pub backend: BackendRef,
    /// Where the way back leads until it is looked up.
    pub route: HopWord,
    /// TCP: the sequence number that the flow began with, as far as was seen.
    pub sequence: u32,
}

impl<A: Address> FlowEntry<A> {
    /// Makes an opening flow's entry in place, last seen `now`; its way back counts as looked up
    /// `long_ago`. (Field by field: BPF sets or copies a large struct byte by byte.)
    #[inline(always)]
    pub fn fill(&mut self, spec: FlowSpec<'_, A>, now: u32, long_ago: u32) {
        let (key, ends) = (spec.key, spec.ends);
        let addresses = Delta::NONE
            .address(key.source, ends.source)
            .address(key.destination, ends.destination);
        let transport = addresses
            .field(key.source_port, ends.source_port)
            .field(key.destination_port, ends.destination_port);
        self.fingerprint = key.fingerprint();
        self.route = spec.route;
        self.source = ends.source;
        self.destination = ends.destination;
        self.source_port = ends.source_port;
        self.destination_port = ends.destination_port;
        self.address_delta = addresses.folded();
        self.transport_delta = transport.folded();
        self.service = spec.service;
        self.backend = spec.backend.word();
        self.last_seen = now;
        self.last_seq = spec.sequence;
        self.isn = spec.sequence;
        self.peer_isn = 0;
        self.route_seen = long_ago;
        self.route_mtu = MIN_MTU;
        self.state = FlowState::Opening as u8;
        self.direction = spec.direction as u8;
    }

    /// The ends that its packets leave with.
    #[inline(always)]
    pub fn rewrite(&self) -> Rewrite<A> {
        Rewrite {
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
        }
    }

    /// Whose flow it is.
    #[inline(always)]
    pub fn backend(&self) -> BackendRef {
        BackendRef::from_word(self.backend)
    }

    /// What is known of it.
    #[inline(always)]
    pub fn state(&self) -> FlowState {
        match self.state {
            0 => FlowState::Opening,
            1 => FlowState::Answered,
            2 => FlowState::Established,
            3 => FlowState::Closing,
            _ => FlowState::Reset,
        }
    }

    /// Sets what is known of it.
    #[inline(always)]
    pub fn set_state(&mut self, state: FlowState) {
        self.state = state as u8;
    }

    /// Which way its packets go.
    #[inline(always)]
    pub fn direction(&self) -> Direction {
        if self.direction == Direction::Out as u8 {
            Direction::Out
        } else {
            Direction::In
        }
    }

    /// Whether it is to be followed by packets to this service: not if it is of another one's replies,
    /// whose client has an address that this service listens on.
    #[inline(always)]
    pub fn is_for(&self, service: u32) -> bool {
        self.service == service || self.direction == Direction::In as u8
    }
}

/// How long a service's flows may be silent in each state, and how long a client keeps its backend,
/// jiffies.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Timeouts {
    /// TCP, until it is established.
    pub handshake: u32,
    /// TCP, established.
    pub established: u32,
    /// TCP, closing.
    pub closing: u32,
    /// TCP, reset.
    pub reset: u32,
    /// UDP.
    pub udp: u32,
    /// Affinity of a client to a backend; 0: none.
    pub affinity: u32,
}

/// Whom a client keeps to for a while: one word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Affinity {
    backend: u32,
    /// Time of its last new flow, jiffies.
    pub last_seen: u32,
}

described!(Affinity { backend, last_seen });

impl Affinity {
    /// To this backend, since `now`.
    #[inline(always)]
    pub fn new(backend: BackendRef, now: u32) -> Self {
        Self {
            backend: backend.word(),
            last_seen: now,
        }
    }

    /// As it lies in memory, read at one moment.
    #[inline(always)]
    pub fn from_word(word: u64) -> Self {
        zerocopy::transmute!(word)
    }

    /// To whom.
    #[inline(always)]
    pub fn backend(&self) -> BackendRef {
        BackendRef::from_word(self.backend)
    }
}

impl<A: Address> FlowKey<A> {
    /// What the affinity of a client to a backend of a service is looked up by: of all clients whose
    /// addresses have the first `prefix` bits in common.
    #[inline(always)]
    pub fn affinity(&self, service: u32, prefix: u8) -> Self {
        let [a, b, c, d] = service.to_ne_bytes();
        Self::new(self.source.prefix(prefix), A::ZERO, [a, b], [c, d], 0)
    }
}
