//! Positions in the service table: each key lies at one of two (cuckoo hashing: Pagh, Rodler,
//! 2001). The first time, if that does not work out under one salt, another is tried; the salt is
//! then a constant of the loaded program, and later keys find room by moving others.
//!
//! An entry only ever moves to a position that is free at that moment. So entries that have moved
//! never stand in a ring, each on another's new position (such a ring fills all positions that its
//! keys can have, so none of them was ever free), and a plan can write each at its new position
//! before its old one is overwritten.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use lb_common::abi::{Address, Ipv4Address, Ipv6Address, ServiceKey};

use crate::plan::Families;

/// Where each key lies.
pub(super) type Placement<A> = HashMap<ServiceKey<A>, u32>;

/// Salts that are tried. Below half load a first try almost always works.
const SALTS: u64 = 64;

/// Entries that may move for a new one. Chains are that long only in a table about to be full.
const MOVES: usize = 500;

/// A salt under which all keys have a position, and the positions.
#[expect(clippy::type_complexity, reason = "two placements, one a family")]
pub(super) fn find(
    v4: &[ServiceKey<Ipv4Address>],
    v6: &[ServiceKey<Ipv6Address>],
) -> Option<(
    u64,
    Families<Placement<Ipv4Address>, Placement<Ipv6Address>>,
)> {
    (0..SALTS).find_map(|salt| {
        let positions = Families {
            ipv4: place(&Placement::new(), v4, salt).ok()?,
            ipv6: place(&Placement::new(), v6, salt).ok()?,
        };
        Some((salt, positions))
    })
}

/// A position for each of `keys`: where it lay `before` if nothing has to move. `Err` is a key that
/// finds none under this salt.
pub(super) fn place<A: Address + Hash>(
    before: &Placement<A>,
    keys: &[ServiceKey<A>],
    salt: u64,
) -> Result<Placement<A>, ServiceKey<A>> {
    let wanted: HashSet<&ServiceKey<A>> = keys.iter().collect();
    let kept = before.iter().filter(|(key, _)| wanted.contains(key));
    let mut taken: HashMap<u32, ServiceKey<A>> = kept.map(|(&key, &at)| (at, key)).collect();
    for key in keys {
        if !before.contains_key(key) {
            insert(&mut taken, *key, salt).ok_or(*key)?;
        }
    }
    Ok(taken.into_iter().map(|(at, key)| (key, at)).collect())
}

/// Puts a key at one of its positions, whichever is free or takes fewer moves to free.
fn insert<A: Address>(
    taken: &mut HashMap<u32, ServiceKey<A>>,
    key: ServiceKey<A>,
    salt: u64,
) -> Option<()> {
    let chains = key.positions(salt).map(|at| chain(taken, at, salt));
    let mut chain = chains.into_iter().flatten().min_by_key(Vec::len)?;
    // From its end, which is free: who lies before it moves there, and so on.
    let mut free = chain.pop()?;
    while let Some(at) = chain.pop() {
        if let Some(moved) = taken.remove(&at) {
            taken.insert(free, moved);
        }
        free = at;
    }
    taken.insert(free, key);
    Some(())
}

/// The positions from `start` on to a free one, each the other position of who lies at the one
/// before. `None` if they go round, or too far. (Each position leads to one other: no search could
/// find more.)
fn chain<A: Address>(
    taken: &HashMap<u32, ServiceKey<A>>,
    start: u32,
    salt: u64,
) -> Option<Vec<u32>> {
    let mut chain = vec![start];
    let mut last = start;
    while let Some(key) = taken.get(&last) {
        let [first, second] = key.positions(salt);
        last = if last == first { second } else { first };
        if chain.len() > MOVES || chain.contains(&last) {
            return None;
        }
        chain.push(last);
    }
    Some(chain)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
