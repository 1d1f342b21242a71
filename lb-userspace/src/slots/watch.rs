//! Slots that are watched, so that their flows can be counted: each is recorded as it is seen, and none moves.
//!
//! To its history such a slot is MIXED, so whatever comes next is as `machine` says, and the watch of a slot
//! whose word changes is over. The data plane is told MOVING(c, c): a flow without an exception belongs to c as
//! before, and gets one that says c.
//!
//! ```text
//! SETTLED(c) ──watch──► MOVING(c, c) ──unwatch──► MIXED(c) ──sweep──► SETTLED(c)
//! ```
//! A change never makes MOVING(c, c) of a slot, so that an agent which finds one knows that whoever watched it is
//! gone. Nothing of this is in the log: SETTLED and MIXED are as good as each other there (see `fold`).

use std::time::Instant;

use lb_common::abi::{Miss, Phase, Slot};

use super::machine::History;

impl History {
    /// Has the flows of these slots recorded, but for those that belong to nobody. Flows of slots that move
    /// are already.
    pub fn watch(&mut self, slots: impl IntoIterator<Item = u32>, now: Instant) {
        let epoch = self.epochs.next(now);
        let mut begun = None;
        for n in slots {
            let Some(slot) = self.slots.get_mut(n as usize) else {
                continue;
            };
            match slot.phase() {
                Phase::Settled if slot.current() != 0 => {
                    *slot = Slot::mixed(slot.current(), epoch.number);
                    begun = Some(epoch);
                }
                Phase::Mixed => {}
                Phase::Settled | Phase::Moving => continue,
            }
            self.watched.insert(n);
        }
        self.finish(begun);
    }

    /// Has the flows of no slot recorded that does not move.
    pub fn unwatch(&mut self) {
        for n in std::mem::take(&mut self.watched) {
            let n = n as usize;
            self.grace.stored(n, self.slots[n]);
        }
    }

    /// The words, as the data plane should have them.
    pub fn words(&self) -> Vec<Slot> {
        let mut words = self.slots.clone();
        for &n in &self.watched {
            let word = &mut words[n as usize];
            *word = watched(*word);
        }
        words
    }
}

/// The word that has the flows of a MIXED slot recorded.
fn watched(slot: Slot) -> Slot {
    let current = slot.current();
    Slot::moving(current, Miss::Backend(current), slot.epoch())
}

/// The word that follows when nobody watches any more.
pub(super) fn unwatched(slot: Slot) -> Slot {
    match slot.phase() {
        Phase::Moving if slot.miss() == Miss::Backend(slot.current()) => {
            Slot::mixed(slot.current(), slot.epoch())
        }
        Phase::Settled | Phase::Moving | Phase::Mixed => slot,
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
