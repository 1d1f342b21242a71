//! A configuration, its network, and the parts that tests make others from.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::abi::{TableSize, Tag, Tags};

use super::{Hop, Link, Vlan};
use crate::model::{
    Agent, Backend, BackendAddress, Config, Forward, Gue, Health, Listen, NoBackend, OnDown, Pool,
    Protocol, ReplyLimits, Scheduler, Service, SourcePrefix, Timeouts, Tracking, Udp, Weight,
};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn backend(name: &str, weight: u16, addresses: &[&str]) -> Backend {
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
        server_id: None,
        addresses: addresses.iter().map(address).collect(),
    }
}

pub(crate) fn pool(name: &str, forward: Forward, source: &[&str], backends: Vec<Backend>) -> Pool {
    let source = source.iter().map(|s| s.parse().unwrap()).collect();
    Pool {
        name: name.into(),
        forward,
        source,
        gue: Gue::DEFAULT,
        slots: TableSize::Small,
        backends,
        health: Health::default(),
        checks: Vec::new(),
    }
}

pub(crate) fn service(name: &str, pool: usize, listen: &[&str]) -> Service {
    let listen = listen
        .iter()
        .map(|l| match l.contains('/') {
            true => l.parse().unwrap(),
            false => Listen::exact(l.parse().unwrap(), Protocol::Tcp),
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
        echo: false,
        mss_clamp: None,
        udp: Udp::Flows,
        server_ids: None,
        access: None,
        new_flows: None,
        removed: false,
    }
}

pub(crate) fn config() -> Config {
    Config {
        agent: Agent {
            interfaces: vec!["front".into(), "back".into(), "back.7".into()],
            control: "/c".into(),
            stats: "127.0.0.1:1".parse().unwrap(),
            state: "/s".into(),
            pin: "/p".into(),
            seed: None,
            flows: 1024,
            backends: 1 << 17,
            exceptions: 1024,
            exception_rate: 50_000,
            replies: ReplyLimits {
                errors: 1000,
                errors_per_source: 20,
                resets: 10_000,
                resets_per_source: 200,
            },
            probe_sources: vec![],
            watch: false,
            debug: false,
        },
        access: None,
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
        vrrp: vec![],
    }
}

pub(crate) fn links() -> BTreeMap<String, Link> {
    let link = |ifindex| Link {
        ifindex,
        mac: [2, 0, 0, 0, 0, ifindex as u8],
        mtu: 1500,
        vlan: None,
    };
    let vlan = Link {
        vlan: Some(Vlan {
            bottom: 11,
            tags: Tags::one(Tag::new(0x8100, 7)),
        }),
        ..link(12)
    };
    let links = [("front", link(10)), ("back", link(11)), ("back.7", vlan)];
    links.map(|(name, link)| (name.into(), link)).into()
}

pub(crate) fn hops(addresses: &[&str]) -> BTreeMap<IpAddr, Hop> {
    let hop = |text: &&str| {
        let source = Some(ip("198.18.1.250")).filter(|_| ip(text).is_ipv4());
        (
            ip(text),
            Hop {
                ifindex: 11,
                mac: [4; 6],
                mtu: 1480,
                source,
                lost: None,
            },
        )
    };
    addresses.iter().map(hop).collect()
}

pub(crate) const ALL: [&str; 4] = ["198.18.1.1", "198.18.1.2", "fd00:1::1", "fd00:1::2"];
