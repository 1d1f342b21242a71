//! A host of two interfaces, `front` and `back`: takes configurations and next hops as the agent does, but for the
//! history of slots.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lb_userspace::{
    config::{self, Files, MatchError},
    health::{Advice, MemberView, Mode, PoolView, Snapshot, State},
    kernel::{Error, KernelTables},
    model::{Config, Family},
    overrides::{Change, Overrides},
    plan::{Operation, Tables},
    reconcile::Reconciler,
    state::{self, Hop, Ids, Inputs, Link, Memo, Registry, Standings, Time},
};

use super::{dump, held::Held};

/// The host.
pub(super) struct Host<T> {
    registry: Registry,
    kernel: Rc<RefCell<Noting<T>>>,
    reconciler: Reconciler<Shared<T>>,
    configured: Option<(Config, Ids)>,
    hops: BTreeMap<IpAddr, Hop>,
    /// Backends that are down, with their pools.
    down: BTreeSet<(String, String)>,
    /// What operators say.
    overrides: Overrides,
}

/// Tables that note what is done to them, and fail when they are told to.
struct Noting<T> {
    tables: T,
    operations: Vec<String>,
    /// Operations that go well before the next one fails.
    fails_after: Option<usize>,
}

/// The same tables, as the reconciler has them.
struct Shared<T>(Rc<RefCell<Noting<T>>>);

impl<T: Held> KernelTables for Shared<T> {
    fn wait_for_readers(&mut self) -> Result<(), Error> {
        self.0.borrow_mut().tables.wait_for_readers()
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        let mut noting = self.0.borrow_mut();
        let fails = noting.fails_after == Some(0);
        noting.fails_after = noting.fails_after.map(|left| left.saturating_sub(1));
        let done = match fails {
            true => Err(Error::Missing("patience")),
            false => noting.tables.apply(operation),
        };
        let failed = if done.is_err() { "failed: " } else { "" };
        noting
            .operations
            .push(format!("{failed}{}\n", dump::operation(operation)));
        done
    }
}

impl<T: Held> Host<T> {
    /// With these tables, in which nothing is.
    pub(super) fn new(tables: T) -> Self {
        let kernel = Rc::new(RefCell::new(Noting {
            tables,
            operations: Vec::new(),
            fails_after: None,
        }));
        Self {
            registry: Registry::default(),
            reconciler: Reconciler::new(Shared(Rc::clone(&kernel))),
            kernel,
            configured: None,
            hops: BTreeMap::new(),
            down: BTreeSet::new(),
            overrides: Overrides::default(),
        }
    }

    /// Takes a configuration, or says why not.
    pub(super) fn load(&mut self, text: &str) -> Result<(), String> {
        let loaded = config::load(Path::new("sluice.toml"), &Only(text));
        let config = loaded.map_err(|report| report.to_string())?.config;
        let (registry, ids) = self
            .registry
            .assign(&config)
            .map_err(|error| error.to_string())?;
        let abandoned = ids.abandoned.clone();
        self.registry = registry;
        self.configured = Some((config, ids));
        if self.apply() {
            abandoned
                .into_iter()
                .for_each(|table| self.registry.release_table(table));
        }
        Ok(())
    }

    /// Next hops towards these are resolved.
    pub(super) fn reach(&mut self, addresses: &[IpAddr]) {
        for address in addresses {
            let last = match address {
                IpAddr::V4(address) => address.octets()[3],
                IpAddr::V6(address) => address.octets()[15],
            };
            self.hops.insert(
                *address,
                Hop {
                    ifindex: LINKS[1].1,
                    mac: [4, 0, 0, 0, 0, last],
                    mtu: 1500,
                    source: None,
                    lost: None,
                },
            );
        }
        self.apply();
    }

    /// They are not any more.
    pub(super) fn lose(&mut self, addresses: &[IpAddr]) {
        self.hops.retain(|address, _| !addresses.contains(address));
        self.apply();
    }

    /// Checks find a pool's backend up, or not.
    pub(super) fn check(&mut self, (pool, backend): (&str, &str), up: bool) {
        let name = (pool.to_owned(), backend.to_owned());
        match up {
            true => self.down.remove(&name),
            false => self.down.insert(name),
        };
        self.apply();
    }

    /// An operator says something of a pool's backend.
    pub(super) fn say(&mut self, (pool, backend): (&str, &str), change: Change) {
        self.overrides.change(pool, backend, change);
        self.apply();
    }

    /// So many operations go well, and the next one fails.
    pub(super) fn fail_after(&mut self, operations: usize) {
        self.kernel.borrow_mut().fails_after = Some(operations);
    }

    /// What was done since the last time.
    pub(super) fn take_operations(&mut self) -> String {
        std::mem::take(&mut self.kernel.borrow_mut().operations).concat()
    }

    /// What the tables hold.
    pub(super) fn tables(&self) -> Tables {
        self.kernel.borrow().tables.held()
    }

    /// Brings the tables to what is wanted; whether that went well. After a failure nothing fails.
    fn apply(&mut self) -> bool {
        let Some((config, ids)) = &self.configured else {
            return true;
        };
        let links = LINKS.map(|(name, ifindex)| {
            let mac = [2, 0, 0, 0, 0, ifindex as u8];
            (
                name.to_owned(),
                Link {
                    ifindex,
                    mac,
                    mtu: 1500,
                    vlan: None,
                },
            )
        });
        let mut standings = Standings::default();
        let health = health(config, &self.down);
        let time = Time {
            now: Instant::now(),
            unix: NOW,
        };
        standings.follow(&health, &self.overrides, |_| Duration::ZERO, time);
        let inputs = Inputs {
            config,
            ids,
            own: &BTreeSet::new(),
            links: &links.into(),
            hops: &self.hops,
            standings: &standings,
            hertz: 250,
        };
        let wanted = state::desired(inputs, &mut Memo::default()).settled(ids);
        let done = self.reconciler.reconcile(&wanted);
        self.kernel.borrow_mut().fails_after = None;
        done.is_ok()
    }
}

/// The time there, in seconds since 1970.
pub(super) const NOW: u64 = 1_700_000_000;

/// The health of all backends, where these are down.
fn health(config: &Config, down: &BTreeSet<(String, String)>) -> Snapshot {
    let pools = config.pools.iter().map(|pool| {
        let members = pool.backends.iter().flat_map(|backend| {
            let is_down = down.contains(&(pool.name.clone(), backend.name.clone()));
            let state = if is_down { State::Down } else { State::Up };
            backend.addresses.iter().map(move |address| {
                let key = (backend.name.clone(), Family::of(address.ip));
                (key, Arc::new(member(state)))
            })
        });
        let view = PoolView {
            modes: Family::ALL.map(|family| (family, Mode::Normal)).into(),
            members: members.collect(),
        };
        (pool.name.clone(), Arc::new(view))
    });
    Snapshot {
        pools: pools.collect(),
    }
}

fn member(state: State) -> MemberView {
    MemberView {
        state,
        since: SystemTime::UNIX_EPOCH,
        advice: Advice::NONE,
        slow_start: None,
        checks: Vec::new(),
        passive: None,
        history: Vec::new(),
    }
}

/// Its interfaces, and the kernel's numbers of them.
pub const LINKS: [(&str, u32); 2] = [("front", 10), ("back", 11)];

/// One file.
pub(crate) struct Only<'a>(pub(crate) &'a str);

impl Files for Only<'_> {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.into())
    }

    fn matching(&self, _: &Path, _: &str) -> Result<Vec<PathBuf>, MatchError> {
        Ok(Vec::new())
    }
}
