//! From tables as they were written to the resolved configuration. Decides nothing: what is
//! wrong was reported by `read` and `check`, and makes the result `None`.

use std::collections::HashMap;

use super::{
    places::{Item, Places},
    raw::{self, Balancing},
    schema::List,
    source::{Place, Sources},
};
use crate::model::{Agent, Backend, Config, Pool, PoolIndex, Service, Weight};

/// The configuration, if every part of it could be read.
pub(super) fn config(agent: &raw::Agent, balancing: &Balancing) -> Option<Config> {
    let pools = balancing
        .pools
        .iter()
        .map(pool)
        .collect::<Option<Vec<_>>>()?;
    let named = pools
        .iter()
        .enumerate()
        .map(|(index, pool)| (pool.name.as_str(), index));
    let named: HashMap<&str, PoolIndex> = named.collect();
    let services = balancing
        .services
        .iter()
        .map(|written| service(written, &named));
    let services = services.collect::<Option<_>>()?;
    Some(Config {
        agent: self::agent(agent)?,
        services,
        pools,
    })
}

fn agent(agent: &raw::Agent) -> Option<Agent> {
    Some(Agent {
        interfaces: agent
            .interfaces
            .values()
            .map(|name| name.0.clone())
            .collect(),
        control: agent.control.as_ref()?.0.clone(),
        stats: agent.stats?,
        state: agent.state.as_ref()?.0.clone(),
        pin: agent.pin.as_ref()?.0.clone(),
        seed: agent.seed.as_ref().map(|seed| seed.value),
        flows: agent.flows?.0,
        debug: agent.debug?,
    })
}

fn service(service: &raw::Service, pools: &HashMap<&str, PoolIndex>) -> Option<Service> {
    Some(Service {
        name: service.name.as_ref()?.value.0.clone(),
        listen: service.listen.values().copied().collect(),
        pool: *pools.get(service.pool.as_ref()?.value.0.as_str())?,
        scheduler: service.scheduler?,
    })
}

fn pool(pool: &raw::Pool) -> Option<Pool> {
    Some(Pool {
        name: pool.name.as_ref()?.value.0.clone(),
        forward: pool.forward?,
        source: pool.source.values().copied().collect(),
        slots: pool.slots?,
        backends: pool.backends.iter().map(backend).collect::<Option<_>>()?,
    })
}

fn backend(backend: &raw::Backend) -> Option<Backend> {
    Some(Backend {
        name: backend.name.as_ref()?.value.0.clone(),
        addresses: backend.address.values().copied().collect(),
        weight: backend
            .weight
            .as_ref()
            .map_or(Weight::DEFAULT, |weight| weight.value),
    })
}

/// Where the parts stand. The indices are those of [`config`], which keeps every order.
pub(super) fn places(agent: &raw::Agent, balancing: &Balancing, sources: &Sources) -> Places {
    let mut places: Vec<(Item, Place)> = Vec::new();
    note(&mut places, &agent.interfaces, Item::Interface);
    for (service, written) in balancing.services.iter().enumerate() {
        note(&mut places, &written.listen, |index| Item::Listen {
            service,
            index,
        });
    }
    for (pool, written) in balancing.pools.iter().enumerate() {
        note(&mut places, &written.source, |index| Item::Source {
            pool,
            index,
        });
        for (backend, written) in written.backends.iter().enumerate() {
            note(&mut places, &written.address, |index| Item::Address {
                pool,
                backend,
                index,
            });
        }
    }
    places
        .into_iter()
        .map(|(item, place)| (item, sources.excerpt(place)))
        .collect()
}

fn note<T>(places: &mut Vec<(Item, Place)>, list: &List<T>, item: impl Fn(usize) -> Item) {
    let listed = list.items.iter().enumerate();
    places.extend(listed.map(|(index, entry)| (item(index), entry.place)));
}
