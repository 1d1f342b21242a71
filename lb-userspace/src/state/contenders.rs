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
        let (_, _, address) = id;
        let standing = inputs.standings.of(settings, n, address, family);
        let alive = tables.backends.contains_key(&index) && standing.keeps;
        let contender = Contender {
            name: backend.name.clone(),
            weight: standing.weight.value(),
            // Where the next hop is lost it only keeps what it has.
            available: alive && standing.takes && !is_lost(inputs, backend, id),
            alive,
            index,
        };
        Some((backend.priority, contender))
    });
    let mut reached: Vec<(u8, Contender)> = reached.collect();
    let tier = tier(&reached);
    for (priority, contender) in &mut reached {
        contender.available &= Some(*priority) == tier;
    }
    reached
        .into_iter()
        .map(|(_, contender)| contender)
        .collect()
}

fn is_lost(inputs: Inputs<'_>, backend: &Backend, (_, _, family): BackendId) -> bool {
    let mut addresses = backend.addresses.iter();
    let address = addresses.find(|address| Family::of(address.ip) == family);
    let hop = address.and_then(|address| inputs.hops.get(&address.ip));
    hop.is_some_and(|hop| hop.lost.is_some())
}

/// The priority number whose backends take new flows; `None` if nobody does.
fn tier(reached: &[(u8, Contender)]) -> Option<u8> {
    let takes = |contender: &Contender| contender.available && contender.weight > 0;
    let takers = reached.iter().filter(|(_, contender)| takes(contender));
    takers.map(|(priority, _)| *priority).min()
}

/// The address of a pool's backend that a service of `family` reaches.
pub(super) fn reached_at(
    pool: usize,
    n: usize,
    settings: &Pool,
    family: Family,
) -> Option<BackendId> {
    let reached = settings
        .forward
        .address(family, &settings.backends[n].addresses)?;
    Some((pool, n, Family::of(reached.ip)))
}
