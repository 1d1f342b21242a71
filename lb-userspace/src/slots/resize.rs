//! A table in place of another: another size, seed, scheduler or prefix sends every flow to
//! another slot, so the new slots have no owner before. All begin as MOVING(N, OLD): a flow without
//! an exception belongs to whom *its own* slot in the old table says, and the old table stays until
//! that is no longer asked.
//!
//! What must become of the old table's slots meanwhile:
//!
//! - Nobody new is owned by them, so of an old word only the miss matters. While that backend
//!   lives, the word stays as it is (I2), even in MOVING: its flows are recorded by the look-ups
//!   of the new slots.
//! - When it dies, the flow has another miss from then on, and must keep *that* one: left alone,
//!   the word would answer `current` of the new slot (what the data plane does while it finds a
//!   dead miss), so a flow that could not be recorded would go over at the next change of that
//!   owner, and back when the dead one recovers. So the word becomes SETTLED(N'), N' being the
//!   owner by the old table's own rules: then I2 and I3 hold for flows as they do without a resize.
//! - Old slots that nobody is available for name nobody, and take an owner when there is one.
//!
//! All slots that say OLD took the same epoch and change their phase together, for the miss of
//! each flow differs and none equals N for all. So either all say OLD or none does.

use std::time::Instant;

use lb_common::abi::{Miss, Slot};

use super::{
    epochs::Epoch,
    machine::{Changed, History, Owners},
};

/// The table before this one is still asked: another can't follow yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the last change of size, seed, scheduler or prefix is not over; try when it has settled")]
pub struct Busy;

impl History {
    /// Replaces the table by one of these owners; `owners.old` are those of the present table's
    /// slots, by its rules.
    pub fn replace(
        &mut self,
        owners: Owners<'_>,
        alive: impl Fn(u32) -> bool,
        now: Instant,
    ) -> Result<Changed, Busy> {
        self.replace_in(self.epochs.next(now), owners, alive)
    }

    /// [`History::replace`] in this epoch.
    pub(super) fn replace_in(
        &mut self,
        epoch: Epoch,
        owners: Owners<'_>,
        alive: impl Fn(u32) -> bool,
    ) -> Result<Changed, Busy> {
        if self.old.is_some() {
            return Err(Busy);
        }
        let alive = |index: u32| index != 0 && alive(index);
        self.old = Some(std::mem::take(&mut self.slots));
        self.watched.clear();
        self.keep_old_alive(owners.old, &alive);
        let answers = self.old_answers(&alive);
        let slot = |&owner: &u32| match answers {
            true => Slot::moving(owner, Miss::OldTable, epoch.number),
            false => Slot::mixed(owner, epoch.number),
        };
        self.slots = owners.current.iter().map(slot).collect();
        self.grace.all_stored(self.slots.len());
        self.finish(Some(epoch));
        Ok(Changed {
            words: true,
            epoch: Some(epoch.number),
        })
    }

    /// Gives old slots whose miss is dead an owner; says whether there were any.
    pub(super) fn keep_old_alive(&mut self, owners: &[u32], alive: &impl Fn(u32) -> bool) -> bool {
        let mut changed = false;
        for (slot, &owner) in self.old.iter_mut().flatten().zip(owners) {
            let next = Slot::settled(owner);
            if !answers(*slot, alive) && *slot != next {
                *slot = next;
                changed = true;
            }
        }
        changed
    }

    /// Whether any old slot's miss is alive.
    pub(super) fn old_answers(&self, alive: &impl Fn(u32) -> bool) -> bool {
        let mut old = self.old.iter().flatten();
        old.any(|slot| answers(*slot, alive))
    }
}

/// Drops the old table once no slot refers to it.
pub(super) fn drop_unneeded(history: &mut History) {
    let refers = |slot: &Slot| slot.miss() == Miss::OldTable;
    if history.old.is_some() && !history.slots.iter().any(refers) {
        history.old = None;
    }
}

fn answers(slot: Slot, alive: &impl Fn(u32) -> bool) -> bool {
    match slot.miss() {
        Miss::Backend(index) => alive(index),
        // An old table has none before it.
        Miss::OldTable => false,
    }
}

#[cfg(test)]
#[path = "resize_tests.rs"]
mod tests;
