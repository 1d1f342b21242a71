//! A backend as the packet path needs it: one address of one server, and how packets get there.
//! Immutable once it is in the table but for the byte that says whether it lives, and what becomes of its flows if
//! not: a change is a new
//! index, then the slots. That flows of its pool begin to cross families is none: one entry serves IPv4
//! and mapped packets.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{address::Address, hash::FlowHash};

/// How packets travel to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Forward {
    /// Rewrite both ends.
    FullNat = 1,
    /// Put another IP header around it.
    Ipip = 2,
    /// Rewrite the destination; the answers come back through here.
    Nat = 3,
    /// Send it on as it is, to the backend's MAC address.
    Dsr = 4,
    /// Put an IP header and a UDP header around it.
    Gue = 5,
}

/// One address of a backend.
///
/// What only one mode needs shares its place with what only another does: `first_source` and
/// `source_count` say with `gue` whether outer checksums are made, and with `gue` and `ipip` how
/// many bits of the outer source come from the flow's hash.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Backend {
    address: [u8; 16],
    source: [u8; 16],
    next_hop: u32,
    first_source: u32,
    source_count: u16,
    port: [u8; 2],
    forward: u8,
    alive: u8,
    generation: u8,
    version: u8,
}

/// What becomes of packets of flows whose backend is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// What their service says.
    #[default]
    Service = 0,
    /// They are dropped, and answered by a reset where the rates allow it.
    Reset = 2,
    /// They are dropped.
    Drop = 3,
}

/// How much of the load a backend is meant to take.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Load {
    /// Its share, relative to the others'.
    pub weight: u32,
    /// Flows that it may have at a time; 0: any number.
    pub max_flows: u32,
}

/// In the place of a [`Fate`].
const ALIVE: u8 = 1;

/// What a [`Backend`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct BackendSpec<A> {
    /// How packets get there.
    pub forward: ForwardSpec<A>,
    /// Its address.
    pub address: A,
    /// Its port, network order; 0: the service's.
    pub port: [u8; 2],
    /// Index of its next hop.
    pub next_hop: u32,
    /// Which of the backends that had its index one after the other.
    pub generation: u8,
}

/// How packets get to a backend, with what that takes.
#[derive(Clone, Copy, Debug)]
pub enum ForwardSpec<A> {
    /// Rewrite both ends.
    FullNat {
        /// Index of the first of its source addresses, in whichever family's table its flows take them from.
        first: u32,
        /// How many there are.
        count: u16,
    },
    /// Rewrite the destination.
    Nat,
    /// Another MAC address.
    Dsr,
    /// Another IP header.
    Ipip(Outer<A>),
    /// Another IP header and a UDP header.
    Gue {
        /// The IP header's ends.
        outer: Outer<A>,
        /// The UDP destination port, network order.
        port: [u8; 2],
        /// Whether the UDP checksum is made over IPv6. (Over IPv4 there is none.)
        checksum: bool,
    },
}

/// The source of an outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer<A> {
    /// The address.
    pub source: A,
    /// How many of its last bits (32 at most) come from the flow's hash instead.
    pub entropy: u8,
}

impl Backend {
    /// A backend.
    pub fn new<A: Address>(spec: BackendSpec<A>) -> Self {
        let bare = Self {
            address: spec.address.to_wide(),
            next_hop: spec.next_hop,
            port: spec.port,
            alive: ALIVE,
            generation: spec.generation,
            version: A::VERSION,
            ..Self::default()
        };
        let around = |forward: Forward, outer: Outer<A>| Self {
            forward: forward as u8,
            source: outer.source.to_wide(),
            source_count: outer.entropy.into(),
            ..bare
        };
        match spec.forward {
            ForwardSpec::FullNat { first, count } => Self {
                forward: Forward::FullNat as u8,
                first_source: first,
                source_count: count,
                ..bare
            },
            ForwardSpec::Nat => Self {
                forward: Forward::Nat as u8,
                ..bare
            },
            ForwardSpec::Dsr => Self {
                forward: Forward::Dsr as u8,
                ..bare
            },
            ForwardSpec::Ipip(outer) => around(Forward::Ipip, outer),
            ForwardSpec::Gue {
                outer,
                port,
                checksum,
            } => Self {
                port,
                first_source: checksum.into(),
                ..around(Forward::Gue, outer)
            },
        }
    }

    /// The same, but dead: recorded flows are not sent there any more, and that becomes of them.
    pub fn dead(self, fate: Fate) -> Self {
        Self {
            alive: fate as u8,
            ..self
        }
    }

    /// Whether recorded flows may be sent there.
    #[inline(always)]
    pub fn is_alive(&self) -> bool {
        self.alive == ALIVE
    }

    /// What becomes of its flows once it is dead.
    #[inline(always)]
    pub fn fate(&self) -> Fate {
        match self.alive {
            2 => Fate::Reset,
            3 => Fate::Drop,
            _ => Fate::Service,
        }
    }

    /// Which of the backends that had its index one after the other.
    #[inline(always)]
    pub fn generation(&self) -> u8 {
        self.generation
    }

    /// How packets get there; `None` where nothing was written.
    #[inline(always)]
    pub fn forward(&self) -> Option<Forward> {
        match self.forward {
            1 => Some(Forward::FullNat),
            2 => Some(Forward::Ipip),
            3 => Some(Forward::Nat),
            4 => Some(Forward::Dsr),
            5 => Some(Forward::Gue),
            _ => None,
        }
    }

    /// Whether its address is of IPv4 (4) or IPv6 (6).
    #[inline(always)]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Its address, which is of family `A`.
    #[inline(always)]
    pub fn address<A: Address>(&self) -> A {
        A::from_wide(self.address)
    }

    /// The outer source address of a flow of this hash, of family `A` too.
    #[inline(always)]
    pub fn outer_source<A: Address>(&self, hash: FlowHash) -> A {
        let source = A::from_wide(self.source);
        match self.source_count {
            0 => source,
            bits => source.with_entropy(bits as u8, hash.0 as u32),
        }
    }

    /// `ipip` and `gue`: whether each flow has an outer source address of its own.
    #[inline(always)]
    pub fn spreads_sources(&self) -> bool {
        self.source_count != 0
    }

    /// `gue`: whether outer UDP checksums are made over IPv6.
    #[inline(always)]
    pub fn makes_checksums(&self) -> bool {
        self.first_source != 0
    }

    /// `full-nat`: index of the first source address, and their number.
    #[inline(always)]
    pub fn sources(&self) -> (u32, u16) {
        (self.first_source, self.source_count)
    }

    /// `gue`: the outer UDP port.
    #[inline(always)]
    pub fn outer_port(&self) -> [u8; 2] {
        self.port
    }

    /// Its port, given the service's.
    #[inline(always)]
    pub fn port(&self, service: [u8; 2]) -> [u8; 2] {
        if u16::from_ne_bytes(self.port) == 0 {
            service
        } else {
            self.port
        }
    }

    /// Index of its next hop.
    #[inline(always)]
    pub fn next_hop(&self) -> u32 {
        self.next_hop
    }
}
