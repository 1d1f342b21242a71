//! Positions, and that no plan loses a service on its way from one set of them to another.

use std::{net::Ipv4Addr, sync::LazyLock};

use lb_common::abi::{Scheduler, Service, ServiceSpec, ServiceTraits, TableId, TableSize};
use proptest::{prelude::*, sample::subsequence};

use super::*;
use crate::{
    kernel::{FakeTables, KernelTables as _},
    plan::{self, Operation, Tables},
};

type Key = ServiceKey<Ipv4Address>;

const SALT: u64 = 0;

/// Keys that all lie at the lowest positions, which they fill to three quarters.
static CROWD: LazyLock<Vec<Key>> = LazyLock::new(|| {
    const POSITIONS: u32 = 256;
    let keys = (0..u32::MAX).map(|n| key(n / 4, n as u16 % 4));
    let crowded = |key: &Key| key.positions(SALT).iter().all(|at| *at < POSITIONS);
    keys.filter(crowded).take(192).collect()
});

fn key(address: u32, port: u16) -> Key {
    let address = Ipv4Addr::from_bits(0xc612_0000 ^ address).into();
    ServiceKey::service(address, (80 + port).to_be_bytes(), 6)
}

/// The entries of a configuration: those of a later one differ.
fn tables(placement: &Placement<Ipv4Address>, configuration: u32) -> Tables {
    let mut tables = Tables::default();
    let (size, traits, prefix) = (TableSize::Small, ServiceTraits::NONE, 0);
    let table = TableId { size, index: 0 };
    for (key, &at) in placement {
        let id = configuration;
        let spec = ServiceSpec {
            id,
            table,
            traits,
            scheduler: Scheduler::Hash,
            prefix,
        };
        tables.services.ipv4.insert(at, Service::new(*key, spec));
    }
    tables
}

/// What the packet path finds.
fn found(tables: &Tables, key: &Key) -> Option<u32> {
    let at = |position| tables.services.ipv4.get(&position);
    let mut positions = key.positions(SALT).into_iter();
    let service = positions.find_map(|position| at(position).filter(|s| s.is(key)));
    service.map(Service::id)
}

#[test]
fn ten_thousand_services_find_their_positions() {
    let keys: Vec<_> = (0..10_000).map(|n| key(n / 4, n as u16 % 4)).collect();
    let (salt, positions) = find(&keys, &[]).unwrap();
    assert_eq!(positions.ipv4.len(), keys.len());
    for key in &keys {
        assert!(key.positions(salt).contains(&positions.ipv4[key]));
    }
}

#[test]
fn a_key_without_room_is_named() {
    let unplaced = place(&Placement::new(), &CROWD, SALT).unwrap_err();
    assert!(CROWD.contains(&unplaced));
}

/// Random sets out of a crowd that can just be placed: from none to one, to the next, and so on.
fn sets() -> impl Strategy<Value = Vec<Vec<Key>>> {
    let set = subsequence(CROWD.clone(), 40..=110).prop_shuffle();
    prop::collection::vec(set, 2..5)
}

proptest! {
    #[test]
    fn entries_stay_where_they_are_unless_another_needs_the_place(sets in sets()) {
        let mut before = Placement::new();
        for keys in sets {
            let Ok(now) = place(&before, &keys, SALT) else { continue };
            prop_assert_eq!(now.len(), keys.len());
            for (key, at) in &now {
                prop_assert!(key.positions(SALT).contains(at));
            }
            let again = place(&now, &keys, SALT).unwrap();
            prop_assert_eq!(&again, &now);
            // Without new ones, nothing moves.
            let fewer: Vec<Key> = keys[keys.len() / 2..].to_vec();
            for (key, at) in place(&now, &fewer, SALT).unwrap() {
                prop_assert_eq!(at, now[&key]);
            }
            before = now;
        }
    }

    /// Wherever a plan has come to, a service of both configurations is found, and a service of
    /// none is not.
    #[test]
    fn no_prefix_of_a_plan_loses_a_service(sets in sets()) {
        let mut fake = FakeTables::default();
        let (mut before, mut number) = (Placement::new(), 0);
        for keys in sets {
            let Ok(now) = place(&before, &keys, SALT) else { continue };
            let (old, new) = (tables(&before, number), tables(&now, number + 1));
            prop_assert_eq!(&fake.tables.services, &old.services);
            for operation in plan::diff(&old, &new) {
                fake.apply(&operation).unwrap();
                for key in CROWD.iter() {
                    let held = found(&fake.tables, key);
                    match (before.contains_key(key), now.contains_key(key)) {
                        (true, true) => prop_assert!(held.is_some(), "{:?} is lost", key),
                        (true, false) => prop_assert!(held.is_none_or(|id| id == number)),
                        (false, true) => prop_assert!(held.is_none_or(|id| id == number + 1)),
                        (false, false) => prop_assert_eq!(held, None),
                    }
                }
            }
            prop_assert_eq!(&fake.tables.services, &new.services);
            (before, number) = (now, number + 1);
        }
    }

    /// A plan that was broken off leaves some entries at both their positions. The next one reaches
    /// its goal from there, and loses nobody either.
    #[test]
    fn a_plan_after_one_that_was_broken_off_loses_nobody(sets in sets(), cut in 0.0..1.0f64) {
        let mut fake = FakeTables::default();
        let mut before = Placement::new();
        let mut there: Vec<Key> = Vec::new();
        for keys in sets {
            let Ok(now) = place(&before, &keys, SALT) else { continue };
            let new = tables(&now, 1);
            let operations = plan::diff(&fake.tables, &new);
            let length = (operations.len() as f64 * cut) as usize;
            for operation in &operations[..length] {
                fake.apply(operation).unwrap();
            }
            let held = fake.tables.clone();
            there.retain(|key| now.contains_key(key) && found(&held, key).is_some());
            for operation in plan::diff(&held, &new) {
                fake.apply(&operation).unwrap();
                for key in &there {
                    prop_assert!(found(&fake.tables, key).is_some(), "{:?} is lost", key);
                }
            }
            prop_assert_eq!(&fake.tables.services, &new.services);
            (before, there) = (now, keys);
        }
    }
}

/// Entries that change places, which no placement asks for: all but one are found all the time.
#[test]
fn a_ring_is_broken_at_one_entry() {
    let key = |n: u32| CROWD[n as usize];
    let ring = |shift: u32| (0..3).map(|n| (key(n), (n + shift) % 3)).collect();
    let (old, new) = (tables(&ring(0), 0), tables(&ring(1), 0));
    let plan = plan::diff(&old, &new);
    assert_eq!(plan.len(), 3, "{plan:?}");
    let mut held = old;
    for operation in &plan {
        assert!(matches!(operation, Operation::SetService(..)));
        held.apply(operation);
        let lost = (0..3).filter(|&n| !held.services.ipv4.values().any(|s| s.is(&key(n))));
        assert!(lost.count() <= 1);
    }
    assert_eq!(held, new);
}
