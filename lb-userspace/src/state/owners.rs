//! Who owns which slot: Maglev's answer, kept for tables whose backends did not change, since it is
//! by far the longest part of a desired state.

use std::{collections::BTreeMap, sync::Arc};

use lb_common::abi::TableId;

use crate::scheduling::{self, Candidate};

use super::contenders::Contender;

/// The owner of each slot by its index, 0 for none.
pub type Owners = Arc<[u32]>;

/// The owners of each table that was asked for last, and what they were made from. It changes how
/// long an answer takes, never the answer.
#[derive(Clone, Debug, Default)]
pub struct Memo(BTreeMap<TableId, Made>);

#[derive(Clone, Debug)]
struct Made {
    contenders: Vec<Contender>,
    owners: Owners,
}

impl Memo {
    /// The owners of a table's slots.
    pub(super) fn owners(&mut self, table: TableId, contenders: &[Contender]) -> Owners {
        match self.0.get(&table) {
            Some(made) if made.contenders == contenders => Arc::clone(&made.owners),
            _ => {
                let owners = assign(table, contenders);
                let kept = Arc::clone(&owners);
                self.0.insert(
                    table,
                    Made {
                        contenders: contenders.to_vec(),
                        owners: kept,
                    },
                );
                owners
            }
        }
    }

    /// Forgets all other tables.
    pub(super) fn keep(&mut self, is_kept: impl Fn(TableId) -> bool) {
        self.0.retain(|table, _| is_kept(*table));
    }
}

fn assign(table: TableId, contenders: &[Contender]) -> Owners {
    let candidates: Vec<Candidate<'_>> = contenders.iter().map(Contender::candidate).collect();
    let index = |n: Option<usize>| n.map_or(0, |n| contenders[n].index);
    let owners = scheduling::assign(table.size, &candidates);
    owners.into_iter().map(index).collect()
}

impl Contender {
    pub(super) fn candidate(&self) -> Candidate<'_> {
        Candidate {
            name: &self.name,
            weight: self.weight,
            available: self.available,
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::TableSize;

    use super::*;

    const TABLE: TableId = TableId {
        size: TableSize::Small,
        index: 0,
    };

    fn contenders() -> Vec<Contender> {
        let contender = |index: u32| Contender {
            name: format!("b{index}"),
            weight: 100,
            available: true,
            alive: true,
            index,
        };
        (1..5).map(contender).collect()
    }

    #[test]
    fn owners_are_made_again_only_if_what_they_depend_on_changed() {
        let mut memo = Memo::default();
        let first = memo.owners(TABLE, &contenders());
        assert!(Arc::ptr_eq(&first, &memo.owners(TABLE, &contenders())));
        let changes: [fn(&mut Vec<Contender>); 5] = [
            |all| all[0].weight = 7,
            |all| all[0].available = false,
            |all| all[0].index = 9,
            |all| all[0].name = "other".into(),
            |all| all.truncate(3),
        ];
        for change in changes {
            let mut changed = contenders();
            change(&mut changed);
            let owners = memo.owners(TABLE, &changed);
            assert_eq!(owners, Memo::default().owners(TABLE, &changed));
            assert_ne!(owners, first);
            assert_eq!(memo.owners(TABLE, &contenders()), first);
        }
    }

    #[test]
    fn tables_that_are_no_more_are_forgotten() {
        let mut memo = Memo::default();
        let first = memo.owners(TABLE, &contenders());
        memo.keep(|table| table != TABLE);
        assert!(!Arc::ptr_eq(&first, &memo.owners(TABLE, &contenders())));
    }
}
