//! What a table says is to be logged.

use std::time::Duration;

use super::*;
use crate::slots::testing::{DEAD, DRAINED, Letters, Shape, UP, at, inputs, settle};

fn table() -> Table<Shape> {
    Table::new(inputs(31, 0, &[("a", UP), ("b", UP)]), &Letters)
}

#[test]
fn a_change_is_logged_with_its_epoch() {
    let (mut table, clock) = (table(), at(Instant::now(), 5));
    let drained = inputs(31, 0, &[("a", DRAINED), ("b", UP)]);
    let entry = table.change(drained.clone(), &Letters, clock).unwrap();
    let expected = Entry::Changed {
        epoch: Some(1),
        time: Some(clock.unix),
        inputs: drained,
    };
    assert_eq!(entry, Some(expected));
    let later = clock.now + Duration::from_secs(900);
    let waits = settle(900);
    assert_eq!(table.advance(later, &waits), [Entry::Mixed { epoch: 1 }]);
}

#[test]
fn a_death_in_a_settled_table_begins_no_epoch() {
    let (mut table, clock) = (table(), at(Instant::now(), 5));
    let dead = inputs(31, 0, &[("a", DEAD), ("b", UP)]);
    let entry = table.change(dead, &Letters, clock).unwrap();
    assert!(matches!(entry, Some(Entry::Changed { epoch: None, .. })));
}

#[test]
fn inputs_that_change_no_word_are_not_logged() {
    let (mut table, clock) = (table(), at(Instant::now(), 5));
    let more = inputs(31, 0, &[("a", UP), ("b", UP), ("c", DRAINED)]);
    assert_eq!(table.change(more.clone(), &Letters, clock), Ok(None));
    assert_eq!(table.inputs(), &more);
}

#[test]
fn a_removed_backend_is_dead() {
    let (mut table, clock) = (table(), at(Instant::now(), 5));
    table
        .change(inputs(31, 0, &[("b", UP)]), &Letters, clock)
        .unwrap();
    assert_eq!(table.history().named(), [2].into());
}

#[test]
fn another_shape_waits_for_the_last_one() {
    let (mut table, clock) = (table(), at(Instant::now(), 5));
    let both = [("a", UP), ("b", UP)];
    let entry = table.change(inputs(17, 1, &both), &Letters, clock).unwrap();
    assert!(matches!(entry, Some(Entry::Changed { epoch: Some(1), .. })));
    assert_eq!(table.old_shape(), Some(&Shape { slots: 31, salt: 0 }));
    let again = inputs(31, 2, &both);
    assert_eq!(table.change(again.clone(), &Letters, clock), Err(Busy));
    assert_eq!(table.inputs().shape.slots, 17, "nothing was taken");
    assert!(table.base(&Letters, clock).is_none());

    table.advance(clock.now, &settle(0));
    assert_eq!(table.old_shape(), None);
    assert!(table.base(&Letters, clock).is_some());
    assert!(table.change(again, &Letters, clock).is_ok());
}
