//! Where the pools' source addresses lie: each pool's of a family in one piece. Both families' tables share
//! their numbers, since those of IPv4 lie in the other one where flows cross families, under the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::pairs;
use crate::model::Family;

/// A pool and its source addresses of one family, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Sources {
    pub(super) pool: String,
    pub(super) family: Family,
    pub(super) addresses: Vec<IpAddr>,
}

/// Which piece each has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ranges(#[serde(with = "pairs")] BTreeMap<Sources, u32>);

impl Ranges {
    /// Gives each of `wanted` its piece: the one that it has, else the first that is free. `kept`
    /// ones that it has stay besides, since backends in the tables may name them. Returns where
    /// they begin; `None` if no piece of one is left below `limit`.
    pub(super) fn assign(
        &mut self,
        wanted: impl IntoIterator<Item = Sources>,
        kept: &BTreeSet<Sources>,
        limit: u32,
    ) -> Option<&BTreeMap<Sources, u32>> {
        let wanted: Vec<Sources> = wanted.into_iter().collect();
        let stays: BTreeSet<&Sources> = wanted.iter().chain(kept).collect();
        self.0.retain(|sources, _| stays.contains(sources));
        for sources in wanted {
            if !self.0.contains_key(&sources) {
                let first = self.first_fit(&sources, limit)?;
                self.0.insert(sources, first);
            }
        }
        Some(&self.0)
    }

    /// Where a piece begins.
    pub(super) fn first(&self, sources: &Sources) -> Option<u32> {
        self.0.get(sources).copied()
    }

    fn first_fit(&self, sources: &Sources, limit: u32) -> Option<u32> {
        let taken = self.0.iter();
        let mut taken: Vec<(u32, u32)> = taken.map(|(s, &first)| (first, s.len())).collect();
        taken.sort_unstable();
        let mut first = 0;
        for (start, count) in taken {
            if start - first >= sources.len() {
                break;
            }
            first = start + count;
        }
        (first + sources.len() <= limit).then_some(first)
    }
}

impl Sources {
    /// How many there are. (More than the tables hold do not come this far.)
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.addresses.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(pool: &str, count: u8) -> Sources {
        Sources {
            pool: pool.into(),
            family: Family::Ipv4,
            addresses: (0..count).map(|n| IpAddr::from([10, 0, 0, n])).collect(),
        }
    }

    fn assigned(
        ranges: &mut Ranges,
        wanted: &[(&str, u8)],
        kept: &[(&str, u8)],
    ) -> Option<Vec<u32>> {
        let wanted: Vec<_> = wanted.iter().map(|&(p, n)| sources(p, n)).collect();
        let kept = kept.iter().map(|&(p, n)| sources(p, n)).collect();
        let given = ranges.assign(wanted.clone(), &kept, 10)?;
        Some(wanted.iter().map(|s| given[s]).collect())
    }

    #[test]
    fn pieces_stay_and_new_ones_go_where_there_is_room() {
        let mut ranges = Ranges::default();
        let all = [("a", 2), ("b", 3), ("c", 2)];
        assert_eq!(assigned(&mut ranges, &all, &[]), Some(vec![0, 2, 5]));
        let without = [("c", 2), ("a", 2)];
        assert_eq!(assigned(&mut ranges, &without, &[]), Some(vec![5, 0]));
        let more = [("d", 4), ("c", 2), ("a", 2)];
        assert_eq!(assigned(&mut ranges, &more, &[]), None);
        let more = [("d", 3), ("c", 2), ("a", 2), ("e", 3)];
        assert_eq!(assigned(&mut ranges, &more, &[]), Some(vec![2, 5, 0, 7]));
    }

    #[test]
    fn a_piece_that_backends_may_name_is_not_used_again() {
        let mut ranges = Ranges::default();
        assert_eq!(assigned(&mut ranges, &[("a", 4)], &[]), Some(vec![0]));
        // Another list of addresses is another piece.
        assert_eq!(
            assigned(&mut ranges, &[("a", 5)], &[("a", 4)]),
            Some(vec![4])
        );
        assert_eq!(
            assigned(&mut ranges, &[("a", 5), ("b", 1)], &[]),
            Some(vec![4, 0])
        );
    }
}
