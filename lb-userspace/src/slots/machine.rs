//! One slot table's history: which word follows which.
//!
//! A word is history, not a function of configuration and health: it says whom flows without an
//! exception belong to (its miss), and how long they must be looked up. Three invariants:
//!
//! - I1: a live flow without an exception belongs to the miss of its slot;
//! - I2: no change alters the miss of a slot unless that backend is dead or removed;
//! - I3: in MOVING, the miss is alive.
//!
//! | miss m | SETTLED | MOVING | MIXED |
//! |---|---|---|---|
//! | dead or removed, N = c or c dead | SETTLED(N) | MIXED(N) | MIXED(N) |
//! | dead or removed, c alive, N ≠ c | – | MOVING(N, c), new epoch | – |
//! | alive, N = m | unchanged | MIXED(N) | MIXED(N) |
//! | alive, N ≠ m | MOVING(N, m), new epoch | MOVING(N, m), epoch kept | MOVING(N, m), new epoch |
//!
//! c is the current owner before the change. The second row covers what the data plane could not
//! record in the moment between a death and its change: such flows are with c.
//!
//! Every row makes N, the new owner, the current one. Every slot is looked at in every change, so
//! one whose owner stays while its miss dies takes the first row.

use std::{collections::BTreeSet, time::Instant};

use lb_common::abi::{Miss, Phase, Slot};

use super::{
    epochs::{Epoch, EpochStatus, Epochs, Waits},
    grace::{Grace, GraceMark},
    resize,
    watch::unwatched,
};

/// A slot table as it became.
#[derive(Clone, Debug)]
pub struct History {
    pub(super) slots: Vec<Slot>,
    /// The table that this one replaces, while slots refer to it.
    pub(super) old: Option<Vec<Slot>>,
    pub(super) epochs: Epochs,
    pub(super) grace: Grace,
    /// MIXED slots whose flows are recorded nevertheless: see `watch`.
    pub(super) watched: BTreeSet<u32>,
}

/// Who is to own each slot, by index; 0: nobody is available.
#[derive(Clone, Copy, Debug)]
pub struct Owners<'a> {
    /// Of this table.
    pub current: &'a [u32],
    /// Of the old table, by its own size, scheduler and prefix; empty where there is none.
    pub old: &'a [u32],
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whether any word differs now. If not, it was no change, and needs no log entry.
    pub words: bool,
    /// The epoch that it began, if a slot took it.
    pub epoch: Option<u16>,
}

impl History {
    /// A table that has always been like this.
    pub fn settled(owners: &[u32]) -> Self {
        Self {
            slots: owners.iter().map(|&owner| Slot::settled(owner)).collect(),
            old: None,
            epochs: Epochs::default(),
            grace: Grace::default(),
            watched: BTreeSet::new(),
        }
    }

    /// A table with these words, and those of the one that it replaces. Epochs that they name and that are
    /// not known begin now; nothing is watched.
    pub(super) fn left(
        slots: Vec<Slot>,
        old: Option<Vec<Slot>>,
        mut epochs: Epochs,
        now: Instant,
    ) -> Self {
        let slots: Vec<Slot> = slots.into_iter().map(unwatched).collect();
        let named = slots.iter().chain(old.iter().flatten());
        epochs.know(
            named.filter(|slot| !slot.is_settled()).map(|s| s.epoch()),
            now,
        );
        let mut grace = Grace::default();
        grace.all_stored(slots.len());
        let mut history = Self {
            slots,
            old,
            epochs,
            grace,
            watched: BTreeSet::new(),
        };
        history.finish(None);
        history
    }

    /// The words. The data plane should have [`History::words`].
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The words of the old table, while there is one. Once there is none, its memory may go after
    /// the new words are stored and one grace period of RCU has passed.
    pub fn old(&self) -> Option<&[Slot]> {
        self.old.as_deref()
    }

    /// Gives the slots their new owners. `alive` says of a backend's index whether it lives, now
    /// (draining ones do).
    pub fn change(
        &mut self,
        owners: Owners<'_>,
        alive: impl Fn(u32) -> bool,
        now: Instant,
    ) -> Changed {
        self.change_in(self.epochs.next(now), owners, alive)
    }

    /// [`History::change`], for slots that begin to move, in this epoch.
    pub(super) fn change_in(
        &mut self,
        epoch: Epoch,
        owners: Owners<'_>,
        alive: impl Fn(u32) -> bool,
    ) -> Changed {
        let alive = |index: u32| index != 0 && alive(index);
        let mut changed = Changed {
            words: self.keep_old_alive(owners.old, &alive),
            epoch: None,
        };
        let old_answers = self.old_answers(&alive);
        for (n, (slot, &owner)) in self.slots.iter_mut().zip(owners.current).enumerate() {
            let standing = standing(*slot, owner, old_answers, &alive);
            let (next, took) = successor(*slot, standing, owner, epoch.number);
            if next != *slot {
                changed.words = true;
                self.grace.stored(n, next);
                self.watched.remove(&(n as u32));
                *slot = next;
            }
            if took {
                changed.epoch = Some(epoch.number);
            }
        }
        self.finish(changed.epoch.map(|_| epoch));
        changed
    }

    /// Brings the epochs to MIXED that are due; returns them.
    pub fn advance(&mut self, now: Instant, waits: &Waits) -> Vec<u16> {
        let due = self.epochs.due(now, waits);
        for &epoch in &due {
            self.mix(epoch);
        }
        due
    }

    /// MOVING → MIXED for all slots of an epoch.
    pub(super) fn mix(&mut self, epoch: u16) {
        for (n, slot) in self.slots.iter_mut().enumerate() {
            if slot.phase() == Phase::Moving && slot.epoch() == epoch {
                *slot = Slot::mixed(slot.current(), epoch);
                self.grace.stored(n, *slot);
            }
        }
        self.finish(None);
    }

    /// When [`History::advance`] may have something to do, if nothing else happens.
    pub fn deadline(&self, now: Instant, waits: &Waits) -> Option<Instant> {
        self.epochs.deadline(now, waits)
    }

    /// Every epoch that slots are in, and what holds it up.
    pub fn status(&self, now: Instant, waits: &Waits) -> Vec<EpochStatus> {
        self.epochs.status(now, waits)
    }

    /// A grace period of RCU begins, all words being stored where the data plane reads them.
    pub fn begin_grace(&mut self) -> GraceMark {
        self.grace.begin()
    }

    /// It is over: no packet in flight takes a slot for moving that was MIXED at its beginning.
    /// Dumps that are to settle slots begin after this, and end before the next one is confirmed.
    pub fn confirm_grace(&mut self, mark: GraceMark) {
        self.grace.confirm(mark);
    }

    /// Whether a slot is MIXED, not watched, and was so for all packets before the last confirmed grace
    /// period ended.
    pub fn is_ripe(&self, slot: u32) -> bool {
        let n = slot as usize;
        let mixed = |slot: &Slot| slot.phase() == Phase::Mixed;
        self.slots.get(n).is_some_and(mixed)
            && self.grace.is_over(n)
            && !self.watched.contains(&slot)
    }

    /// MIXED → SETTLED for slots that a sweep found free of exceptions, as far as they are still
    /// ripe.
    pub fn settle(&mut self, slots: &[u32]) {
        for &slot in slots {
            if self.is_ripe(slot) {
                let n = slot as usize;
                self.slots[n] = Slot::settled(self.slots[n].current());
            }
        }
        self.finish(None);
    }

    /// Every backend that a word of this table or the old one names.
    pub fn named(&self) -> BTreeSet<u32> {
        let words = self.slots.iter().chain(self.old.iter().flatten());
        let mut indices: Vec<u32> = words
            .flat_map(|slot| match slot.miss() {
                Miss::Backend(miss) => [slot.current(), miss],
                Miss::OldTable => [slot.current(); 2],
            })
            .collect();
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().filter(|&index| index != 0).collect()
    }

    /// Brings everything that follows from the words up to date with them.
    pub(super) fn finish(&mut self, begun: Option<Epoch>) {
        resize::drop_unneeded(self);
        if let Some(epoch) = begun {
            self.epochs.begin(epoch);
        }
        let old = self.old.as_deref().unwrap_or_default();
        self.epochs.recount(&self.slots, old);
    }
}

/// What became of the backend that flows without an exception belong to.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// Dead, removed, or there is none.
    Dead,
    /// The same, in a slot that was moving to a backend that lives and is not the new owner.
    Inherited,
    /// It is the new owner.
    Owner,
    /// Alive, and not the new owner.
    Other,
}

fn standing(slot: Slot, owner: u32, old_answers: bool, alive: &impl Fn(u32) -> bool) -> Standing {
    let current = slot.current();
    let dead = match slot.phase() {
        Phase::Moving if current != owner && alive(current) => Standing::Inherited,
        Phase::Settled | Phase::Moving | Phase::Mixed => Standing::Dead,
    };
    match slot.miss() {
        Miss::Backend(m) if !alive(m) => dead,
        Miss::Backend(m) if m == owner => Standing::Owner,
        Miss::Backend(_) => Standing::Other,
        // Another for each flow: see `resize`.
        Miss::OldTable if old_answers => Standing::Other,
        Miss::OldTable => dead,
    }
}

/// The word that follows, and whether it takes the new epoch.
fn successor(slot: Slot, standing: Standing, owner: u32, epoch: u16) -> (Slot, bool) {
    use Phase::{Mixed, Moving, Settled};
    use Standing::{Dead, Inherited, Other, Owner};
    let current = Miss::Backend(slot.current());
    match (standing, slot.phase()) {
        (Inherited, _) => (Slot::moving(owner, current, epoch), true),
        (Dead, Settled) => (Slot::settled(owner), false),
        (Owner, Settled) => (slot, false),
        (Dead | Owner, Moving | Mixed) => (Slot::mixed(owner, slot.epoch()), false),
        (Other, Moving) => (Slot::moving(owner, slot.miss(), slot.epoch()), false),
        (Other, Settled | Mixed) => (Slot::moving(owner, slot.miss(), epoch), true),
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
