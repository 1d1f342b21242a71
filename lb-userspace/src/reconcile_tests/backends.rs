//! Who is in the tables, and who of them takes what.

use super::*;

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
        own: &BTreeSet::new(),
        links: &links,
        hops: &hops,
        standings: &Standings::default(),
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
            own: &BTreeSet::new(),
            links: &links,
            hops: &hops,
            standings: &Standings::default(),
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
        own: &BTreeSet::new(),
        links: &links,
        hops: &hops,
        standings: &Standings::default(),
        hertz: 250,
    };
    let tables = state::desired(inputs, &mut Memo::default()).tables;
    assert!(tables.backends.is_empty() && tables.next_hops.is_empty());
}
