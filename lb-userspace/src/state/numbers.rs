//! Numbers that stay with their names from one configuration to the next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::pairs;

/// Numbers of one kind of thing. A name keeps its number; one that went away and comes back gets it
/// back if nobody else has it by then. Numbers given up are not used again until all have been used
/// once, and then the oldest first: what may still name one has long gone by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Deserialize<'de> + Ord"))]
pub(super) struct Numbers<K> {
    #[serde(with = "pairs")]
    used: BTreeMap<K, u32>,
    /// Names that are no more, in the order that they went.
    given_up: VecDeque<(K, u32)>,
    /// The lowest one that was never used.
    fresh: u32,
    end: u32,
}

impl<K: Ord + Clone> Numbers<K> {
    /// Numbers from `first` up to below `end`.
    pub(super) fn new(first: u32, end: u32) -> Self {
        Self {
            used: BTreeMap::new(),
            given_up: VecDeque::new(),
            fresh: first,
            end,
        }
    }

    /// Numbers below `end` from now on, for tables in which nothing is yet: names lose those that are not.
    pub(super) fn resize(&mut self, end: u32) {
        self.used.retain(|_, number| *number < end);
        self.given_up.retain(|(_, number)| *number < end);
        self.fresh = self.fresh.min(end);
        self.end = end;
    }

    /// The number of each of these names, new ones in their order; all others give theirs up.
    /// `None` if there are not enough: what is given up here is not used again here, since the
    /// tables hold it while they change.
    pub(super) fn assign(
        &mut self,
        names: impl IntoIterator<Item = K>,
    ) -> Option<&BTreeMap<K, u32>> {
        let names: Vec<K> = names.into_iter().collect();
        let wanted: BTreeSet<&K> = names.iter().collect();
        let returning = |(name, _): &(K, u32)| wanted.contains(name);
        let (back, mut idle): (VecDeque<_>, VecDeque<_>) =
            self.given_up.drain(..).partition(returning);
        let before = std::mem::take(&mut self.used);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = before
            .into_iter()
            .partition(|(name, _)| wanted.contains(name));
        self.used = kept;
        self.used.extend(back);
        for name in &names {
            if !self.used.contains_key(name) {
                let number = self.next(&mut idle)?;
                self.used.insert(name.clone(), number);
            }
        }
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort_by_key(|&(_, number)| number);
        idle.extend(gone);
        self.given_up = idle;
        Some(&self.used)
    }

    /// All that have a number.
    pub(super) fn held(&self) -> impl Iterator<Item = (&K, u32)> {
        self.used.iter().map(|(name, &number)| (name, number))
    }

    fn next(&mut self, idle: &mut VecDeque<(K, u32)>) -> Option<u32> {
        if self.fresh < self.end {
            self.fresh += 1;
            return Some(self.fresh - 1);
        }
        idle.pop_front().map(|(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(numbers: &mut Numbers<&'static str>, names: &[&'static str]) -> Option<Vec<u32>> {
        let given = numbers.assign(names.iter().copied())?;
        Some(names.iter().map(|name| given[name]).collect())
    }

    #[test]
    fn names_keep_their_numbers_whatever_their_order() {
        let mut numbers = Numbers::new(1, 10);
        assert_eq!(
            assigned(&mut numbers, &["a", "b", "a"]),
            Some(vec![1, 2, 1])
        );
        assert_eq!(
            assigned(&mut numbers, &["c", "b", "a"]),
            Some(vec![3, 2, 1])
        );
        assert_eq!(assigned(&mut numbers, &["b"]), Some(vec![2]));
        assert_eq!(assigned(&mut numbers, &["d", "a"]), Some(vec![4, 1]));
    }

    #[test]
    fn freed_numbers_come_last_and_the_oldest_first() {
        let mut numbers = Numbers::new(0, 4);
        assert_eq!(assigned(&mut numbers, &["a", "b"]), Some(vec![0, 1]));
        assert_eq!(assigned(&mut numbers, &["b"]), Some(vec![1]));
        assert_eq!(assigned(&mut numbers, &["c"]), Some(vec![2]));
        assert_eq!(assigned(&mut numbers, &["c", "d"]), Some(vec![2, 3]));
        assert_eq!(
            assigned(&mut numbers, &["c", "d", "e"]),
            Some(vec![2, 3, 0])
        );
        // "b" gave its number up last, and it is still its own.
        assert_eq!(assigned(&mut numbers, &["b", "e"]), Some(vec![1, 0]));
    }

    #[test]
    fn there_may_be_more_numbers_or_fewer() {
        let mut numbers = Numbers::new(0, 2);
        assert_eq!(assigned(&mut numbers, &["a", "b"]), Some(vec![0, 1]));
        assert_eq!(assigned(&mut numbers.clone(), &["a", "b", "c"]), None);
        numbers.resize(3);
        assert_eq!(
            assigned(&mut numbers, &["c", "b", "a"]),
            Some(vec![2, 1, 0])
        );
        numbers.resize(1);
        assert_eq!(assigned(&mut numbers, &["a"]), Some(vec![0]));
        assert_eq!(assigned(&mut numbers, &["a", "c"]), None);
    }

    #[test]
    fn a_number_given_up_is_not_used_again_at_once() {
        let mut numbers = Numbers::new(0, 2);
        assert_eq!(assigned(&mut numbers, &["a", "b"]), Some(vec![0, 1]));
        assert_eq!(assigned(&mut numbers.clone(), &["b", "c"]), None);
        assert_eq!(assigned(&mut numbers, &["b"]), Some(vec![1]));
        assert_eq!(assigned(&mut numbers, &["b", "c"]), Some(vec![1, 0]));
    }
}
