//! The flow table of tracked services: an entry is a ready-made rewrite.
//!
//! A NAT'd flow has two entries of one shape, one a direction, each keyed by its packets as they
//! arrive; so both directions (and later all modes) share one path.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{
    address::Address,
    counters::Direction,
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
    more_padding: u16,
}

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
            more_padding: 0,
        }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowState {
    /// Packets flow.
    Open = 0,
    /// TCP: a FIN or RST was seen in either direction.
    Closing = 1,
}

/// What every link takes, bytes: the limit of a way back that was not looked up yet (RFC 8200,
/// section 5).
const MIN_MTU: u16 = 1280;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlowEntry<A> {
    /// [`FlowKey::fingerprint`] of the entry's key.
    pub fingerprint: u64,
    /// The way back to the client as last looked up. Unused where `next_hop` is set.
    pub route: HopWord,
    source: A,
    destination: A,
    source_port: [u8; 2],
    destination_port: [u8; 2],
    /// What the rewrite adds to the IPv4 header's checksum.
    pub address_delta: u16,
    /// What the rewrite adds to the TCP or UDP checksum.
    pub transport_delta: u16,
    /// Index of the next hop; 0: by `route`.
    pub next_hop: u32,
    /// Whom to count for: the service.
    pub service: u32,
    /// Whom to count for: the backend.
    pub backend: u32,
    /// Time of the last packet, jiffies.
    pub last_seen: u32,
    /// Time at which `route` was looked up, jiffies.
    pub route_seen: u32,
    /// Largest IP packet that `route` takes, bytes.
    pub route_mtu: u16,
    /// [`FlowState`] as a number; read through [`FlowEntry::state`].
    pub state: u8,
    direction: u8,
}

/// What a [`FlowEntry`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct FlowSpec<'a, A> {
    /// Key of the packets.
    pub key: &'a FlowKey<A>,
    /// The ends that they leave with.
    pub ends: Rewrite<A>,
    /// Which way they go.
    pub direction: Direction,
    /// Index of the next hop; 0: by route.
    pub next_hop: u32,
    /// Whom to count for: the service.
    pub service: u32,
    /// Whom to count for: the backend.
    pub backend: u32,
    /// Where the way back leads until it is looked up.
    pub route: HopWord,
}

impl<A: Address> FlowEntry<A> {
    /// Makes an open flow's entry in place, last seen `now`; its way back counts as looked up
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
        self.next_hop = spec.next_hop;
        self.service = spec.service;
        self.backend = spec.backend;
        self.last_seen = now;
        self.route_seen = long_ago;
        self.route_mtu = MIN_MTU;
        self.state = FlowState::Open as u8;
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

    /// What is known of it.
    #[inline(always)]
    pub fn state(&self) -> FlowState {
        if self.state == FlowState::Closing as u8 {
            FlowState::Closing
        } else {
            FlowState::Open
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
}
