//! How much of a service's hash space goes to another backend, and how little of it could; and which flows
//! are in it.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::FlowHash;
use serde::{Deserialize, Serialize};

use crate::model::Family;

/// How a service finds the backend of a flow of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The backend of each slot, by index; 0 is none.
    pub owners: Vec<u32>,
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
    /// The flows that were seen there, if they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// Flows that were seen while they were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// How many.
    pub flows: u64,
    /// How long they were counted.
    pub seconds: u64,
    /// Whether there may have been more, since not all could be recorded.
    pub at_least: bool,
}

/// The share of the hash space that goes to another backend, and the least that could.
pub fn moved(before: &Slots, after: &Slots) -> (f64, f64) {
    let (was, is) = (shares(&before.owners), shares(&after.owners));
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
    let parts = parts(&before.owners, &after.owners).filter(|part| part.differs);
    let differing: u64 = parts.map(|part| part.width).sum();
    let all = before.owners.len() as u64 * after.owners.len() as u64;
    (differing as f64 / all.max(1) as f64, least)
}

/// The slots that flows may leave for another backend.
pub fn left(before: &Slots, after: &Slots) -> BTreeSet<u32> {
    if before.prefix != after.prefix {
        return (0..).take(before.owners.len()).collect();
    }
    let parts = parts(&before.owners, &after.owners).filter(|part| part.differs);
    parts.map(|part| part.slot).collect()
}

/// Whether a flow goes to another backend; `hash` is its own, by the prefix.
pub fn goes(before: &Slots, after: &Slots, hash: impl Fn(u8) -> FlowHash) -> bool {
    before.owner(&hash) != after.owner(&hash)
}

impl Slots {
    fn owner(&self, hash: impl Fn(u8) -> FlowHash) -> Option<u32> {
        let slot = hash(self.prefix).below(self.owners.len() as u32);
        self.owners.get(slot as usize).copied()
    }
}

/// Each owner's share of the slots.
fn shares(owners: &[u32]) -> BTreeMap<u32, f64> {
    let mut shares = BTreeMap::new();
    for &owner in owners {
        *shares.entry(owner).or_default() += 1.0 / owners.len() as f64;
    }
    shares
}

/// A part of the hash space that is in one slot of each of two tables.
struct Part {
    /// The slot of the first one.
    slot: u32,
    /// The hash space is as wide as the product of both numbers of slots.
    width: u64,
    /// Whether the tables name different owners.
    differs: bool,
}

/// The parts of the hash space that two tables cut it into, each with its slots evenly over all of it.
fn parts(before: &[u32], after: &[u32]) -> impl Iterator<Item = Part> {
    // A slot of one is as wide as there are slots of the other, so that all ends are whole numbers.
    let (width, other_width) = (after.len() as u64, before.len() as u64);
    let (mut i, mut j, mut at) = (0, 0, 0);
    std::iter::from_fn(move || {
        let (was, is) = (before.get(i)?, after.get(j)?);
        let (end, other_end) = ((i as u64 + 1) * width, (j as u64 + 1) * other_width);
        let next = end.min(other_end);
        let part = Part {
            slot: i as u32,
            width: next - at,
            differs: was != is,
        };
        at = next;
        i += usize::from(end == next);
        j += usize::from(other_end == next);
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(owners: &[u32], prefix: u8) -> Slots {
        let owners = owners.to_vec();
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
    fn flows_go_where_their_hash_says() {
        let hash = |sixteenth: u64| move |_| FlowHash(sixteenth << 60);
        for (before, after, going) in [
            (&[1, 2][..], &[1, 2][..], 0..0),
            (&[1, 2], &[1, 1, 2, 2], 0..0),
            (&[1, 2], &[1, 2, 2, 2], 4..8),
            (&[1, 2, 3, 4], &[1, 2, 4, 4], 8..12),
        ] {
            let (before, after) = (slots(before, 0), slots(after, 0));
            let slot = |sixteenth| hash(sixteenth)(0).below(before.owners.len() as u32);
            let left = left(&before, &after);
            for sixteenth in 0..16 {
                let goes = goes(&before, &after, hash(sixteenth));
                assert_eq!(goes, going.contains(&sixteenth), "{before:?} {after:?}");
                assert!(!goes || left.contains(&slot(sixteenth)));
            }
            assert_eq!(left, going.map(slot).collect());
        }
    }

    #[test]
    fn flows_may_leave_every_slot_where_they_hash_otherwise() {
        let (before, after) = (slots(&[1, 2], 0), slots(&[1, 2], 24));
        assert_eq!(left(&before, &after), [0, 1].into());
        let hash = |prefix: u8| FlowHash(u64::from(prefix == 24) << 63);
        assert!(goes(&before, &after, hash));
        assert!(!goes(&before, &after, |_| FlowHash(0)));
    }

    #[test]
    fn flows_that_hash_otherwise_stay_by_chance_alone() {
        let (share, least) = moved(&slots(&[1, 2], 0), &slots(&[1, 2], 24));
        assert!((share - 0.5).abs() < 1e-9 && least.abs() < 1e-9);
    }
}
