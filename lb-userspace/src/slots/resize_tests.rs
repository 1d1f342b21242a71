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

/// Two tables' worth of flows, under random changes.
struct Flows {
    history: History,
    alive: BTreeMap<u32, bool>,
    /// What spreads backends over the slots of this table and the old one.
    salt: u32,
    old_salt: u32,
    now: Instant,
}

impl Flows {
    fn new() -> Self {
        let alive = (1..5).map(|n| (n, true)).collect();
        Self {
            history: History::settled(&own(3, 0, &alive)),
            alive,
            salt: 0,
            old_salt: 0,
            now: Instant::now(),
        }
    }

    fn lives(&self, backend: u32) -> bool {
        self.alive.get(&backend) == Some(&true)
    }

    /// Every pair of slots that a flow can have, and its miss.
    fn misses(&self) -> Vec<(usize, usize, u32)> {
        let old = 0..self.history.old().map_or(1, <[Slot]>::len);
        let pairs = |new| old.clone().map(move |old| (new, old));
        (0..self.history.slots().len())
            .flat_map(pairs)
            .map(|(new, old)| (new, old, miss(&self.history, new, old)))
            .collect()
    }

    /// A backend dies or recovers.
    fn flip(&mut self, backend: u32) {
        self.alive
            .entry(backend)
            .and_modify(|alive| *alive = !*alive);
    }

    fn replace(&mut self) {
        let slots = self.history.slots().len() as u32;
        let next = own(8 - slots, self.salt + 1, &self.alive);
        let current = own(slots, self.salt, &self.alive);
        let alive = self.alive.clone();
        let alive = |n: u32| alive.get(&n) == Some(&true);
        let replaced = self
            .history
            .replace(owners(&next, &current), alive, self.now);
        if replaced.is_ok() {
            (self.old_salt, self.salt) = (self.salt, self.salt + 1);
        }
    }

    fn change(&mut self) {
        let before = self.misses();
        let had_old = self.history.old().is_some();
        let slots = |table: &[Slot]| table.len() as u32;
        let current = own(slots(self.history.slots()), self.salt, &self.alive);
        let old = self.history.old().map_or(0, slots);
        let old = own(old, self.old_salt, &self.alive);
        let alive = self.alive.clone();
        let alive = |n: u32| alive.get(&n) == Some(&true);
        self.history.change(owners(&current, &old), alive, self.now);
        for (new, old, was) in before {
            // Once the old table is dropped by a change, nothing of it lived.
            if had_old && self.history.old().is_none() {
                assert!(!self.lives(was));
            } else {
                self.check(new, old, was);
            }
        }
    }

    fn check(&self, new: usize, old: usize, was: u32) {
        let is = miss(&self.history, new, old);
        assert!(!self.lives(was) || was == is, "I2: {was} {is}");
        let moving = self.history.slots()[new].phase() == Phase::Moving;
        let any = self.alive.values().any(|alive| *alive);
        assert!(!moving || !any || self.lives(is), "I3: {is}");
    }
}

proptest! {
    #[test]
    fn flows_keep_their_miss_through_a_resize(
        steps in proptest::collection::vec((1..5_u32, 0..8_u32), 1..40),
    ) {
        let mut flows = Flows::new();
        for (backend, step) in steps {
            match step {
                0 => flows.replace(),
                1 => drop(flows.history.advance(flows.now, &settle(0))),
                2..=4 => flows.flip(backend),
                _ => flows.salt += backend,
            }
            flows.change();
        }
    }
}
