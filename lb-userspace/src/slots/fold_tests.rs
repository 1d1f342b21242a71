//! A fold makes the words of the live table again, whatever happened to it.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::slots::{
    log::{Health, Inputs},
    testing::{DEAD, DRAINED, Letters, Shape, UP, at, inputs, settle},
};

const SETTLE: u64 = 900;

/// A live table and its log, in virtual time.
struct Live {
    table: Table<Shape>,
    log: Log<Shape>,
    start: Instant,
    seconds: u64,
}

impl Live {
    fn new(inputs: Inputs<Shape>) -> Self {
        let start = Instant::now();
        let table = Table::new(inputs, &Letters);
        let base = table.base(&Letters, at(start, 0)).unwrap();
        let entries = Vec::new();
        Self {
            table,
            log: Log { base, entries },
            start,
            seconds: 0,
        }
    }

    fn clock(&self) -> Clock {
        at(self.start, self.seconds)
    }

    fn change(&mut self, inputs: Inputs<Shape>) -> Result<(), Busy> {
        let entry = self.table.change(inputs, &Letters, self.clock())?;
        self.log.entries.extend(entry);
        Ok(())
    }

    fn pass(&mut self, seconds: u64) {
        self.seconds += seconds;
        let entries = self.table.advance(self.clock().now, &settle(SETTLE));
        self.log.entries.extend(entries);
    }

    /// Settles the slots of which this is true.
    fn sweep(&mut self, free: impl Fn(u32) -> bool) {
        let mark = self.table.begin_grace();
        self.table.confirm_grace(mark);
        let all = 0..self.table.history().slots().len() as u32;
        let slots: Vec<u32> = all.filter(|&n| free(n)).collect();
        self.table.settle(&slots);
    }

    fn rebase(&mut self) {
        if let Some(base) = self.table.base(&Letters, self.clock()) {
            let entries = Vec::new();
            self.log = Log { base, entries };
        }
    }

    /// The table that the log's text makes.
    fn folded(&self) -> Table<Shape> {
        let text = self.log.text().unwrap();
        let read = Log::read(&text).log.unwrap();
        Table::fold(&read, &Letters, self.clock(), Absence::Forwarding).unwrap()
    }

    /// The fold's words mean the same as the live ones.
    fn check(&self) -> Table<Shape> {
        let folded = self.folded();
        let (live, again) = (self.table.history(), folded.history());
        assert_same(live.slots(), again.slots());
        assert_same(
            live.old().unwrap_or_default(),
            again.old().unwrap_or_default(),
        );
        assert_eq!(self.table.old_shape(), folded.old_shape());
        let moving = |history: &History| -> Vec<(u16, Instant)> {
            let epochs = history.status(self.clock().now, &settle(SETTLE));
            let moving = epochs.iter().filter(|epoch| epoch.moving > 0);
            moving.map(|epoch| (epoch.number, epoch.start)).collect()
        };
        assert_eq!(moving(live), moving(again));
        folded
    }
}

fn fold(live: &Live) -> Result<Table<Shape>, Error> {
    Table::fold(&live.log, &Letters, live.clock(), Absence::Forwarding)
}

fn deadline(table: &Table<Shape>, now: Instant) -> Option<Instant> {
    table.history().deadline(now, &settle(SETTLE))
}

fn assert_same(live: &[Slot], folded: &[Slot]) {
    assert_eq!(live.len(), folded.len());
    for (live, folded) in live.iter().zip(folded) {
        let settled = live.is_settled() && folded.phase() == Phase::Mixed;
        let answers = |slot: &Slot| (slot.current(), slot.miss());
        let same = live == folded || settled && answers(live) == answers(folded);
        assert!(same, "{live:?} {folded:?}");
    }
}

#[test]
fn a_moving_table_is_made_again() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP), ("b", UP)]));
    live.change(inputs(31, 0, &[("a", UP), ("b", UP), ("c", UP)]))
        .unwrap();
    live.pass(100);
    live.change(inputs(31, 0, &[("a", DRAINED), ("b", UP), ("c", UP)]))
        .unwrap();
    live.check();
    live.pass(SETTLE - 50);
    let folded = live.check();
    let phases = |phase| {
        folded
            .history()
            .slots()
            .iter()
            .filter(|s| s.phase() == phase)
            .count()
    };
    assert!(phases(Phase::Moving) > 0 && phases(Phase::Mixed) > 0 && phases(Phase::Settled) > 0);
}

#[test]
fn settled_slots_come_back_as_mixed_until_there_is_a_base() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    live.change(inputs(31, 0, &[("b", UP), ("a", DRAINED)]))
        .unwrap();
    live.pass(SETTLE);
    assert!(!live.table.outgrew(&live.log));
    live.sweep(|_| true);
    let mixed = Slot::mixed(2, 1);
    assert_eq!(live.check().history().slots(), [mixed; 31]);
    assert!(live.table.outgrew(&live.log));
    live.rebase();
    assert_eq!(live.check().history().slots(), [Slot::settled(2); 31]);
    assert!(!live.table.outgrew(&live.log));
}

/// What a base of inputs alone gets wrong: the first epoch is over, the second is not, and a slot
/// that changed its owner in both was the first one's.
#[test]
fn an_epoch_that_began_while_another_ran_survives_it() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    let drained = [("a", DRAINED), ("b", UP), ("c", DRAINED)];
    live.change(inputs(31, 0, &drained)).unwrap();
    live.pass(800);
    live.change(inputs(31, 0, &[("a", DRAINED), ("b", UP), ("c", UP)]))
        .unwrap();
    live.pass(100);
    live.sweep(|_| true);
    live.rebase();
    let folded = live.check();
    assert!(folded.history().slots().contains(&Slot::settled(3)));
}

#[test]
fn numbers_of_epochs_are_those_of_the_log() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    live.log.base.last_epoch = 76;
    let both = inputs(31, 0, &[("a", UP), ("b", UP)]);
    let entry = |epoch, inputs| Entry::Changed {
        epoch: Some(epoch),
        time: None,
        inputs,
    };
    let four = inputs(31, 0, &[("a", UP), ("b", UP), ("c", UP), ("d", UP)]);
    live.log.entries = vec![entry(77, both), entry(99, four)];
    let mut folded = fold(&live).unwrap();
    let epochs = |table: &Table<Shape>| -> Vec<u16> {
        let starts = table.history().epochs.starts();
        starts.map(|epoch| epoch.number).collect()
    };
    assert_eq!(epochs(&folded), [77, 99]);
    let base = folded.base(&Letters, live.clock()).unwrap();
    assert_eq!((base.last_epoch, base.starts.len()), (99, 2));

    live.log.base = base;
    live.log.base.last_epoch = 500;
    live.log.entries.clear();
    folded = fold(&live).unwrap();
    let drained = inputs(31, 0, &[("a", DRAINED), ("b", UP), ("c", UP), ("d", UP)]);
    folded.change(drained, &Letters, live.clock()).unwrap();
    assert_eq!(epochs(&folded), [77, 99, 501]);
}

#[test]
fn a_backend_without_an_index_counts_as_dead() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    live.change(inputs(31, 0, &[("b", UP), ("a", DRAINED)]))
        .unwrap();
    live.rebase();
    let folded = Table::fold(&live.log, &WithoutA, live.clock(), Absence::Forwarding).unwrap();
    assert_eq!(folded.history().slots(), [Slot::mixed(2, 1); 31]);
}

/// The same backends after `a` was removed.
struct WithoutA;

impl Assign<Shape> for WithoutA {
    fn owners(&self, shape: &Shape, backends: &crate::slots::Backends) -> Vec<u32> {
        Letters.owners(shape, backends)
    }

    fn index(&self, name: &str) -> u32 {
        if name == "a" { 0 } else { Letters.index(name) }
    }
}

#[test]
fn a_log_of_another_table_is_refused() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    live.change(inputs(31, 0, &[("b", UP), ("a", DRAINED)]))
        .unwrap();
    live.rebase();
    live.log.base.inputs.shape.slots = 30;
    let refused = fold(&live);
    assert_eq!(refused.err(), Some(Error::NoSuchSlot(30)));

    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    live.change(inputs(17, 1, &[("a", UP)])).unwrap();
    let entry = Entry::Changed {
        epoch: Some(2),
        time: None,
        inputs: inputs(13, 2, &[("a", UP)]),
    };
    live.log.entries.push(entry);
    let refused = fold(&live);
    assert_eq!(refused.err(), Some(Error::Busy));
}

#[test]
fn epochs_go_on_where_they_were() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    live.change(inputs(31, 0, &[("b", UP), ("a", DRAINED)]))
        .unwrap();
    live.pass(100);
    let end = Some(live.start + Duration::from_secs(SETTLE));
    let now = live.clock().now;
    assert_eq!(deadline(&fold(&live).unwrap(), now), end);
    live.rebase();
    assert_eq!(deadline(&fold(&live).unwrap(), now), end);
}

#[test]
fn epochs_begin_anew_where_nothing_is_known() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    live.change(inputs(31, 0, &[("b", UP), ("a", DRAINED)]))
        .unwrap();
    live.pass(100);
    let now = live.clock().now;
    let end = Some(now + Duration::from_secs(SETTLE));
    let interrupted = Table::fold(&live.log, &Letters, live.clock(), Absence::Interrupted);
    assert_eq!(deadline(&interrupted.unwrap(), now), end);
    live.rebase();
    live.log.base.starts[0].time = None;
    assert_eq!(deadline(&fold(&live).unwrap(), now), end);
}

#[test]
fn a_long_log_is_worth_a_base() {
    let mut live = Live::new(inputs(31, 0, &[("a", UP)]));
    for _ in 0..40 {
        live.change(inputs(31, 0, &[("a", DEAD)])).unwrap();
        live.change(inputs(31, 0, &[("a", UP)])).unwrap();
    }
    assert!(live.table.outgrew(&live.log));
}

/// What may happen to a table.
#[derive(Clone, Debug)]
enum Step {
    Health(usize, Health),
    Shape(u32, u64),
    Pass(u64),
    /// Slots whose number has this bit are free of exceptions.
    Sweep(u32),
    Rebase,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let health = prop_oneof![
        3 => Just(UP),
        1 => Just(Health { weight: 20, ..UP }),
        2 => Just(DRAINED),
        2 => Just(DEAD),
    ];
    let step = prop_oneof![
        8 => (0..5_usize, health).prop_map(|(n, health)| Step::Health(n, health)),
        1 => (1..40_u32, 0..4_u64).prop_map(|(slots, salt)| Step::Shape(slots, salt)),
        4 => (1..1200_u64).prop_map(Step::Pass),
        3 => (0..5_u32).prop_map(Step::Sweep),
        1 => Just(Step::Rebase),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

proptest! {
    #[test]
    fn the_fold_says_what_the_live_table_says(steps in steps()) {
        let mut backends = NAMES.map(|name| (name, UP));
        let mut live = Live::new(inputs(31, 0, &backends));
        let mut shape = Shape { slots: 31, salt: 0 };
        for step in steps {
            match step {
                Step::Health(n, health) => {
                    backends[n].1 = health;
                    live.change(inputs(shape.slots, shape.salt, &backends)).unwrap();
                }
                Step::Shape(slots, salt) => {
                    if live.change(inputs(slots, salt, &backends)).is_ok() {
                        shape = Shape { slots, salt };
                    }
                }
                Step::Pass(seconds) => live.pass(seconds),
                Step::Sweep(bit) => live.sweep(|slot| slot >> bit & 1 == 1),
                Step::Rebase => live.rebase(),
                Step::Restart => live.table = live.folded(),
            }
            live.check();
        }
    }
}
