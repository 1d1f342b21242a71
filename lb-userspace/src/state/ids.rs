//! Indices in the tables for all that one configuration names: what a `Registry` gave it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_common::abi::{
    BackendRef, FlowEntry, FlowKey, Ipv4Address, Ipv6Address, ServiceTraits, TableId,
};

use crate::{
    model::{Config, Family, Network, PoolIndex, ReplyEnd, ServiceIndex},
    plan::Families,
    slots,
};

use super::{place::Placement, registry::Registry, replies::Reply, slot_tables::Used};

/// One address of a backend: its pool, its place in it, its family.
pub type BackendId = (PoolIndex, usize, Family);

/// A family of a pool.
pub type PoolFamily = (PoolIndex, Family);

/// Index of everything in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The numbers of services, in the order of the configuration.
    pub services: Vec<u32>,
    /// Devices by name, from 1.
    pub devices: BTreeMap<String, u16>,
    /// Backends, one for each address, from 1, with their generations.
    pub backends: BTreeMap<BackendId, BackendRef>,
    /// Those that probes through services are for, likewise: each is the same server under an index of its own.
    pub probed: BTreeMap<BackendId, BackendRef>,
    /// What those probes come from.
    pub(super) probe_sources: BTreeSet<IpAddr>,
    /// Next hops by the address that they lead to, from 1.
    pub next_hops: BTreeMap<IpAddr, u32>,
    /// Slot tables: one for each family of a pool that a service needs. Its size is another than
    /// the pool's while the change before is not over.
    pub tables: BTreeMap<PoolFamily, TableId>,
    /// How flows find their slots in them.
    pub(super) hashing: BTreeMap<PoolFamily, Hashing>,
    /// Tables of slots in turn: one for each family of a pool that a service goes round.
    pub turns: BTreeMap<PoolFamily, TableId>,
    /// The tables that those of `tables` replace, until [`Registry::release_table`].
    pub old_tables: BTreeMap<PoolFamily, TableId>,
    /// Tables that nothing leads to once this configuration is applied. Then they are to be
    /// released.
    pub abandoned: BTreeSet<TableId>,
    /// Each pool's source addresses of a family: the first, and how many.
    pub sources: BTreeMap<PoolFamily, (u32, u16)>,
    /// The source addresses themselves, by index; of pools that cross families as mapped ones.
    pub source_addresses: Families<BTreeMap<u32, Ipv4Addr>, BTreeMap<u32, Ipv6Addr>>,
    /// Pools whose flows may have ends of both families.
    pub(super) crossing: BTreeSet<PoolIndex>,
    /// The source addresses of their flows.
    pub(super) crossing_sources: BTreeSet<IpAddr>,
    /// The numbers of their services.
    pub(super) crossing_services: BTreeSet<u32>,
    /// Whether some of their flows may be recorded without mapped addresses.
    pub(super) unmapped: bool,
    /// Whom the ports of `nat` backends answer for.
    pub(super) replies: BTreeMap<ReplyEnd, Reply>,
    /// This host's own addresses, as far as they are told from others.
    pub(super) own: BTreeSet<IpAddr>,
    /// What outer headers are sent from where the configuration does not say, by backends'
    /// addresses.
    pub(super) outer: BTreeMap<IpAddr, IpAddr>,
    /// Groups, of addresses and prefixes that services listen on with other than single ports, from
    /// 1.
    pub groups: BTreeMap<Network, u32>,
    /// The service table's salt.
    pub salt: u64,
    /// Positions of services, marks and ends that answer.
    pub(super) positions: Families<Placement<Ipv4Address>, Placement<Ipv6Address>>,
}

/// How flows find their slots in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hashing {
    /// The prefix that makes it another table if it changes.
    table: u8,
    /// The prefix that each service hashes.
    services: BTreeMap<ServiceIndex, u8>,
}

impl Hashing {
    /// Of the services of a configuration.
    pub(super) fn of(config: &Config, used: Used) -> Self {
        let services = config.services.iter().enumerate();
        let services = services.filter_map(|(n, service)| {
            let prefix = used.prefixes.get(&service.name)?;
            Some((n, *prefix))
        });
        Self {
            table: used.prefix,
            services: services.collect(),
        }
    }
}

/// A configuration that does not fit the tables, or not beside what is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many of something.
    #[error("the configuration has {count} {what}; the tables hold {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: u32,
    },
    /// Not too many, were it not for those of configurations before.
    #[error(
        "the tables hold {limit} {what}, too few for those of this configuration and those that \
         are still in use from the one before: change it in steps, or `sluice detach` before a \
         start, which ends the connections that are kept"
    )]
    NoRoomBeside {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u32,
    },
    /// All indices of backends are taken.
    #[error("backend addresses of this configuration and those before: {0}")]
    Backends(#[from] slots::IndexError),
    /// No salt was found under which all services have a position.
    #[error(
        "the service table can't take {count} entries of one family: services, addresses of this \
         host, and ports of backends in nat mode"
    )]
    Unplaceable {
        /// How many there are.
        count: usize,
    },
    /// A table can't follow another for services that hash by several prefixes.
    #[error(
        "services that share pool {pool} hash by several prefixes ({family}), so neither these nor its \
         number of slots can change while it keeps flows: give one of them a pool of its own first, \
         or `sluice detach` before a start, which ends the connections that are kept"
    )]
    SeveralPrefixes {
        /// The pool.
        pool: String,
        /// Of which addresses.
        family: Family,
    },
    /// There is no position for one of them beside the others.
    #[error(
        "the service table has no room for {what} beside what is in it: `sluice detach` before a start \
         arranges all of it anew (it picks another salt)"
    )]
    NoPosition {
        /// For which one.
        what: String,
    },
}

impl Ids {
    /// Indices of a configuration that none went before.
    pub fn assign(config: &Config) -> Result<Self, Error> {
        Registry::default().assign(config).map(|(_, ids)| ids)
    }

    /// Whether flows of any pool may have ends of both families.
    pub fn has_crossing(&self) -> bool {
        !self.crossing.is_empty()
    }

    /// Whether flows are looked up without mapped addresses that cross families.
    pub fn looks_for_unmapped(&self) -> bool {
        self.unmapped
    }

    /// Whether an entry of IPv4 has one of those; none has while none is looked for.
    pub fn is_unmapped(&self, key: &FlowKey<Ipv4Address>, entry: &FlowEntry<Ipv4Address>) -> bool {
        let to = || IpAddr::from(key.destination);
        self.unmapped
            && (self.crossing_services.contains(&entry.service)
                || self.crossing_sources.contains(&to()))
    }

    /// What the entries say of services and source addresses whose flows may have ends of both families.
    pub(super) fn crossing_traits(&self) -> ServiceTraits {
        match self.unmapped {
            true => ServiceTraits::CROSSES.and(ServiceTraits::UNMAPPED),
            false => ServiceTraits::CROSSES,
        }
    }

    /// The prefix that makes a table another if it changes, bits.
    pub fn table_prefix(&self, table: PoolFamily) -> u8 {
        self.hashing.get(&table).map_or(0, |hashing| hashing.table)
    }

    /// How many bits of a client's address choose the slot of a service's flow in a table; 0: the
    /// whole flow does. Not what the configuration says while a change of that waits.
    pub fn prefix(&self, table: PoolFamily, service: ServiceIndex) -> Option<u8> {
        let hashing = self.hashing.get(&table)?;
        hashing.services.get(&service).copied()
    }
}
