//! The sweep's rules, one by one.

use std::time::{Duration, Instant};

use lb_common::abi::{ExceptionState, Miss, Slot, TableSize};

use super::*;
use crate::slots::{machine::Owners, testing::settle};

const ID: TableId = TableId {
    size: TableSize::Small,
    index: 0,
};
const HERTZ: u32 = 250;
const NOW: u32 = 100; // So that stamps wrap.
const TIMEOUT: Duration = Duration::from_secs(7800);

/// Backend 1 is the former owner, 2 the current one, 3 another, 4 dead.
const FORMER: BackendRef = BackendRef::new(1, 0);
const CURRENT: BackendRef = BackendRef::new(2, 5);
const OTHER: BackendRef = BackendRef::new(3, 0);
const DEAD: BackendRef = BackendRef::new(4, 0);
const OUTDATED: BackendRef = BackendRef::new(3, 255);

fn usable(backend: BackendRef) -> bool {
    [FORMER, CURRENT, OTHER].contains(&backend)
}

/// Slot 0 is ripe, 1 is MIXED and not ripe, 2 MOVING, 3 SETTLED.
fn history() -> History {
    let now = Instant::now();
    let mut history = History::settled(&[1, 1, 1, 2]);
    let change = |history: &mut History, current: [u32; 4]| {
        let owners = Owners {
            current: &current,
            old: &[],
        };
        history.change(owners, |_| true, now);
    };
    change(&mut history, [2, 1, 1, 2]);
    history.advance(now, &settle(0));
    let mark = history.begin_grace();
    history.confirm_grace(mark);
    change(&mut history, [2, 2, 1, 2]);
    history.advance(now, &settle(0));
    change(&mut history, [2, 2, 2, 2]);
    let moving = Slot::moving(2, Miss::Backend(1), 3);
    let mixed = [Slot::mixed(2, 1), Slot::mixed(2, 2)];
    assert_eq!(
        history.slots(),
        [mixed[0], mixed[1], moving, Slot::settled(2)]
    );
    history
}

const RIPE: Option<u32> = Some(0);
const UNRIPE: Option<u32> = Some(1);
const MOVING: Option<u32> = Some(2);
const SETTLED: Option<u32> = Some(3);

/// An exception last seen so many seconds ago.
fn dumped(
    slot: Option<u32>,
    state: ExceptionState,
    owners: (BackendRef, BackendRef),
    idle: u32,
) -> Dumped<u8> {
    let mut entry = Exception::default();
    entry.set_owners(owners.0, owners.1);
    entry.set_mark(state, 7);
    entry.set_seen(NOW.wrapping_sub(idle * HERTZ), 0);
    Dumped {
        key: 9,
        entry,
        slot: slot.map(|slot| (ID, slot)),
        timeout: TIMEOUT,
    }
}

fn tentative(slot: Option<u32>, owner: BackendRef, fallback: BackendRef) -> Dumped<u8> {
    dumped(slot, ExceptionState::Tentative, (owner, fallback), 1)
}

fn committed(slot: Option<u32>, owner: BackendRef) -> Dumped<u8> {
    dumped(slot, ExceptionState::Committed, (owner, owner), 1)
}

fn closing(slot: Option<u32>, owner: BackendRef, idle: u32) -> Dumped<u8> {
    dumped(slot, ExceptionState::Closing, (owner, owner), idle)
}

fn run(dump: impl IntoIterator<Item = Dumped<u8>>) -> Sweep<u8> {
    let history = history();
    let clock = Jiffies {
        now: NOW,
        hertz: HERTZ,
    };
    sweep(&BTreeMap::from([(ID, &history)]), dump, clock, usable)
}

/// What becomes of one exception, and whether the ripe slot is settled.
fn one(dumped: Dumped<u8>) -> (Verdict, bool) {
    let sweep = run([dumped]);
    let settled = sweep.settled.get(&ID).is_some_and(|slots| slots == &[0]);
    let last_seen = dumped.entry.last_seen();
    let verdict = match (&sweep.deletions[..], &sweep.rewrites[..]) {
        ([], []) => Verdict::Keep,
        ([gone], []) => {
            assert_eq!((gone.key, gone.last_seen), (9, last_seen));
            Verdict::Delete(gone.reason)
        }
        ([], [new]) => {
            assert_eq!((new.key, new.last_seen), (9, last_seen));
            Verdict::Rewrite(new.owner)
        }
        both => panic!("{both:?}"),
    };
    (verdict, settled)
}

use Verdict::{Delete, Keep, Rewrite as Renew};

#[test]
fn a_slot_without_exceptions_settles_when_it_is_ripe() {
    let sweep = run([]);
    assert_eq!(sweep.settled, BTreeMap::from([(ID, vec![0])]));
}

#[test]
fn a_flow_of_another_backend_keeps_its_slot_mixed() {
    assert_eq!(one(committed(RIPE, FORMER)), (Keep, false));
    assert_eq!(one(committed(RIPE, OTHER)), (Keep, false));
    assert_eq!(one(closing(RIPE, FORMER, 1)), (Keep, false));
    assert_eq!(one(tentative(RIPE, FORMER, FORMER)), (Keep, false));
}

#[test]
fn a_fallback_that_differs_keeps_its_slot_mixed() {
    assert_eq!(one(tentative(RIPE, CURRENT, FORMER)), (Keep, false));
    assert_eq!(one(tentative(RIPE, CURRENT, DEAD)), (Keep, false));
}

#[test]
fn what_agrees_with_a_mixed_slot_goes() {
    assert_eq!(
        one(committed(RIPE, CURRENT)),
        (Delete(Reason::Redundant), true)
    );
    let settled = (Delete(Reason::Settled), true);
    assert_eq!(one(closing(RIPE, CURRENT, 1)), settled);
    assert_eq!(one(tentative(RIPE, CURRENT, CURRENT)), settled);
}

#[test]
fn what_agrees_stays_while_another_flow_keeps_the_slot_mixed() {
    let sweep = run([
        closing(RIPE, CURRENT, 1),
        tentative(RIPE, CURRENT, CURRENT),
        committed(RIPE, CURRENT),
        committed(RIPE, FORMER),
    ]);
    assert!(sweep.settled.is_empty());
    let reasons: Vec<Reason> = sweep.deletions.iter().map(|d| d.reason).collect();
    assert_eq!(reasons, [Reason::Redundant]);
    let tally = &sweep.tallies[&ID];
    assert_eq!((tally.moving, tally.mixed), (1, 2));
    assert_eq!(tally.by_epoch, BTreeMap::from([(1, 3)]));
    assert_eq!(tally.by_backend, BTreeMap::from([(1, 1), (2, 2)]));
}

#[test]
fn an_unripe_slot_neither_settles_nor_loses_what_agrees() {
    assert_eq!(one(committed(UNRIPE, CURRENT)), (Keep, true));
    assert_eq!(one(closing(UNRIPE, CURRENT, 1)), (Keep, true));
}

#[test]
fn what_agrees_with_a_moving_slot_stays() {
    assert_eq!(one(committed(MOVING, CURRENT)), (Keep, true));
    assert_eq!(one(committed(MOVING, FORMER)), (Keep, true));
    assert_eq!(one(tentative(MOVING, CURRENT, FORMER)), (Keep, true));
}

#[test]
fn nothing_is_left_in_a_settled_slot() {
    for owner in [CURRENT, FORMER] {
        assert_eq!(
            one(committed(SETTLED, owner)),
            (Delete(Reason::Settled), true)
        );
    }
}

#[test]
fn idle_flows_go() {
    let idle = |state, seconds| dumped(RIPE, state, (FORMER, FORMER), seconds);
    let gone = (Delete(Reason::Idle), true);
    for state in [ExceptionState::Tentative, ExceptionState::Committed] {
        assert_eq!(one(idle(state, 7799)), (Keep, false));
        assert_eq!(one(idle(state, 7800)), gone);
    }
}

#[test]
fn closed_flows_go_sooner() {
    for slot in [RIPE, MOVING] {
        assert_eq!(one(closing(slot, FORMER, 119)).0, Keep);
        assert_eq!(one(closing(slot, FORMER, 120)).0, Delete(Reason::Closed));
    }
}

#[test]
fn unusable_backends_lose_their_flows() {
    for (slot, settles) in [(RIPE, true), (MOVING, true)] {
        for owner in [DEAD, OUTDATED] {
            let gone = (Delete(Reason::Unusable), settles);
            assert_eq!(one(committed(slot, owner)), gone);
            assert_eq!(one(closing(slot, owner, 1)), gone);
            assert_eq!(one(tentative(slot, owner, DEAD)), gone);
        }
    }
}

#[test]
fn a_tentative_flow_of_an_unusable_backend_falls_back() {
    assert_eq!(one(tentative(RIPE, DEAD, FORMER)), (Renew(FORMER), false));
    assert_eq!(
        one(tentative(MOVING, DEAD, CURRENT)),
        (Renew(CURRENT), true)
    );
    let same = (Delete(Reason::Redundant), true);
    assert_eq!(one(tentative(RIPE, DEAD, CURRENT)), same);
}

#[test]
fn flows_without_a_service_go() {
    let gone = (Delete(Reason::NoService), true);
    assert_eq!(one(committed(None, FORMER)), gone);
}

#[test]
fn slots_that_are_not_known_lose_nothing() {
    assert_eq!(one(committed(Some(1000), FORMER)).0, Keep);
    let mut elsewhere = committed(RIPE, CURRENT);
    elsewhere.slot = Some((TableId { index: 1, ..ID }, 0));
    assert_eq!(one(elsewhere).0, Keep);
}

#[test]
fn a_stamp_of_another_cpu_may_be_ahead() {
    let mut ahead = committed(RIPE, FORMER);
    ahead.entry.set_seen(NOW + 3, 0);
    assert_eq!(one(ahead), (Keep, false));
}

#[test]
fn long_timeouts_do_not_wrap() {
    let mut long = committed(RIPE, FORMER);
    long.timeout = Duration::MAX;
    assert_eq!(one(long), (Keep, false));
}

#[test]
fn every_backend_that_an_exception_names_is_named() {
    let sweep = run([
        tentative(RIPE, CURRENT, OTHER),
        committed(MOVING, DEAD),
        tentative(MOVING, FORMER, BackendRef::NONE),
    ]);
    assert_eq!(sweep.named, BTreeSet::from([1, 2, 3, 4]));
}
