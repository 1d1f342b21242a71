//! Which MIXED slots no packet in flight takes for moving any more. A CPU that read a word may go
//! on by it, and even record exceptions, until a grace period of RCU has passed; so a slot is
//! neither settled nor rid of exceptions before.

use lb_common::abi::{Phase, Slot};

/// A grace period that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraceMark(u32);

/// For each slot, how many grace periods had begun when it became MIXED.
#[derive(Clone, Debug, Default)]
pub(super) struct Grace {
    stored: Vec<u32>,
    begun: u32,
    over: u32,
}

impl Grace {
    /// A slot's word changed to this one.
    pub(super) fn stored(&mut self, n: usize, slot: Slot) {
        if slot.phase() != Phase::Mixed {
            return;
        }
        if self.stored.len() <= n {
            self.stored.resize(n + 1, 0);
        }
        self.stored[n] = self.begun;
    }

    /// All words are new.
    pub(super) fn all_stored(&mut self, slots: usize) {
        self.stored = vec![self.begun; slots];
    }

    /// A grace period begins.
    pub(super) fn begin(&mut self) -> GraceMark {
        self.begun += 1;
        GraceMark(self.begun)
    }

    /// It is over.
    pub(super) fn confirm(&mut self, mark: GraceMark) {
        self.over = self.over.max(mark.0);
    }

    /// Whether one began after the slot became MIXED, and is over.
    pub(super) fn is_over(&self, n: usize) -> bool {
        self.stored.get(n).copied().unwrap_or(0) < self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_waits_for_a_grace_period_that_began_after_it() {
        let mut grace = Grace::default();
        let before = grace.begin();
        grace.stored(7, Slot::mixed(1, 1));
        grace.confirm(before);
        assert!(!grace.is_over(7));
        let after = grace.begin();
        assert!(!grace.is_over(7));
        grace.stored(8, Slot::mixed(1, 1));
        grace.confirm(after);
        assert!(grace.is_over(7));
        assert!(!grace.is_over(8));
    }

    #[test]
    fn a_slot_that_is_stored_again_waits_again() {
        let mut grace = Grace::default();
        grace.stored(0, Slot::mixed(1, 1));
        let mark = grace.begin();
        grace.confirm(mark);
        assert!(grace.is_over(0));
        grace.stored(0, Slot::mixed(2, 1));
        assert!(!grace.is_over(0));
    }
}
