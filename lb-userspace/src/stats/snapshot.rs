//! What the agent shows of itself at one moment: plain data, the same on the control socket, in
//! `--output json` and behind /metrics. A change here that an older client would misread bumps
//! [`control::API`](crate::control::API).

use std::{collections::BTreeMap, fmt};

use lb_common::{
    abi::{Counters, Handshakes},
    datapath::{AnswerReason, DropReason, Egress, Outcome, PassReason},
};
use serde::{Deserialize, Serialize};

use super::health::{HealthView, PoolHealthView};
use crate::{
    model::{Family, Forward, Scheduler, Weight},
    overrides::Override,
    vrrp::InstanceView,
};

/// Who can make a snapshot: the agent, or a test.
pub trait Source: Send + Sync + 'static {
    /// The state of things now. May read the kernel's tables, so it is called on a thread where
    /// that may take its time.
    fn snapshot(&self) -> Snapshot;
}

/// The agent, its interfaces, services and pools at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The agent itself.
    pub agent: AgentView,
    /// Whether it does its work.
    pub readiness: Readiness,
    /// The interfaces that the packet program is attached to, and VLAN devices over them.
    pub interfaces: Vec<InterfaceView>,
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceView>,
    /// The pools, in the order of the configuration.
    pub pools: Vec<PoolView>,
    /// Flows that are recorded since their slots are not settled.
    #[serde(default)]
    pub exceptions: ExceptionsView,
    /// Addresses that move between hosts, by the name of their instances.
    #[serde(default)]
    pub vrrp: Vec<InstanceView>,
}

/// How many exceptions there are: flows that do not belong to whom their slot says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionsView {
    /// Of IPv4.
    pub ipv4: u64,
    /// Of IPv6.
    pub ipv6: u64,
    /// How many of each family there may be.
    pub limit: u64,
}

impl Snapshot {
    /// Every backend with its pool.
    pub fn backends(&self) -> impl Iterator<Item = (&PoolView, &BackendView)> {
        let with_pool = |pool| move |backend| (pool, backend);
        self.pools
            .iter()
            .flat_map(move |pool| pool.backends.iter().map(with_pool(pool)))
    }

    /// How many different addresses of backends have no next hop.
    pub fn next_hops_unresolved(&self) -> usize {
        let addresses = self
            .backends()
            .flat_map(|(_, backend)| &backend.addresses)
            .filter(|address| !address.next_hop.is_resolved());
        let ips = addresses.map(|address| host(&address.address));
        ips.collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// The agent itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// The version of its binary.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// The layout of its tables in the kernel.
    pub layout: u32,
    /// Its process.
    pub pid: u32,
    /// When it was started, in seconds since 1970.
    pub started_unix_seconds: u64,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// The main file of its configuration.
    pub config: String,
    /// Its control socket.
    pub control: String,
    /// The address of its stats endpoint.
    pub stats: String,
    /// Tells whether two agents have the same hash seed, without telling the seed.
    pub seed_fingerprint: String,
    /// What it would have the operator know.
    pub warnings: Vec<String>,
    /// Counts the configurations that it has taken since it was started.
    #[serde(default)]
    pub generation: u64,
    /// When it took the one in use, in seconds since 1970.
    #[serde(default)]
    pub taken_unix_seconds: u64,
    /// Why its last reload failed, if it did; then it works by the configuration before.
    #[serde(default)]
    pub reload_error: Option<String>,
    /// Services that the configuration has no more, but whose recorded flows are not over.
    #[serde(default)]
    pub removed: Vec<RemovedView>,
}

/// A service that the configuration has no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedView {
    /// Its name.
    pub service: String,
    /// Whether its recorded flows are reset; they stay otherwise.
    pub resets: bool,
    /// Until when, in seconds since 1970, unless all are over before.
    pub until_unix_seconds: u64,
}

impl fmt::Display for RemovedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flows = match self.resets {
            true => "are reset",
            false => "stay for its down_grace",
        };
        let service = &self.service;
        write!(
            f,
            "service {service} is removed; its recorded flows {flows}"
        )
    }
}

/// Whether the agent does its work: tables applied, program attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Readiness {
    /// It does.
    Ready,
    /// Not yet, or no more.
    NotReady {
        /// What is missing.
        reason: String,
    },
}

/// An interface whose packets the packet program handles, and what it did with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// The interface that the program is attached to for it, if it is a VLAN device. What is counted
    /// there is not counted here as well.
    #[serde(default)]
    pub lower: Option<String>,
    /// Where in the receive path the program runs.
    pub mode: Mode,
    /// Why it does not run in the driver, if so.
    pub mode_reason: Option<String>,
    /// What became of the packets.
    #[serde(flatten)]
    pub verdicts: Verdicts,
}

/// Where in the receive path the packet program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In the driver.
    Native,
    /// After the kernel has made its own packet of it: slower.
    Generic,
}

/// What became of the packets that an interface received, each counted once:
/// `received` = `forwarded` + all of `answered` + all of `passed` + all of `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Packets that the program saw.
    pub received: u64,
    /// Rewritten and sent on.
    pub forwarded: u64,
    /// Answered by a packet made here, by what that is; every reason is there.
    pub answered: BTreeMap<String, u64>,
    /// Left to the kernel, by reason; every reason is there.
    pub passed: BTreeMap<String, u64>,
    /// Dropped, by reason; every reason is there.
    pub dropped: BTreeMap<String, u64>,
}

impl Verdicts {
    /// From the kernel's counters: `count` tells what is counted under an outcome's code.
    pub fn of(count: impl Fn(Outcome) -> u64) -> Self {
        let answered =
            |reason: AnswerReason| (reason.name().into(), count(Outcome::Answer(reason)));
        let passed = |reason: PassReason| (reason.name().into(), count(Outcome::Pass(reason)));
        let dropped = |reason: DropReason| (reason.name().into(), count(Outcome::Drop(reason)));
        // Both ways out share one counter.
        let forwarded = count(Outcome::Forward(Egress::Transmit));
        let mut verdicts = Self {
            received: 0,
            forwarded,
            answered: AnswerReason::ALL.iter().copied().map(answered).collect(),
            passed: PassReason::ALL.iter().copied().map(passed).collect(),
            dropped: DropReason::ALL.iter().copied().map(dropped).collect(),
        };
        verdicts.received = forwarded
            + verdicts.answered_total()
            + verdicts.passed_total()
            + verdicts.dropped_total();
        verdicts
    }

    /// All that was answered here.
    pub fn answered_total(&self) -> u64 {
        self.answered.values().sum()
    }

    /// All that was left to the kernel.
    pub fn passed_total(&self) -> u64 {
        self.passed.values().sum()
    }

    /// All that was dropped.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Where it listens, as `198.18.0.10:80/tcp`.
    pub listen: Vec<String>,
    /// The pool that answers.
    pub pool: String,
    /// How new flows are spread.
    pub scheduler: Scheduler,
    /// How its packets travel.
    pub forward: Forward,
    /// Whether each of its flows is recorded.
    pub tracked: bool,
    /// Its other pool, if it has one.
    pub fallback: Option<FallbackView>,
    /// Its traffic.
    pub counters: CountersView,
}

/// The pool that answers for a service while no backend of its own pool is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackView {
    /// Its name.
    pub pool: String,
    /// The families that it answers for now.
    pub answers: Vec<Family>,
}

impl ServiceView {
    /// The fallback pool, if it answers for a family now.
    pub fn answering_fallback(&self, family: Family) -> Option<&str> {
        let fallback = self.fallback.as_ref()?;
        let answers = fallback.answers.contains(&family);
        answers.then_some(fallback.pool.as_str())
    }

    /// The families of the addresses that it listens on.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        let families = self.listen.iter().filter_map(|listen| family(listen));
        families
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
    }
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// How packets travel to its backends.
    pub forward: Forward,
    /// Addresses that its packets come from.
    pub source: Vec<String>,
    /// Its backends, in the order of the configuration.
    pub backends: Vec<BackendView>,
    /// Its slot tables, one for each family that a service needs.
    #[serde(default)]
    pub slots: Vec<SlotsView>,
    /// How its health is taken, by services of each family; none where it has no checks.
    #[serde(default)]
    pub health: Vec<PoolHealthView>,
}

/// How far the slots of a table are from belonging to one backend each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsView {
    /// The family of the services that use it.
    pub family: Family,
    /// Slots whose flows all belong to one backend; no flow of theirs is looked up.
    pub settled: u32,
    /// Slots that go over to another backend; their flows are recorded.
    pub moving: u32,
    /// Slots that have gone over, but for flows that are recorded.
    pub mixed: u32,
    /// The changes that slots are in, the oldest first.
    pub changes: Vec<ChangeView>,
}

/// A change that slots are in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// How long ago it began.
    pub age_seconds: u64,
    /// Slots that go over to another backend in it.
    pub moving: u32,
    /// Slots that have gone over, but for flows that are recorded.
    pub mixed: u32,
    /// Why slots are still moving; none if none is, or none need be any more.
    pub held_up: Option<HoldUpView>,
}

/// What keeps slots moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldUpView {
    /// What it is.
    pub by: HoldUpCause,
    /// How long yet, if nothing else happens.
    pub seconds: u64,
}

/// What may keep slots moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldUpCause {
    /// The settle time since the change.
    SettleTime,
    /// The settle time since a packet of a flow could not be recorded.
    UnrecordedData,
    /// The time in which a flow whose first packet could not be recorded becomes known.
    UnrecordedOpens,
}

/// A backend of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendView {
    /// Its name, unique in its pool.
    pub name: String,
    /// Its configured weight.
    pub weight: u16,
    /// What operators say of it, over the configuration, if they do.
    #[serde(default, rename = "override")]
    pub overridden: Option<Override>,
    /// What is left of it, if it is drained.
    #[serde(default)]
    pub remaining: Option<RemainingView>,
    /// The share of the pool's slots that it has now, 0 to 1.
    pub share: f64,
    /// Its addresses.
    pub addresses: Vec<AddressView>,
    /// Its traffic.
    pub counters: CountersView,
    /// How its clients' connections began; none where backends reply to the clients by themselves.
    #[serde(default)]
    pub handshakes: Option<HandshakesView>,
}

impl BackendView {
    /// The weight that operators leave it.
    pub fn weight_in_force(&self) -> u16 {
        let said = self.overridden.zip(Weight::new(self.weight));
        said.map_or(self.weight, |(said, weight)| said.over(weight).value())
    }
}

/// What is left of a backend that is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemainingView {
    /// Its live flows of services that record all of them; none if there is no such service.
    pub tracked: Option<u64>,
    /// Its flows of other services that were seen since the drain began; none if there is no such service.
    pub seen: Option<u64>,
    /// How long yet until flows that are silent since then count as ended, if nothing else happens; none if they do.
    pub settle_seconds: Option<u64>,
}

impl RemainingView {
    /// Flows that are known.
    pub fn flows(&self) -> u64 {
        self.tracked.unwrap_or(0) + self.seen.unwrap_or(0)
    }

    /// Whether nothing is left.
    pub fn is_nothing(&self) -> bool {
        self.flows() == 0 && self.settle_seconds.is_none()
    }
}

/// One address of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressView {
    /// The address, with the port if it has one of its own: `198.18.1.11:8080`, `fd00:181::11`.
    pub address: String,
    /// Where packets to it leave, and to whom.
    pub next_hop: NextHopView,
    /// Whether packets are sent there now.
    pub in_tables: bool,
    /// Its health; none where its pool has no checks.
    #[serde(default)]
    pub health: Option<HealthView>,
}

impl AddressView {
    /// Its family.
    pub fn family(&self) -> Option<Family> {
        family(&self.address)
    }

    /// Whether new flows are sent there, if its backend has this weight and it has no health of its own.
    pub fn is_used(&self, weight: u16) -> bool {
        let health = self.health.as_ref();
        let (used, weight) = health.map_or((true, weight), |health| (health.used, health.weight));
        self.in_tables && used && weight > 0
    }
}

/// Where packets to an address leave, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NextHopView {
    /// They can be sent.
    Resolved {
        /// Name of the device that they leave by.
        device: String,
        /// Destination of the Ethernet frame, as `02:00:00:00:00:01`.
        mac: String,
        /// Largest packet, in bytes from the IP header on.
        mtu: u32,
    },
    /// They can't.
    Unresolved {
        /// Why; reads on after "ADDRESS: ".
        reason: String,
    },
}

impl NextHopView {
    /// Whether packets can be sent.
    pub fn is_resolved(&self) -> bool {
        match self {
            Self::Resolved { .. } => true,
            Self::Unresolved { .. } => false,
        }
    }
}

/// The traffic of a service or a backend since the agent's tables were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersView {
    /// Packets from clients.
    pub packets_in: u64,
    /// IP bytes from clients.
    pub bytes_in: u64,
    /// Packets to clients; none where backends reply to the clients by themselves.
    pub packets_out: Option<u64>,
    /// IP bytes to clients, likewise.
    pub bytes_out: Option<u64>,
    /// Flows opened.
    pub new_flows: u64,
}

impl CountersView {
    /// What the kernel counted, of traffic in that mode.
    pub fn of(counters: &Counters, forward: Forward) -> Self {
        let out = |count| forward.replies_return().then_some(count);
        Self {
            packets_in: counters.packets_in,
            bytes_in: counters.bytes_in,
            packets_out: out(counters.packets_out),
            bytes_out: out(counters.bytes_out),
            new_flows: counters.new_flows,
        }
    }
}

/// How TCP connections to a backend began, since the agent's tables were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakesView {
    /// SYNs of clients.
    pub syns: u64,
    /// Of these, answered with SYN and ACK.
    pub answered: u64,
    /// Of these, answered with a reset.
    pub refused: u64,
}

impl HandshakesView {
    /// What the kernel counted, of connections in that mode.
    pub fn of(handshakes: &Handshakes, forward: Forward) -> Option<Self> {
        let &Handshakes {
            syns,
            answered,
            refused,
        } = handshakes;
        forward.replies_return().then_some(Self {
            syns,
            answered,
            refused,
        })
    }
}

/// The family of `198.18.0.10:80/tcp`, `[fd00::1]:80`, `fd00::1` and the like.
fn family(text: &str) -> Option<Family> {
    host(text).parse().ok().map(Family::of)
}

/// The address in such a text, without brackets, port and protocol.
fn host(text: &str) -> &str {
    let address = text.split('/').next().unwrap_or(text);
    if let Some(inside) = address.strip_prefix('[') {
        return inside.split(']').next().unwrap_or(inside);
    }
    match address.split_once(':') {
        // More than one colon: IPv6 without a port.
        Some((ip, ports)) if !ports.contains(':') => ip,
        Some(_) | None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_from_every_form() {
        for (text, expected) in [
            ("198.18.0.10:80/tcp", Some(Family::Ipv4)),
            ("198.18.1.11:8080", Some(Family::Ipv4)),
            ("198.18.1.11", Some(Family::Ipv4)),
            ("[fd00::1]:53/udp", Some(Family::Ipv6)),
            ("[fd00::1]:53", Some(Family::Ipv6)),
            ("fd00::1", Some(Family::Ipv6)),
            ("web1", None),
            ("", None),
        ] {
            assert_eq!(family(text), expected, "{text}");
        }
    }

    #[test]
    fn verdicts_add_up_and_name_every_reason() {
        let verdicts = Verdicts::of(|outcome| u64::from(outcome.code()) + 1);
        assert_eq!(verdicts.passed.len(), PassReason::ALL.len());
        assert_eq!(verdicts.dropped.len(), DropReason::ALL.len());
        assert_eq!(verdicts.answered.len(), AnswerReason::ALL.len());
        assert_eq!(verdicts.forwarded, 1);
        assert_eq!(
            verdicts.received,
            1 + verdicts.answered_total() + verdicts.passed_total() + verdicts.dropped_total()
        );
    }

    #[test]
    fn one_way_modes_have_nothing_to_say_of_replies() {
        let counters = Counters {
            packets_in: 3,
            ..Counters::default()
        };
        let one_way = CountersView::of(&counters, Forward::Ipip);
        assert_eq!((one_way.packets_in, one_way.packets_out), (3, None));
        let both = CountersView::of(&counters, Forward::FullNat);
        assert_eq!(both.bytes_out, Some(0));
    }
}
