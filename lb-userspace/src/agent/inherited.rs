//! What a start finds in the kernel: the tables of an agent before it, and what is known of them. Where they
//! can't be gone on with, they stay in use until new ones are written.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use anyhow::{Context as _, bail};
use lb_common::abi::LAYOUT;

use crate::{
    kernel::{self, Identity, Pins, Sizes, TableSet},
    plan::Tables,
    state::{Hop, Registry},
};

use super::record::Record;

/// Tables that a start goes on with.
pub(super) struct Inherited {
    pub(super) set: TableSet,
    pub(super) identity: Identity,
    pub(super) tables: Tables,
    pub(super) sizes: Sizes,
    pub(super) record: Record,
}

/// What there is.
pub(super) enum Found {
    /// Nothing is pinned.
    Nothing,
    /// Tables to go on with.
    Usable(Box<Inherited>),
    /// Tables that can't be gone on with, and why.
    Unusable(anyhow::Error),
}

impl Found {
    /// Looks for it.
    pub(super) fn look(pins: &Pins, state: &Path, seed_fingerprint: &str) -> anyhow::Result<Self> {
        let Some(set) = pins.set()? else {
            return Ok(Self::Nothing);
        };
        Ok(match Inherited::read(set, state, seed_fingerprint) {
            Ok(inherited) => Self::Usable(Box::new(inherited)),
            Err(error) => Self::Unusable(error),
        })
    }
}

impl Inherited {
    fn read(set: TableSet, state: &Path, seed_fingerprint: &str) -> anyhow::Result<Self> {
        if set.layout != LAYOUT {
            bail!("their layout is {}, this build's {LAYOUT}", set.layout);
        }
        let identity = set.identity()?;
        let mut record = Record::read(state, identity, seed_fingerprint)?;
        set.check()?;
        let tables = kernel::read(&set).context("reading the tables")?;
        record.registry.finds(&tables);
        let sizes = set.sizes()?;
        Ok(Self {
            set,
            identity,
            tables,
            sizes,
            record,
        })
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
