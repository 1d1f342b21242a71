//! How much of a service's hash space goes to another backend, and how little of it could. Flows that
//! nothing records move with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Family;

/// How a service finds the backend of a flow of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots<'a> {
    /// The backend of each slot, by index; 0 is none.
    pub owners: &'a [u32],
    /// How many bits of the client's address choose the slot; 0: the whole flow does.
    pub prefix: u8,
}

/// A service whose slots move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotsMoved {
    /// The service's name.
    pub service: String,
    /// Of which of its addresses.
    pub family: Family,
    /// Whether its flows are recorded, and were before, so that those that are there stay where they are.
    pub tracked: bool,
    /// The share of its hash space that goes to another backend.
    pub share: f64,
    /// The least share that could, so that all have theirs.
    pub least: f64,
}

/// The share of the hash space that goes to another backend, and the least that could.
pub fn moved(before: &Slots<'_>, after: &Slots<'_>) -> (f64, f64) {
    let (was, is) = (shares(before.owners), shares(after.owners));
    let part = |shares: &BTreeMap<u32, f64>, owner| shares.get(owner).copied().unwrap_or(0.0);
    let lost = was
        .iter()
        .map(|(owner, share)| (share - part(&is, owner)).max(0.0));
    let least = lost.sum();
    if before.prefix != after.prefix {
        // A flow's slot then has nothing to do with the one before.
        let stays = was.iter().map(|(owner, share)| share * part(&is, owner));
        return (1.0 - stays.sum::<f64>(), least);
    }
    (differing(before.owners, after.owners), least)
}

/// Each owner's share of the slots.
fn shares(owners: &[u32]) -> BTreeMap<u32, f64> {
    let mut shares = BTreeMap::new();
    for &owner in owners {
        *shares.entry(owner).or_default() += 1.0 / owners.len() as f64;
    }
    shares
}

/// The share of the hash space in which two tables, each with its slots evenly over all of it, name
/// different owners.
fn differing(before: &[u32], after: &[u32]) -> f64 {
    // A slot of one is as wide as there are slots of the other, so that all ends are whole numbers.
    let (width, other_width) = (after.len() as u64, before.len() as u64);
    let (mut i, mut j, mut at, mut differ) = (0, 0, 0, 0);
    while let (Some(was), Some(is)) = (before.get(i), after.get(j)) {
        let (end, other_end) = ((i as u64 + 1) * width, (j as u64 + 1) * other_width);
        let next = end.min(other_end);
        if was != is {
            differ += next - at;
        }
        at = next;
        i += usize::from(end == next);
        j += usize::from(other_end == next);
    }
    differ as f64 / (width * other_width).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(owners: &[u32], prefix: u8) -> Slots<'_> {
        Slots { owners, prefix }
    }

    fn assert_moved(before: &[u32], after: &[u32], expected: (f64, f64)) {
        let (share, least) = moved(&slots(before, 0), &slots(after, 0));
        assert!((share - expected.0).abs() < 1e-9, "{share}");
        assert!((least - expected.1).abs() < 1e-9, "{least}");
    }

    #[test]
    fn tables_of_one_size_are_compared_slot_by_slot() {
        assert_moved(&[1, 2, 1, 2], &[1, 2, 1, 2], (0.0, 0.0));
        assert_moved(&[1, 2, 1, 2], &[2, 1, 1, 2], (0.5, 0.0));
        assert_moved(&[1, 2, 1, 2], &[1, 3, 1, 3], (0.5, 0.5));
        assert_moved(&[1, 1, 2, 2], &[1, 3, 3, 2], (0.5, 0.5));
        assert_moved(&[0, 0, 0, 0], &[1, 1, 1, 1], (1.0, 1.0));
    }

    #[test]
    fn tables_of_two_sizes_are_compared_where_hashes_lie() {
        assert_moved(&[1, 2], &[1, 1, 2, 2], (0.0, 0.0));
        assert_moved(&[1, 2], &[1, 2, 2, 2], (0.25, 0.25));
        assert_moved(&[1, 2, 3], &[1, 2], (0.5, 1.0 / 3.0));
        assert_moved(&[], &[], (0.0, 0.0));
    }

    #[test]
    fn flows_that_hash_otherwise_stay_by_chance_alone() {
        let (share, least) = moved(&slots(&[1, 2], 0), &slots(&[1, 2], 24));
        assert!((share - 0.5).abs() < 1e-9 && least.abs() < 1e-9);
    }
}
