//! Every row of the table of changes, the sequences that broke an earlier wording, and the
//! invariants I2 and I3 under random changes.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::slots::testing::settle;

const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;
const SETTLE: u64 = 900;

/// A table of one slot, in virtual time.
struct One {
    history: History,
    dead: Vec<u32>,
    start: Instant,
    seconds: u64,
}

impl One {
    fn new(owner: u32) -> Self {
        Self {
            history: History::settled(&[owner]),
            dead: Vec::new(),
            start: Instant::now(),
            seconds: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.seconds)
    }

    fn change(&mut self, owner: u32) -> Changed {
        let owners = Owners {
            current: &[owner],
            old: &[],
        };
        let (now, dead) = (self.now(), self.dead.clone());
        self.history
            .change(owners, |index| !dead.contains(&index), now)
    }

    fn die(&mut self, backend: u32, owner: u32) -> Changed {
        self.dead.push(backend);
        self.change(owner)
    }

    /// The settle time passes.
    fn mix(&mut self) {
        self.seconds += SETTLE;
        let now = self.now();
        assert!(!self.history.advance(now, &settle(SETTLE)).is_empty());
    }

    fn settle(&mut self) {
        let mark = self.history.begin_grace();
        self.history.confirm_grace(mark);
        self.history.settle(&[0]);
    }

    fn slot(&self) -> Slot {
        self.history.slots()[0]
    }
}

fn moving(current: u32, previous: u32, epoch: u16) -> Slot {
    Slot::moving(current, Miss::Backend(previous), epoch)
}

const NOTHING: Changed = Changed {
    words: false,
    epoch: None,
};
const WORDS: Changed = Changed {
    words: true,
    epoch: None,
};

fn took(epoch: u16) -> Changed {
    Changed {
        words: true,
        epoch: Some(epoch),
    }
}

#[test]
fn a_settled_slot_goes_by_its_column() {
    let mut one = One::new(A);
    assert_eq!(one.change(A), NOTHING);
    assert_eq!(one.slot(), Slot::settled(A));
    assert_eq!(one.change(B), took(1));
    assert_eq!(one.slot(), moving(B, A, 1));

    let mut one = One::new(A);
    assert_eq!(one.die(A, B), WORDS);
    assert_eq!(one.slot(), Slot::settled(B));
}

#[test]
fn a_moving_slot_goes_by_its_column() {
    let begin = || {
        let mut one = One::new(A);
        one.change(B);
        one
    };
    let mut one = begin();
    assert_eq!(one.change(C), WORDS);
    assert_eq!(one.slot(), moving(C, A, 1));

    let mut one = begin();
    assert_eq!(one.change(A), WORDS);
    assert_eq!(
        one.slot(),
        Slot::mixed(A, 1),
        "A, B, A: what went to B is recorded"
    );

    let mut one = begin();
    let begun = Changed {
        words: true,
        epoch: Some(2),
    };
    assert_eq!(one.die(A, C), begun);
    assert_eq!(
        one.slot(),
        moving(C, B, 2),
        "what came before the change is with B"
    );
}

#[test]
fn a_mixed_slot_goes_by_its_column() {
    let begin = || {
        let mut one = One::new(A);
        one.change(B);
        one.mix();
        assert_eq!(one.slot(), Slot::mixed(B, 1));
        one
    };
    let mut one = begin();
    assert_eq!(one.change(B), NOTHING);
    assert_eq!(one.slot(), Slot::mixed(B, 1));

    let mut one = begin();
    assert_eq!(one.change(A), took(2));
    assert_eq!(
        one.slot(),
        moving(A, B, 2),
        "B is whom flows without an exception belong to"
    );

    let mut one = begin();
    assert_eq!(one.die(B, C), WORDS);
    assert_eq!(one.slot(), Slot::mixed(C, 1));
}

#[test]
fn the_current_owner_dies_while_moving() {
    let mut one = One::new(A);
    one.change(B);
    assert_eq!(one.die(B, C), WORDS);
    assert_eq!(one.slot(), moving(C, A, 1));
}

#[test]
fn the_previous_owner_dies_while_the_current_one_stays() {
    let mut one = One::new(A);
    one.change(B);
    assert_eq!(one.die(A, B), WORDS);
    assert_eq!(one.slot(), Slot::mixed(B, 1));
}

#[test]
fn nobody_is_available() {
    let mut one = One::new(A);
    assert_eq!(one.change(0), took(1), "A drains");
    assert_eq!(one.slot(), moving(0, A, 1));
    assert_eq!(one.die(A, 0), WORDS);
    assert_eq!(one.slot(), Slot::mixed(0, 1));
    assert_eq!(one.change(B), WORDS);
    assert_eq!(one.slot(), Slot::mixed(B, 1));

    let mut one = One::new(A);
    one.die(A, 0);
    assert_eq!(one.slot(), Slot::settled(0));
    assert_eq!(one.change(B), WORDS);
    assert_eq!(one.slot(), Slot::settled(B));
}

#[test]
fn only_ripe_slots_settle() {
    let mut one = One::new(A);
    one.settle();
    one.change(B);
    one.settle();
    assert_eq!(one.slot(), moving(B, A, 1));
    let before = one.history.begin_grace();
    one.mix();
    one.history.confirm_grace(before);
    one.history.settle(&[0, 1]);
    assert_eq!(
        one.slot(),
        Slot::mixed(B, 1),
        "it became mixed within the grace period"
    );
    one.settle();
    assert_eq!(one.slot(), Slot::settled(B));
    assert!(one.history.status(one.now(), &settle(SETTLE)).is_empty());
}

#[test]
fn a_slot_that_a_change_makes_mixed_is_not_ripe() {
    let mut one = One::new(A);
    one.change(B);
    let mark = one.history.begin_grace();
    one.change(A);
    one.history.confirm_grace(mark);
    assert!(!one.history.is_ripe(0));
    let mark = one.history.begin_grace();
    one.history.confirm_grace(mark);
    assert!(one.history.is_ripe(0));
    one.change(A);
    assert!(one.history.is_ripe(0), "nothing was stored");
    one.die(A, B);
    assert!(!one.history.is_ripe(0));
}

#[test]
fn every_backend_of_a_word_is_named() {
    let mut one = One::new(A);
    assert_eq!(one.history.named(), BTreeSet::from([A]));
    one.change(0);
    assert_eq!(one.history.named(), BTreeSet::from([A]));
    one.change(B);
    assert_eq!(one.history.named(), BTreeSet::from([A, B]));
    one.mix();
    assert_eq!(one.history.named(), BTreeSet::from([B]));
}

/// What may happen to a table.
#[derive(Clone, Debug)]
enum Step {
    /// Owners of the slots, each reduced to one that lives.
    Change(Vec<u32>),
    Die(u32),
    Recover(u32),
    Mix,
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec(0..5_u32, 4).prop_map(Step::Change),
        2 => (1..5_u32).prop_map(Step::Die),
        2 => (1..5_u32).prop_map(Step::Recover),
        2 => Just(Step::Mix),
        1 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..60)
}

fn take(history: &mut History, owners: &mut [u32], alive: [bool; 5], now: Instant) {
    for owner in owners.iter_mut().filter(|n| !alive[**n as usize]) {
        *owner = (1..5).find(|n| alive[*n as usize]).unwrap_or(0);
    }
    let before = history.slots().to_vec();
    let given = Owners {
        current: owners,
        old: &[],
    };
    history.change(given, |index| alive[index as usize], now);
    for (was, is) in before.iter().zip(history.slots()) {
        let Miss::Backend(m) = was.miss() else {
            continue;
        };
        assert!(
            !alive[m as usize] || was.miss() == is.miss(),
            "I2: {was:?} {is:?}"
        );
        let Miss::Backend(m) = is.miss() else {
            panic!("no old table");
        };
        assert!(
            is.phase() != Phase::Moving || alive[m as usize],
            "I3: {was:?} {is:?}"
        );
        // Else the next agent would take it for a watched one.
        assert_ne!((is.phase(), m), (Phase::Moving, is.current()), "{was:?}");
    }
    for (slot, owner) in history.slots().iter().zip(owners) {
        assert_eq!(slot.current(), *owner);
    }
}

proptest! {
    #[test]
    fn the_miss_stays_while_it_lives(steps in steps()) {
        let start = Instant::now();
        let mut alive = [false, true, true, true, true];
        let mut owners = [1, 2, 3, 4];
        let mut history = History::settled(&owners);
        for (n, step) in (1..).zip(steps) {
            let now = start + Duration::from_secs(SETTLE) * n;
            match step {
                Step::Change(wanted) => owners.copy_from_slice(&wanted),
                Step::Die(backend) => alive[backend as usize] = false,
                Step::Recover(backend) => alive[backend as usize] = true,
                Step::Mix => {
                    history.advance(now, &settle(SETTLE));
                    prop_assert!(history.slots().iter().all(|s| s.phase() != Phase::Moving));
                }
                Step::Settle => {
                    let mark = history.begin_grace();
                    history.confirm_grace(mark);
                    history.settle(&[0, 1, 2, 3]);
                }
            }
            take(&mut history, &mut owners, alive, now);
        }
    }
}
