//! Who gets which index, and when.

use super::*;

const NONE: [u32; 0] = [];

fn backend(indices: &mut Indices<&'static str>, name: &'static str) -> (u32, u8) {
    let reference = indices.allocate(&name).unwrap();
    (reference.index(), reference.generation())
}

/// A round in which words and exceptions name these.
fn round(indices: &mut Indices<&'static str>, words: &[u32], exceptions: &[u32]) -> Vec<u32> {
    let words: BTreeSet<u32> = words.iter().copied().collect();
    indices.begin(&words);
    indices.finish(&exceptions.iter().copied().chain(words).collect())
}

fn three() -> Indices<&'static str> {
    let mut indices = Indices::default();
    assert_eq!(backend(&mut indices, "a"), (1, 0));
    assert_eq!(backend(&mut indices, "b"), (2, 0));
    assert_eq!(backend(&mut indices, "c"), (3, 0));
    indices
}

#[test]
fn an_index_stays_its_backends() {
    let mut indices = three();
    assert_eq!(backend(&mut indices, "b"), (2, 0));
    assert_eq!(indices.get(&"b"), Some(BackendRef::new(2, 0)));
    assert_eq!(indices.get(&"d"), None);
}

#[test]
fn a_released_index_is_free_after_two_rounds() {
    let mut indices = three();
    indices.release(&"a");
    assert_eq!(round(&mut indices, &[2, 3], &[]), NONE);
    assert_eq!(
        backend(&mut indices, "d"),
        (4, 0),
        "one grace period is missing"
    );
    assert_eq!(round(&mut indices, &[2, 3], &[]), [1]);
    assert!(!indices.is_present(BackendRef::new(1, 0)));
    assert_eq!(backend(&mut indices, "e"), (1, 1), "the next generation");
    assert_eq!(backend(&mut indices, "a"), (5, 0));
}

#[test]
fn an_index_that_is_named_is_not_free() {
    let mut indices = three();
    indices.release(&"a");
    for _ in 0..5 {
        assert_eq!(round(&mut indices, &[1, 2], &[]), NONE);
    }
    for _ in 0..5 {
        assert_eq!(round(&mut indices, &[2], &[1]), NONE);
    }
    assert_eq!(round(&mut indices, &[], &[]), NONE);
    assert_eq!(round(&mut indices, &[], &[1]), NONE, "from the beginning");
    assert_eq!(round(&mut indices, &[], &[]), NONE);
    assert_eq!(round(&mut indices, &[], &[]), [1]);
}

#[test]
fn a_round_that_began_before_the_release_does_not_count() {
    let mut indices = three();
    indices.begin(&BTreeSet::new());
    indices.release(&"a");
    assert_eq!(indices.finish(&BTreeSet::new()), NONE);
    assert_eq!(round(&mut indices, &[], &[]), NONE);
    assert_eq!(round(&mut indices, &[], &[]), [1]);
}

#[test]
fn a_round_in_which_a_word_lets_go_does_not_count() {
    let mut indices = three();
    indices.release(&"a");
    indices.begin(&BTreeSet::from([1]));
    assert_eq!(indices.finish(&BTreeSet::new()), NONE);
    assert_eq!(round(&mut indices, &[], &[]), NONE);
    assert_eq!(round(&mut indices, &[], &[]), [1]);
}

#[test]
fn a_backend_that_returns_has_its_index_again() {
    let mut indices = three();
    indices.release(&"a");
    round(&mut indices, &[], &[]);
    assert_eq!(backend(&mut indices, "a"), (1, 0));
    round(&mut indices, &[], &[]);
    assert_eq!(round(&mut indices, &[], &[]), NONE);
}

#[test]
fn a_restart_raises_the_generation() {
    let mut indices = three();
    assert_eq!(indices.restarted(&"a"), Some(BackendRef::new(1, 1)));
    assert!(!indices.is_present(BackendRef::new(1, 0)));
    assert!(indices.is_present(BackendRef::new(1, 1)));
    for _ in 0..255 {
        indices.restarted(&"a");
    }
    assert_eq!(backend(&mut indices, "a"), (1, 0), "it wraps");
    assert_eq!(indices.restarted(&"d"), None);
}

#[test]
fn what_a_former_run_left_is_adopted() {
    let mut indices = three();
    indices.release(&"b");
    indices.restarted(&"c");
    round(&mut indices, &[], &[]);
    round(&mut indices, &[], &[]);
    let mut adopted = Indices::adopt(indices.clone().into()).unwrap();
    assert!(adopted.assignments().eq(indices.assignments()));
    assert_eq!(backend(&mut adopted, "c"), (3, 1));
    assert_eq!(
        backend(&mut adopted, "d"),
        (2, 1),
        "flows may name its first"
    );
    assert_eq!(backend(&mut adopted, "e"), (4, 0));
}

#[test]
fn released_ones_are_held_by_who_adopts_them() {
    let mut indices = three();
    indices.release(&"b");
    let mut adopted = Indices::adopt(indices.clone().into()).unwrap();
    assert_eq!(backend(&mut adopted, "d"), (4, 0));
    assert_eq!(backend(&mut adopted, "b"), (2, 0));
}

#[test]
fn what_can_not_be_is_refused() {
    let refused = |assigned: &[(&'static str, u32)], free: &[(u32, u8)]| {
        let held = assigned.iter().map(|&(identity, index)| Assignment {
            identity,
            index,
            generation: 0,
        });
        let recorded = Recorded {
            assignments: held.collect(),
            free: free.to_vec(),
        };
        Indices::adopt(recorded).err()
    };
    assert_eq!(refused(&[("a", 0)], &[]), Some(Error::OutOfRange(0)));
    assert_eq!(
        refused(&[("a", MAX_BACKENDS)], &[]),
        Some(Error::OutOfRange(MAX_BACKENDS))
    );
    assert_eq!(refused(&[], &[(0, 1)]), Some(Error::OutOfRange(0)));
    assert_eq!(refused(&[("a", 1), ("b", 1)], &[]), Some(Error::Twice(1)));
    assert_eq!(refused(&[("a", 1), ("a", 2)], &[]), Some(Error::Twice(2)));
    assert_eq!(refused(&[("a", 1)], &[(1, 0)]), Some(Error::Twice(1)));
    assert_eq!(refused(&[("a", MAX_BACKENDS - 1)], &[]), None);
}

#[test]
fn there_is_an_end_to_them() {
    let mut indices = Indices::default();
    indices.resize(100).unwrap();
    for n in 1..100 {
        assert_eq!(indices.allocate(&n), Ok(BackendRef::new(n, 0)));
    }
    assert_eq!(indices.allocate(&0), Err(Error::Full(99)));
    indices.release(&7);
    indices.begin(&BTreeSet::new());
    indices.finish(&BTreeSet::new());
    indices.begin(&BTreeSet::new());
    assert_eq!(indices.finish(&BTreeSet::new()), [7]);
    assert_eq!(indices.allocate(&0), Ok(BackendRef::new(7, 1)));
}

#[test]
fn there_may_be_more_of_them_or_as_few_as_are_in_use() {
    let mut indices = three();
    indices.resize(4).unwrap();
    assert_eq!(indices.allocate(&"d"), Err(Error::Full(3)));
    indices.resize(6).unwrap();
    assert_eq!(backend(&mut indices, "d"), (4, 0));
    assert_eq!(indices.resize(4), Err(Error::TooFew { index: 4 }));
    indices.release(&"d");
    round(&mut indices, &[1, 2, 3], &[]);
    assert_eq!(round(&mut indices, &[1, 2, 3], &[]), [4]);
    indices.resize(4).unwrap();
    assert_eq!(indices.allocate(&"e"), Err(Error::Full(3)));
    indices.resize(6).unwrap();
    assert_eq!(backend(&mut indices, "e"), (4, 0), "as if it were new");
}
