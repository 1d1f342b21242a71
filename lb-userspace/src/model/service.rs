//! A service: how its flows are spread, for how long they are remembered, and what becomes of them
//! where no backend is left.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Access, Family, Listen, NewFlows, PoolIndex, Protocol};

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
    /// What of a client's address counts in `source-hash` and for `affinity`.
    pub source_prefix: SourcePrefix,
    /// Which flows are recorded, as far as it can be chosen: see
    /// [`Config::tracked`](super::Config::tracked).
    pub tracking: Tracking,
    /// How long after its last flow a client (its prefix) keeps its backend; absent: each flow is
    /// spread by itself.
    pub affinity: Option<Duration>,
    /// Where flows are not recorded: how long one may be silent before a change of backends may
    /// move it. See [`default_settle`].
    pub settle: Duration,
    /// How long a silent exception is kept; not below `settle`, which is its default.
    pub entry_timeout: Duration,
    /// How long silent flows are remembered, where they are recorded.
    pub timeouts: Timeouts,
    /// What becomes of the flows of a backend that is down.
    pub on_down: OnDown,
    /// The pool that answers while `pool` has no live backend; another one than `pool`. It is not
    /// followed further: a fallback has no fallback.
    pub fallback: Option<PoolIndex>,
    /// What becomes of packets while no backend is left, the fallback's included.
    pub no_backend: NoBackend,
    /// Whether echo requests for its addresses are answered while it has a live backend.
    pub echo: bool,
    /// The largest TCP segment that its clients and backends may say they take, bytes; absent: any.
    /// Only where both directions pass here.
    pub mss_clamp: Option<u16>,
    /// What the datagrams of its UDP addresses are to each other.
    pub udp: Udp,
    /// How connection ids name the backends that gave them out, where they do; only of QUIC.
    pub server_ids: Option<ServerIds>,
    /// Who may use it: `[service.access]`.
    pub access: Option<Access>,
    /// How many new flows it lets in.
    pub new_flows: Option<NewFlows>,
    /// Whether the configuration has it no more, and it is here for its recorded flows alone: no files say so.
    pub removed: bool,
}

impl Service {
    /// The pools that may answer: its own, and the fallback.
    pub fn pools(&self) -> impl Iterator<Item = PoolIndex> {
        [self.pool].into_iter().chain(self.fallback)
    }
}

/// How long a flow may be silent before it may be moved, of a service that names no `settle`: the
/// longest of its protocols. TCP: RFC 5382, REQ-5 (at least 2 h 4 min, since keepalives come every
/// 2 h); UDP: RFC 4787, REQ-5 (at least 2 min).
pub fn default_settle<'a>(listens: impl IntoIterator<Item = &'a Listen>) -> Duration {
    let mut listens = listens.into_iter();
    if listens.any(|listen| listen.protocol == Protocol::Tcp) {
        Timeouts::DEFAULT.established
    } else {
        Timeouts::DEFAULT.udp
    }
}

/// How new flows are spread over a pool's backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// Weighted consistent hashing of both ends of a flow (Maglev, NSDI 2016).
    #[default]
    Maglev,
    /// The same, of the client's prefix alone: all its flows go to one backend.
    SourceHash,
    /// Of two candidates the one with fewer live flows for its weight.
    LeastConnections,
    /// In turn, as often as the weights say.
    RoundRobin,
}

impl Scheduler {
    /// Whether the hash of a flow alone determines its backend, as long as no backend comes, goes
    /// or changes its weight: so that its flows need not be recorded.
    pub fn is_hash_determined(self) -> bool {
        match self {
            Self::Maglev | Self::SourceHash => true,
            Self::LeastConnections | Self::RoundRobin => false,
        }
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Maglev => "maglev",
            Self::SourceHash => "source-hash",
            Self::LeastConnections => "least-connections",
            Self::RoundRobin => "round-robin",
        })
    }
}

/// How many leading bits of a client's address tell it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefix {
    /// Of an IPv4 address, 1 to 32.
    pub ipv4: u8,
    /// Of an IPv6 address, 1 to 128.
    pub ipv6: u8,
}

impl SourcePrefix {
    /// Whole addresses.
    pub const DEFAULT: Self = Self {
        ipv4: 32,
        ipv6: 128,
    };

    /// The length in one family.
    pub fn length(self, family: Family) -> u8 {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

/// Which flows are recorded, as far as it can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tracking {
    /// All where mode, scheduler, affinity or a cap need it, exceptions elsewhere.
    #[default]
    Auto,
    /// All.
    Full,
}

/// How long a silent flow of a tracked service is remembered, by its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, until the client's third packet.
    pub handshake: Duration,
    /// TCP, open.
    pub established: Duration,
    /// TCP, once either side has sent a FIN.
    pub closing: Duration,
    /// TCP, once either side has sent a RST.
    pub reset: Duration,
    /// UDP.
    pub udp: Duration,
}

impl Timeouts {
    /// `established`: RFC 5382, REQ-5 (at least 2 h 4 min). `udp`: RFC 4787, REQ-5 (at least 2
    /// min). The others as nf_conntrack has them (`tcp_timeout_syn_recv`, `_fin_wait`, `_close`):
    /// RFC 5382's 4 minutes for flows that open or close would let a flood keep four times the
    /// entries, and a client repeats its SYN sooner.
    pub const DEFAULT: Self = Self {
        handshake: Duration::from_secs(60),
        established: Duration::from_secs(2 * 3600 + 10 * 60),
        closing: Duration::from_secs(120),
        reset: Duration::from_secs(10),
        udp: Duration::from_secs(120),
    };
}

/// What becomes of the flows of a backend that is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDown {
    /// They go to another one.
    #[default]
    Reschedule,
    /// TCP flows are reset towards the client; others go to another one.
    Reset,
    /// They stay for a while: a backend that lost its health check may live.
    Keep {
        /// For how long; then they go to another one.
        grace: Duration,
    },
}

impl OnDown {
    /// How long flows are kept where nothing else is said: time for a backend to be restarted.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
}

impl OnDown {
    /// How long flows stay with a backend that is down.
    pub fn grace(self) -> Duration {
        match self {
            Self::Reschedule | Self::Reset => Duration::ZERO,
            Self::Keep { grace } => grace,
        }
    }
}

/// What becomes of packets while a service has no live backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoBackend {
    /// The client is told: TCP by a RST, UDP by ICMP's port unreachable.
    #[default]
    Reject,
    /// They are dropped.
    Drop,
}

/// How connection ids name the server that gave them out, in plain text
/// (draft-ietf-quic-load-balancers-21, section 5). How long the ids themselves are, the backends say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerIds {
    /// The first three bits of such connection ids, 0 to [`ServerIds::MAX_CONFIGURATION`].
    pub configuration: u8,
}

impl ServerIds {
    /// The number above says that a connection id names nobody.
    pub const MAX_CONFIGURATION: u8 = 6;
}

/// What the datagrams of a service's UDP addresses are to each other. Its TCP addresses don't mind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Udp {
    /// Those between the same ends make a flow.
    #[default]
    Flows,
    /// Each stands for itself, as in DNS: no change of backends has anything to keep.
    OnePacket,
    /// QUIC: its packets tell when a connection opens.
    Quic,
}
