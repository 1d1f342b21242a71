//! What a plan may and may not do on its way.

use super::*;

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

/// A tracked flow looks for its backend in the slots: a backend there that is dead is none.
#[test]
fn no_slot_names_a_backend_that_is_dead() {
    let config = config();
    let (old, new) = (desired(&config, &ALL), desired(&config, &ALL[1..]));
    let mut held = old.clone();
    let plan = plan::diff(&old, &new);
    assert!(
        plan.iter()
            .any(|operation| matches!(operation, Operation::SetBackend(..)))
    );
    for operation in plan {
        held.apply(&operation);
        let slots = held.slots.values().flatten();
        let mut named = slots.map(|slot| slot.current()).filter(|&index| index != 0);
        assert!(
            named.all(|index| held.backends[&index].is_alive()),
            "{operation:?}"
        );
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
