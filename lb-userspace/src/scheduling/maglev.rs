//! Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4), weighted.
//!
//! Every backend walks the slots in an order of its own, made from its name, and takes the first
//! free one at each of its turns; its weight says how often it has a turn. So shares are even to
//! their weights, nothing depends on the order of the file, and a change moves few slots beside
//! those that it must.
//!
//! The table is built over all candidates with a weight, available or not; then the slots of the
//! unavailable ones go to each slot's next preference among the rest (weighted rendezvous
//! hashing). So a recovery restores the table exactly, and a failure moves no other slot.

use std::hash::Hasher as _;

use lb_common::abi::TableSize;
use siphasher::sip::SipHasher13;

/// A backend that a table is built for.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name: what its order of slots is made from.
    pub name: &'a str,
    /// Its share, relative to the others'; 0 takes no slot.
    pub weight: u16,
    /// Whether it can take flows now.
    pub available: bool,
}

/// The owner of each slot, as an index into `candidates`; `None` everywhere if none is available.
pub fn assign(size: TableSize, candidates: &[Candidate<'_>]) -> Vec<Option<usize>> {
    let slots = size.slots() as usize;
    if !candidates.iter().any(|c| c.weight > 0 && c.available) {
        return vec![None; slots];
    }
    let mut owners = fill(slots, candidates);
    replace_unavailable(&mut owners, candidates);
    owners.into_iter().map(Some).collect()
}

/// A backend's walk over the slots, and the turns that it has saved up.
struct Walker {
    candidate: usize,
    position: usize,
    skip: usize,
    weight: u32,
    credit: u32,
}

impl Walker {
    fn new(candidate: usize, name: &str, weight: u16, slots: usize) -> Self {
        let (a, b) = (hash(&[name], 0), hash(&[name], 1));
        Self {
            candidate,
            position: (a % slots as u64) as usize,
            // The number of slots is prime: every skip visits them all.
            skip: (b % (slots as u64 - 1)) as usize + 1,
            weight: weight.into(),
            credit: 0,
        }
    }

    /// The next free slot of its walk. There is one.
    fn take(&mut self, owners: &[usize]) -> usize {
        loop {
            let slot = self.position;
            self.position += self.skip;
            if self.position >= owners.len() {
                self.position -= owners.len();
            }
            if owners[slot] == FREE {
                return slot;
            }
        }
    }
}

const FREE: usize = usize::MAX;

/// Maglev's population of the table, over all candidates that have a weight.
fn fill(slots: usize, candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len())
        .filter(|&n| candidates[n].weight > 0)
        .collect();
    order.sort_by_key(|&n| candidates[n].name);
    let mut walkers: Vec<Walker> = order
        .into_iter()
        .map(|n| Walker::new(n, candidates[n].name, candidates[n].weight, slots))
        .collect();
    let turn = walkers.iter().map(|w| w.weight).max().unwrap_or(1);
    let mut owners = vec![FREE; slots];
    let mut free = slots;
    // A round gives the heaviest one turn, and the others turns in proportion.
    while free > 0 {
        for walker in &mut walkers {
            walker.credit += walker.weight;
            if walker.credit < turn {
                continue;
            }
            walker.credit -= turn;
            let slot = walker.take(&owners);
            owners[slot] = walker.candidate;
            free -= 1;
            if free == 0 {
                break;
            }
        }
    }
    owners
}

/// Gives the slots of unavailable candidates to the rest, each slot by its own preference.
fn replace_unavailable(owners: &mut [usize], candidates: &[Candidate<'_>]) {
    let rest: Vec<(usize, u64, f64)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, c)| c.weight > 0 && c.available)
        .map(|(n, c)| (n, hash(&[c.name], 2), f64::from(c.weight)))
        .collect();
    for (slot, owner) in owners.iter_mut().enumerate() {
        if candidates[*owner].available {
            continue;
        }
        let best = rest
            .iter()
            .map(|&(n, key, weight)| (n, score(key, slot as u64, weight)))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        if let Some((n, _)) = best {
            *owner = n;
        }
    }
}

/// How much a slot prefers a candidate: weighted rendezvous hashing (Schindelhauer, Schomaker,
/// Weighted Distributed Hash Tables, 2005).
fn score(key: u64, slot: u64, weight: f64) -> f64 {
    let mut z = key ^ slot.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // In (0, 1): never 0, whose logarithm is infinite.
    let uniform = ((z >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -weight / uniform.ln()
}

/// A hash of names that every build agrees on.
fn hash(parts: &[&str], purpose: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, purpose);
    for part in parts {
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("backend-{n}")).collect()
    }

    fn candidates<'a>(names: &'a [String], weight: impl Fn(usize) -> u16) -> Vec<Candidate<'a>> {
        names
            .iter()
            .enumerate()
            .map(|(n, name)| Candidate {
                name,
                weight: weight(n),
                available: true,
            })
            .collect()
    }

    fn by_name<'a>(size: TableSize, candidates: &[Candidate<'a>]) -> Vec<&'a str> {
        assign(size, candidates)
            .into_iter()
            .map(|n| candidates[n.unwrap()].name)
            .collect()
    }

    fn share_of(table: &[&str], name: &str) -> f64 {
        table.iter().filter(|n| **n == name).count() as f64 / table.len() as f64
    }

    /// 65,537 slots, 100 backends: each share within 1 % of its weight's.
    fn shares_follow(weight: impl Fn(usize) -> u16) {
        let names = names(100);
        let candidates = candidates(&names, weight);
        let table = by_name(TableSize::Large, &candidates);
        let sum: f64 = candidates.iter().map(|c| f64::from(c.weight)).sum();
        for c in &candidates {
            let (ideal, share) = (f64::from(c.weight) / sum, share_of(&table, c.name));
            assert!(
                (share / ideal - 1.0).abs() < 0.01,
                "{}: {share} for {ideal}",
                c.name
            );
        }
    }

    #[test]
    fn equal_weights_get_equal_shares() {
        shares_follow(|_| 100);
    }

    #[test]
    fn shares_follow_uneven_weights() {
        shares_follow(|n| 50 + 10 * (n as u16 % 16));
    }

    #[test]
    fn weight_0_takes_no_slot() {
        let names = names(10);
        let table = by_name(
            TableSize::Small,
            &candidates(&names, |n| if n == 3 { 0 } else { 7 }),
        );
        assert_eq!(share_of(&table, "backend-3"), 0.0);
    }

    #[test]
    fn the_order_of_the_file_does_not_matter() {
        let names = names(100);
        let mut candidates = candidates(&names, |n| 1 + n as u16);
        let table = by_name(TableSize::Large, &candidates);
        candidates.reverse();
        assert_eq!(table, by_name(TableSize::Large, &candidates));
    }

    /// Slots that changed hands although their owner remained, as a share of those that had to.
    fn others_moved(before: &[&str], after: &[&str], gone: &str) -> f64 {
        let own = before.iter().filter(|n| **n == gone).count();
        let moved = before
            .iter()
            .zip(after)
            .filter(|(b, a)| **b != gone && b != a)
            .count();
        moved as f64 / own as f64
    }

    #[test]
    fn removing_one_moves_few_slots_beside_its_own() {
        let names = names(100);
        let mut candidates = candidates(&names, |_| 100);
        let before = by_name(TableSize::Large, &candidates);
        let gone = candidates.remove(41).name;
        let after = by_name(TableSize::Large, &candidates);
        // A hundredth of the slots has to move. Beside them, at most as many do: even tables that
        // depend on nothing but the set can't do much better (the paper's figure 9).
        let others = others_moved(&before, &after, gone);
        assert!(others < 1.0, "{others} times its own slots");
    }

    #[test]
    fn an_unavailable_one_moves_only_its_own_slots() {
        let names = names(100);
        let mut candidates = candidates(&names, |n| 50 + n as u16);
        let before = by_name(TableSize::Large, &candidates);
        candidates[41].available = false;
        let after = by_name(TableSize::Large, &candidates);
        assert_eq!(others_moved(&before, &after, "backend-41"), 0.0);
        assert!(!after.contains(&"backend-41"));
        // Its slots are spread by weight: no one takes more than a few times its due.
        let (own, sum) = (share_of(&before, "backend-41"), 100.0 * 99.5);
        for c in candidates.iter().filter(|c| c.available) {
            let gain = share_of(&after, c.name) - share_of(&before, c.name);
            assert!(
                gain <= 4.0 * own * f64::from(c.weight) / sum,
                "{} gained {gain}",
                c.name
            );
        }
    }

    #[test]
    fn nobody_available_owns_nothing() {
        let names = names(3);
        let mut candidates = candidates(&names, |_| 1);
        for c in &mut candidates {
            c.available = false;
        }
        assert!(
            assign(TableSize::Small, &candidates)
                .iter()
                .all(Option::is_none)
        );
        assert!(assign(TableSize::Small, &[]).iter().all(Option::is_none));
    }
}
