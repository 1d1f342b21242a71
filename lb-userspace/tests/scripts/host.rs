//! A host of two interfaces, `front` and `back`, whose tables are plain collections: takes configurations and next
//! hops as the agent does, but for the history of slots.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    rc::Rc,
};

use lb_userspace::{
    config::{self, Files, MatchError},
    kernel::{Error, FakeTables, KernelTables},
    model::Config,
    plan::{Operation, Tables},
    reconcile::Reconciler,
    state::{self, Hop, Ids, Inputs, Link, Memo, Registry},
};

use crate::dump;

/// The host.
pub(crate) struct Host {
    registry: Registry,
    kernel: Rc<RefCell<Noting>>,
    reconciler: Reconciler<Shared>,
    configured: Option<(Config, Ids)>,
    hops: BTreeMap<IpAddr, Hop>,
}

/// Tables that note what is done to them.
#[derive(Default)]
struct Noting {
    fake: FakeTables,
    operations: Vec<String>,
}

/// The same tables, as the reconciler has them.
struct Shared(Rc<RefCell<Noting>>);

impl KernelTables for Shared {
    fn wait_for_readers(&mut self) -> Result<(), Error> {
        self.0.borrow_mut().fake.wait_for_readers()
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        let mut noting = self.0.borrow_mut();
        let done = noting.fake.apply(operation);
        let failed = if done.is_err() { "failed: " } else { "" };
        noting
            .operations
            .push(format!("{failed}{}\n", dump::operation(operation)));
        done
    }
}

impl Default for Host {
    fn default() -> Self {
        let kernel = Rc::new(RefCell::new(Noting::default()));
        Self {
            registry: Registry::default(),
            reconciler: Reconciler::new(Shared(Rc::clone(&kernel))),
            kernel,
            configured: None,
            hops: BTreeMap::new(),
        }
    }
}

impl Host {
    /// Takes a configuration, or says why not.
    pub(crate) fn load(&mut self, text: &str) -> Result<(), String> {
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
    pub(crate) fn reach(&mut self, addresses: &[IpAddr]) {
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
    pub(crate) fn lose(&mut self, addresses: &[IpAddr]) {
        self.hops.retain(|address, _| !addresses.contains(address));
        self.apply();
    }

    /// So many operations go well, and the next one fails.
    pub(crate) fn fail_after(&mut self, operations: usize) {
        self.kernel.borrow_mut().fake.fails_after = Some(operations);
    }

    /// What was done since the last time.
    pub(crate) fn take_operations(&mut self) -> String {
        std::mem::take(&mut self.kernel.borrow_mut().operations).concat()
    }

    /// What the tables hold.
    pub(crate) fn tables(&self) -> Tables {
        self.kernel.borrow().fake.tables.clone()
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
        let inputs = Inputs {
            config,
            ids,
            links: &links.into(),
            hops: &self.hops,
            hertz: 250,
        };
        let wanted = state::desired(inputs, &mut Memo::default()).settled(ids);
        let done = self.reconciler.reconcile(&wanted);
        self.kernel.borrow_mut().fake.fails_after = None;
        done.is_ok()
    }
}

const LINKS: [(&str, u32); 2] = [("front", 10), ("back", 11)];

/// One file.
struct Only<'a>(&'a str);

impl Files for Only<'_> {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.into())
    }

    fn matching(&self, _: &Path, _: &str) -> Result<Vec<PathBuf>, MatchError> {
        Ok(Vec::new())
    }
}
