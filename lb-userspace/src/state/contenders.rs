//! Which backends contend for the slots of a table, and as what: who lives, and who of them takes new
//! flows. Those are of the lowest priority number that has anybody with a weight; the others wait,
//! and keep the flows that they have.

use crate::{
    model::{Backend, Family, Pool},
    plan::Tables,
};

use super::{
    desired::Inputs,
    ids::{BackendId, PoolFamily},
};

/// A backend, as the slots of a table depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// Its share of new flows, relative to the others'.
    pub weight: u16,
    /// Whether it takes new flows now.
    pub available: bool,
    /// Whether its flows are still its own.
    pub alive: bool,
    /// Its index.
    pub index: u32,
}

/// The backends of a pool that services of a family reach; `tables` holds those that live.
pub(super) fn contenders(
    inputs: Inputs<'_>,
    tables: &Tables,
    (pool, family): PoolFamily,
) -> Vec<Contender> {
    let settings = &inputs.config.pools[pool];
    let numbered = settings.backends.iter().enumerate();
    let reached = numbered.filter_map(|(n, backend)| {
        let id = reached_at(pool, n, settings, family)?;
        let index = inputs.ids.backends.get(&id)?.index();
        let standing = Standing {
            alive: tables.backends.contains_key(&index),
            lost: is_lost(inputs, backend, id),
        };
        Some((backend, index, standing))
    });
    let reached: Vec<(&Backend, u32, Standing)> = reached.collect();
    let tier = tier(
        reached
            .iter()
            .map(|&(backend, _, standing)| (backend, standing.takes())),
    );
    let contender = |(backend, index, standing): (&Backend, u32, Standing)| Contender {
        name: backend.name.clone(),
        weight: backend.weight.value(),
        available: standing.takes() && Some(backend.priority) == tier,
        alive: standing.alive,
        index,
    };
    reached.into_iter().map(contender).collect()
}

/// Whether a backend lives, and whether its next hop is lost: then it only keeps what it has.
#[derive(Clone, Copy)]
struct Standing {
    alive: bool,
    lost: bool,
}

impl Standing {
    /// Whether it can take new flows.
    fn takes(self) -> bool {
        self.alive && !self.lost
    }
}

fn is_lost(inputs: Inputs<'_>, backend: &Backend, (_, _, family): BackendId) -> bool {
    let mut addresses = backend.addresses.iter();
    let address = addresses.find(|address| Family::of(address.ip) == family);
    let hop = address.and_then(|address| inputs.hops.get(&address.ip));
    hop.is_some_and(|hop| hop.lost.is_some())
}

/// The priority number whose backends take new flows; `None` if nobody does.
fn tier<'a>(backends: impl Iterator<Item = (&'a Backend, bool)>) -> Option<u8> {
    let takes = |&(backend, takes): &(&Backend, bool)| takes && backend.weight.value() > 0;
    backends
        .filter(takes)
        .map(|(backend, _)| backend.priority)
        .min()
}

/// The address of a pool's backend that a service of `family` reaches.
fn reached_at(pool: usize, n: usize, settings: &Pool, family: Family) -> Option<BackendId> {
    let reached = settings
        .forward
        .address(family, &settings.backends[n].addresses)?;
    Some((pool, n, Family::of(reached.ip)))
}
