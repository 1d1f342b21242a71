//! A registry and a reconciler that go from one configuration to the next, with what must hold on the way.

use super::*;

/// A registry and a reconciler that go from one configuration to the next.
#[derive(Default)]
pub(super) struct Host {
    pub(super) registry: Registry,
    pub(super) applied: Tables,
    pub(super) fake: FakeTables,
    pub(super) memo: Memo,
    pub(super) found: BTreeMap<Identity, BackendRef>,
}

impl Host {
    /// Applies a configuration, looking at the tables after each operation.
    pub(super) fn load(&mut self, config: &Config) -> usize {
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
            let dead = backend.dead(Fate::Service);
            assert_eq!(wanted.backends.get(n).unwrap_or(&dead), backend);
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
                    let dead = |backend: &Backend| backend.dead(Fate::Service);
                    assert_eq!(dead(held), dead(backend));
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
    pub(super) fn sweep(&mut self) {
        let slots = self.fake.tables.slots.values().flatten();
        let named = slots.map(|slot| slot.current()).collect();
        self.registry.indices_mut().begin(&named);
        for index in self.registry.indices_mut().finish(&named) {
            self.found.retain(|_, held| held.index() != index);
        }
    }
}
