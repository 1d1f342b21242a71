//! What keeps its number from one configuration to the next, and what gets another.

use std::net::Ipv4Addr;

use lb_common::abi::{Address, FlowEntry, FlowKey};
use zerocopy::FromZeros as _;

use super::*;
use crate::{
    model::{Family, Forward, Listen, Pool, Protocol},
    state::fixtures::{backend, config, ip, pool, service},
};

const V4: Family = Family::Ipv4;
const V6: Family = Family::Ipv6;

/// Two rounds in which nothing but these indices is named.
fn free(registry: &mut Registry, named: &[u32]) -> Vec<u32> {
    let named = named.iter().copied().collect();
    let mut round = || {
        registry.indices_mut().begin(&named);
        registry.indices_mut().finish(&named)
    };
    round();
    round()
}

/// A pool of one backend for each of these names.
fn ipip(backends: &[&str]) -> Pool {
    let backends = backends.iter().map(|name| {
        let last = name.bytes().map(u32::from).sum::<u32>();
        let address = Ipv4Addr::from_bits(0xc612_0200 + last).to_string();
        backend(name, 100, &[&address])
    });
    pool("tunnel", Forward::Ipip, &[], backends.collect())
}

fn with(backends: &[&str]) -> Config {
    let mut config = config();
    config.pools[1] = ipip(backends);
    config
}

/// The indices of the second pool's backends, by name.
fn indices(config: &Config, ids: &Ids) -> BTreeMap<String, BackendRef> {
    let backends = config.pools[1].backends.iter().enumerate();
    let index = |n: usize| ids.backends[&(1, n, V4)];
    backends.map(|(n, b)| (b.name.clone(), index(n))).collect()
}

#[test]
fn the_same_configuration_keeps_every_number() {
    let (first, ids) = Registry::default().assign(&config()).unwrap();
    let (second, again) = first.assign(&config()).unwrap();
    assert_eq!(ids, again);
    assert_eq!(second.assign(&config()).unwrap().1, ids);
    // The first numbers are counted in the order of the files.
    assert_eq!((ids.services, ids.devices["front"]), (vec![0, 1], 1));
    assert_eq!(ids.backends[&(0, 0, V4)], BackendRef::new(1, 0));
    assert_eq!(ids.sources[&(0, V6)], (1, 1));
}

#[test]
fn the_order_of_the_files_does_not_matter() {
    let (registry, before) = Registry::default().assign(&config()).unwrap();
    let mut turned = config();
    turned.services.reverse();
    turned.pools.reverse();
    turned.pools[1].backends.reverse();
    turned.agent.interfaces.reverse();
    for service in &mut turned.services {
        service.pool = 1 - service.pool;
        service.listen.reverse();
    }
    let (_, after) = registry.assign(&turned).unwrap();
    assert_eq!(after.services, [1, 0]);
    assert_eq!(after.devices, before.devices);
    assert_eq!(after.next_hops, before.next_hops);
    assert_eq!(after.positions, before.positions);
    assert_eq!(after.tables[&(1, V6)], before.tables[&(0, V6)]);
    assert_eq!(after.sources[&(1, V6)], before.sources[&(0, V6)]);
    for family in Family::ALL {
        assert_eq!(
            after.backends[&(1, 1, family)],
            before.backends[&(0, 0, family)]
        );
    }
}

#[test]
fn a_backend_of_which_anything_in_its_entry_changed_is_another() {
    type Change = fn(&mut Pool);
    let (registry, ids) = Registry::default().assign(&config()).unwrap();
    let changes: [(Change, bool); 8] = [
        (|pool| pool.forward = Forward::Nat, true),
        (|pool| pool.gue.port = 9, false),
        (|pool| pool.backends[0].addresses[0].port = Some(9), true),
        (
            |pool| pool.backends[0].addresses[0].ip = ip("198.18.1.9"),
            true,
        ),
        (|pool| pool.backends[0].name = "z".into(), true),
        (
            |pool| pool.source.insert(0, ip("198.18.1.253").into()),
            true,
        ),
        (|pool| pool.source.insert(0, ip("fd00:1::fd").into()), false),
        (
            |pool| pool.backends[0].weight = crate::model::Weight::DEFAULT,
            false,
        ),
    ];
    for (n, (change, another)) in changes.into_iter().enumerate() {
        let mut changed = config();
        change(&mut changed.pools[0]);
        let (_, after) = registry.assign(&changed).unwrap();
        let (was, is) = (ids.backends[&(0, 0, V4)], after.backends[&(0, 0, V4)]);
        assert_eq!(was != is, another, "change {n}");
        assert!(is.index() == was.index() || is.index() > 5, "change {n}");
        assert_eq!(after.backends[&(1, 0, V4)], ids.backends[&(1, 0, V4)]);
    }
}

#[test]
fn a_backend_that_comes_back_is_itself_until_nothing_names_it() {
    let all = with(&["a", "b"]);
    let (registry, ids) = Registry::default().assign(&all).unwrap();
    let was = indices(&all, &ids)["a"];
    let (registry, without) = registry.assign(&with(&["b"])).unwrap();
    let held = ids.next_hops[&all.pools[1].backends[0].addresses[0].ip];
    assert!(!without.next_hops.values().any(|&n| n == held));
    // Something names it still: it comes back as it was, and so does the way there.
    let mut named = registry.clone();
    assert!(free(&mut named, &[was.index()]).is_empty());
    let (_, back) = named.assign(&all).unwrap();
    assert_eq!(indices(&all, &back), indices(&all, &ids));
    assert_eq!(back.next_hops, ids.next_hops);
    // Nothing does: another gets the index, in the next generation.
    let mut unnamed = registry;
    assert_eq!(free(&mut unnamed, &[]), [was.index()]);
    let other = with(&["b", "c"]);
    let (_, after) = unnamed.assign(&other).unwrap();
    let next = BackendRef::new(was.index(), was.generation() + 1);
    assert_eq!(indices(&other, &after)["c"], next);
}

#[test]
fn sources_stay_as_long_as_an_index_is_held_that_refers_to_them() {
    let (registry, ids) = Registry::default().assign(&config()).unwrap();
    assert_eq!(ids.sources[&(0, V4)], (0, 1));
    let mut changed = config();
    changed.pools[0].source = vec![ip("198.18.1.253").into(), ip("fd00:1::fe").into()];
    let (registry, after) = registry.assign(&changed).unwrap();
    assert_eq!(after.sources[&(0, V4)], (2, 1));
    assert_eq!(after.sources[&(0, V6)], (1, 1));
    let address = "198.18.1.253".parse().unwrap();
    assert_eq!(after.source_addresses.ipv4, BTreeMap::from([(2, address)]));
    // Back: the piece is still there. Without the index, it is another pool's.
    assert_eq!(registry.assign(&config()).unwrap().1.sources, ids.sources);
    let mut registry = registry;
    assert_eq!(free(&mut registry, &[]).len(), 2);
    let more = pool("more", Forward::FullNat, &["198.18.1.9"], vec![]);
    changed.pools.push(more);
    let (_, after) = registry.assign(&changed).unwrap();
    assert_eq!(after.sources[&(2, V4)], (0, 1));
}

#[test]
fn another_size_is_another_table_until_the_one_before_is_released() {
    let (registry, ids) = Registry::default().assign(&config()).unwrap();
    let key = (1, V4);
    let before = ids.tables[&key];
    let mut large = config();
    large.pools[1].slots = TableSize::Large;
    let (mut registry, ids) = registry.assign(&large).unwrap();
    let after = ids.tables[&key];
    assert_eq!(after.size, TableSize::Large);
    assert_eq!(ids.old_tables, BTreeMap::from([(key, before)]));
    assert!(ids.abandoned.is_empty());
    // The way back waits.
    let (_, waiting) = registry.assign(&config()).unwrap();
    assert_eq!(
        (&waiting.tables, &waiting.old_tables),
        (&ids.tables, &ids.old_tables)
    );
    registry.release_table(before);
    let (registry, ids) = registry.assign(&config()).unwrap();
    assert_eq!((ids.tables[&key], ids.old_tables[&key]), (before, after));
    // Without the pool's service nothing leads to either.
    let mut without = config();
    without.services.pop();
    let (_, ids) = registry.assign(&without).unwrap();
    assert!(ids.old_tables.is_empty());
    assert_eq!(ids.abandoned, BTreeSet::from([before, after]));
}

#[test]
fn services_go_on_counting_where_they_were() {
    let (registry, _) = Registry::default().assign(&config()).unwrap();
    let mut other = config();
    other.services[0].name = "other".into();
    let (registry, ids) = registry.assign(&other).unwrap();
    assert_eq!(ids.services, [2, 1]);
    assert_eq!(registry.assign(&config()).unwrap().1.services, [0, 1]);
}

/// Listens whose positions are among the lowest `positions` under this salt.
fn crowd(salt: u64, positions: u32, count: usize) -> Vec<Listen> {
    let listen = |n: u32| {
        let address = (Ipv4Addr::from_bits(0xc613_0000 + n / 8), 80 + n as u16 % 8).into();
        Listen::exact(address, Protocol::Tcp)
    };
    let crowded = |listen: &Listen| match listen.address.ip() {
        IpAddr::V4(ip) => {
            let key = named::service_key(Ipv4Address::from(ip), listen);
            key.positions(salt).iter().all(|at| *at < positions)
        }
        IpAddr::V6(_) => false,
    };
    (0..u32::MAX)
        .map(listen)
        .filter(crowded)
        .take(count)
        .collect()
}

#[test]
fn a_service_without_room_is_named_and_nothing_is_changed() {
    let (registry, ids) = Registry::default().assign(&config()).unwrap();
    let mut crowded = config();
    let mut web = service("crowd", 0, &[]);
    // More than there are positions for them.
    web.listen = crowd(ids.salt, 1024, 1025);
    crowded.services.push(web);
    let error = registry.assign(&crowded).unwrap_err().to_string();
    assert!(error.contains("no room for 198."), "{error}");
    assert!(error.contains("sluice detach"), "{error}");
    assert_eq!(registry.assign(&config()).unwrap().1, ids);
    // As it says: another salt has room.
    assert_ne!(Ids::assign(&crowded).unwrap().salt, ids.salt);
}

#[test]
fn limits_are_those_of_the_tables() {
    let mut many = config();
    let interfaces = (0..MAX_DEVICES).map(|n| n.to_string());
    many.agent.interfaces = interfaces.collect();
    let error = Registry::default().assign(&many).unwrap_err();
    let (what, count, limit) = ("interfaces", 256, 255);
    assert_eq!(error, Error::TooMany { what, count, limit });
    // As many as there may be, but all others.
    many.agent.interfaces.pop();
    let (registry, _) = Registry::default().assign(&config()).unwrap();
    let error = registry.assign(&many).unwrap_err();
    assert_eq!(error, Error::NoRoomBeside { what, limit });
}

/// An entry of IPv4 for a service's packets or, without one, for what comes to an address.
fn entry(service: u32, to: &str) -> (FlowKey<Ipv4Address>, FlowEntry<Ipv4Address>) {
    let to: Ipv4Addr = to.parse().unwrap();
    let key = FlowKey::new(Ipv4Address::ZERO, to.into(), [0; 2], [0; 2], 6);
    let mut entry = FlowEntry::new_zeroed();
    entry.service = service;
    (key, entry)
}

#[test]
fn entries_are_looked_for_that_services_or_source_addresses_have_which_cross() {
    let (registry, ids) = Registry::default().assign(&config()).unwrap();
    let (web, tunnel) = (ids.services[0], ids.services[1]);
    let mut crosses = config();
    let six = backend("six", 100, &["fd00:1::9"]);
    crosses.pools[0].backends.push(six);
    let (registry, after) = registry.assign(&crosses).unwrap();
    let of = |ids: &Ids, service, to| {
        let (key, entry) = entry(service, to);
        ids.is_unmapped(&key, &entry)
    };
    for (service, to, crosses) in [
        (web, "198.18.0.10", true),
        (tunnel, "198.18.0.20", false),
        (tunnel, "198.18.1.254", true),
    ] {
        assert!(!of(&ids, service, to));
        assert_eq!(of(&after, service, to), crosses, "{service}, {to}");
    }
    assert_eq!([&ids, &after].map(Ids::looks_for_unmapped), [false, true]);
    let (_, over) = registry.without_unmapped().assign(&crosses).unwrap();
    assert!(!over.looks_for_unmapped());
}
