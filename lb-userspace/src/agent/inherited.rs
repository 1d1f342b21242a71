//! What a start finds in the kernel: the tables of an agent before it, and what is known of them. Where they
//! can't be gone on with, they stay in use until new ones are written, which get their flows if these can be read.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use anyhow::Context as _;
use lb_common::abi::{LAYOUT, Slot};
use tracing::warn;

use crate::{
    kernel::{self, Identity, Pins, Sizes, TableSet},
    layouts::Layouts,
    plan::Tables,
    state::{Hop, Registry},
};

use super::record::Record;

/// Tables that there are.
pub(super) struct Inherited {
    pub(super) set: TableSet,
    pub(super) identity: Identity,
    /// What they hold, as far as this build can read it.
    pub(super) tables: Tables,
    pub(super) record: Record,
    /// Those before them whose flows they have not all.
    pub(super) older: Vec<Older>,
}

/// Tables that others take the place of, and what their entries look like.
pub(super) struct Older {
    pub(super) set: TableSet,
    pub(super) layouts: Layouts,
}

/// What there is.
pub(super) enum Found {
    /// Nothing is pinned.
    Nothing,
    /// Tables to go on with.
    Usable(Box<Inherited>),
    /// Tables whose flows others are to have.
    Older(Box<Inherited>),
    /// Tables that can't be gone on with, and why.
    Unusable(anyhow::Error),
}

impl Found {
    /// Looks for it. The tables are to have these sizes.
    pub(super) fn look(
        pins: &Pins,
        state: &Path,
        seed_fingerprint: &str,
        sizes: Sizes,
    ) -> anyhow::Result<Self> {
        let Some((set, before)) = pins.set()? else {
            return Ok(Self::Nothing);
        };
        let read = |set: &TableSet| {
            let identity = set.identity()?;
            let record = Record::read(state, identity, seed_fingerprint)?;
            anyhow::Ok((identity, record))
        };
        let older = before.into_iter().map_while(|set| match read(&set) {
            Ok((_, record)) => Some(Older::of(set, &record)),
            Err(error) => {
                warn!("{}: {error:#}", set.path().display());
                None
            }
        });
        let older = older.collect();
        let found = read(&set).and_then(|(identity, record)| {
            let inherited = Inherited {
                set,
                identity,
                tables: Tables::default(),
                record,
                older,
            };
            inherited.judged(sizes)
        });
        Ok(found.unwrap_or_else(Self::Unusable))
    }
}

impl Older {
    fn of(set: TableSet, record: &Record) -> Self {
        let layouts = record.layouts();
        Self { set, layouts }
    }
}

impl Inherited {
    /// Reads the tables, and tells what can be done with them if tables are to have these sizes.
    fn judged(mut self, sizes: Sizes) -> anyhow::Result<Found> {
        let layouts = self.record.layouts();
        let ours = (self.set.layout, layouts.clone()) == (LAYOUT, Layouts::of_this_build());
        if ours {
            self.set.check()?;
            self.tables = kernel::read(&self.set).context("reading the tables")?;
            if self.set.sizes()? == sizes {
                self.record.registry.finds(&self.tables);
                return Ok(Found::Usable(Box::new(self)));
            }
        } else if layouts.has_this_builds::<Slot>() {
            self.tables.slots = kernel::slots(&self.set).context("reading the slots")?;
        } else {
            self.record.registry.has_no_slots();
        }
        self.record.registry.has_no_positions();
        // To be asked about flows.
        self.set.program()?;
        Ok(Found::Older(Box::new(self)))
    }

    /// All tables that others take the place of, if they take that of these, from the newest on.
    pub(super) fn into_older(self) -> Vec<Older> {
        let own = Older::of(self.set, &self.record);
        [own].into_iter().chain(self.older).collect()
    }

    /// The ways to backends that the tables have.
    pub(super) fn hops(&self) -> BTreeMap<IpAddr, Hop> {
        let registry: &Registry = &self.record.registry;
        let hops = registry.next_hops_in(&self.tables);
        let hop = |(address, next): (IpAddr, lb_common::abi::NextHop)| {
            let device = self.tables.devices.get(&next.hop.device())?;
            let hop = Hop {
                ifindex: device.ifindex,
                mac: next.hop.mac().0,
                mtu: u32::try_from(next.mtu).ok()?,
                source: registry.outer_sources().get(&address).copied(),
                lost: None,
            };
            Some((address, hop))
        };
        hops.filter_map(hop).collect()
    }
}
