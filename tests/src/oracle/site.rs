//! What a balancer is told: services, backends, slots. Plain data of the standard library's types, of
//! which the model makes its tables and `tables` makes the real ones.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::abi::Fate;

use super::{
    admission::{Limits, Rule},
    listening::Listens,
    made::Rates,
};
use crate::cases::places::{BACK, BACKEND, Interface, Mac, Protocol, SIDE, UPLINK, Version};

/// One balancer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Site {
    /// Key of the flow hash.
    pub(super) seed: [u8; 16],
    /// The lowest source port of `full-nat`, and how many there are.
    pub(super) ports: (u16, u16),
    /// The addresses that `full-nat` sends from, of either family.
    pub(super) sources: Vec<IpAddr>,
    /// Addresses of this host that serve nothing.
    pub(super) own: Vec<IpAddr>,
    /// Whether backends of `full-nat` may be of the other family.
    pub(super) crossing: bool,
    /// Exceptions that fit, of each family.
    pub(super) exceptions: usize,
    /// Exceptions that may be recorded in a second, of each kind.
    pub(super) rate: u32,
    /// Recorded flows that fit each table of each family.
    pub(super) flows: usize,
    /// Frames that may be made here.
    pub(super) rates: Rates,
    /// The access list of all services.
    pub(super) access: Vec<Rule>,
    /// The services.
    pub(super) services: Vec<Service>,
    /// The backends by index, from 1 on.
    pub(super) backends: BTreeMap<u32, Backend>,
}

/// One service, which has slots of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Service {
    /// Its number, from 1 on.
    pub(super) id: u32,
    /// Its address and port; of those that listen on more, one of them.
    pub(super) end: SocketAddr,
    /// What it listens on.
    pub(super) listens: Listens,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
    /// How packets get to its backends.
    pub(super) mode: Mode,
    /// Who owns its slots, over and over again.
    pub(super) slots: Vec<Slot>,
    /// The slots that these replace.
    pub(super) old: Option<Old>,
    /// Bits of the client's address that alone choose (0: the whole flow does), or that clients
    /// have in common who keep to a backend.
    pub(super) prefix: u8,
    /// Whether echo requests for its address are answered.
    pub(super) echo: bool,
    /// Whether flows are recorded.
    pub(super) tracked: bool,
    /// How a recorded flow's backend is chosen.
    pub(super) scheduler: Scheduler,
    /// How long a client keeps its backend, seconds.
    pub(super) affinity: Option<u64>,
    /// Whether every packet is a flow of its own.
    pub(super) one_packet: bool,
    /// Whether flows are QUIC connections.
    pub(super) quic: bool,
    /// Whether flows whose backend is gone are reset.
    pub(super) resets: bool,
    /// Whether clients are refused while it has no backend.
    pub(super) rejects: bool,
    /// How long recorded flows may be silent, seconds.
    pub(super) timeouts: Timeouts,
    /// Its access list.
    pub(super) access: Vec<Rule>,
    /// Its limits on new flows.
    pub(super) limits: Limits,
}

/// How long recorded flows may be silent before their source port is another's, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeouts {
    /// TCP, until it is established.
    pub(super) handshake: u64,
    /// TCP, established.
    pub(super) established: u64,
    /// UDP.
    pub(super) udp: u64,
}

/// One backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Backend {
    /// Which of those that had its index.
    pub(super) generation: u8,
    /// How packets get there.
    pub(super) mode: Mode,
    /// Its address.
    pub(super) address: IpAddr,
    /// Its port; `None`: the service's.
    pub(super) port: Option<u16>,
    /// The way there.
    pub(super) way: NextHop,
    /// Whether it lives.
    pub(super) alive: bool,
    /// What becomes of its flows if not.
    pub(super) fate: Fate,
    /// Its share of the load.
    pub(super) weight: u32,
    /// Flows that it may have; 0: any number.
    pub(super) max_flows: u32,
}

/// The modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Mode {
    FullNat,
    Nat,
    Dsr,
    Ipip {
        /// Last bits of the outer source that come from the flow.
        entropy: u8,
    },
    Gue {
        /// Last bits of the outer source that come from the flow.
        entropy: u8,
        /// The UDP port.
        port: u16,
        /// Whether there are UDP checksums over IPv6.
        checksum: bool,
    },
}

/// How a recorded flow's backend is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Scheduler {
    Hash,
    RoundRobin,
    LeastConnections,
}

/// Who owns a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// This backend (0: none).
    Settled(u32),
    /// The second from the first.
    Moving(Before, u32),
    /// This backend, with exceptions left.
    Mixed(u32),
}

/// Who owned a slot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// This backend.
    Backend(u32),
    /// Whoever the slots before these say.
    OldSlots,
}

/// Slots that others replace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Old {
    /// Key of their hash.
    pub(super) seed: [u8; 16],
    /// Bits of the client's address that alone choose; 0: the whole flow does.
    pub(super) prefix: u8,
    /// Who owns them.
    pub(super) slots: Vec<Slot>,
}

/// The ways to backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextHop {
    /// Behind `BACK`, 1,500 bytes.
    Back,
    /// Behind `UPLINK`, 1,500 bytes.
    Uplink,
    /// Behind `SIDE`, 600 bytes.
    Narrow,
    /// Not resolved.
    Unresolved,
}

impl Service {
    /// Whether its packets go on as they are, or within others, or need no record to be answered.
    pub(super) fn is_steered(&self) -> bool {
        !(self.tracked && self.mode.translates())
    }
}

impl NextHop {
    /// All.
    pub(super) const ALL: [Self; 4] = [Self::Back, Self::Uplink, Self::Narrow, Self::Unresolved];

    /// The interface, the MAC address behind it, and the longest packet; `None`: not resolved.
    pub(super) fn way(self) -> Option<(Interface, Mac, usize)> {
        match self {
            Self::Back => Some((BACK, BACKEND, 1500)),
            Self::Uplink => Some((UPLINK, BACKEND, 1500)),
            Self::Narrow => Some((SIDE, BACKEND, 600)),
            Self::Unresolved => None,
        }
    }
}

impl Mode {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FullNat => "full-nat",
            Self::Nat => "nat",
            Self::Dsr => "dsr",
            Self::Ipip { .. } => "ipip",
            Self::Gue { .. } => "gue",
        }
    }

    /// Whether packets get other ends.
    pub(super) fn translates(self) -> bool {
        match self {
            Self::FullNat | Self::Nat => true,
            Self::Dsr | Self::Ipip { .. } | Self::Gue { .. } => false,
        }
    }

    /// Whether packets get another header around them.
    pub(super) fn wraps(self) -> bool {
        match self {
            Self::Ipip { .. } | Self::Gue { .. } => true,
            Self::FullNat | Self::Nat | Self::Dsr => false,
        }
    }
}

impl Slot {
    /// Who gets new flows.
    pub(super) fn current(self) -> u32 {
        match self {
            Self::Settled(index) | Self::Moving(_, index) | Self::Mixed(index) => index,
        }
    }
}

/// The version of an address.
pub(super) fn version(address: IpAddr) -> Version {
    if address.is_ipv4() {
        Version::V4
    } else {
        Version::V6
    }
}
