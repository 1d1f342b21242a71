//! From a configuration to tables: desired state, difference and application, on fake tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use lb_common::abi::{
    BackendRef, FlowHash, Ipv4Address, Ipv6Address, MAPPED_SOURCE, PortKey, PrefixKey, Reverse,
    Service, ServiceKey, ServiceKind, ServiceTraits, TableId, TableSize, Tag, Tags, Verdict,
    VlanKey, listening_scope, mapped_position, numbered_position, server_scope, service_list,
};
use proptest::{prelude::*, sample::subsequence};

use super::Reconciler;
use crate::{
    kernel::FakeTables,
    model::{
        Access, Config, Family, FlowRate, Forward, Listen, Network, NewFlows, OnDown, Protocol,
        Scheduler, ServerId, ServerIds, SourcePrefix, Tracking, Udp,
    },
    plan::{self, OfFamily, Operation, Tables},
    slots::Assignment,
    state::{
        self, Identity, Ids, Inputs, Memo, Registry,
        fixtures::{self, ALL, backend, config, hops, ip, links, pool, service},
    },
};

fn of_ids(config: &Config, ids: &Ids, resolved: &[&str]) -> Tables {
    with_memo(config, ids, resolved, &mut Memo::default())
}

fn with_memo(config: &Config, ids: &Ids, resolved: &[&str], memo: &mut Memo) -> Tables {
    let (links, hops) = (links(), hops(resolved));
    let inputs = Inputs {
        config,
        ids,
        links: &links,
        hops: &hops,
        hertz: 250,
    };
    state::desired(inputs, memo).settled(ids)
}

fn desired(config: &Config, resolved: &[&str]) -> Tables {
    of_ids(config, &Ids::assign(config).unwrap(), resolved)
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
        let (a, b) = (a.index(), b.index());
        assert!((shares[&a] - 0.25).abs() < 0.01, "{shares:?}");
        assert!((shares[&b] - 0.75).abs() < 0.01, "{shares:?}");
    }
    // The same address is one next hop, whatever pools it is in; its MTU is the smaller one.
    assert_eq!(tables.next_hops.len(), 4);
    assert!(tables.next_hops.values().all(|hop| hop.mtu == 1480));
}

#[test]
fn a_vlan_device_is_one_of_its_own_over_the_device_below() {
    let config = config();
    let ids = Ids::assign(&config).unwrap();
    let tables = desired(&config, &ALL);
    let (below, vlan) = (ids.devices["back"], ids.devices["back.7"]);
    let tags = Tags::one(Tag::new(0x8100, 7));
    let device = tables.devices[&vlan];
    assert_eq!((device.ifindex, device.tags), (12, tags));
    assert_eq!(
        tables.vlans,
        BTreeMap::from([(VlanKey::new(11, tags), device.hop)])
    );
    assert_eq!((tables.targets[&below], tables.targets[&vlan]), (11, 11));
    assert_eq!(tables.devices[&below].tags, Tags::NONE);
    assert_ne!(tables.devices[&below].hop, device.hop);
}

#[test]
fn a_next_hop_behind_a_vlan_device_leaves_through_it() {
    let config = config();
    let ids = Ids::assign(&config).unwrap();
    let (mut links, mut hops) = (links(), hops(&ALL));
    links.get_mut("back.7").unwrap().mtu = 1400;
    hops.values_mut().for_each(|hop| hop.ifindex = 12);
    let inputs = Inputs {
        config: &config,
        ids: &ids,
        links: &links,
        hops: &hops,
        hertz: 250,
    };
    let tables = state::desired(inputs, &mut Memo::default()).tables;
    let vlan = ids.devices["back.7"];
    assert_eq!(tables.next_hops.len(), ALL.len());
    for hop in tables.next_hops.values() {
        assert_eq!((hop.hop.device(), hop.mtu), (vlan, 1400));
    }
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

#[test]
fn the_port_of_a_nat_backend_answers_for_its_service() {
    let config = with_nat("198.18.1.1:8080");
    let ids = Ids::assign(&config).unwrap();
    // Whether or not it can be reached.
    for resolved in [&ALL[..], &[]] {
        let tables = of_ids(&config, &ids, resolved);
        let end = Ipv4Address::from(Ipv4Addr::new(198, 18, 1, 1));
        let entry = found(&tables, ServiceKey::reverse(end, 8080u16.to_be_bytes(), 6)).unwrap();
        assert_eq!(entry.kind(), ServiceKind::Reverse);
        assert_eq!(entry.id(), ids.services[1]);
        let expected = Reverse {
            address: Ipv4Addr::new(198, 18, 0, 20).into(),
            backend: ids.backends[&(1, 0, Family::Ipv4)].index(),
            port: 80u16.to_be_bytes(),
            padding: [0; 2],
        };
        assert_eq!(tables.reverses.ipv4[&entry.reverse_index()], expected);
        assert!(tables.reverses.ipv6.is_empty());
    }
}

fn listens(written: &[&str]) -> Vec<Listen> {
    written
        .iter()
        .map(|listen| listen.parse().unwrap())
        .collect()
}

#[test]
fn ranges_and_prefixes_lead_to_their_service_by_its_number() {
    let mut config = config();
    let written = ["198.18.0.20:8000-8003/tcp", "198.18.4.0/24:53/udp"];
    config.services[1].listen = listens(&written);
    let ids = Ids::assign(&config).unwrap();
    let tables = of_ids(&config, &ids, &ALL);
    let number = ids.services[1];
    let mark = ServiceKey::mark(Ipv4Addr::new(198, 18, 0, 20).into());
    let mark = found(&tables, mark).unwrap();
    assert_eq!(mark.kind(), ServiceKind::Group);
    let range = PortKey::new(mark.group_index(), 6, 8000u16.to_be_bytes(), 14);
    let network = Ipv4Address::from(Ipv4Addr::new(198, 18, 4, 0));
    let prefix = PrefixKey::new(listening_scope::<Ipv4Address>(), network, 24);
    let group = tables.listening[&prefix].unwrap();
    let port = PortKey::new(group, 17, 53u16.to_be_bytes(), 16);
    assert_eq!(
        tables.ports,
        BTreeMap::from([(range, number), (port, number)])
    );
    let positions = [6, 17].map(|protocol| numbered_position(number, protocol));
    assert!(tables.numbered.ipv4.keys().eq(&positions));
    assert!(
        tables
            .numbered
            .ipv4
            .values()
            .all(|entry| entry.id() == number)
    );
    assert!(tables.numbered.ipv6.is_empty());
}

fn networks(written: &[&str]) -> Vec<Network> {
    let network = |text: &&str| {
        let (ip, length) = text.split_once('/').unwrap();
        (ip.parse().unwrap(), length.parse().unwrap())
    };
    written.iter().map(network).collect()
}

#[test]
fn lists_and_limits_are_in_the_tables_before_the_service_that_asks_for_them() {
    let mut config = config();
    config.services[0].access = Some(Access {
        allow: networks(&["192.0.2.0/24", "2001:db8::/32"]),
        deny: networks(&["192.0.2.7/32"]),
    });
    let rate = FlowRate {
        per_second: 100,
        burst: 200,
    };
    config.services[0].new_flows = Some(NewFlows {
        per_source: Some(rate),
        total: None,
        ipv4_bits: 32,
        ipv6_bits: 64,
    });
    let ids = Ids::assign(&config).unwrap();
    let tables = of_ids(&config, &ids, &ALL);
    let key = |address: [u8; 4], bits| {
        let list = service_list::<Ipv4Address>(ids.services[0]);
        PrefixKey::new(list, Ipv4Address::from(Ipv4Addr::from(address)), bits)
    };
    let says = |address, bits| tables.access.get(&key(address, bits)).copied();
    assert_eq!(says([0; 4], 0), Some(Verdict::Deny.number()), "all others");
    assert_eq!(says([192, 0, 2, 0], 24), Some(Verdict::Allow.number()));
    assert_eq!(says([192, 0, 2, 7], 32), Some(Verdict::Deny.number()));
    assert_eq!(tables.access.len(), 5);
    let limits = tables.limits[&ids.services[0]];
    assert_eq!((limits.source.per_second, limits.source.burst), (100, 200));
    assert_eq!(limits.total.per_second, 0, "no limit");
    let address = Ipv4Address::from(Ipv4Addr::new(198, 18, 0, 10));
    let port = ServiceKey::service(address, 80u16.to_be_bytes(), 6);
    let traits = found(&tables, port).unwrap().traits();
    assert!(traits.has(ServiceTraits::LISTED.and(ServiceTraits::LIMITED)));

    let plan = plan::diff(&desired(&fixtures::config(), &ALL), &tables);
    let last = |is: fn(&Operation) -> bool| plan.iter().rposition(is).unwrap();
    let first = |is: fn(&Operation) -> bool| plan.iter().position(is).unwrap();
    let service = first(|o| matches!(o, Operation::SetService(..)));
    assert!(last(|o| matches!(o, Operation::SetAccess(..))) < service);
    assert!(last(|o| matches!(o, Operation::SetLimits(..))) < service);
    let all = Verdict::Deny.number();
    let deny_all = plan
        .iter()
        .rposition(|o| *o == Operation::SetAccess(key([0; 4], 0), all));
    let allow = key([192, 0, 2, 0], 24);
    let allow = plan
        .iter()
        .position(|o| *o == Operation::SetAccess(allow, Verdict::Allow.number()));
    assert!(
        allow < deny_all,
        "nobody who is allowed is kept out meanwhile"
    );
}

#[test]
fn a_nat_backend_answers_from_every_port_for_a_range() {
    let mut config = with_nat("198.18.1.1");
    config.services[1].listen = listens(&["198.18.0.20:8000-8003/tcp"]);
    config
        .services
        .push(service("single", 1, &["198.18.0.21:8001"]));
    config
        .services
        .push(service("other", 1, &["198.18.0.21:8004"]));
    let tracked: Vec<bool> = config.tracked().iter().map(Option::is_some).collect();
    assert_eq!(tracked, [true, true, true, false], "8001 may be either's");
    let ids = Ids::assign(&config).unwrap();
    let tables = of_ids(&config, &ids, &ALL);
    let end = Ipv4Address::from(Ipv4Addr::new(198, 18, 1, 1));
    let entry = |port: u16| found(&tables, ServiceKey::reverse(end, port.to_be_bytes(), 6));
    let recorded = |port| entry(port).map(|entry| entry.tracked());
    assert_eq!(recorded(0), Some(true), "any port");
    assert_eq!(recorded(8001), Some(true));
    assert_eq!(recorded(8004), Some(false));
}

/// Entries of several words are not changed under readers.
#[test]
fn an_end_that_answers_for_another_has_another_number() {
    let mut host = Host::default();
    host.load(&with_nat("198.18.1.1:8080"));
    let before = host.fake.tables.reverses.clone();
    let mut moved = with_nat("198.18.1.1:8080");
    moved.services[1].listen[0].address.set_port(81);
    host.load(&moved);
    let after = &host.fake.tables.reverses.ipv4;
    assert_eq!((before.ipv4.len(), after.len()), (1, 2));
    for (number, reverse) in &before.ipv4 {
        assert_eq!(after[number], *reverse);
    }
}

#[test]
fn this_hosts_addresses_are_marked_where_there_is_nat_or_a_prefix() {
    let own = [ip("198.18.1.250"), ip("198.18.1.254"), ip("fd00:1::fa")];
    let mut registry = Registry::default();
    registry.host_has(own.into());
    let kind = |tables: &Tables, address: Ipv4Addr| {
        let entry = found(tables, ServiceKey::mark(address.into()));
        entry.map(|entry| entry.kind())
    };
    let (plain, source) = (
        Ipv4Addr::new(198, 18, 1, 250),
        Ipv4Addr::new(198, 18, 1, 254),
    );
    let (_, ids) = registry.assign(&with_nat("198.18.1.1")).unwrap();
    let tables = of_ids(&with_nat("198.18.1.1"), &ids, &ALL);
    assert_eq!(kind(&tables, plain), Some(ServiceKind::Own));
    // It is full-nat's too, whose replies must be looked up.
    assert_eq!(kind(&tables, source), Some(ServiceKind::Source));
    let own = |service: &&Service<Ipv6Address>| service.kind() == ServiceKind::Own;
    assert_eq!(tables.services.ipv6.values().filter(own).count(), 1);
    // Elsewhere nobody asks, unless they may lie in a prefix.
    let (_, ids) = registry.assign(&config()).unwrap();
    assert_eq!(kind(&of_ids(&config(), &ids, &ALL), plain), None);
    let mut config = config();
    config.services[1].listen = listens(&["198.18.0.0/16:80/tcp"]);
    let (_, ids) = registry.assign(&config).unwrap();
    let tables = of_ids(&config, &ids, &ALL);
    assert_eq!(kind(&tables, plain), Some(ServiceKind::Own));
}

#[test]
fn a_services_entry_says_how_its_flows_are_told_apart_and_kept() {
    let mut config = config();
    let tunnel = &mut config.services[1];
    let udp = |listen: &str| Listen::exact(listen.parse().unwrap(), Protocol::Udp);
    let listens = [udp("198.18.0.20:80"), udp("[fd00::20]:80")];
    tunnel.listen.extend(listens);
    tunnel.scheduler = Scheduler::SourceHash;
    tunnel.source_prefix = SourcePrefix { ipv4: 24, ipv6: 56 };
    tunnel.on_down = OnDown::Reset;
    tunnel.udp = Udp::Quic;
    let tables = desired(&config, &ALL);
    let address = Ipv4Address::from(Ipv4Addr::new(198, 18, 0, 20));
    let port = 80u16.to_be_bytes();
    let both = [6, 17].map(|protocol| {
        let key = ServiceKey::service(address, port, protocol);
        let entry = found(&tables, key).unwrap();
        (entry.prefix(), entry.traits())
    });
    let tcp = ServiceTraits::RESETS.and(ServiceTraits::REJECTS);
    let quic = ServiceTraits::QUIC.and(ServiceTraits::REJECTS);
    assert_eq!(both, [(24, tcp), (24, quic)]);
    let of_it = |entry: &&Service<Ipv6Address>| entry.traits() == quic;
    let prefixes = tables.services.ipv6.values().filter(of_it);
    assert_eq!(prefixes.map(Service::prefix).collect::<Vec<_>>(), [56]);

    config.services[1].udp = Udp::OnePacket;
    config.services[1].scheduler = Scheduler::Maglev;
    let tables = desired(&config, &ALL);
    let entry = found(&tables, ServiceKey::service(address, port, 17)).unwrap();
    let one_packet = ServiceTraits::REJECTS.and(ServiceTraits::ONE_PACKET);
    assert_eq!((entry.prefix(), entry.traits()), (0, one_packet));
}

/// Connection ids name a backend whatever share of new flows it has, in each family that reaches it.
#[test]
fn connection_ids_name_backends_from_one_configuration_to_the_next() {
    let with = |ids: [Option<[u8; 2]>; 2]| {
        let mut config = config();
        config.services[1].listen = vec!["198.18.0.20:443/udp".parse().unwrap()];
        config.services[1].udp = Udp::Quic;
        config.services[1].server_ids = Some(ServerIds { configuration: 1 });
        config.pools[1].backends = vec![
            backend("a", 100, &["198.18.1.1"]),
            backend("b", 0, &["198.18.1.2"]),
        ];
        for (backend, id) in config.pools[1].backends.iter_mut().zip(ids) {
            backend.server_id = id.and_then(|id| ServerId::new(&id));
        }
        config
    };
    let key = |id: [u8; 2], ids: &Ids| {
        let mut octets = [0; PrefixKey::BYTES];
        octets[..3].copy_from_slice(&[0x20, id[0], id[1]]);
        let scope = server_scope::<Ipv4Address>(ids.services[1]);
        PrefixKey::server(scope, &octets, 3)
    };
    let both = with([Some([1, 2]), Some([1, 3])]);
    let ids = Ids::assign(&both).unwrap();
    let tables = desired(&both, &ALL);
    let named = |id, n| {
        tables.servers.get(&key(id, &ids)) == Some(&ids.backends[&(1, n, Family::Ipv4)].word())
    };
    assert!(named([1, 2], 0) && named([1, 3], 1));
    let service = tables
        .services
        .ipv4
        .values()
        .find(|entry| entry.id() == ids.services[1]);
    assert!(service.unwrap().traits().has(ServiceTraits::SERVER_IDS));

    // `a` has `b`'s id now, and `b` another one.
    let next = desired(&with([Some([1, 3]), Some([9, 9])]), &ALL);
    let mut applied = tables.clone();
    let plan = plan::diff(&tables, &next);
    plan.iter().for_each(|operation| applied.apply(operation));
    assert_eq!(applied.servers, next.servers);
    assert!(!next.servers.contains_key(&key([1, 2], &ids)));

    let mut recorded = both.clone();
    recorded.services[1].tracking = Tracking::Full;
    assert!(desired(&recorded, &ALL).servers.is_empty());
}

/// Where answers do not pass here, nothing can be done about what clients say.
#[test]
fn segment_sizes_are_for_services_whose_answers_pass() {
    let mut config = config();
    for service in &mut config.services {
        service.mss_clamp = Some(1360);
    }
    let pools = config.services.iter().map(|service| service.pool);
    let forwards = pools.map(|pool| config.pools[pool].forward);
    let expected = forwards.filter(|forward| forward.sees_answers()).count();
    assert!(expected > 0 && expected < config.services.len());
    let tables = desired(&config, &ALL);
    let sizes: Vec<u16> = tables.largest_segments.into_values().collect();
    assert_eq!(sizes, vec![1360; expected]);
}

/// The service's entry and the slots change together, or flows would be looked for in wrong slots.
#[test]
fn a_service_hashes_by_its_new_prefix_once_another_table_is_made_for_it() {
    let with = |ipv4| {
        let mut config = config();
        config.services[1].scheduler = Scheduler::SourceHash;
        config.services[1].source_prefix = SourcePrefix { ipv4, ipv6: 128 };
        config
    };
    let (key, mut registry) = ((1, Family::Ipv4), Registry::default());
    let assign = |config: &Config, registry: &Registry| {
        let (next, ids) = registry.assign(config).unwrap();
        (next, ids.prefix(key, 1), ids.table_prefix(key), ids)
    };
    let (next, of_service, of_table, first) = assign(&with(24), &registry);
    assert_eq!((of_service, of_table), (Some(24), 24));
    registry = next;
    let (next, of_service, of_table, second) = assign(&with(16), &registry);
    assert_eq!((of_service, of_table), (Some(16), 16));
    assert_eq!(second.old_tables[&key], first.tables[&key]);
    registry = next;
    let (next, of_service, _, waiting) = assign(&with(8), &registry);
    assert_eq!(of_service, Some(16));
    assert_eq!(waiting.tables, second.tables);
    registry = next;
    registry.release_table(first.tables[&key]);
    let (_, of_service, ..) = assign(&with(8), &registry);
    assert_eq!(of_service, Some(8));
}

#[test]
fn a_backend_without_a_next_hop_is_in_no_slot() {
    let config = config();
    let ids = Ids::assign(&config).unwrap();
    let tables = desired(&config, &["198.18.1.2"]);
    let shares = state::shares(&ids, &tables);
    assert_eq!(shares[&ids.backends[&(0, 0, Family::Ipv4)].index()], 0.0);
    assert!((shares[&ids.backends[&(0, 1, Family::Ipv4)].index()] - 1.0).abs() < 1e-9);
    // Nobody is left: the slots are empty, and packets are dropped for want of a backend.
    let tunnel = ids.tables[&(1, Family::Ipv4)];
    assert!(tables.slots[&tunnel].iter().all(|slot| slot.current() == 0));
}

/// Which backends own slots of a family of a pool, by index.
fn owning(ids: &Ids, tables: &Tables, key: (usize, Family)) -> BTreeSet<u32> {
    let slots = tables.slots[&ids.tables[&key]].iter();
    slots.map(|slot| slot.current()).collect()
}

#[test]
fn all_modes_but_nat_lead_to_backends_of_the_other_family() {
    for forward in [Forward::Ipip, Forward::Gue, Forward::Nat, Forward::FullNat] {
        let mut config = config();
        let backends = vec![
            backend("both", 100, &["fd00:1::1", "198.18.1.1"]),
            backend("six", 100, &["fd00:1::2"]),
        ];
        let sources = ["198.18.1.254", "fd00:1::fe"];
        config.pools[1] = pool("tunnel", forward, &sources, backends);
        let ids = Ids::assign(&config).unwrap();
        let tables = of_ids(&config, &ids, &ALL);
        let index = |n, family| ids.backends[&(1, n, family)].index();
        let own = index(0, Family::Ipv4);
        let crosses = forward != Forward::Nat;
        let other = Some(index(1, Family::Ipv6)).filter(|_| crosses);
        let expected = [own].into_iter().chain(other).collect();
        assert_eq!(
            owning(&ids, &tables, (1, Family::Ipv4)),
            expected,
            "{forward}"
        );
    }
}

/// All that flows of a pool need that have ends of both families lies in IPv6's tables.
#[test]
fn a_pool_that_crosses_has_its_tables_among_those_of_ipv6() {
    let mut config = config();
    let mut backends = vec![backend("six", 100, &["fd00:1::2"])];
    backends.push(backend("both", 100, &["198.18.1.1", "fd00:1::1"]));
    let sources = ["198.18.1.254", "fd00:1::fe"];
    config.pools[0] = pool("web", Forward::FullNat, &sources, backends);
    config.services[0].affinity = Some(Duration::from_secs(60));
    let ids = Ids::assign(&config).unwrap();
    let tables = of_ids(&config, &ids, &ALL);
    let mapped = |text: &str| Ipv6Address::mapped(text.parse::<Ipv4Addr>().unwrap().into());
    assert_eq!(tables.sources.ipv4, BTreeMap::new());
    let of_v4 = ids.sources[&(0, Family::Ipv4)].0;
    assert_eq!(tables.sources.ipv6[&of_v4], mapped("198.18.1.254"));
    let both = ids.backends[&(0, 1, Family::Ipv4)].index();
    let both = tables.backends[&both];
    assert_eq!(both.address::<Ipv6Address>(), mapped("198.18.1.1"));
    assert_eq!(both.sources(), (of_v4, 1));

    let key = ServiceKey::service(
        Ipv4Address::from(Ipv4Addr::new(198, 18, 0, 10)),
        80u16.to_be_bytes(),
        6,
    );
    let entry = found(&tables, key).unwrap();
    assert!(entry.crosses());
    let twin = tables.numbered.ipv6[&mapped_position(entry.id(), 6)];
    assert_eq!(
        (twin.id(), twin.table(), twin.traits()),
        (entry.id(), entry.table(), entry.traits())
    );
    // As many bits of the IPv4 address, behind what is in front of it.
    assert_eq!(twin.prefix(), entry.prefix() + 96);
    let source = tables.numbered.ipv6[&MAPPED_SOURCE];
    assert!(source.kind() == ServiceKind::Source && source.crosses());
    let marks = tables
        .services
        .ipv4
        .values()
        .filter(|e| e.kind() == ServiceKind::Source);
    assert!(marks.map(|mark| mark.crosses()).eq([true]));
}

/// What is recorded names backends: those that were there stay what they are.
#[test]
fn a_pool_that_begins_to_cross_keeps_its_backends_and_goes_on_to() {
    let key = ServiceKey::service(
        Ipv4Address::from(Ipv4Addr::new(198, 18, 0, 10)),
        80u16.to_be_bytes(),
        6,
    );
    let traits = |host: &Host| {
        let traits = found(&host.fake.tables, key).unwrap().traits();
        [ServiceTraits::CROSSES, ServiceTraits::UNMAPPED].map(|one| traits.has(one))
    };
    let mut host = Host::default();
    host.load(&config());
    assert_eq!(traits(&host), [false, false]);
    let before = host.fake.tables.backends.clone();
    let mut crosses = config();
    let six = backend("six", 100, &["fd00:1::1"]);
    crosses.pools[0].backends.push(six);
    for config in [&crosses, &config()] {
        host.load(config);
        for (index, backend) in &before {
            assert_eq!(host.fake.tables.backends[index], *backend);
        }
        assert_eq!(traits(&host), [true, true]);
        let (_, ids) = host.registry.assign(config).unwrap();
        let source = ids.sources[&(0, Family::Ipv4)].0;
        let mapped = Ipv6Address::mapped(Ipv4Addr::new(198, 18, 1, 254).into());
        assert_eq!(host.fake.tables.sources.ipv6[&source], mapped);
    }
    host.registry = host.registry.without_unmapped();
    host.load(&config());
    assert_eq!(traits(&host), [true, false]);
}

/// The pool of the first service's entry for IPv4, by its table.
fn led_to(ids: &Ids, tables: &Tables, address: Ipv4Addr) -> (usize, Family) {
    let key = ServiceKey::service(address.into(), 80u16.to_be_bytes(), 6);
    let entry = found(tables, key).unwrap();
    let mut all = ids.tables.iter();
    *all.find(|(_, table)| **table == entry.table()).unwrap().0
}

/// An entry is not changed under readers: the source is part of who a backend is.
#[test]
fn a_backend_with_another_outer_source_is_another_one() {
    for (forward, configured) in [(Forward::Ipip, None), (Forward::Gue, Some("198.18.1.9"))] {
        let mut config = config();
        let backends = vec![backend("a", 100, &["198.18.1.1"])];
        let sources: Vec<&str> = configured.into_iter().collect();
        config.pools[1] = pool("tunnel", forward, &sources, backends);
        let mut host = Host::default();
        let mut index = |source: &str| {
            let sources = [(ip("198.18.1.1"), ip(source))];
            host.registry.sends_from(sources.into());
            host.load(&config);
            let (_, ids) = host.registry.assign(&config).unwrap();
            let index = ids.backends[&(1, 0, Family::Ipv4)].index();
            let entry = host.fake.tables.backends[&index];
            (index, entry.outer_source::<Ipv4Address>(FlowHash(0)))
        };
        let (first, from_first) = index("198.18.1.250");
        let (second, from_second) = index("198.18.1.251");
        let changes = configured.is_none();
        assert_eq!(
            (first != second, from_first != from_second),
            (changes, changes)
        );
    }
}

#[test]
fn each_flow_has_an_outer_source_of_a_prefix_of_its_own() {
    let mut config = config();
    let mut host = Host::default();
    let mut index = |source: &str| {
        let backends = vec![backend("a", 100, &["198.18.1.1"])];
        config.pools[1] = pool("tunnel", Forward::Ipip, &[source], backends);
        host.load(&config);
        let (_, ids) = host.registry.assign(&config).unwrap();
        let index = ids.backends[&(1, 0, Family::Ipv4)].index();
        (index, host.fake.tables.backends[&index])
    };
    let (one, _) = index("198.18.8.0");
    let (of_its_own, entry) = index("198.18.8.0/24");
    // An entry is not changed under readers.
    assert_ne!(one, of_its_own);
    let from = |hash| {
        let IpAddr::V4(from) = IpAddr::from(entry.outer_source::<Ipv4Address>(FlowHash(hash)))
        else {
            panic!("an IPv4 address");
        };
        from.octets()
    };
    let all: BTreeSet<_> = (0..4096u64)
        .map(|n| from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    assert_eq!(all.len(), 256);
    assert!(all.iter().all(|from| from[..3] == [198, 18, 8]));
}

#[test]
fn a_service_without_a_live_backend_is_led_to_its_fallback_and_back() {
    let mut config = config();
    let backends = vec![backend("sorry", 100, &["198.18.1.2"])];
    config
        .pools
        .push(pool("sorry", Forward::Ipip, &[], backends));
    config.services[1].fallback = Some(2);
    let ids = Ids::assign(&config).unwrap();
    let address = Ipv4Addr::new(198, 18, 0, 20);
    let led = |resolved: &[&str]| {
        let tables = of_ids(&config, &ids, resolved);
        led_to(&ids, &tables, address).0
    };
    assert_eq!(led(&ALL), 1);
    assert_eq!(led(&["198.18.1.2"]), 2);
    assert_eq!(led(&["198.18.1.1"]), 1);
    // Nobody lives anywhere.
    assert_eq!(led(&[]), 1);
    // It always has its slots.
    let tables = of_ids(&config, &ids, &ALL);
    let sorry = ids.backends[&(2, 0, Family::Ipv4)].index();
    let slots = owning(&ids, &tables, (2, Family::Ipv4));
    assert_eq!(slots, [sorry].into());
}

#[test]
fn backends_that_only_finish_what_they_have_are_not_left_for_the_fallback() {
    let mut config = config();
    let backends = vec![
        backend("draining", 0, &["198.18.1.1"]),
        backend("dead", 100, &["198.18.1.2"]),
    ];
    config.pools[1] = pool("tunnel", Forward::Ipip, &[], backends);
    config.services[1].fallback = Some(0);
    let ids = Ids::assign(&config).unwrap();
    let tables = of_ids(&config, &ids, &["198.18.1.1", "fd00:1::1"]);
    assert_eq!(led_to(&ids, &tables, Ipv4Addr::new(198, 18, 0, 20)).0, 1);
}

#[test]
fn new_flows_go_to_the_best_tier_that_has_a_live_backend() {
    let mut config = config();
    let at = |name: &str, weight, priority, address: &str| {
        let mut backend = backend(name, weight, &[address]);
        backend.priority = priority;
        backend
    };
    let backends = vec![
        at("primary", 100, 1, "198.18.1.1"),
        at("drained", 0, 0, "198.18.1.3"),
        at("standby", 100, 5, "198.18.1.2"),
        at("second", 50, 5, "198.18.1.4"),
    ];
    config.pools[1] = pool("tunnel", Forward::Ipip, &[], backends);
    let ids = Ids::assign(&config).unwrap();
    let index = |n| ids.backends[&(1, n, Family::Ipv4)].index();
    let owners = |resolved: &[&str]| {
        let tables = of_ids(&config, &ids, resolved);
        owning(&ids, &tables, (1, Family::Ipv4))
    };
    let all = ["198.18.1.1", "198.18.1.2", "198.18.1.3", "198.18.1.4"];
    // Nobody goes to a tier for the sake of one who takes nothing.
    assert_eq!(owners(&all), [index(0)].into());
    assert_eq!(owners(&all[1..]), [index(2), index(3)].into());
    assert_eq!(owners(&all[2..]), [index(3)].into());
    assert_eq!(owners(&all[2..3]), [0].into());
    // Who waits keeps what he has.
    let (links, hops) = (links(), hops(&all));
    let inputs = Inputs {
        config: &config,
        ids: &ids,
        links: &links,
        hops: &hops,
        hertz: 250,
    };
    let desired = state::desired(inputs, &mut Memo::default());
    let standing = desired.contenders[&(1, Family::Ipv4)].iter();
    let standing: Vec<_> = standing.map(|c| (c.alive, c.available)).collect();
    assert_eq!(
        standing,
        [(true, true), (true, false), (true, false), (true, false)]
    );
}

#[test]
fn a_backend_that_is_down_keeps_its_flows_for_the_grace() {
    const GRACE: Duration = Duration::from_secs(30);
    let mut config = config();
    let backends = vec![
        backend("a", 100, &["198.18.1.1"]),
        backend("b", 100, &["198.18.1.2"]),
    ];
    config.pools[1] = pool("tunnel", Forward::Ipip, &[], backends);
    config.services[1].on_down = OnDown::Keep { grace: GRACE };
    let ids = Ids::assign(&config).unwrap();
    let standing = |lost| {
        let (links, mut hops) = (links(), hops(&ALL));
        hops.get_mut(&ip("198.18.1.1")).unwrap().lost = lost;
        let inputs = Inputs {
            config: &config,
            ids: &ids,
            links: &links,
            hops: &hops,
            hertz: 250,
        };
        let desired = state::desired(inputs, &mut Memo::default());
        // The first pool's services keep nothing.
        let other = &desired.contenders[&(0, Family::Ipv4)][0];
        assert_eq!(
            (other.alive, other.available),
            (lost.is_none(), lost.is_none())
        );
        let own = &desired.contenders[&(1, Family::Ipv4)][0];
        (own.alive, own.available)
    };
    assert_eq!(standing(None), (true, true));
    assert_eq!(standing(Some(Duration::ZERO)), (true, false));
    assert_eq!(standing(Some(GRACE / 2)), (true, false));
    assert_eq!(standing(Some(GRACE)), (false, false));
}

#[test]
fn a_next_hop_through_a_foreign_device_is_none() {
    let config = config();
    let ids = Ids::assign(&config).unwrap();
    let (links, mut hops) = (links(), hops(&ALL));
    hops.values_mut().for_each(|hop| hop.ifindex = 99);
    let inputs = Inputs {
        config: &config,
        ids: &ids,
        links: &links,
        hops: &hops,
        hertz: 250,
    };
    let tables = state::desired(inputs, &mut Memo::default()).tables;
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
        assert_eq!(held.vlans, wanted.vlans);
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
        vlans_lead_on(held);
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
        let numbered = &held.numbered;
        let of_ipv4 = numbered
            .ipv4
            .iter()
            .map(|(at, s)| (*at, s.kind(), s.table()));
        let of_ipv6 = numbered
            .ipv6
            .iter()
            .map(|(at, s)| (*at, s.kind(), s.table()));
        of_ipv4
            .clone()
            .chain(of_ipv6.clone())
            .for_each(|(_, kind, table)| tables(kind, table));
        let numbered: BTreeSet<u32> = of_ipv4.chain(of_ipv6).map(|(at, ..)| at).collect();
        let is_there = |id: &u32| {
            [6, 17]
                .iter()
                .any(|&p| numbered.contains(&numbered_position(*id, p)))
        };
        assert!(
            held.ports.values().all(is_there),
            "a service before its ports"
        );
    }
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

#[test]
fn losing_one_backend_changes_its_slots_alone() {
    let config = config();
    let (old, new) = (desired(&config, &ALL), desired(&config, &ALL[1..]));
    let ids = Ids::assign(&config).unwrap();
    let gone = [
        ids.backends[&(0, 0, Family::Ipv4)].index(),
        ids.backends[&(1, 0, Family::Ipv4)].index(),
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
            Operation::SetLoad(index, load) => {
                assert!(gone.contains(&index) && load.weight == 0);
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

/// A registry and a reconciler that go from one configuration to the next.
#[derive(Default)]
struct Host {
    registry: Registry,
    applied: Tables,
    fake: FakeTables,
    memo: Memo,
    found: BTreeMap<Identity, BackendRef>,
}

impl Host {
    /// Applies a configuration, looking at the tables after each operation.
    fn load(&mut self, config: &Config) -> usize {
        let (registry, ids) = self.registry.assign(config).unwrap();
        let wanted = with_memo(config, &ids, &ALL, &mut self.memo);
        let before = self.applied.clone();
        let operations = plan::diff(&before, &wanted);
        for operation in &operations {
            self.keeps_entries_whole(operation);
            crate::kernel::KernelTables::apply(&mut self.fake, operation).unwrap();
            self.applied.apply(operation);
            vlans_lead_on(&self.fake.tables);
            match operation {
                Operation::SetService(..) | Operation::RemoveTable(_) => {
                    self.services_are_found(&before, &wanted);
                }
                _ => self.slots_lead_on(),
            }
        }
        assert_eq!(self.fake.tables.services, wanted.services);
        for (n, reverse) in &wanted.reverses.ipv4 {
            assert_eq!(self.fake.tables.reverses.ipv4[n], *reverse);
        }
        assert_eq!(self.fake.tables.slots, wanted.slots);
        assert_eq!(self.fake.tables.next_hops, wanted.next_hops);
        assert_eq!(self.fake.tables.devices, wanted.devices);
        assert_eq!(self.fake.tables.vlans, wanted.vlans);
        for (n, backend) in &self.fake.tables.backends {
            assert_eq!(wanted.backends.get(n).unwrap_or(&backend.dead()), backend);
        }
        self.registry = registry;
        ids.abandoned
            .iter()
            .for_each(|t| self.registry.release_table(*t));
        self.identities_stay();
        operations.len()
    }

    /// An entry that lives is not made another's.
    fn keeps_entries_whole(&self, operation: &Operation) {
        let held = &self.applied;
        match operation {
            Operation::SetBackend(n, backend) => {
                if let Some(held) = held.backends.get(n).filter(|held| held.is_alive()) {
                    assert_eq!(held.dead(), backend.dead());
                }
            }
            Operation::SetNextHop(n, hop) if hop.hop.device() != 0 => {
                assert!(!held.next_hops.contains_key(n));
            }
            Operation::SetReverse(n, OfFamily::Ipv4(reverse)) => {
                assert!(held.reverses.ipv4.get(n).is_none_or(|held| held == reverse));
            }
            _ => {}
        }
    }

    /// Services that were there and will be are found, and lead to tables.
    fn services_are_found(&self, before: &Tables, wanted: &Tables) {
        let held = &self.fake.tables;
        let at = |tables: &Tables, key| {
            let mut all = tables.services.ipv4.values().copied();
            all.find(|service| service.is(&key))
        };
        for service in before.services.ipv4.values() {
            let (key, was) = (service.key(), Some(*service));
            let Some(will) = at(wanted, key) else {
                continue;
            };
            let now = at(held, key);
            assert!(now == was || now == Some(will), "{service:?}: {now:?}");
        }
        for service in held.services.ipv4.values() {
            if service.kind() == ServiceKind::Service {
                assert!(held.slots.contains_key(&service.table()));
            }
        }
    }

    /// Slots name backends that are there, and those their next hops.
    fn slots_lead_on(&self) {
        let held = &self.fake.tables;
        let slots = held.slots.values().flatten();
        let named: BTreeSet<u32> = slots.map(|slot| slot.current()).collect();
        for index in named.into_iter().filter(|&index| index != 0) {
            let backend = held.backends[&index];
            assert!(!backend.is_alive() || held.next_hops.contains_key(&backend.next_hop()));
        }
    }

    /// Whoever has an index has had it all along, or since it was free.
    fn identities_stay(&mut self) {
        let held = self.registry.indices().assignments();
        for Assignment {
            identity,
            index,
            generation,
        } in held
        {
            let now = BackendRef::new(index, generation);
            self.found
                .retain(|other, held| *other == identity || held.index() != index);
            let was = self.found.insert(identity, now);
            assert!(was.is_none_or(|was| was == now), "{was:?}, {now:?}");
        }
    }

    /// A round of sweeping.
    fn sweep(&mut self) {
        let slots = self.fake.tables.slots.values().flatten();
        let named = slots.map(|slot| slot.current()).collect();
        self.registry.indices_mut().begin(&named);
        for index in self.registry.indices_mut().finish(&named) {
            self.found.retain(|_, held| held.index() != index);
        }
    }
}

#[test]
fn a_reload_without_a_change_plans_nothing() {
    let mut host = Host::default();
    assert!(host.load(&config()) > 0);
    assert_eq!(host.load(&config()), 0);
    let mut turned = config();
    turned.pools[0].backends.reverse();
    turned.services.reverse();
    assert_eq!(host.load(&turned), 0);
}

#[test]
fn a_backend_that_comes_back_is_written_as_it_was() {
    let mut without = config();
    without.pools[0].backends.remove(0);
    let mut host = Host::default();
    host.load(&config());
    let first = host.fake.tables.clone();
    host.load(&without);
    assert_eq!(host.fake.tables.backends.len(), first.backends.len());
    host.load(&config());
    assert_eq!(host.fake.tables, first);
}

#[test]
fn a_pool_of_another_size_has_two_tables_until_one_is_released() {
    let mut host = Host::default();
    host.load(&config());
    let mut large = config();
    large.pools[1].slots = TableSize::Medium;
    let (mut registry, ids) = host.registry.assign(&large).unwrap();
    let (links, hops) = (links(), hops(&ALL));
    let inputs = Inputs {
        config: &large,
        ids: &ids,
        links: &links,
        hops: &hops,
        hertz: 250,
    };
    let desired = state::desired(inputs, &mut Memo::default());
    let key = (1, Family::Ipv4);
    let (new, old) = (ids.tables[&key], ids.old_tables[&key]);
    let index = ids.backends[&(1, 0, Family::Ipv4)].index();
    for table in [new, old] {
        assert_eq!(desired.owners[&table].len(), table.size.slots() as usize);
        assert!(desired.owners[&table].iter().all(|&n| n == index));
    }
    registry.release_table(old);
    let (_, ids) = registry.assign(&large).unwrap();
    assert!(ids.old_tables.is_empty());
    assert_eq!(ids.tables[&key], new);
}

/// Configurations of a few names, in any combination and order.
fn configs() -> impl Strategy<Value = Config> {
    let backends = subsequence(vec!["a", "b", "c", "d"], 0..=4).prop_shuffle();
    let (nat, large, six) = (any::<bool>(), any::<bool>(), any::<bool>());
    let one = (backends, nat, 0..3usize, 0..2u16, large, six);
    let pools = prop::collection::vec(one, 3);
    let services = subsequence((0..6u16).collect::<Vec<_>>(), 0..=6).prop_shuffle();
    let everything = (pools, services, any::<[u8; 6]>(), any::<bool>());
    everything.prop_map(|(pools, services, leads, vlan)| {
        let pools = pools.into_iter().enumerate();
        let pools = pools.map(|(n, (backends, nat, sources, port, large, six))| {
            let backend = |name: &&str| {
                let (address, port) = (1 + name.as_bytes()[0] % 2, 8000 + port);
                let v4 = format!("198.18.1.{address}");
                let v6 = format!("fd00:1::{address}");
                match nat {
                    true if six && *name == "a" => backend(name, 100, &[&v6]),
                    true => backend(
                        name,
                        100,
                        &[&format!("{v4}:{port}"), &format!("[{v6}]:{port}")],
                    ),
                    false => backend(name, 100, &[&v4]),
                }
            };
            let forward = match (nat, sources) {
                (true, 0) => Forward::Nat,
                (true, _) => Forward::FullNat,
                (false, _) => Forward::Ipip,
            };
            let sources = &["198.18.1.254", "198.18.1.253", "198.18.1.252"][..=sources];
            let backends = backends.iter().map(backend).collect();
            let mut pool = pool(&format!("pool-{n}"), forward, sources, backends);
            if large {
                pool.slots = TableSize::Medium;
            }
            pool
        });
        let services = services.into_iter().map(|n| {
            let lead = usize::from(leads[usize::from(n)] % 3);
            let mut listen = vec![format!("198.18.0.{n}:80"), format!("[fd00::{n}]:80")];
            if lead == 1 {
                let wide = [
                    format!("198.18.0.{n}:8{n}00-8{n}99/tcp"),
                    format!("[fd00:{n}::/32]:*/udp"),
                ];
                listen.extend(wide);
            }
            let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
            service(&format!("service-{n}"), lead, &listen)
        });
        let mut config = Config {
            services: services.collect(),
            pools: pools.collect(),
            ..config()
        };
        config.agent.interfaces.truncate(if vlan { 3 } else { 2 });
        config
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// From any configuration to any other, and on: every step is safe, and the last one reaches
    /// what was asked for.
    #[test]
    fn configurations_follow_each_other(configs in prop::collection::vec((configs(), any::<bool>()), 1..6)) {
        let mut host = Host::default();
        for (config, sweep) in configs {
            host.load(&config);
            prop_assert_eq!(host.load(&config), 0);
            if sweep {
                host.sweep();
                host.sweep();
            }
            // Without histories, no slot says that it moves: old tables go at once.
            let (_, ids) = host.registry.assign(&config).unwrap();
            ids.old_tables.values().for_each(|t| host.registry.release_table(*t));
        }
    }
}
