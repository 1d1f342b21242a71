//! How the health of a pool's backends is judged: how often they are asked, and what follows for
//! the pool. What is asked is `probe`'s.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Config, Listen, Pool, PoolIndex, Probe};

/// `[pool.health]`: what follows from how many backends are up, and from how often they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How long a backend that comes back takes to reach its whole weight; absent: none.
    pub slow_start: Option<Duration>,
    /// While a smaller share of the backends is up, health is disregarded: percent. 0: never.
    pub panic_threshold: u8,
    /// While fewer backends are up, none is used. 0: never.
    pub min_healthy: u32,
    /// When a backend that keeps going down is held down; absent: never.
    pub flap_damping: Option<FlapDamping>,
    /// Whether backends are down whose clients' SYNs are not answered, or refused.
    pub passive: bool,
}

/// `flap_damping = { … }`: a backend that went down so often is held down for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapDamping {
    /// This many times,
    pub downs: NonZeroU16,
    /// within this time;
    pub within: Duration,
    /// held for so long after the last.
    pub hold: Duration,
}

/// `[[pool.check]]`: one thing that is asked of every backend of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked, and what the answer must be.
    pub probe: Probe,
    /// Whom; absent: the backend's address.
    pub address: Option<IpAddr>,
    /// At which port; absent: the backend's, or its service's.
    pub port: Option<u16>,
    /// Which way.
    pub through: Through,
    /// How often, and how many answers count.
    pub pace: Pace,
}

/// The device that probes through services leave by.
pub const PROBE_DEVICE: &str = "sluice-probe";

/// Which way the probes of a check take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Through {
    /// To the backend's own address, as any packet of this host.
    #[default]
    Backend,
    /// To the service's address, as a client's packets do, with the backend told.
    Service,
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backend => "backend",
            Self::Service => "service",
        })
    }
}

/// How often a check runs, and how many results in a row count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// From the start of one run to that of the next.
    pub interval: Duration,
    /// By how much that is longer or shorter at most, at random; not above `interval`.
    pub jitter: Duration,
    /// How long one run may take; not above `interval`.
    pub timeout: Duration,
    /// Successes in a row that make the check up.
    pub rise: NonZeroU16,
    /// Failures in a row that make it down.
    pub fall: NonZeroU16,
    /// What it is before the first run.
    pub initial: Initial,
}

impl Pace {
    /// The interval of a check that names none (as in HAProxy).
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
    /// The time that a run may take at most, where nothing else is said.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
    /// Successes that are needed (as in HAProxy).
    pub const DEFAULT_RISE: NonZeroU16 = NonZeroU16::new(2).unwrap();
    /// Failures that are needed (as in HAProxy).
    pub const DEFAULT_FALL: NonZeroU16 = NonZeroU16::new(3).unwrap();

    /// A tenth of the interval.
    pub fn default_jitter(interval: Duration) -> Duration {
        interval / 10
    }
}

/// What a check is before its first run, in HAProxy's words (`init-state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initial {
    /// Up; the first result decides if it is a failure.
    #[default]
    Up,
    /// Up; `fall` failures make it down, as ever.
    FullyUp,
    /// Down; the first result decides if it is a success.
    Down,
    /// Down; `rise` successes make it up, as ever.
    FullyDown,
}

impl fmt::Display for Initial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::FullyUp => "fully-up",
            Self::Down => "down",
            Self::FullyDown => "fully-down",
        })
    }
}

impl Pool {
    /// Whether any of its checks goes through a service.
    pub fn is_asked_through_services(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| check.through == Through::Service)
    }
}

impl Config {
    /// Whether any check goes through a service.
    pub fn has_probes(&self) -> bool {
        self.pools.iter().any(Pool::is_asked_through_services)
    }

    /// The addresses that probes come from which go through services; none if there are no such.
    pub fn probe_sources(&self) -> &[IpAddr] {
        match self.has_probes() {
            true => &self.agent.probe_sources,
            false => &[],
        }
    }

    /// The service addresses that a check of a pool asks if it goes through services: those of the pool's services
    /// with the check's protocol, and its port if it names one, else each that is a single port. Prefixes are none.
    pub fn asked_at(&self, pool: PoolIndex, check: &Check) -> BTreeSet<SocketAddr> {
        let users = self.services.iter();
        let users = users.filter(|service| service.pools().any(|used| used == pool));
        let listens = users.flat_map(|service| &service.listen);
        let listens = listens.filter(|listen| {
            let has_port = match check.port {
                Some(port) => listen.has_port(port),
                None => listen.is_single_port(),
            };
            has_port && !listen.is_prefix() && check.probe.protocol() == Some(listen.protocol)
        });
        let at = |listen: &Listen| {
            let port = check.port.unwrap_or(listen.address.port());
            SocketAddr::new(listen.address.ip(), port)
        };
        listens.map(at).collect()
    }

    /// The port that all services of a pool listen on, if it is one and the same.
    pub fn service_port(&self, pool: PoolIndex) -> Option<u16> {
        let users = self.services.iter();
        let users = users.filter(|service| service.pools().any(|used| used == pool));
        let mut listens = users.flat_map(|service| &service.listen);
        let single = |listen: &Listen| {
            let port = listen.address.port();
            listen.is_single_port().then_some(port)
        };
        let first = single(listens.next()?)?;
        let same = listens.all(|listen| single(listen) == Some(first));
        same.then_some(first)
    }
}
