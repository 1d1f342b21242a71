//! The slot tables of a configuration, and the sweep of the exceptions: joins the configuration and
//! its numbers with what `slots::Runner` needs. Wires, and decides nothing.

use std::{collections::BTreeMap, time::Duration};

use lb_common::abi::{BackendRef, Fate, Seed, TableId};

use crate::{
    kernel::{self, ExceptionKey, ExceptionTables, MapTables},
    model::{Config, Family, PoolIndex, Service, ServiceIndex},
    plan::Tables,
    reconcile::Reconciler,
    slots::{Clock, Health, Jiffies, Runner, SweepContext, UnixTime, Wanted},
    state::{Desired, Ids, PoolFamily},
    unix_time::unix_now,
};

/// How often exceptions are swept while a slot is not settled.
pub(super) const SWEEP: Duration = Duration::from_secs(5);

/// Both clocks now.
pub(super) fn clock() -> Clock {
    Clock {
        now: std::time::Instant::now(),
        unix: UnixTime(unix_now()),
    }
}

/// The slot tables that services lead to.
pub fn wanted(config: &Config, ids: &Ids, desired: &Desired) -> Vec<Wanted> {
    let table = |(&key, &id): (&PoolFamily, &TableId)| {
        let (pool, family) = key;
        let mut wanted = Wanted {
            pool: config.pools[pool].name.clone(),
            family,
            id,
            prefix: ids.table_prefix(key),
            old: ids.old_tables.get(&key).copied(),
            backends: BTreeMap::new(),
            indices: BTreeMap::new(),
            settle: Duration::ZERO,
            services: Vec::new(),
        };
        for contender in desired.contenders.get(&key).into_iter().flatten() {
            let health = Health {
                weight: contender.weight,
                available: contender.available,
                alive: contender.alive,
            };
            wanted.backends.insert(contender.name.clone(), health);
            let (name, index) = (contender.name.clone(), contender.index);
            wanted.indices.insert(name, index);
        }
        for (service, id) in users(config, ids, pool) {
            wanted.settle = wanted.settle.max(service.settle);
            wanted.services.push(id);
        }
        wanted
    };
    ids.tables.iter().map(table).collect()
}

/// The services that a pool answers for, with their numbers.
fn users<'a>(
    config: &'a Config,
    ids: &'a Ids,
    pool: usize,
) -> impl Iterator<Item = (&'a Service, u32)> {
    let services = config.services.iter().zip(ids.services.iter().copied());
    services.filter(move |(service, _)| service.pools().any(|used| used == pool))
}

/// The pool that answers for each family of a service.
pub(super) type Answering = BTreeMap<(ServiceIndex, Family), PoolIndex>;

/// What a sweep works on.
pub(super) struct Sweeper<'a> {
    pub(super) config: &'a Config,
    pub(super) ids: &'a Ids,
    pub(super) answering: &'a Answering,
    pub(super) seed: Seed,
    pub(super) clock: Jiffies,
}

/// What a service's flows are found and kept by.
struct Flows {
    /// The tables that it leads to, and the prefix that it hashes there.
    tables: [Option<(TableId, u8)>; 2],
    timeout: Duration,
}

impl Sweeper<'_> {
    /// Sweeps the exceptions; `tables` are those that are written, and get the words that follow.
    /// Returns the backends that exceptions name, and how many exceptions there were.
    pub(super) fn sweep(
        &self,
        runner: &mut Runner,
        exceptions: &mut ExceptionTables,
        reconciler: &mut Reconciler<MapTables>,
        tables: &mut Tables,
    ) -> Result<Swept, kernel::Error> {
        let services = self.services();
        let live = tables.backends.clone();
        let usable = |backend: BackendRef| {
            let now = live.get(&backend.index());
            let same = now.filter(|now| now.generation() == backend.generation());
            // What becomes of the flows of one whose fate is its own is told by their exceptions.
            same.is_some_and(|now| now.is_alive() || now.fate() != Fate::Service)
        };
        let timeout = |service| {
            let flows = services.get(&service);
            flows.map_or(Duration::ZERO, |flows| flows.timeout)
        };
        let context = SweepContext {
            clock: self.clock,
            slot_of: &|key, service| self.slot_of(services.get(&service)?, key),
            timeout: &timeout,
            usable: &usable,
        };
        let swept = runner.sweep(exceptions, &context, || reconciler.wait_for_readers())?;
        if swept.settled() {
            tables.slots.extend(runner.slots());
            reconciler.reconcile(tables)?;
        }
        let deleted = swept.finish(exceptions)?;
        Ok(Swept {
            named: swept.named().clone(),
            entries: swept.entries,
            deleted,
        })
    }

    fn services(&self) -> BTreeMap<u32, Flows> {
        let services = self.config.services.iter().zip(&self.ids.services);
        let flows = services.enumerate().map(|(n, (service, &id))| {
            let table = |family| {
                let pool = self.answering.get(&(n, family)).copied();
                let key = (pool.unwrap_or(service.pool), family);
                let prefix = self.ids.prefix(key, n)?;
                Some((*self.ids.tables.get(&key)?, prefix))
            };
            let tables = Family::ALL.map(table);
            let timeout = service.entry_timeout;
            (id, Flows { tables, timeout })
        });
        flows.collect()
    }

    /// The slot of a flow of a service.
    fn slot_of(&self, flows: &Flows, key: &ExceptionKey) -> Option<(TableId, u32)> {
        let [ipv4, ipv6] = flows.tables;
        let (table, prefix) = match key.family() {
            Family::Ipv4 => ipv4?,
            Family::Ipv6 => ipv6?,
        };
        let hash = key.slot_hash(self.seed, prefix);
        Some((table, hash.below(table.size.slots())))
    }
}

/// What a sweep found.
pub(super) struct Swept {
    /// Every backend that an exception names, by index.
    pub(super) named: std::collections::BTreeSet<u32>,
    /// How many exceptions there were.
    pub(super) entries: usize,
    /// How many of them are gone.
    pub(super) deleted: usize,
}
