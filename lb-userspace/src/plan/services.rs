//! The order in which a service table changes: an entry that moves is written at its new position
//! before its old one is overwritten or cleared, so that a packet between any two steps finds it.
//!
//! ```text
//!   position   5    9    12          write a at 9? b lies there, and goes to 12: b first.
//!   before     a    b    -           12 := b, 9 := a, then 5 is cleared or taken by another.
//!   after      -    a    b
//! ```
//! Each position waits for at most one other, so they form chains. They would form a ring only if
//! entries changed places among themselves. `state` makes no such placement out of the one before;
//! if one that was never applied lies between, it may come to that after all. Then the ring is
//! broken at one entry, which is not found until the rest of its ring is written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use lb_common::abi::{Address, Service, ServiceKey};

type Entries<A> = BTreeMap<u32, Service<A>>;

/// Positions of services that are no more, where nothing else comes to lie.
pub(super) fn gone<A: Address + Hash>(old: &Entries<A>, new: &Entries<A>) -> Vec<u32> {
    let places = places(new);
    let is_gone = |(at, entry): &(&u32, &Service<A>)| {
        !new.contains_key(at) && !places.contains_key(&entry.key())
    };
    old.iter().filter(is_gone).map(|(&at, _)| at).collect()
}

/// All other positions that change, in order, with what is written there.
pub(super) fn changed<A: Address + Hash>(
    old: &Entries<A>,
    new: &Entries<A>,
) -> Vec<(u32, Service<A>)> {
    let places = places(new);
    // Who lies at a position moves, and is not at its new one yet.
    let waits_for = |at: u32| {
        let key = old.get(&at)?.key();
        let to = *places.get(&key)?;
        let is_there = old.get(&to).is_some_and(|entry| entry.is(&key));
        (!is_there).then_some(to)
    };
    let moved_away = |at: &&u32| {
        let place = places.get(&old[*at].key());
        !new.contains_key(at) && place.is_some()
    };
    let differs = |at: &&u32| old.get(at) != new.get(at);
    let cleared = old.keys().filter(moved_away);
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    for &start in new.keys().filter(differs).chain(cleared) {
        let mut chain = Vec::new();
        let mut next = Some(start);
        while let Some(at) = next.filter(|&at| seen.insert(at)) {
            chain.push(at);
            next = waits_for(at);
        }
        order.extend(chain.into_iter().rev());
    }
    let entry = |at| new.get(&at).copied().unwrap_or_else(Service::empty);
    order.into_iter().map(|at| (at, entry(at))).collect()
}

/// Where each key lies.
fn places<A: Address + Hash>(entries: &Entries<A>) -> HashMap<ServiceKey<A>, u32> {
    let place = |(&at, entry): (&u32, &Service<A>)| (entry.key(), at);
    entries.iter().map(place).collect()
}
