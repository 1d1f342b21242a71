//! Snapshots for tests: an agent where all is well, and one where much is not.

use super::health::{CheckView, HealthMode, HealthView, HistoryView, PassiveView, PoolHealthView};
use super::snapshot::{
    AddressView, AgentView, BackendView, ChangeView, CountersView, ExceptionsView, HandshakesView,
    HoldUpCause, HoldUpView, InterfaceView, Mode, NextHopView, PoolView, Readiness, RemainingView,
    RemovedView, ServiceView, SlotsView, Snapshot, Source, Verdicts,
};
use crate::{
    health::{State, Status},
    model::{Family, Forward, Scheduler},
    overrides::{Drain, Override, Then},
    vrrp::{FamilyView, InstanceView, NotifyView, PeerView, TransitionView},
};
use lb_common::{
    abi::{Counters, Handshakes},
    datapath::{AnswerReason, DropReason, Outcome, PassReason},
};
use std::collections::BTreeMap;

/// A source that always tells the same.
pub(crate) struct Fixed(pub(crate) Snapshot);

impl Source for Fixed {
    fn snapshot(&self) -> Snapshot {
        self.0.clone()
    }
}

/// A full-nat service of both families and an ipip one, all as it should be.
pub(crate) fn healthy() -> Snapshot {
    Snapshot {
        agent: AgentView {
            version: "0.1.0".into(),
            commit: "abc1234".into(),
            layout: 1,
            pid: 812,
            started_unix_seconds: 1_700_000_000,
            uptime_seconds: 3 * 86_400 + 4 * 3600 + 59,
            config: "/etc/sluice/sluice.toml".into(),
            control: "/run/sluice/control.sock".into(),
            stats: "127.0.0.1:9633".into(),
            seed_fingerprint: "9f86d081".into(),
            warnings: Vec::new(),
            generation: 3,
            taken_unix_seconds: 1_700_000_600,
            reload_error: None,
            removed: Vec::new(),
        },
        readiness: Readiness::Ready,
        interfaces: vec![interface("eth0", 2), interface("eth1", 3)],
        services: vec![
            service(
                "web",
                &["198.18.0.10:80/tcp", "[fd00:18::10]:80/tcp"],
                Forward::FullNat,
            ),
            service("dns", &["198.18.0.53:53/udp"], Forward::Ipip),
        ],
        pools: vec![web(), dns()],
        exceptions: ExceptionsView {
            ipv4: 0,
            ipv6: 0,
            limit: 65_536,
        },
        vrrp: vec![floating("gateway", "master")],
    }
}

/// Everything that can be wrong, once each.
pub(crate) fn troubled() -> Snapshot {
    let mut snapshot = healthy();
    snapshot.readiness = Readiness::NotReady {
        reason: "the program is not attached to eth1".into(),
    };
    snapshot.agent.warnings = vec!["packets to 198.18.0.10 don't end on this host".into()];
    snapshot.interfaces[1].mode = Mode::Generic;
    snapshot.interfaces[1].mode_reason =
        Some("the driver has no XDP (Operation not supported)".into());
    snapshot.agent.removed = vec![RemovedView {
        service: "old".into(),
        resets: false,
        until_unix_seconds: 1_700_000_030,
    }];
    snapshot.agent.reload_error = Some("/etc/sluice/sluice.toml: no such file".into());
    let mut apart = floating("apart", "backup");
    apart.families[0].role = "master".into();
    let mut fault = floating("database", "fault");
    fault.fault = Some("the interface has no carrier".into());
    let mut less = floating("storage", "backup");
    less.effective_priority = 50;
    less.failing = vec!["pool web has 0 healthy of at least 1".into()];
    let mut flaps = floating("inside", "backup");
    flaps.flapping = true;
    snapshot.vrrp = vec![apart, fault, less, flaps];
    snapshot.exceptions.ipv4 = 923;
    snapshot.pools[1].slots[0] = SlotsView {
        family: Family::Ipv4,
        settled: 65_000,
        moving: 400,
        mixed: 137,
        changes: vec![change(7_400, 0, 137, None), change(62, 400, 0, Some(7_738))],
    };
    let backend = &mut snapshot.pools[1].backends[0];
    backend.overridden = Some(Override {
        weight: None,
        drain: Some(Drain {
            since_unix_seconds: 1_700_270_000,
            deadline_unix_seconds: Some(1_700_270_600),
            then: Then::Reset,
        }),
    });
    backend.remaining = Some(RemainingView {
        tracked: None,
        seen: Some(17),
        settle_seconds: Some(300),
    });
    let address = &mut snapshot.pools[1].backends[0].addresses[0];
    address.in_tables = false;
    address.next_hop = NextHopView::Unresolved {
        reason: "198.18.2.11 on eth1 does not answer ARP".into(),
    };
    let pool = &mut snapshot.pools[0];
    pool.health = Family::ALL.map(panics).to_vec();
    let [first, second] = [0, 1].map(|n| &pool.backends[n].addresses[0]);
    let (up, down) = (up(&first.address), down(&second.address));
    pool.backends[0].addresses[0].health = Some(up);
    pool.backends[1].addresses[0].health = Some(down);
    let address = &mut pool.backends[1].addresses[1];
    address.health = Some(refuses(&address.address));
    snapshot
}

fn floating(name: &str, role: &str) -> InstanceView {
    let transition = TransitionView {
        role: "master".into(),
        reason: "silence".into(),
        count: 1,
    };
    let family = |family, peer: &str| FamilyView {
        family,
        role: role.into(),
        since_unix_seconds: 1_700_000_010,
        peer: Some(PeerView {
            address: peer.into(),
            priority: 100,
            interval_ms: 100,
            same_addresses: true,
        }),
        sent: 12_345,
        resignations: 1,
        received: 17,
        refused: [("checksum".to_owned(), 2)].into(),
        contested: 0,
        transitions: vec![transition.clone()],
    };
    InstanceView {
        name: name.into(),
        interface: "eth0".into(),
        vrid: 51,
        version: 3,
        priority: 150,
        effective_priority: 150,
        sync_group: None,
        interval_ms: 100,
        addresses: [
            "198.18.0.10/24",
            "fe80::200:5eff:fe00:233/64",
            "fd00:18::10/64",
        ]
        .map(Into::into)
        .into(),
        fault: None,
        failing: vec![],
        flapping: false,
        families: vec![
            family(Family::Ipv4, "198.18.0.3"),
            family(Family::Ipv6, "fe80::3"),
        ],
        notify: Some(notified()),
        errors: [("send".to_owned(), 1)].into(),
    }
}

fn notified() -> NotifyView {
    let mut view = NotifyView::default();
    view.outcomes
        .extend([("done".to_owned(), 2), ("failed".to_owned(), 1)]);
    view.failure = Some("it ended with status 3".into());
    view
}

fn panics(family: Family) -> PoolHealthView {
    PoolHealthView {
        family,
        mode: HealthMode::Panic,
        up: Some(1),
        of: Some(3),
    }
}

/// Of a backend that came back a minute ago.
fn up(target: &str) -> HealthView {
    let cause = format!("{target} answers, 2nd success in a row");
    let what = format!("is up: {cause}");
    HealthView {
        state: State::Up,
        since_unix_seconds: 1_700_270_000,
        used: true,
        weight: 20,
        advice: Some("weight: 50".into()),
        slow_start: Some(4),
        checks: vec![CheckView {
            check: "http GET /healthz".into(),
            target: target.into(),
            status: Status::Up,
            cause: Some(cause),
            passed: 1_234,
            failed: BTreeMap::from([("refused".into(), 3), ("timeout".into(), 1)]),
            unknown: BTreeMap::new(),
            last_microseconds: 1_207,
        }],
        passive: Some(PassiveView {
            status: Status::Up,
            cause: None,
            hold_seconds: None,
            until_unix_seconds: None,
        }),
        history: vec![
            happened(1_700_269_000, "down", "is down: it refused the connection"),
            happened(1_700_270_000, "up", &what),
        ],
    }
}

fn down(target: &str) -> HealthView {
    let cause = format!("{target} refused the connection, 3rd failure in a row");
    let mut view = up(target);
    view.state = State::Down;
    view.checks[0].status = Status::Down;
    view.checks[0].unknown.insert("local".into(), 2);
    view.history = vec![happened(
        1_700_270_000,
        "down",
        &format!("is down: {cause}"),
    )];
    view.checks[0].cause = Some(cause);
    HealthView {
        advice: None,
        slow_start: None,
        weight: 50,
        ..view
    }
}

/// Of a backend whose clients are refused, though its check finds it well.
fn refuses(target: &str) -> HealthView {
    let cause = "12 of 12 SYNs of clients refused by reset within 2s";
    HealthView {
        state: State::Down,
        used: true,
        advice: None,
        slow_start: None,
        weight: 50,
        passive: Some(PassiveView {
            status: Status::Down,
            cause: Some(cause.into()),
            hold_seconds: Some(20),
            until_unix_seconds: Some(1_700_270_020),
        }),
        history: vec![happened(
            1_700_270_000,
            "down",
            &format!("is down: {cause}"),
        )],
        ..up(target)
    }
}

fn happened(at_unix_seconds: u64, state: &str, text: &str) -> HistoryView {
    HistoryView {
        at_unix_seconds,
        state: state.into(),
        text: text.into(),
    }
}

fn change(age_seconds: u64, moving: u32, mixed: u32, seconds: Option<u64>) -> ChangeView {
    let by = HoldUpCause::SettleTime;
    ChangeView {
        age_seconds,
        moving,
        mixed,
        held_up: seconds.map(|seconds| HoldUpView { by, seconds }),
    }
}

/// Slots as they are when nothing has changed for long.
fn settled(family: Family) -> SlotsView {
    SlotsView {
        family,
        settled: 65_537,
        moving: 0,
        mixed: 0,
        changes: Vec::new(),
    }
}

fn interface(name: &str, index: u32) -> InterfaceView {
    InterfaceView {
        name: name.into(),
        index,
        lower: None,
        mode: Mode::Native,
        mode_reason: None,
        verdicts: Verdicts::of(|outcome| match outcome {
            Outcome::Forward(_) => 1_234_567,
            Outcome::Pass(PassReason::Arp) => 4,
            Outcome::Pass(PassReason::NoService) => 1_021,
            Outcome::Drop(DropReason::TtlExpired) => 2,
            Outcome::Answer(AnswerReason::EchoReply) => 7,
            Outcome::Pass(_) | Outcome::Drop(_) | Outcome::Answer(_) => 0,
        }),
    }
}

fn service(name: &str, listen: &[&str], forward: Forward) -> ServiceView {
    ServiceView {
        name: name.into(),
        listen: listen.iter().map(|&text| text.into()).collect(),
        pool: name.into(),
        scheduler: Scheduler::Maglev,
        forward,
        tracked: forward == Forward::FullNat,
        fallback: None,
        counters: counters(forward, 3),
    }
}

fn web() -> PoolView {
    PoolView {
        name: "web".into(),
        forward: Forward::FullNat,
        source: vec!["198.18.1.254".into()],
        backends: vec![
            backend(
                "web1",
                (100, 2.0 / 3.0),
                &["198.18.1.11:8080", "[fd00:181::11]:8080"],
                Forward::FullNat,
            ),
            backend(
                "web2",
                (50, 1.0 / 3.0),
                &["198.18.1.12:8080", "[fd00:181::12]:8080"],
                Forward::FullNat,
            ),
        ],
        slots: Family::ALL.map(settled).to_vec(),
        health: Vec::new(),
    }
}

fn dns() -> PoolView {
    PoolView {
        name: "dns".into(),
        forward: Forward::Ipip,
        source: Vec::new(),
        backends: vec![backend("dns1", (100, 1.0), &["198.18.2.11"], Forward::Ipip)],
        slots: vec![settled(Family::Ipv4)],
        health: Vec::new(),
    }
}

fn backend(
    name: &str,
    (weight, share): (u16, f64),
    addresses: &[&str],
    forward: Forward,
) -> BackendView {
    let address = |&text: &&str| AddressView {
        address: text.into(),
        next_hop: NextHopView::Resolved {
            device: "eth1".into(),
            mac: "02:00:00:00:00:0a".into(),
            mtu: 1500,
        },
        in_tables: true,
        health: None,
    };
    BackendView {
        name: name.into(),
        weight,
        overridden: None,
        remaining: None,
        share,
        addresses: addresses.iter().map(address).collect(),
        counters: counters(forward, 1),
        handshakes: HandshakesView::of(&HANDSHAKES, forward),
    }
}

const HANDSHAKES: Handshakes = Handshakes {
    syns: 617,
    answered: 600,
    refused: 12,
};

fn counters(forward: Forward, factor: u64) -> CountersView {
    let counters = Counters {
        packets_in: 6_172 * factor,
        bytes_in: 1_234_567 * factor,
        packets_out: 5_000 * factor,
        bytes_out: 98_765_432_100 * factor,
        new_flows: 617 * factor,
    };
    CountersView::of(&counters, forward)
}
