//! Which slot table each family of a pool has: one, and for a while after a change of what finds a
//! flow's slot (the table's size, the client's prefix that a service hashes) the one before it.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{MAX_TABLES, TableId, TableSize};
use serde::{Deserialize, Serialize};

use crate::model::Family;

/// Whose a table is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Owner {
    /// The pool's name.
    pub(super) pool: String,
    /// The family of the services that it is for.
    pub(super) family: Family,
    /// What chooses a slot.
    pub(super) by: Choice,
}

/// What chooses a new flow's slot in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Choice {
    /// The flow's hash.
    Hash,
    /// Whose turn it is: such a table is told nothing of the one before it.
    Turns,
}

/// What finds the slots of flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// How many slots there are.
    pub(super) size: TableSize,
    /// How many bits of a client's address choose its slot, by service; 0: the whole flow does.
    pub(super) prefixes: BTreeMap<String, u8>,
}

/// A table that services lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) id: TableId,
    /// The prefix that its services had when it was made: that of flows whose slots in it a table in
    /// its place refers to.
    pub(super) prefix: u8,
    /// The prefixes that its services have: others than the wanted ones while a change waits.
    pub(super) prefixes: BTreeMap<String, u8>,
}

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoTable {
    /// None of this size is left.
    Full,
    /// Flows are to be found in another table, but its services hash by several prefixes: one table
    /// can't refer to another by more than one.
    Prefixes(Owner),
}

/// The slot tables there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Recorded>", into = "Vec<Recorded>")]
pub(super) struct SlotTables {
    used: BTreeMap<Owner, Used>,
    retiring: BTreeMap<TableId, Retiring>,
}

/// A table as it is kept on disk.
#[derive(Serialize, Deserialize)]
struct Recorded {
    owner: Owner,
    table: Place,
    role: Role,
}

/// What a table is there for.
#[derive(Serialize, Deserialize)]
enum Role {
    Used {
        prefix: u8,
        prefixes: BTreeMap<String, u8>,
    },
    Retiring {
        replaced_by: Option<Place>,
    },
}

/// A [`TableId`] on disk.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Place {
    slots: u32,
    index: u32,
}

/// A table that no service leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retiring {
    pub(super) owner: Owner,
    /// The table in its place, whose slots refer to it.
    pub(super) replaced_by: Option<TableId>,
}

impl SlotTables {
    /// Gives each of `wanted` its table: the one that it has, if flows find their slots in it as
    /// before. A second change waits until the first is over.
    pub(super) fn assign(
        &mut self,
        wanted: impl IntoIterator<Item = (Owner, Finding)>,
    ) -> Result<(), NoTable> {
        let wanted: Vec<(Owner, Finding)> = wanted.into_iter().collect();
        self.abandon_unless(&wanted.iter().map(|(owner, _)| owner).collect());
        for (owner, finding) in wanted {
            let used = match self.used.get(&owner).cloned() {
                Some(before) => self.follow(before, &owner, finding)?,
                None => {
                    let table = self.taken_back(&owner, finding.size);
                    let table = table.or_else(|| self.free_table(finding.size));
                    Used::new(table.ok_or(NoTable::Full)?, finding)
                }
            };
            self.used.insert(owner, used);
        }
        Ok(())
    }

    /// What follows a table.
    fn follow(&mut self, before: Used, owner: &Owner, to: Finding) -> Result<Used, NoTable> {
        let rehashed = before.rehashed(&to);
        if self.replaces(before.id) {
            return Ok(before.waiting(to));
        }
        if !rehashed && before.id.size == to.size {
            let prefixes = to.prefixes;
            return Ok(Used { prefixes, ..before });
        }
        if !before.is_uniform(&to) {
            return Err(NoTable::Prefixes(owner.clone()));
        }
        let table = self.free_table(to.size).ok_or(NoTable::Full)?;
        self.retire(before.id, owner, Some(table));
        let prefix = match rehashed {
            true => before.next_prefix(&to),
            false => before.prefix,
        };
        Ok(Used {
            prefix,
            ..Used::new(table, to)
        })
    }

    /// The tables that services lead to.
    pub(super) fn used(&self) -> &BTreeMap<Owner, Used> {
        &self.used
    }

    /// The tables that no service leads to.
    pub(super) fn retiring(&self) -> &BTreeMap<TableId, Retiring> {
        &self.retiring
    }

    /// Nothing refers to a retiring table any more.
    pub(super) fn release(&mut self, table: TableId) {
        self.retiring.remove(&table);
    }

    /// Retires the tables of all owners but these, and lets their predecessors go too.
    fn abandon_unless(&mut self, wanted: &BTreeSet<&Owner>) {
        let abandoned = self.used.extract_if(.., |owner, _| !wanted.contains(owner));
        let abandoned = abandoned.map(|(owner, used)| (owner, used.id));
        let abandoned: Vec<(Owner, TableId)> = abandoned.collect();
        for (owner, table) in abandoned {
            for before in self.retiring.values_mut() {
                if before.replaced_by == Some(table) {
                    before.replaced_by = None;
                }
            }
            self.retire(table, &owner, None);
        }
    }

    fn retire(&mut self, table: TableId, owner: &Owner, replaced_by: Option<TableId>) {
        let owner = owner.clone();
        let replaced_by = replaced_by.filter(|_| owner.by == Choice::Hash);
        self.retiring.insert(table, Retiring { owner, replaced_by });
    }

    fn replaces(&self, table: TableId) -> bool {
        let mut retiring = self.retiring.values();
        retiring.any(|before| before.replaced_by == Some(table))
    }

    /// The table that an owner who comes back had.
    fn taken_back(&mut self, owner: &Owner, size: TableSize) -> Option<TableId> {
        let was_its = |(id, was): &(&TableId, &Retiring)| {
            id.size == size && was.owner == *owner && was.replaced_by.is_none()
        };
        let table = self.retiring.iter().find(was_its).map(|(id, _)| *id)?;
        self.retiring.remove(&table);
        Some(table)
    }

    fn free_table(&self, size: TableSize) -> Option<TableId> {
        let used = self.used.values().map(|used| used.id);
        let taken: BTreeSet<TableId> = used.chain(self.retiring.keys().copied()).collect();
        (0..MAX_TABLES)
            .map(|index| TableId { size, index })
            .find(|table| !taken.contains(table))
    }
}

impl From<Vec<Recorded>> for SlotTables {
    fn from(recorded: Vec<Recorded>) -> Self {
        let mut tables = Self::default();
        for Recorded { owner, table, role } in recorded {
            let id = table.id();
            match role {
                Role::Used { prefix, prefixes } => {
                    let used = Used {
                        id,
                        prefix,
                        prefixes,
                    };
                    tables.used.insert(owner, used);
                }
                Role::Retiring { replaced_by } => {
                    let replaced_by = replaced_by.map(Place::id);
                    let was = Retiring { owner, replaced_by };
                    tables.retiring.insert(id, was);
                }
            }
        }
        tables
    }
}

impl From<SlotTables> for Vec<Recorded> {
    fn from(tables: SlotTables) -> Self {
        let used = tables.used.into_iter().map(|(owner, used)| Recorded {
            owner,
            table: Place::of(used.id),
            role: Role::Used {
                prefix: used.prefix,
                prefixes: used.prefixes,
            },
        });
        let retiring = tables.retiring.into_iter().map(|(id, was)| Recorded {
            owner: was.owner,
            table: Place::of(id),
            role: Role::Retiring {
                replaced_by: was.replaced_by.map(Place::of),
            },
        });
        used.chain(retiring).collect()
    }
}

impl Place {
    fn of(TableId { size, index }: TableId) -> Self {
        let slots = size.slots();
        Self { slots, index }
    }

    fn id(self) -> TableId {
        let of_slots = |size: &TableSize| size.slots() == self.slots;
        let size = TableSize::ALL.into_iter().find(of_slots);
        TableId {
            size: size.unwrap_or_default(),
            index: self.index,
        }
    }
}

impl Used {
    fn new(id: TableId, Finding { prefixes, .. }: Finding) -> Self {
        let prefix = prefixes.values().min().copied().unwrap_or(0);
        Self {
            id,
            prefix,
            prefixes,
        }
    }

    /// Services that go on, with the prefix that they had and the one that they will have.
    fn going_on<'a>(&'a self, to: &'a Finding) -> impl Iterator<Item = (u8, u8)> + 'a {
        let before = self.prefixes.iter();
        before.filter_map(|(name, &was)| Some((was, *to.prefixes.get(name)?)))
    }

    /// Whether flows of a service that goes on find other slots.
    fn rehashed(&self, to: &Finding) -> bool {
        self.going_on(to).any(|(was, will)| was != will)
    }

    /// Whether the flows of all services that go on are found by the table's own prefix.
    fn is_uniform(&self, to: &Finding) -> bool {
        self.going_on(to).all(|(was, _)| was == self.prefix)
    }

    /// The prefix that the services change to.
    fn next_prefix(&self, to: &Finding) -> u8 {
        let mut changed = self.going_on(to).filter(|(was, will)| was != will);
        changed.next().map_or(self.prefix, |(_, will)| will)
    }

    /// The same table, while the change before is not over: services that go on keep their prefix.
    fn waiting(self, to: Finding) -> Self {
        let mut prefixes = to.prefixes;
        for (name, prefix) in &mut prefixes {
            *prefix = self.prefixes.get(name).copied().unwrap_or(*prefix);
        }
        Self { prefixes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use TableSize::{Large, Medium, Small};

    fn owner(pool: &str) -> Owner {
        Owner {
            pool: pool.into(),
            family: Family::Ipv4,
            by: Choice::Hash,
        }
    }

    fn table(size: TableSize, index: u32) -> TableId {
        TableId { size, index }
    }

    fn finding(size: TableSize, prefixes: &[(&str, u8)]) -> Finding {
        let prefixes = prefixes.iter().map(|&(name, bits)| (name.into(), bits));
        let prefixes = prefixes.collect();
        Finding { size, prefixes }
    }

    fn assigned(tables: &mut SlotTables, wanted: &[(&str, TableSize)]) -> Vec<TableId> {
        let owners = wanted
            .iter()
            .map(|&(pool, size)| (owner(pool), finding(size, &[])));
        tables.assign(owners).unwrap();
        let used = |&(pool, _): &(&str, TableSize)| tables.used[&owner(pool)].id;
        wanted.iter().map(used).collect()
    }

    /// The table of a pool whose services hash by these prefixes, and what is noted of it.
    fn hashed(tables: &mut SlotTables, prefixes: &[(&str, u8)]) -> Result<Used, NoTable> {
        let mut next = tables.clone();
        next.assign([(owner("a"), finding(Small, prefixes))])?;
        *tables = next;
        Ok(tables.used[&owner("a")].clone())
    }

    fn retiring(tables: &SlotTables) -> Vec<(TableId, Option<TableId>)> {
        let all = tables.retiring.iter();
        all.map(|(id, was)| (*id, was.replaced_by)).collect()
    }

    #[test]
    fn tables_stay_and_freed_ones_wait_to_be_released() {
        let mut tables = SlotTables::default();
        let both = [("a", Small), ("b", Small)];
        let (t0, t1, t2) = (table(Small, 0), table(Small, 1), table(Small, 2));
        assert_eq!(assigned(&mut tables, &both), [t0, t1]);
        assert_eq!(
            assigned(&mut tables, &[("c", Small), ("b", Small)]),
            [t2, t1]
        );
        assert_eq!(retiring(&tables), [(t0, None)]);
        // Who comes back gets its own one back.
        assert_eq!(assigned(&mut tables, &both), [t0, t1]);
        tables.release(t2);
        assert_eq!(
            assigned(&mut tables, &[("b", Small), ("d", Small)]),
            [t1, t2]
        );
    }

    #[test]
    fn a_second_change_of_size_waits_for_the_first() {
        let mut tables = SlotTables::default();
        let (small, medium) = (table(Small, 0), table(Medium, 0));
        assert_eq!(assigned(&mut tables, &[("a", Small)]), [small]);
        assert_eq!(assigned(&mut tables, &[("a", Medium)]), [medium]);
        assert_eq!(retiring(&tables), [(small, Some(medium))]);
        for size in [Small, Large] {
            assert_eq!(assigned(&mut tables, &[("a", size)]), [medium]);
            assert_eq!(retiring(&tables), [(small, Some(medium))]);
        }
        tables.release(small);
        let large = table(Large, 0);
        assert_eq!(assigned(&mut tables, &[("a", Large)]), [large]);
        assert_eq!(retiring(&tables), [(medium, Some(large))]);
    }

    #[test]
    fn with_a_pool_both_its_tables_go() {
        let mut tables = SlotTables::default();
        assigned(&mut tables, &[("a", Small)]);
        assigned(&mut tables, &[("a", Medium)]);
        assigned(&mut tables, &[]);
        let gone = [(table(Small, 0), None), (table(Medium, 0), None)];
        assert_eq!(retiring(&tables), gone);
    }

    #[test]
    fn there_are_so_many_tables_of_a_size() {
        let pools: Vec<String> = (0..=MAX_TABLES).map(|n| n.to_string()).collect();
        let wanted = |n: usize| {
            let pools = pools[..n].iter();
            pools.map(|pool| (owner(pool), finding(Small, &[])))
        };
        assert_eq!(
            SlotTables::default().assign(wanted(MAX_TABLES as usize)),
            Ok(())
        );
        assert_eq!(
            SlotTables::default().assign(wanted(pools.len())),
            Err(NoTable::Full)
        );
    }

    #[test]
    fn a_service_that_hashes_by_another_prefix_gets_another_table() {
        let mut tables = SlotTables::default();
        let (t0, t1) = (table(Small, 0), table(Small, 1));
        let first = hashed(&mut tables, &[("web", 0)]).unwrap();
        assert_eq!((first.id, first.prefix), (t0, 0));
        let second = hashed(&mut tables, &[("web", 24)]).unwrap();
        assert_eq!((second.id, second.prefix), (t1, 24));
        assert_eq!(retiring(&tables), [(t0, Some(t1))]);
        // The next change waits, and the service hashes as before until then.
        let waiting = hashed(&mut tables, &[("web", 16), ("new", 8)]).unwrap();
        assert_eq!((waiting.id, waiting.prefix), (t1, 24));
        assert_eq!(waiting.prefixes["web"], 24);
        assert_eq!(waiting.prefixes["new"], 8);
    }

    #[test]
    fn services_of_several_prefixes_share_a_table_as_long_as_none_changes() {
        let mut tables = SlotTables::default();
        let t0 = table(Small, 0);
        hashed(&mut tables, &[("web", 0)]).unwrap();
        let both = hashed(&mut tables, &[("web", 0), ("app", 24)]).unwrap();
        assert_eq!((both.id, both.prefix), (t0, 0));
        let refused = hashed(&mut tables, &[("web", 0), ("app", 16)]);
        assert_eq!(refused, Err(NoTable::Prefixes(owner("a"))));
        // Who is gone has no flows to keep.
        let other = hashed(&mut tables, &[("web", 8)]).unwrap();
        assert_eq!((other.id, other.prefix), (table(Small, 1), 8));
    }
}
