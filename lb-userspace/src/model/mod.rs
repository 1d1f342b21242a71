//! The resolved configuration: what the operator asked for, with every default filled in, every
//! name looked up and every value in a type of its own. `config` makes it from files; `state`
//! turns it into the tables that the data plane should hold.
//!
//! Plain data: nothing here reads a file, a socket or a clock.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

pub use lb_common::abi::TableSize;
use serde::{Deserialize, Serialize};

/// Everything that a configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings of the agent itself.
    pub agent: Agent,
    /// Services in the order of the files; names are unique.
    pub services: Vec<Service>,
    /// Pools in the order of the files; names are unique.
    pub pools: Vec<Pool>,
}

/// The control socket where nothing else is said.
pub const DEFAULT_CONTROL: &str = "/run/sluice/control.sock";

/// `[agent]`: where the agent attaches, listens and keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Interfaces that the program attaches to, at least one, by name.
    pub interfaces: Vec<String>,
    /// Path of the control socket.
    pub control: PathBuf,
    /// Address of the stats endpoint.
    pub stats: SocketAddr,
    /// Folder of what must survive a restart (the seed).
    pub state: PathBuf,
    /// Folder in the BPF file system that belongs to this agent.
    pub pin: PathBuf,
    /// Key of the flow hash, if the configuration names one.
    pub seed: Option<Seed>,
    /// Flow entries that each family's table holds (a `full-nat` flow takes two).
    pub flows: u32,
    /// Whether the program's own debug lines are compiled in.
    pub debug: bool,
}

/// Key of the flow hash: 128 bits. A secret, since who knows it can aim at one backend, so its
/// `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// Index of a pool in [`Config::pools`].
pub type PoolIndex = usize;

/// `[[service]]`: addresses that clients connect to, and the pool that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique among services.
    pub name: String,
    /// Where it listens, at least one; no two services share one.
    pub listen: Vec<Listen>,
    /// The pool whose backends answer.
    pub pool: PoolIndex,
    /// How new flows are spread.
    pub scheduler: Scheduler,
}

/// One address, port and protocol of a service: `198.18.0.10:80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listen {
    /// Address and port; the port is not 0.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.protocol)
    }
}

/// A transport protocol that services can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number in the IP header (IANA protocol numbers).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// How new flows are spread over a pool's backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// Weighted consistent hashing (Maglev, NSDI 2016).
    #[default]
    Maglev,
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Maglev => "maglev",
        })
    }
}

/// How packets travel to a pool's backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// Both ends of the packet are rewritten; the backend sees one of the pool's `source` addresses.
    #[default]
    FullNat,
    /// The packet travels whole inside another IP header; the backend answers the client itself.
    Ipip,
}

impl Forward {
    /// Whether every flow is recorded, since it has a port of its own.
    pub fn is_tracked(self) -> bool {
        match self {
            Self::FullNat => true,
            Self::Ipip => false,
        }
    }

    /// Whether a backend may have a port that differs from the service's.
    pub fn maps_ports(self) -> bool {
        match self {
            Self::FullNat => true,
            Self::Ipip => false,
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FullNat => "full-nat",
            Self::Ipip => "ipip",
        })
    }
}

/// `[[pool]]`: backends, and how packets reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// The forwarding mode.
    pub forward: Forward,
    /// Addresses that `full-nat` connects from and `ipip` puts outside, unique.
    pub source: Vec<IpAddr>,
    /// Size of its slot tables.
    pub slots: TableSize,
    /// Backends in the order of the files; names are unique within the pool.
    pub backends: Vec<Backend>,
}

/// `[[pool.backend]]`: a server, with one address of each family at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique in its pool.
    pub name: String,
    /// One or two addresses, of different families.
    pub addresses: Vec<BackendAddress>,
    /// Share of new flows, relative to the pool's other backends; 0 takes none.
    pub weight: Weight,
}

/// Where a backend listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendAddress {
    /// Its address.
    pub ip: IpAddr,
    /// Its port; absent: the service's.
    pub port: Option<u16>,
}

/// A backend's share of new flows, 0 to [`Weight::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct Weight(u16);

impl Weight {
    /// The largest weight (as HAProxy and IPVS users would expect to be plenty).
    pub const MAX: u16 = 10_000;
    /// The weight of a backend that names none.
    pub const DEFAULT: Self = Self(100);

    /// A weight, if `value` is not above [`Weight::MAX`].
    pub fn new(value: u16) -> Option<Self> {
        (value <= Self::MAX).then_some(Self(value))
    }

    /// Its value.
    pub fn value(self) -> u16 {
        self.0
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both, in the order that tables are built.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl Pool {
    /// The backends that a service of `family` can reach in this pool's mode, each with its
    /// address. (Both modes of today stay within one family.)
    pub fn reachable(&self, family: Family) -> impl Iterator<Item = (&Backend, BackendAddress)> {
        self.backends.iter().filter_map(move |backend| {
            let address = backend
                .addresses
                .iter()
                .find(|a| Family::of(a.ip) == family)?;
            Some((backend, *address))
        })
    }
}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(SeedError);
        }
        let mut key = [0; 16];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| char::from(d).to_digit(16).ok_or(SeedError);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| SeedError)?;
        }
        Ok(Self(key))
    }
}

/// A seed that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a seed is 32 hexadecimal digits")]
pub struct SeedError;

impl TryFrom<u16> for Weight {
    type Error = WeightError;

    fn try_from(value: u16) -> Result<Self, WeightError> {
        Self::new(value).ok_or(WeightError)
    }
}

/// A weight above [`Weight::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a weight is at most {}", Weight::MAX)]
pub struct WeightError;
