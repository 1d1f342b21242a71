//! What services' entries hold, and what leads to them.

use super::*;

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
        own: &BTreeSet::new(),
        links: &links,
        hops: &hops,
        standings: &Standings::default(),
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

#[test]
fn an_address_that_moves_echoes_only_where_it_is() {
    let mut config = config();
    config.services[0].echo = true;
    let address = config.services[0].listen[0].address.ip();
    let IpAddr::V4(ip) = address else {
        panic!("{address} is not of IPv4");
    };
    let echoes = |config: &Config, own: &[IpAddr]| {
        let ids = Ids::assign(config).unwrap();
        let (links, hops) = (links(), hops(&ALL));
        let inputs = Inputs {
            config,
            ids: &ids,
            own: &own.iter().copied().collect(),
            links: &links,
            hops: &hops,
            standings: &Standings::default(),
            hertz: 250,
        };
        let tables = state::desired(inputs, &mut Memo::default()).tables;
        found(&tables, ServiceKey::echo(ip.into(), 1)).is_some()
    };
    assert!(echoes(&config, &[]));
    let mut moving = instance_tests::config(&[Family::Ipv4]);
    moving.addresses[0].ip = address;
    config.vrrp = vec![moving];
    assert!(!echoes(&config, &[]));
    assert!(echoes(&config, &[address]));
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
