//! What a runner makes of what the data plane has from before.

use std::path::Path;

use super::*;
use crate::slots::{Health, UnixTime};

const ID: TableId = TableId {
    size: TableSize::Small,
    index: 3,
};
const LARGER: TableId = TableId {
    size: TableSize::Medium,
    index: 0,
};

fn clock() -> Clock {
    Clock {
        now: Instant::now(),
        unix: UnixTime(1_000_000),
    }
}

/// A table of these backends: index and weight.
fn wanted(id: TableId, backends: &[(u32, u16)]) -> Wanted {
    let name = |index: u32| format!("backend{index}");
    let health = |weight| Health {
        weight,
        available: weight > 0,
        alive: true,
    };
    Wanted {
        pool: "web".into(),
        family: Family::Ipv4,
        id,
        prefix: 0,
        old: None,
        backends: backends
            .iter()
            .map(|&(index, weight)| (name(index), health(weight)))
            .collect(),
        indices: backends.iter().map(|&(n, _)| (name(n), n)).collect(),
        settle: Duration::from_secs(3600),
        services: vec![0],
    }
}

const BEFORE: [(u32, u16); 2] = [(1, 100), (2, 100)];
const AFTER: [(u32, u16); 3] = [(1, 100), (2, 100), (3, 100)];

/// A runner that has had these tables one after the other.
fn ran(folder: &Path, tables: impl IntoIterator<Item = Wanted>) -> Runner {
    let mut runner = Runner::new(folder.into(), BTreeMap::new());
    for wanted in tables {
        runner.change(vec![wanted], clock());
    }
    runner
}

/// What the next one makes of what this one left.
fn next(folder: &Path, left: BTreeMap<TableId, Vec<Slot>>, wanted: Wanted) -> Runner {
    let mut runner = Runner::new(folder.into(), left);
    runner.change(vec![wanted], clock());
    runner
}

#[test]
fn words_go_on_as_they_are_with_their_log_and_without_any() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("slots");
    let tables = [wanted(ID, &BEFORE), wanted(ID, &AFTER)];
    let words = ran(&logs, tables).slots();
    assert!(words[&ID].iter().any(|slot| !slot.is_settled()));
    let again = next(&logs, words.clone(), wanted(ID, &AFTER));
    assert_eq!(again.slots(), words);
    std::fs::remove_dir_all(&logs).unwrap();
    let again = next(&logs, words.clone(), wanted(ID, &AFTER));
    assert_eq!(again.slots(), words);
    // And where none can be kept.
    std::fs::remove_dir_all(&logs).unwrap();
    std::fs::write(&logs, "").unwrap();
    let again = next(&logs, words.clone(), wanted(ID, &AFTER));
    assert_eq!(again.slots(), words);
}

#[test]
fn a_change_that_is_logged_but_not_stored_begins_when_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner = ran(folder.path(), [wanted(ID, &BEFORE)]);
    let stored = runner.slots();
    runner.change(vec![wanted(ID, &AFTER)], clock());
    // The agent ended here, and comes back long after.
    let later = Clock {
        unix: UnixTime(1_000_000 + 7200),
        ..clock()
    };
    let mut runner = Runner::new(folder.path().into(), stored);
    runner.change(vec![wanted(ID, &AFTER)], later);
    let none = |_| Ok(Unrecorded::default());
    assert!(!runner.advance(later.now, none).unwrap());
    assert!(runner.is_moving());
}

#[test]
fn a_table_that_was_not_filled_follows_anew_from_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let larger = || Wanted {
        old: Some(ID),
        ..wanted(LARGER, &BEFORE)
    };
    let words = ran(folder.path(), [wanted(ID, &BEFORE), larger()]).slots();
    let whole = next(folder.path(), words.clone(), larger());
    assert_eq!(whole.slots(), words);
    let mut partly = words.clone();
    partly.get_mut(&LARGER).unwrap()[7..].fill(Slot::EMPTY);
    let again = next(folder.path(), partly, larger());
    let is_old = |slot: &Slot| slot.miss() == lb_common::abi::Miss::OldTable;
    assert!(again.slots()[&LARGER].iter().all(is_old));
    assert_eq!(again.slots()[&ID], words[&ID]);
}

#[test]
fn words_of_tables_that_went_are_not_taken_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let left = ran(folder.path(), [wanted(ID, &AFTER)]).slots();
    let mut runner = Runner::new(folder.path().join("other"), left);
    runner.change(Vec::new(), clock());
    runner.change(vec![wanted(ID, &BEFORE)], clock());
    assert!(!runner.is_moving());
}
