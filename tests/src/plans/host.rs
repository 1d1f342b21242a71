//! An agent in small: takes a site as the agent takes a configuration and next hops, the history of slots included.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use lb_common::abi::{BackendRef, Seed, TableId, Unrecorded};
use lb_userspace::{
    agent::wanted_slots,
    config,
    kernel::{self, ExceptionKey, ExceptionTables, KernelTables},
    model::{Config, Family},
    plan::{Operation, Tables},
    reconcile::Reconciler,
    slots::{Clock, Jiffies, Runner, SweepContext, UnixTime},
    state::{self, Ids, Inputs, Link, Memo, Registry, Standings},
};

use super::site::{BACKENDS, CLIENTS, Site};
use crate::scripts::Only;

/// Longer than a slot of any service moves.
const LONG: Duration = Duration::from_secs(10_000);

/// The agent.
pub struct Host<T> {
    registry: Registry,
    memo: Memo,
    runner: Runner,
    reconciler: Reconciler<T>,
    configured: Option<(Config, Ids)>,
    tables: Tables,
    now: Instant,
    /// What the program hashes flows by.
    seed: Seed,
    /// What it finds services by.
    salt: u64,
}

/// Tables that others look at, too.
pub struct Shared<T>(pub Rc<RefCell<T>>);

impl<T: KernelTables> KernelTables for Shared<T> {
    fn apply(&mut self, operation: &Operation) -> Result<(), kernel::Error> {
        self.0.borrow_mut().apply(operation)
    }

    fn wait_for_readers(&mut self) -> Result<(), kernel::Error> {
        self.0.borrow_mut().wait_for_readers()
    }
}

impl<T: KernelTables> Host<T> {
    /// With these tables, in which nothing is, of a program with this seed and salt; the history of slots goes into a
    /// folder.
    pub fn new(tables: T, (seed, salt): (Seed, u64), folder: &Path) -> Self {
        Self {
            registry: Registry::default(),
            memo: Memo::default(),
            runner: Runner::new(folder.to_owned(), BTreeMap::new()),
            reconciler: Reconciler::new(tables),
            configured: None,
            tables: Tables::default(),
            now: Instant::now(),
            seed,
            salt,
        }
    }

    /// Takes a site.
    pub fn take(&mut self, site: &Site) -> Result<()> {
        let text = site.text();
        let loaded = config::load(Path::new("sluice.toml"), &Only(&text));
        let config = loaded.map_err(|report| anyhow!("{report}"))?.config;
        self.number(config)?;
        self.reconcile(site)?;
        let (_, ids) = self.configured()?;
        for table in ids.abandoned.clone() {
            self.registry.release_table(table);
        }
        Ok(())
    }

    /// So much time passes that what moves is mixed, and what old tables are for is over.
    pub fn advance(&mut self, site: &Site) -> Result<()> {
        self.now += LONG;
        self.runner
            .advance(self.now, |_| Ok(Unrecorded::default()))?;
        self.write()?;
        let done = self.runner.done_with();
        if done.is_empty() {
            return Ok(());
        }
        self.reconciler.wait_for_readers()?;
        for table in done {
            self.registry.release_table(table);
        }
        let (config, _) = self.configured()?;
        let config = config.clone();
        self.number(config)?;
        self.reconcile(site)
    }

    /// Sweeps the exceptions, at this time of the kernel's.
    pub fn sweep(&mut self, exceptions: &mut ExceptionTables, clock: Jiffies) -> Result<()> {
        let seed = self.seed;
        let (config, ids) = self.configured.as_ref().expect("a site");
        let tables = tables_of(config, ids);
        let slot_of = |key: &ExceptionKey, service: u32| {
            let [ipv4, ipv6] = *tables.get(&service)?;
            let (table, hash) = match key {
                ExceptionKey::Ipv4(key) => (ipv4, key.slot_hash(seed, 0)),
                ExceptionKey::Ipv6(key) => (ipv6, key.slot_hash(seed, 0)),
            };
            Some((table, hash.below(table.size.slots())))
        };
        let live = self.tables.backends.clone();
        let usable = |backend: BackendRef| {
            let now = live.get(&backend.index());
            now.is_some_and(|now| now.is_alive() && now.generation() == backend.generation())
        };
        let context = SweepContext {
            clock,
            slot_of: &slot_of,
            timeout: &|_| LONG,
            usable: &usable,
        };
        let reconciler = &mut self.reconciler;
        let swept = self
            .runner
            .sweep(exceptions, &context, || reconciler.wait_for_readers())?;
        self.write()?;
        swept.finish(exceptions)?;
        Ok(())
    }

    /// What the tables are to hold.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    fn configured(&self) -> Result<&(Config, Ids)> {
        let configured = self.configured.as_ref();
        configured.ok_or_else(|| anyhow!("no site was taken"))
    }

    fn number(&mut self, config: Config) -> Result<()> {
        let (registry, ids) = self.registry.assign(&config)?;
        ensure!(ids.salt == self.salt, "the program has another salt");
        (self.registry, self.configured) = (registry, Some((config, ids)));
        Ok(())
    }

    /// In the agent's order: first the history, then what it says.
    fn reconcile(&mut self, site: &Site) -> Result<()> {
        let (config, ids) = self.configured.as_ref().expect("a site");
        let (links, hops, standings) = (links(), site.hops(), Standings::default());
        let inputs = Inputs {
            config,
            ids,
            own: &BTreeSet::new(),
            links: &links,
            hops: &hops,
            standings: &standings,
            hertz: 250,
        };
        let desired = state::desired(inputs, &mut self.memo);
        let clock = Clock {
            now: self.now,
            unix: UnixTime(1_700_000_000),
        };
        self.runner
            .change(wanted_slots(config, ids, &desired), clock);
        self.tables = desired.tables;
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        self.tables.slots.extend(self.runner.slots());
        self.tables.old_tables = self.runner.old_tables([self.seed.k0, self.seed.k1]);
        self.reconciler.reconcile(&self.tables)?;
        Ok(())
    }
}

/// The tables that services lead to, by number: IPv4's and IPv6's.
fn tables_of(config: &Config, ids: &Ids) -> BTreeMap<u32, [TableId; 2]> {
    let services = config.services.iter().zip(&ids.services);
    let tables = services.filter_map(|(service, &number)| {
        let table = |family| ids.tables.get(&(service.pool, family)).copied();
        Some((number, [table(Family::Ipv4)?, table(Family::Ipv6)?]))
    });
    tables.collect()
}

fn links() -> BTreeMap<String, Link> {
    let link = |interface: crate::cases::places::Interface| {
        let link = Link {
            ifindex: interface.ifindex,
            mac: interface.mac,
            mtu: 1500,
            vlan: None,
        };
        (interface.name.to_owned(), link)
    };
    [CLIENTS, BACKENDS].map(link).into()
}
