//! From a configuration to tables: desired state, difference and application, on fake tables.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::abi::{ServiceKind, TableId, TableSize};

use super::Reconciler;
use crate::{
    kernel::FakeTables,
    model::{
        Agent, Backend, BackendAddress, Config, Family, Forward, Listen, NoBackend, OnDown, Pool,
        Protocol, Scheduler, Service, SourcePrefix, Timeouts, Tracking, Udp, Weight,
    },
    plan::{self, Operation, Tables},
    state::{self, Hop, Ids, Inputs, Link},
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn backend(name: &str, weight: u16, addresses: &[&str]) -> Backend {
    let address = |text: &&str| match text.parse::<SocketAddr>() {
        Ok(socket) => BackendAddress {
            ip: socket.ip(),
            port: Some(socket.port()),
        },
        Err(_) => BackendAddress {
            ip: ip(text),
            port: None,
        },
    };
    let weight = Weight::new(weight).unwrap();
    Backend {
        name: name.into(),
        weight,
        priority: 0,
        max_flows: None,
        addresses: addresses.iter().map(address).collect(),
    }
}

fn pool(name: &str, forward: Forward, source: &[&str], backends: Vec<Backend>) -> Pool {
    let source = source.iter().map(|s| ip(s)).collect();
    Pool {
        name: name.into(),
        forward,
        source,
        gue: crate::model::Gue::DEFAULT,
        slots: TableSize::Small,
        backends,
    }
}

fn service(name: &str, pool: usize, listen: &[&str]) -> Service {
    let listen = listen
        .iter()
        .map(|l| Listen {
            address: l.parse().unwrap(),
            protocol: Protocol::Tcp,
        })
        .collect();
    Service {
        name: name.into(),
        listen,
        pool,
        scheduler: Scheduler::Maglev,
        source_prefix: SourcePrefix::DEFAULT,
        tracking: Tracking::Auto,
        affinity: None,
        settle: Timeouts::DEFAULT.established,
        entry_timeout: Timeouts::DEFAULT.established,
        timeouts: Timeouts::DEFAULT,
        on_down: OnDown::Reschedule,
        fallback: None,
        no_backend: NoBackend::Reject,
        udp: Udp::Flows,
    }
}

fn config() -> Config {
    Config {
        agent: Agent {
            interfaces: vec!["front".into(), "back".into()],
            control: "/c".into(),
            stats: "127.0.0.1:1".parse().unwrap(),
            state: "/s".into(),
            pin: "/p".into(),
            seed: None,
            flows: 1024,
            exceptions: 1024,
            exception_rate: 50_000,
            debug: false,
        },
        services: vec![
            service("web", 0, &["198.18.0.10:80", "[fd00::10]:80"]),
            service("tunnel", 1, &["198.18.0.20:80"]),
        ],
        pools: vec![
            pool(
                "web",
                Forward::FullNat,
                &["198.18.1.254", "fd00:1::fe"],
                vec![
                    backend("a", 100, &["198.18.1.1:8080", "[fd00:1::1]:8080"]),
                    backend("b", 300, &["198.18.1.2:8080", "[fd00:1::2]:8080"]),
                ],
            ),
            pool(
                "tunnel",
                Forward::Ipip,
                &[],
                vec![backend("a", 100, &["198.18.1.1"])],
            ),
        ],
    }
}

fn links() -> BTreeMap<String, Link> {
    let link = |ifindex| Link {
        ifindex,
        mac: [2, 0, 0, 0, 0, ifindex as u8],
        mtu: 1500,
    };
    BTreeMap::from([("front".into(), link(10)), ("back".into(), link(11))])
}

fn hops(addresses: &[&str]) -> BTreeMap<IpAddr, Hop> {
    let hop = |text: &&str| {
        let source = Some(ip("198.18.1.250")).filter(|_| ip(text).is_ipv4());
        (
            ip(text),
            Hop {
                ifindex: 11,
                mac: [4; 6],
                mtu: 1480,
                source,
            },
        )
    };
    addresses.iter().map(hop).collect()
}

const ALL: [&str; 4] = ["198.18.1.1", "198.18.1.2", "fd00:1::1", "fd00:1::2"];

fn desired(config: &Config, resolved: &[&str]) -> Tables {
    let ids = Ids::assign(config).unwrap();
    let (links, hops) = (links(), hops(resolved));
    state::desired(Inputs {
        config,
        ids: &ids,
        links: &links,
        hops: &hops,
    })
}

#[test]
fn every_backend_that_can_be_reached_has_its_share() {
    let config = config();
    let ids = Ids::assign(&config).unwrap();
    let tables = desired(&config, &ALL);
    assert_eq!(tables.backends.len(), 5);
    let shares = state::shares(&ids, &tables);
    for family in Family::ALL {
        let (a, b) = (ids.backends[&(0, 0, family)], ids.backends[&(0, 1, family)]);
        assert!((shares[&a] - 0.25).abs() < 0.01, "{shares:?}");
        assert!((shares[&b] - 0.75).abs() < 0.01, "{shares:?}");
    }
    // The same address is one next hop, whatever pools it is in; its MTU is the smaller one.
    assert_eq!(tables.next_hops.len(), 4);
    assert!(tables.next_hops.values().all(|hop| hop.mtu == 1480));
}

#[test]
fn services_and_source_addresses_have_their_entries() {
    let tables = desired(&config(), &ALL);
    let kinds = |kind| {
        tables
            .services
            .ipv4
            .values()
            .filter(|s| s.kind() == kind)
            .count()
    };
    assert_eq!(
        (kinds(ServiceKind::Service), kinds(ServiceKind::Source)),
        (2, 1)
    );
    assert_eq!(tables.services.ipv6.len(), 2);
    let tracked = tables
        .services
        .ipv4
        .values()
        .filter(|s| s.tracked())
        .count();
    assert_eq!(tracked, 1, "full-nat's alone");
}

#[test]
fn a_backend_without_a_next_hop_is_in_no_slot() {
    let config = config();
    let ids = Ids::assign(&config).unwrap();
    let tables = desired(&config, &["198.18.1.2"]);
    let shares = state::shares(&ids, &tables);
    assert_eq!(shares[&ids.backends[&(0, 0, Family::Ipv4)]], 0.0);
    assert!((shares[&ids.backends[&(0, 1, Family::Ipv4)]] - 1.0).abs() < 1e-9);
    // Nobody is left: the slots are empty, and packets are dropped for want of a backend.
    let tunnel = ids.tables[&(1, Family::Ipv4)];
    assert!(tables.slots[&tunnel].iter().all(|slot| slot.current() == 0));
}

#[test]
fn a_next_hop_through_a_foreign_device_is_none() {
    let config = config();
    let ids = Ids::assign(&config).unwrap();
    let (links, mut hops) = (links(), hops(&ALL));
    hops.values_mut().for_each(|hop| hop.ifindex = 99);
    let tables = state::desired(Inputs {
        config: &config,
        ids: &ids,
        links: &links,
        hops: &hops,
    });
    assert!(tables.backends.is_empty() && tables.next_hops.is_empty());
}

#[test]
fn applying_reaches_the_desired_state_and_then_writes_nothing() {
    let config = config();
    let mut reconciler = Reconciler::new(FakeTables::default());
    for resolved in [&ALL[..], &ALL[..1], &[], &ALL[1..], &ALL] {
        let wanted = desired(&config, resolved);
        reconciler.reconcile(&wanted).unwrap();
        let held = &reconciler.kernel.tables;
        assert_eq!(held.services, wanted.services);
        assert_eq!(held.slots, wanted.slots);
        assert_eq!(held.next_hops, wanted.next_hops);
        assert_eq!(held.devices, wanted.devices);
        for (index, backend) in &wanted.backends {
            assert_eq!(held.backends.get(index), Some(backend));
        }
        let writes = reconciler.kernel.writes;
        assert_eq!(reconciler.reconcile(&wanted).unwrap(), 0);
        assert_eq!(reconciler.kernel.writes, writes);
    }
}

/// Nothing points to what is not there yet: every prefix of a plan is safe.
#[test]
fn every_prefix_of_a_plan_is_safe() {
    let tables = desired(&config(), &ALL);
    let mut fake = FakeTables::default();
    for operation in plan::diff(&Tables::default(), &tables) {
        crate::kernel::KernelTables::apply(&mut fake, &operation).unwrap();
        let held = &fake.tables;
        for slot in held
            .slots
            .values()
            .flatten()
            .filter(|slot| slot.current() != 0)
        {
            let backend = held
                .backends
                .get(&slot.current())
                .expect("a backend before its slots");
            assert!(held.next_hops.contains_key(&backend.next_hop()));
        }
        let tables = |s: ServiceKind, table: TableId| {
            assert!(s != ServiceKind::Service || held.slots.contains_key(&table));
        };
        held.services
            .ipv4
            .values()
            .for_each(|s| tables(s.kind(), s.table()));
        held.services
            .ipv6
            .values()
            .for_each(|s| tables(s.kind(), s.table()));
    }
}

#[test]
fn losing_one_backend_changes_its_slots_alone() {
    let config = config();
    let (old, new) = (desired(&config, &ALL), desired(&config, &ALL[1..]));
    let ids = Ids::assign(&config).unwrap();
    let gone = [
        ids.backends[&(0, 0, Family::Ipv4)],
        ids.backends[&(1, 0, Family::Ipv4)],
    ];
    for operation in plan::diff(&old, &new) {
        match operation {
            Operation::SetSlots(table, changes) => {
                let before = &old.slots[&table];
                assert!(
                    changes
                        .iter()
                        .all(|(n, _)| gone.contains(&before[*n as usize].current()))
                );
            }
            Operation::SetNextHop(index, hop) => {
                assert_eq!(index, ids.next_hops[&ip("198.18.1.1")]);
                assert_eq!(hop.hop.device(), 0);
            }
            Operation::SetBackend(index, backend) => {
                assert!(gone.contains(&index) && !backend.is_alive());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Wherever a plan fails, the next one reaches its goal, also if that is another one.
#[test]
fn a_failure_at_any_operation_is_made_up_for() {
    let config = config();
    let (first, second) = (desired(&config, &ALL), desired(&config, &ALL[1..]));
    let length = plan::diff(&Tables::default(), &first).len();
    for fails_after in 0..length {
        let mut reconciler = Reconciler::new(FakeTables::default());
        reconciler.kernel.fails_after = Some(fails_after);
        reconciler.reconcile(&first).unwrap_err();
        reconciler.kernel.fails_after = None;
        reconciler.reconcile(&second).unwrap();
        let held = &reconciler.kernel.tables;
        assert_eq!(held.slots, second.slots, "after {fails_after}");
        assert_eq!(held.next_hops, second.next_hops, "after {fails_after}");
        assert_eq!(held.services, second.services, "after {fails_after}");
    }
}

#[test]
fn pools_may_share_their_source_addresses() {
    let mut config = config();
    for n in 0..5 {
        let backends = vec![backend("a", 1, &["198.18.1.1"])];
        let name = format!("more-{n}");
        config
            .pools
            .push(pool(&name, Forward::FullNat, &["198.18.1.254"], backends));
    }
    assert!(Ids::assign(&config).is_ok());
}
