//! A backend as the packet path needs it: one address of one server, and how packets get there.
//! Immutable once it is in the table but for the byte that says whether it lives: a change is a new
//! index, then the slots.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;

/// How packets travel to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Forward {
    /// Rewrite both ends.
    FullNat = 1,
    /// Put another IP header around it.
    Ipip = 2,
}

/// One address of a backend.
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
    padding: u8,
}

/// What a [`Backend`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct BackendSpec<A> {
    /// How packets get there.
    pub forward: Forward,
    /// Its address.
    pub address: A,
    /// Its port, network order; 0: the service's.
    pub port: [u8; 2],
    /// `ipip`: the outer source address.
    pub source: A,
    /// `full-nat`: index of the first of its source addresses, and how many there are.
    pub sources: (u32, u16),
    /// Index of its next hop.
    pub next_hop: u32,
    /// Which of the backends that had its index one after the other.
    pub generation: u8,
}

impl Backend {
    /// A backend.
    pub fn new<A: Address>(spec: BackendSpec<A>) -> Self {
        Self {
            address: spec.address.to_wide(),
            source: spec.source.to_wide(),
            next_hop: spec.next_hop,
            first_source: spec.sources.0,
            source_count: spec.sources.1,
            port: spec.port,
            forward: spec.forward as u8,
            alive: 1,
            generation: spec.generation,
            padding: 0,
        }
    }

    /// The same, but dead: recorded flows are not sent there any more.
    pub fn dead(self) -> Self {
        Self { alive: 0, ..self }
    }

    /// Whether recorded flows may be sent there.
    #[inline(always)]
    pub fn is_alive(&self) -> bool {
        self.alive != 0
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
            _ => None,
        }
    }

    /// Its address, which is of family `A`.
    #[inline(always)]
    pub fn address<A: Address>(&self) -> A {
        A::from_wide(self.address)
    }

    /// The outer source address.
    #[inline(always)]
    pub fn source<A: Address>(&self) -> A {
        A::from_wide(self.source)
    }

    /// Index of the first source address, and their number.
    #[inline(always)]
    pub fn sources(&self) -> (u32, u16) {
        (self.first_source, self.source_count)
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
