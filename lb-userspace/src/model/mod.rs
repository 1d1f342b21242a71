//! The resolved configuration: what the operator asked for, with every default filled in, every
//! name looked up and every value in a type of its own. `config` makes it from files; `state`
//! turns it into the tables that the data plane should hold.
//!
//! Plain data: nothing here reads a file, a socket or a clock.

mod access;
mod health;
mod listen;
mod pool;
pub mod probe;
mod service;
mod tracked;
mod vrrp;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

pub(crate) use self::listen::{lies_in, whole};
pub use self::{
    access::{Access, FlowRate, NewFlows},
    health::{Check, FlapDamping, Health, Initial, PROBE_DEVICE, Pace, Through},
    listen::{Listen, Network},
    pool::{Backend, BackendAddress, Forward, Gue, Pool, ServerId, Source, Weight, WeightError},
    probe::Probe,
    service::{
        NoBackend, OnDown, Scheduler, ServerIds, Service, SourcePrefix, Timeouts, Tracking, Udp,
        default_settle,
    },
    tracked::{ReplyEnd, TrackedBecause, reply_ends},
    vrrp::{Checksum, Cost, Notify, Track, Tracked, Version, VirtualAddress, Vrrp},
};
pub use lb_common::abi::{ReplyLimits, TableSize};
use serde::{Deserialize, Serialize};

/// Everything that a configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings of the agent itself.
    pub agent: Agent,
    /// Who may use any service: `[access]`.
    pub access: Option<Access>,
    /// Services in the order of the files; names are unique.
    pub services: Vec<Service>,
    /// Pools in the order of the files; names are unique.
    pub pools: Vec<Pool>,
    /// Addresses that move between hosts, in the order of the file; names are unique.
    pub vrrp: Vec<Vrrp>,
}

impl Config {
    /// How long the flows of a pool's backends stay with one that is down: as long as the service that
    /// keeps them longest says.
    pub fn grace(&self, pool: PoolIndex) -> Duration {
        let users = self.services.iter();
        let users = users.filter(|service| service.pools().any(|used| used == pool));
        users
            .map(|service| service.on_down.grace())
            .max()
            .unwrap_or_default()
    }

    /// The same of the pool of a name.
    pub fn grace_in(&self, pool: &str) -> Duration {
        let found = self.pools.iter().position(|one| one.name == pool);
        found.map_or(Duration::ZERO, |pool| self.grace(pool))
    }

    /// The same of all backends at an address.
    pub fn grace_at(&self, address: IpAddr) -> Duration {
        let at = |backend: &Backend| backend.addresses.iter().any(|at| at.ip == address);
        let pools = self.pools.iter().enumerate();
        let pools = pools.filter(|(_, pool)| pool.backends.iter().any(at));
        pools.map(|(n, _)| self.grace(n)).max().unwrap_or_default()
    }
}

/// The control socket where nothing else is said.
pub const DEFAULT_CONTROL: &str = "/run/sluice/control.sock";

/// The folder in the BPF file system where nothing else is said.
pub const DEFAULT_PIN: &str = "/sys/fs/bpf/sluice";

/// `[agent]`: where the agent attaches, listens and keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Interfaces that the program attaches to, by name; at least one where there are services.
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
    /// Flow entries that each family's table holds (a flow whose replies come back takes two).
    pub flows: u32,
    /// Backends that the tables have room for, and as many next hops, and ports that answer in `nat` mode; one less,
    /// since index 0 is none.
    pub backends: u32,
    /// Entries that each family's table of exceptions holds: flows that a slot which moves must
    /// not move along.
    pub exceptions: u32,
    /// Exceptions that one CPU records in a second at most, of flows that open and of flows seen
    /// in their midst each.
    pub exception_rate: u32,
    /// Frames that may be made here: on one CPU, and towards one /24 or /64.
    pub replies: ReplyLimits,
    /// What probes come from that go through services: an address of each family at most.
    pub probe_sources: Vec<IpAddr>,
    /// Whether the configuration is read again when its files change.
    pub watch: bool,
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

/// Index of a service in [`Config::services`].
pub type ServiceIndex = usize;

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
