//! From a configuration to tables: desired state, difference and application, on fake tables.
//!
//! - `services`: what services' entries hold, and what leads to them;
//! - `backends`: who is in the tables, and who of them takes what;
//! - `steps`: what a plan may and may not do on its way;
//! - `large`: long lists of backends;
//! - `sequences`: configurations that follow each other, on a `host`.

mod backends;
mod host;
mod large;
mod sequences;
mod services;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use lb_common::abi::{
    Backend, BackendRef, Fate, FlowHash, Ipv4Address, Ipv6Address, MAPPED_SOURCE, PortKey,
    PrefixKey, Reverse, Service, ServiceKey, ServiceKind, ServiceTraits, TableId, TableSize, Tag,
    Tags, Verdict, VlanKey, listening_scope, mapped_position, numbered_position, server_scope,
    service_list,
};
use proptest::{prelude::*, sample::subsequence};

use host::Host;

use super::Reconciler;
use crate::{
    kernel::{Error, FakeTables, KernelTables},
    model::{
        self, Access, Config, Family, FlowRate, Forward, Listen, Network, NewFlows, OnDown,
        Protocol, Scheduler, ServerId, ServerIds, SourcePrefix, Tracking, Udp,
    },
    plan::{self, OfFamily, Operation, Tables},
    slots::Assignment,
    state::{
        self, Hop, Identity, Ids, Inputs, Memo, Registry, Standings,
        fixtures::{self, ALL, backend, config, hops, ip, links, pool, service},
    },
    vrrp::instance_tests,
};

fn of_ids(config: &Config, ids: &Ids, resolved: &[&str]) -> Tables {
    with_memo(config, ids, resolved, &mut Memo::default())
}

fn with_memo(config: &Config, ids: &Ids, resolved: &[&str], memo: &mut Memo) -> Tables {
    let (links, hops) = (links(), hops(resolved));
    let inputs = Inputs {
        config,
        ids,
        own: &BTreeSet::new(),
        links: &links,
        hops: &hops,
        standings: &Standings::default(),
        hertz: 250,
    };
    state::desired(inputs, memo).settled(ids)
}

fn desired(config: &Config, resolved: &[&str]) -> Tables {
    of_ids(config, &Ids::assign(config).unwrap(), resolved)
}

/// The second service of the fixtures in `nat` mode, its backend at another port.
fn with_nat(address: &str) -> Config {
    let mut config = config();
    let backends = vec![backend("a", 100, &[address])];
    config.pools[1] = pool("nat", Forward::Nat, &[], backends);
    config
}

/// What lies in the table at an address, port and protocol under this key.
fn found(tables: &Tables, key: ServiceKey<Ipv4Address>) -> Option<Service<Ipv4Address>> {
    let mut all = tables.services.ipv4.values();
    all.find(|service| service.is(&key)).copied()
}

fn listens(written: &[&str]) -> Vec<Listen> {
    written
        .iter()
        .map(|listen| listen.parse().unwrap())
        .collect()
}

fn networks(written: &[&str]) -> Vec<Network> {
    let network = |text: &&str| {
        let (ip, length) = text.split_once('/').unwrap();
        (ip.parse().unwrap(), length.parse().unwrap())
    };
    written.iter().map(network).collect()
}

/// Tags lead to devices that are there, and devices to those that frames leave by.
fn vlans_lead_on(held: &Tables) {
    for device in held.vlans.values() {
        assert!(held.devices.contains_key(&device.device()));
    }
    for device in held.devices.keys() {
        assert!(held.targets.contains_key(device));
    }
}
