//! What a watch does to words, and what ends it.

use std::time::Duration;

use super::*;
use crate::slots::{machine::Owners, testing::settle};

const A: u32 = 1;
const B: u32 = 2;

/// Slot 0 is settled, 1 is MIXED, 2 MOVING, 3 nobody's.
fn history(now: Instant) -> History {
    let mut history = History::settled(&[A, A, A, 0]);
    change(&mut history, [A, B, A, 0], &[], now);
    history.advance(now, &settle(0));
    change(&mut history, [A, B, B, 0], &[], now);
    history
}

fn change(history: &mut History, current: [u32; 4], dead: &[u32], now: Instant) {
    let owners = Owners {
        current: &current,
        old: &[],
    };
    history.change(owners, |index| !dead.contains(&index), now);
}

/// A grace period of RCU passes.
fn pass_grace(history: &mut History) {
    let mark = history.begin_grace();
    history.confirm_grace(mark);
}

fn moving(current: u32, previous: u32, epoch: u16) -> Slot {
    Slot::moving(current, Miss::Backend(previous), epoch)
}

#[test]
fn flows_are_recorded_and_belong_to_whom_they_did() {
    let now = Instant::now();
    let mut history = history(now);
    let before = history.words();
    history.watch(0..5, now);
    let words = [
        moving(A, A, 3),
        moving(B, B, 1),
        moving(B, A, 2),
        Slot::settled(0),
    ];
    assert_eq!(history.words(), words);
    for (before, word) in before.iter().zip(words) {
        assert_eq!(
            (before.current(), before.miss()),
            (word.current(), word.miss())
        );
    }
    history.unwatch();
    let mut after = before;
    after[0] = Slot::mixed(A, 3);
    assert_eq!(history.words(), after);
}

#[test]
fn a_watch_waits_for_nothing_and_holds_nothing_up() {
    let now = Instant::now();
    let mut history = History::settled(&[A]);
    history.watch([0], now);
    let waits = settle(1);
    assert_eq!(history.deadline(now, &waits), None);
    let advanced = history.advance(now + Duration::from_secs(9), &waits);
    assert!(advanced.is_empty());
    assert_eq!(history.words(), [moving(A, A, 1)]);
    let status = history.status(now, &waits);
    assert_eq!((status[0].moving, status[0].mixed), (0, 1));
    assert_eq!(status[0].hold_up, None);
}

#[test]
fn slots_settle_a_grace_period_after_the_watch_and_not_before() {
    let now = Instant::now();
    let mut history = History::settled(&[A]);
    history.watch([0], now);
    pass_grace(&mut history);
    assert!(!history.is_ripe(0));
    history.unwatch();
    assert!(!history.is_ripe(0));
    pass_grace(&mut history);
    history.settle(&[0]);
    assert_eq!(history.words(), [Slot::settled(A)]);
}

#[test]
fn a_change_ends_the_watch_of_slots_that_it_changes_and_is_as_without_it() {
    let now = Instant::now();
    let owners = [B, B, B, A];
    let (mut watched, mut other) = (history(now), history(now));
    watched.watch(0..4, now);
    change(&mut watched, [A, B, B, 0], &[], now);
    assert_eq!(watched.words()[..2], [moving(A, A, 3), moving(B, B, 1)]);
    change(&mut watched, owners, &[], now);
    change(&mut other, owners, &[], now);
    assert_eq!(watched.words()[0], moving(B, A, 4));
    assert_eq!(watched.words()[1], moving(B, B, 1));
    watched.unwatch();
    let ends = |slots: &History| -> Vec<_> {
        let slots = slots.slots().iter();
        slots.map(|slot| (slot.current(), slot.miss())).collect()
    };
    assert_eq!(ends(&watched), ends(&other));

    // Who watched the flows of one that is dead has nothing left to watch.
    let mut history = History::settled(&[A; 4]);
    history.watch(0..4, now);
    change(&mut history, [B; 4], &[A], now);
    assert_eq!(history.words(), [Slot::mixed(B, 1); 4]);
}

#[test]
fn what_is_left_of_a_watch_ends_with_the_next_agent() {
    let now = Instant::now();
    let mut history = history(now);
    history.watch(0..4, now);
    let left = History::left(history.words(), None, history.epochs.clone(), now);
    history.unwatch();
    assert_eq!(left.words(), history.words());
}
