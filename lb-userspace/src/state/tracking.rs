//! What the packet path is told of services that record their flows: how long those may be silent, how
//! new ones are spread, and how much each backend is meant to take.

use std::{collections::BTreeMap, time::Duration};

use lb_common::abi::{BackendRef, Load, Scheduler, ServiceTraits, Slot, TableId, Timeouts};

use crate::{
    model::{self, Config, Family, Forward},
    plan::Tables,
    scheduling::{self, Candidate},
};

use super::{
    contenders::Contender,
    desired::Inputs,
    ids::{BackendId, PoolFamily},
    named::hashed,
};

/// How long flows of services may be silent, by number.
fn timeouts(inputs: Inputs<'_>) -> BTreeMap<u32, Timeouts> {
    let jiffies = |time: Duration| {
        let jiffies = time.as_secs_f64() * f64::from(inputs.hertz);
        // The clock's numbers come round, so nothing beyond half of them can be told.
        jiffies.min(f64::from(u32::MAX / 2)) as u32
    };
    let services = inputs.ids.services.iter().zip(&inputs.config.services);
    let timeouts = services.map(|(&id, service)| {
        let times = &service.timeouts;
        let timeouts = Timeouts {
            handshake: jiffies(times.handshake),
            established: jiffies(times.established),
            closing: jiffies(times.closing),
            reset: jiffies(times.reset),
            udp: jiffies(times.udp),
            affinity: service.affinity.map_or(0, jiffies),
        };
        (id, timeouts)
    });
    timeouts.collect()
}

/// How much each backend is meant to take, by index. One that takes no new flows has no weight.
fn loads(
    config: &Config,
    backends: &BTreeMap<BackendId, BackendRef>,
    contenders: &BTreeMap<PoolFamily, Vec<Contender>>,
) -> BTreeMap<u32, Load> {
    let takes: BTreeMap<u32, u16> = contenders
        .values()
        .flatten()
        .map(|one| (one.index, if one.available { one.weight } else { 0 }))
        .collect();
    let load = |(&(pool, n, _), index): (&BackendId, &BackendRef)| {
        let index = index.index();
        let load = Load {
            weight: takes.get(&index).copied().unwrap_or(0).into(),
            max_flows: config.pools[pool].backends[n].max_flows.unwrap_or(0),
        };
        (index, load)
    };
    let loads = backends.iter().map(load);
    // Zeros stand for those that are left out.
    loads.filter(|(_, load)| *load != Load::default()).collect()
}

/// The slots of a table of turns.
fn turns(table: TableId, contenders: &[Contender]) -> Vec<Slot> {
    let candidates: Vec<Candidate<'_>> = contenders.iter().map(Contender::candidate).collect();
    let owners = scheduling::turns(table.size.slots() as usize, &candidates);
    let slot = |n: Option<usize>| Slot::settled(n.map_or(0, |n| contenders[n].index));
    owners.into_iter().map(slot).collect()
}

/// The traits of a service whose flows are recorded, of a pool in this mode.
pub(super) fn traits(service: &model::Service, forward: Forward) -> ServiceTraits {
    let steered = match forward {
        Forward::Ipip | Forward::Gue | Forward::Dsr => ServiceTraits::STEERED,
        Forward::FullNat | Forward::Nat => ServiceTraits::NONE,
    };
    let affine = match service.affinity {
        Some(_) => ServiceTraits::AFFINITY,
        None => ServiceTraits::NONE,
    };
    ServiceTraits::TRACKED.and(steered).and(affine)
}

/// How such a service chooses.
pub(super) fn scheduler(service: &model::Service) -> Scheduler {
    match service.scheduler {
        model::Scheduler::Maglev | model::Scheduler::SourceHash => Scheduler::Hash,
        model::Scheduler::LeastConnections => Scheduler::LeastConnections,
        model::Scheduler::RoundRobin => Scheduler::RoundRobin,
    }
}

/// How much of a client's address counts in it: for its affinity, or for the hash.
pub(super) fn prefix(service: &model::Service, family: Family) -> u8 {
    match service.affinity {
        Some(_) => service.source_prefix.length(family),
        None => hashed(service, family),
    }
}

/// Fills the part of the tables that is for such services alone.
pub(super) fn fill(
    inputs: Inputs<'_>,
    contenders: &BTreeMap<PoolFamily, Vec<Contender>>,
    tables: &mut Tables,
) {
    tables.timeouts = timeouts(inputs);
    tables.loads = loads(inputs.config, &inputs.ids.backends, contenders);
    for (key, &table) in &inputs.ids.turns {
        if let Some(contenders) = contenders.get(key) {
            tables.slots.insert(table, turns(table, contenders));
        }
    }
}
