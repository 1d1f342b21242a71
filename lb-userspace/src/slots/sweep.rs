//! The sweep: from a complete dump of the exceptions, which MIXED slots are settled, and which
//! exceptions go or are written anew. Every slot that is to be settled must be stored before the
//! first exception is deleted, and all of it done before the next change.
//!
//! ```text
//! store words ─► begin_grace ─► a grace period of RCU ─► confirm_grace ─► dump ─► sweep
//!                       delete, rewrite ◄─ store words ◄─ History::settle ◄─┘
//! ```
//!
//! Only ripe slots (see [`History::is_ripe`]) are settled, or rid of exceptions that say the same
//! as the slot: a packet that still takes the slot for moving would miss the exception, and go to
//! the former owner.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lb_common::abi::{BackendRef, Exception, Phase, TableId};

use super::{
    judge::{Dumped, Held, Jiffies, Place, Reason, Verdict, differs, judge},
    machine::History,
};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep<K> {
    /// Slots to settle, by table, for [`History::settle`].
    pub settled: BTreeMap<TableId, Vec<u32>>,
    /// Exceptions to write anew, then.
    pub rewrites: Vec<Rewrite<K>>,
    /// Exceptions to delete, then.
    pub deletions: Vec<Deletion<K>>,
    /// What is there after that, for every table.
    pub tallies: BTreeMap<TableId, Tally>,
    /// Every backend that an exception of the dump names, by index.
    pub named: BTreeSet<u32>,
}

/// An exception whose owner can't be used any more, while its fallback can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite<K> {
    /// Its key.
    pub key: K,
    /// Its last packet when this was decided; if that has changed, leave it.
    pub last_seen: u32,
    /// Who owns it from now on, COMMITTED.
    pub owner: BackendRef,
}

/// An exception that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion<K> {
    /// Its key.
    pub key: K,
    /// Its last packet when this was decided; if that has changed, leave it.
    pub last_seen: u32,
    /// Why it goes.
    pub reason: Reason,
}

/// One table's slots and exceptions, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Slots that are MOVING.
    pub moving: u32,
    /// Slots that are MIXED.
    pub mixed: u32,
    /// Exceptions by the epoch of their slot.
    pub by_epoch: BTreeMap<u16, u32>,
    /// Exceptions by the index of their owner.
    pub by_backend: BTreeMap<u32, u32>,
}

/// Judges a dump that is complete.
pub fn sweep<K: Copy>(
    tables: &BTreeMap<TableId, &History>,
    dump: impl IntoIterator<Item = Dumped<K>>,
    clock: Jiffies,
    usable: impl Fn(BackendRef) -> bool,
) -> Sweep<K> {
    let mut sweeper = Sweeper::new(tables);
    for dumped in dump {
        let held = sweeper.find(dumped.slot);
        let verdict = judge(&dumped, held, clock, &usable);
        sweeper.note(&dumped, held, verdict);
    }
    sweeper.finish()
}

/// What was found so far.
struct Sweeper<'a, K> {
    tables: &'a BTreeMap<TableId, &'a History>,
    sweep: Sweep<K>,
    /// Slots with exceptions that differ.
    blocked: HashSet<Place>,
    /// Exceptions in ripe slots that don't: they go if nothing blocks their slot.
    agreeing: Vec<(Held, BackendRef, Deletion<K>)>,
}

impl<'a, K: Copy> Sweeper<'a, K> {
    fn new(tables: &'a BTreeMap<TableId, &'a History>) -> Self {
        let sweep = Sweep {
            settled: BTreeMap::new(),
            rewrites: Vec::new(),
            deletions: Vec::new(),
            tallies: tables.keys().map(|&id| (id, Tally::default())).collect(),
            named: BTreeSet::new(),
        };
        Self {
            tables,
            sweep,
            blocked: HashSet::new(),
            agreeing: Vec::new(),
        }
    }

    /// The word of a slot; `None` also for a table that is not among those swept.
    fn find(&self, place: Option<Place>) -> Option<Held> {
        let (id, n) = place?;
        let history = self.tables.get(&id)?;
        let slot = *history.slots().get(n as usize)?;
        Some(Held {
            place: (id, n),
            slot,
            ripe: history.is_ripe(n),
        })
    }

    fn note(&mut self, dumped: &Dumped<K>, held: Option<Held>, verdict: Verdict) {
        let entry = &dumped.entry;
        let (key, last_seen) = (dumped.key, entry.last_seen());
        self.name(entry);
        let owner = match verdict {
            Verdict::Delete(reason) => {
                return self.sweep.deletions.push(Deletion {
                    key,
                    last_seen,
                    reason,
                });
            }
            Verdict::Rewrite(owner) => {
                self.sweep.rewrites.push(Rewrite {
                    key,
                    last_seen,
                    owner,
                });
                owner
            }
            Verdict::Keep => entry.owner(),
        };
        let Some(held) = held else { return };
        let reason = Reason::Settled;
        if differs(entry, owner, held.slot) {
            self.blocked.insert(held.place);
        } else if held.ripe {
            let deletion = Deletion {
                key,
                last_seen,
                reason,
            };
            return self.agreeing.push((held, owner, deletion));
        }
        self.count(held, owner);
    }

    fn name(&mut self, entry: &Exception) {
        let named = [entry.owner().index(), entry.fallback().index()];
        self.sweep
            .named
            .extend(named.iter().filter(|&&index| index != 0));
    }

    fn count(&mut self, held: Held, owner: BackendRef) {
        let tally = self.sweep.tallies.entry(held.place.0).or_default();
        *tally.by_epoch.entry(held.slot.epoch()).or_default() += 1;
        *tally.by_backend.entry(owner.index()).or_default() += 1;
    }

    fn finish(mut self) -> Sweep<K> {
        for (held, owner, deletion) in std::mem::take(&mut self.agreeing) {
            if self.blocked.contains(&held.place) {
                self.count(held, owner);
            } else {
                self.sweep.deletions.push(deletion);
            }
        }
        for (&id, history) in self.tables {
            self.settle(id, history);
        }
        self.sweep
    }

    /// The slots of a table that are free of exceptions, and what is left of the others.
    fn settle(&mut self, id: TableId, history: &History) {
        let tally = self.sweep.tallies.entry(id).or_default();
        let mut settled = Vec::new();
        for (n, slot) in (0..).zip(history.slots()) {
            match slot.phase() {
                Phase::Settled => {}
                Phase::Moving => tally.moving += 1,
                Phase::Mixed if history.is_ripe(n) && !self.blocked.contains(&(id, n)) => {
                    settled.push(n);
                }
                Phase::Mixed => tally.mixed += 1,
            }
        }
        if !settled.is_empty() {
            self.sweep.settled.insert(id, settled);
        }
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
