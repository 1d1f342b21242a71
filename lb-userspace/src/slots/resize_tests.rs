//! Tables in place of others, deaths on the way included.

use std::{collections::BTreeMap, time::Duration};

use lb_common::abi::Phase;
use proptest::prelude::*;

use super::*;
use crate::slots::testing::settle;

const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;
const D: u32 = 4;

fn owners<'a>(current: &'a [u32], old: &'a [u32]) -> Owners<'a> {
    Owners { current, old }
}

/// A table of slots of A, B and B moving to C, replaced by one of two slots of C and D.
fn replaced(start: Instant) -> History {
    let mut history = History::settled(&[A, B, B]);
    history.change(owners(&[A, B, C], &[]), |_| true, start);
    let changed = history.replace(owners(&[C, D], &[A, B, C]), |_| true, start);
    let epoch = Some(2);
    assert_eq!(changed, Ok(Changed { words: true, epoch }));
    history
}

const OLD: [Slot; 3] = [
    Slot::settled(A),
    Slot::settled(B),
    Slot::moving(C, Miss::Backend(B), 1),
];

fn old(current: u32) -> Slot {
    Slot::moving(current, Miss::OldTable, 2)
}

#[test]
fn every_new_slot_moves_from_the_old_table() {
    let history = replaced(Instant::now());
    assert_eq!(history.slots(), [old(C), old(D)]);
    assert_eq!(history.old(), Some(&OLD[..]));
}

#[test]
fn the_old_table_goes_when_no_slot_refers_to_it() {
    let start = Instant::now();
    let mut history = replaced(start);
    assert_eq!(
        history.replace(owners(&[A], &[C, D]), |_| true, start),
        Err(Busy)
    );
    let due = start + Duration::from_secs(900);
    assert_eq!(history.advance(due, &settle(900)), [2]);
    assert_eq!(history.slots(), [Slot::mixed(C, 2), Slot::mixed(D, 2)]);
    assert_eq!(history.old(), None);
    assert_eq!(
        history.status(due, &settle(900)).len(),
        1,
        "epoch 1 went with it"
    );
    assert!(
        history
            .replace(owners(&[A], &[C, D]), |_| true, due)
            .is_ok()
    );
}

#[test]
fn epochs_of_the_old_table_are_not_given_again() {
    let history = replaced(Instant::now());
    let status = history.status(Instant::now(), &settle(900));
    let numbers: Vec<_> = status.iter().map(|s| (s.number, s.moving)).collect();
    assert_eq!(numbers, [(1, 0), (2, 2)]);
}

#[test]
fn an_owner_that_changes_leaves_the_old_table_in_charge() {
    let mut history = replaced(Instant::now());
    let changed = history.change(owners(&[A, B], &[A, B, C]), |_| true, Instant::now());
    assert!(changed.words);
    assert_eq!(changed.epoch, None, "the first epoch is kept");
    assert_eq!(history.slots(), [old(A), old(B)]);
    assert_eq!(history.old(), Some(&OLD[..]), "nobody new is owned by it");
}

#[test]
fn old_slots_whose_backend_dies_get_another_for_good() {
    let mut history = replaced(Instant::now());
    let now = Instant::now();
    history.change(owners(&[C, D], &[A, C, C]), |n| n != B, now);
    let is = [Slot::settled(A), Slot::settled(C), Slot::settled(C)];
    assert_eq!(history.old(), Some(&is[..]));
    assert_eq!(history.slots(), [old(C), old(D)]);
    let recovered = history.change(owners(&[C, D], &[A, B, C]), |_| true, now);
    assert!(!recovered.words);
    assert_eq!(history.old(), Some(&is[..]), "I2: not back to B");
}

#[test]
fn nothing_of_the_old_table_lives() {
    let mut history = replaced(Instant::now());
    let changed = history.change(owners(&[0, 0], &[0, 0, 0]), |_| false, Instant::now());
    assert!(changed.words);
    assert_eq!(history.slots(), [Slot::mixed(0, 2), Slot::mixed(0, 2)]);
    assert_eq!(history.old(), None);
}

#[test]
fn a_table_without_backends_is_replaced_at_once() {
    let mut history = History::settled(&[0, 0]);
    let now = Instant::now();
    history
        .replace(owners(&[0, 0, 0], &[0, 0]), |_| true, now)
        .unwrap();
    assert_eq!(history.slots(), [Slot::mixed(0, 1); 3]);
    assert_eq!(history.old(), None);
}

#[test]
fn the_dead_are_replaced_in_the_same_step() {
    let mut history = History::settled(&[A, B]);
    let now = Instant::now();
    history
        .replace(owners(&[C; 3], &[C, B]), |n| n != A, now)
        .unwrap();
    let is = [Slot::settled(C), Slot::settled(B)];
    assert_eq!(history.old(), Some(&is[..]));
}

#[test]
fn backends_of_the_old_table_are_named() {
    let history = replaced(Instant::now());
    assert_eq!(history.named(), [A, B, C, D].into());
}

/// What a flow gets that has no exception: each flow has a slot in either table.
fn miss(history: &History, new: usize, old: usize) -> u32 {
    match (history.slots()[new].miss(), history.old()) {
        (Miss::Backend(m), _) => m,
        (Miss::OldTable, Some(table)) => match table[old].miss() {
            Miss::Backend(m) => m,
            Miss::OldTable => panic!("an old table of an old table"),
        },
        (Miss::OldTable, None) => panic!("the old table is gone too early"),
    }
}

/// Owner of a slot: a backend that lives, chosen by the slot and `salt`.
fn own(slots: u32, salt: u32, alive: &BTreeMap<u32, bool>) -> Vec<u32> {
    let living: Vec<u32> = alive.iter().filter(|(_, a)| **a).map(|(&n, _)| n).collect();
    let own = |slot: u32| match living.len() {
        0 => 0,
        n => living[(slot * 31 + salt) as usize % n],
    };
    (0..slots).map(own).collect()
}

proptest! {
    #[test]
    fn flows_keep_their_miss_through_a_resize(
        steps in proptest::collection::vec((0..5_u32, 0..8_u32), 1..40),
    ) {
        let now = Instant::now();
        let mut alive: BTreeMap<u32, bool> = (1..5).map(|n| (n, true)).collect();
        let mut history = History::settled(&own(3, 0, &alive));
        let (mut old_salt, mut salt) = (0, 0);
        for (backend, step) in steps {
            let lives = |alive: &BTreeMap<u32, bool>, n: u32| alive.get(&n) == Some(&true);
            let slots = history.slots().len();
            let pairs: Vec<(usize, usize)> = (0..slots)
                .flat_map(|new| (0..history.old().map_or(1, <[Slot]>::len)).map(move |old| (new, old)))
                .collect();
            let before: Vec<u32> = pairs.iter().map(|&(new, old)| miss(&history, new, old)).collect();
            let had_old = history.old().is_some();
            match step {
                0 => {
                    let next = own(8 - slots as u32, salt + 1, &alive);
                    let current = own(slots as u32, salt, &alive);
                    if history.replace(owners(&next, &current), |n| lives(&alive, n), now).is_ok() {
                        (old_salt, salt) = (salt, salt + 1);
                        continue;
                    }
                }
                1 => {
                    history.advance(now, &settle(0));
                    continue;
                }
                2..=4 => {
                    alive.entry(backend).and_modify(|alive| *alive = !*alive);
                }
                _ => salt += backend,
            }
            let current = own(slots as u32, salt, &alive);
            let old = own(history.old().map_or(0, <[Slot]>::len) as u32, old_salt, &alive);
            history.change(owners(&current, &old), |n| lives(&alive, n), now);
            for (&(new, old), was) in pairs.iter().zip(before) {
                // Once the old table is dropped, nothing of it lived.
                if had_old && history.old().is_none() {
                    prop_assert!(!lives(&alive, was));
                    continue;
                }
                let is = miss(&history, new, old);
                prop_assert!(!lives(&alive, was) || was == is, "I2: {was} {is}");
                let moving = history.slots()[new].phase() == Phase::Moving;
                let any = alive.values().any(|alive| *alive);
                prop_assert!(!moving || !any || lives(&alive, is), "I3: {is}");
            }
        }
    }
}
