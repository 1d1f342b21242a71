//! Which slot table each family of a pool has: one, and for a while after a change of size the one
//! before it.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{MAX_TABLES, TableId, TableSize};

use crate::model::Family;

/// A pool's name, and the family of the services that its table is for.
pub(super) type Owner = (String, Family);

/// The slot tables there are.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotTables {
    used: BTreeMap<Owner, TableId>,
    retiring: BTreeMap<TableId, Retiring>,
}

/// A table that no service leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retiring {
    pub(super) owner: Owner,
    /// The table in its place, whose slots refer to it.
    pub(super) replaced_by: Option<TableId>,
}

impl SlotTables {
    /// Gives each of `wanted` its table: the one that it has, if that is of this size. A second
    /// change of size waits until the first is over. `Err` names the size of which no table is left.
    pub(super) fn assign(
        &mut self,
        wanted: impl IntoIterator<Item = (Owner, TableSize)>,
    ) -> Result<(), TableSize> {
        let wanted: Vec<(Owner, TableSize)> = wanted.into_iter().collect();
        self.abandon_unless(&wanted.iter().map(|(owner, _)| owner).collect());
        for (owner, size) in wanted {
            match self.used.get(&owner).copied() {
                Some(table) if table.size == size || self.replaces(table) => {}
                Some(before) => {
                    let table = self.free_table(size).ok_or(size)?;
                    self.retire(before, &owner, Some(table));
                    self.used.insert(owner, table);
                }
                None => {
                    let table = self.taken_back(&owner, size);
                    let table = table.or_else(|| self.free_table(size)).ok_or(size)?;
                    self.used.insert(owner, table);
                }
            }
        }
        Ok(())
    }

    /// The tables that services lead to.
    pub(super) fn used(&self) -> &BTreeMap<Owner, TableId> {
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
        let tables = self.used.values().chain(self.retiring.keys());
        let taken: BTreeSet<TableId> = tables.copied().collect();
        (0..MAX_TABLES)
            .map(|index| TableId { size, index })
            .find(|table| !taken.contains(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use TableSize::{Large, Medium, Small};

    fn owner(pool: &str) -> Owner {
        (pool.into(), Family::Ipv4)
    }

    fn table(size: TableSize, index: u32) -> TableId {
        TableId { size, index }
    }

    fn assigned(tables: &mut SlotTables, wanted: &[(&str, TableSize)]) -> Vec<TableId> {
        let owners = wanted.iter().map(|&(pool, size)| (owner(pool), size));
        tables.assign(owners).unwrap();
        let used = |&(pool, _): &(&str, TableSize)| tables.used[&owner(pool)];
        wanted.iter().map(used).collect()
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
        let wanted = |n: usize| pools[..n].iter().map(|pool| (owner(pool), Small));
        assert_eq!(
            SlotTables::default().assign(wanted(MAX_TABLES as usize)),
            Ok(())
        );
        assert_eq!(
            SlotTables::default().assign(wanted(pools.len())),
            Err(Small)
        );
    }
}
