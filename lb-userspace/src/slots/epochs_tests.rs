//! What an epoch waits for, and how its number is chosen.

use super::*;
use crate::slots::{
    machine::{History, Owners},
    testing::settle,
};
use lb_common::abi::Miss;

const SECOND: Duration = Duration::from_secs(1);

/// A table of two slots, moving since its beginning.
fn begun(start: Instant) -> History {
    let mut history = History::settled(&[1, 1]);
    change(&mut history, [2, 2], start);
    history
}

fn change(history: &mut History, owners: [u32; 2], now: Instant) -> Option<u16> {
    let owners = Owners {
        current: &owners,
        old: &[],
    };
    history.change(owners, |_| true, now).epoch
}

fn hold_up(history: &History, now: Instant, waits: &Waits) -> Option<HoldUp> {
    let [status] = history.status(now, waits)[..] else {
        panic!("one epoch");
    };
    status.hold_up
}

#[test]
fn an_epoch_waits_for_the_settle_time() {
    let start = Instant::now();
    let (mut history, waits) = (begun(start), settle(900));
    let early = start + 899 * SECOND;
    assert!(history.advance(early, &waits).is_empty());
    assert_eq!(history.deadline(early, &waits), Some(start + 900 * SECOND));
    assert_eq!(
        hold_up(&history, early, &waits),
        Some(HoldUp::SettleTime(SECOND))
    );
    let due = start + 900 * SECOND;
    assert_eq!(hold_up(&history, due, &waits), None);
    assert_eq!(history.advance(due, &waits), [1]);
    assert_eq!(history.slots(), [Slot::mixed(2, 1); 2]);
    assert_eq!(history.deadline(due, &waits), None);
}

#[test]
fn unrecorded_data_holds_it_up_for_a_settle_time() {
    let start = Instant::now();
    let mut history = begun(start);
    let waits = Waits {
        unrecorded_data: Some(start + 500 * SECOND),
        ..settle(900)
    };
    let now = start + 900 * SECOND;
    assert!(history.advance(now, &waits).is_empty());
    let held = Some(HoldUp::UnrecordedData(500 * SECOND));
    assert_eq!(hold_up(&history, now, &waits), held);
    assert_eq!(history.deadline(now, &waits), Some(start + 1400 * SECOND));
    assert_eq!(history.advance(start + 1400 * SECOND, &waits), [1]);
}

#[test]
fn unrecorded_opens_hold_it_up_for_their_time() {
    let start = Instant::now();
    let mut history = begun(start);
    let waits = Waits {
        unrecorded_open: Some(start + 890 * SECOND),
        ..settle(900)
    };
    let now = start + 900 * SECOND;
    assert!(history.advance(now, &waits).is_empty());
    let held = Some(HoldUp::UnrecordedOpens(54 * SECOND));
    assert_eq!(hold_up(&history, now, &waits), held);
    assert_eq!(history.advance(start + 954 * SECOND, &waits), [1]);
}

#[test]
fn what_was_unrecorded_before_it_holds_nothing_up() {
    let start = Instant::now();
    let mut history = begun(start + 600 * SECOND);
    let waits = Waits {
        settle: 900 * SECOND,
        unrecorded_data: Some(start),
        unrecorded_open: Some(start),
    };
    let now = start + 1000 * SECOND;
    let held = Some(HoldUp::SettleTime(500 * SECOND));
    assert_eq!(hold_up(&history, now, &waits), held);
    assert_eq!(history.advance(start + 1500 * SECOND, &waits), [1]);
}

#[test]
fn each_epoch_goes_by_its_own_beginning() {
    let start = Instant::now();
    let mut history = History::settled(&[1, 1]);
    let waits = settle(900);
    assert_eq!(change(&mut history, [2, 1], start), Some(1));
    assert_eq!(change(&mut history, [3, 2], start + 100 * SECOND), Some(2));
    assert_eq!(history.advance(start + 950 * SECOND, &waits), [1]);
    let second = Slot::moving(2, Miss::Backend(1), 2);
    assert_eq!(history.slots(), [Slot::mixed(3, 1), second]);
    let deadline = history.deadline(start + 950 * SECOND, &waits);
    assert_eq!(deadline, Some(start + 1000 * SECOND));
    let counts = history.status(start + 950 * SECOND, &waits);
    let counts: Vec<_> = counts
        .iter()
        .map(|s| (s.number, s.moving, s.mixed))
        .collect();
    assert_eq!(counts, [(1, 0, 1), (2, 1, 0)]);
}

#[test]
fn numbers_go_round_and_spare_those_in_words() {
    let start = Instant::now();
    let mut history = History::settled(&[1, 1]);
    assert_eq!(change(&mut history, [2, 1], start), Some(1));
    // Slot 0 moves in epoch 1 all the time; slot 1 goes to and fro, and settles each time.
    let round = (2..Slot::EPOCHS).chain([0, 2, 3]);
    for number in round {
        assert_eq!(change(&mut history, [2, 2], start), Some(number));
        assert_eq!(change(&mut history, [2, 1], start), None);
        let mark = history.begin_grace();
        history.confirm_grace(mark);
        history.settle(&[1]);
    }
}

#[test]
fn when_no_number_is_left_the_last_begins_anew() {
    let start = Instant::now();
    let mut epochs = Epochs::default();
    for _ in 0..Slot::EPOCHS {
        let next = epochs.next(start);
        epochs.begin(next);
    }
    assert_eq!(epochs.last(), 0);
    let again = epochs.next(start + SECOND);
    assert_eq!((again.number, again.start), (0, start + SECOND));
}
