//! Indices in the tables for all that a configuration names: counted in the order of the files,
//! so that they depend on nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_common::abi::{
    Ipv4Address, Ipv6Address, MAX_BACKENDS, MAX_DEVICES, MAX_NEXT_HOPS, MAX_SERVICES, MAX_SOURCES,
    MAX_TABLES, ServiceKey, TableId,
};

use crate::{
    model::{Config, Family, Forward, PoolIndex},
    plan::Families,
};

use super::place::{self, Placement};

/// One address of a backend: its pool, its place in it, its family.
pub type BackendId = (PoolIndex, usize, Family);

/// Index of everything in the tables.
#[derive(Clone, Debug)]
pub struct Ids {
    /// Devices by name, from 1.
    pub devices: BTreeMap<String, u16>,
    /// Backends, one for each address, from 1.
    pub backends: BTreeMap<BackendId, u32>,
    /// Next hops by the address that they lead to, from 1.
    pub next_hops: BTreeMap<IpAddr, u32>,
    /// Slot tables: one for each family of a pool that a service needs.
    pub tables: BTreeMap<(PoolIndex, Family), TableId>,
    /// Each pool's source addresses in their family's table: the first, and how many.
    pub sources: BTreeMap<(PoolIndex, Family), (u32, u16)>,
    /// The source addresses themselves.
    pub source_addresses: Families<Vec<Ipv4Addr>, Vec<Ipv6Addr>>,
    /// The service table's salt.
    pub salt: u64,
    /// Positions of services and marks.
    pub(super) positions: Families<Placement<Ipv4Address>, Placement<Ipv6Address>>,
}

/// A configuration that is larger than the tables.
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
    /// No salt was found under which all services have a position.
    #[error("the service table can't take {count} services and source addresses of one family")]
    Unplaceable {
        /// How many there are.
        count: usize,
    },
}

impl Ids {
    /// Gives everything in `config` its index.
    pub fn assign(config: &Config) -> Result<Self, Error> {
        within("services", config.services.len(), MAX_SERVICES)?;
        let devices = numbered(config.agent.interfaces.iter().cloned());
        within("interfaces", devices.len(), MAX_DEVICES - 1)?;
        let mut ids = Self {
            devices: devices
                .into_iter()
                .map(|(name, n)| (name, n as u16))
                .collect(),
            backends: numbered(backends(config).map(|(id, _)| id)),
            next_hops: numbered(backends(config).map(|(_, address)| address)),
            tables: BTreeMap::new(),
            sources: BTreeMap::new(),
            source_addresses: Families::default(),
            salt: 0,
            positions: Families::default(),
        };
        within("backend addresses", ids.backends.len(), MAX_BACKENDS - 1)?;
        within("next hops", ids.next_hops.len(), MAX_NEXT_HOPS - 1)?;
        ids.number_tables(config)?;
        ids.number_sources(config)?;
        ids.place(config)?;
        Ok(ids)
    }

    fn number_tables(&mut self, config: &Config) -> Result<(), Error> {
        let mut used = BTreeMap::new();
        for service in &config.services {
            let size = config.pools[service.pool].slots;
            for listen in &service.listen {
                let key = (service.pool, Family::of(listen.address.ip()));
                if self.tables.contains_key(&key) {
                    continue;
                }
                let index = used.entry(size).or_insert(0);
                self.tables.insert(
                    key,
                    TableId {
                        size,
                        index: *index,
                    },
                );
                *index += 1;
            }
        }
        used.values()
            .try_for_each(|&n| within("slot tables of one size", n as usize, MAX_TABLES))
    }

    fn number_sources(&mut self, config: &Config) -> Result<(), Error> {
        for (pool, settings) in config.pools.iter().enumerate() {
            if settings.forward != Forward::FullNat {
                continue;
            }
            let (v4, v6) = (
                self.source_addresses.ipv4.len(),
                self.source_addresses.ipv6.len(),
            );
            for source in &settings.source {
                match source {
                    IpAddr::V4(address) => self.source_addresses.ipv4.push(*address),
                    IpAddr::V6(address) => self.source_addresses.ipv6.push(*address),
                }
            }
            let added = |first: usize, len: usize| (first as u32, (len - first) as u16);
            let v4 = added(v4, self.source_addresses.ipv4.len());
            let v6 = added(v6, self.source_addresses.ipv6.len());
            self.sources.insert((pool, Family::Ipv4), v4);
            self.sources.insert((pool, Family::Ipv6), v6);
        }
        within(
            "IPv4 source addresses",
            self.source_addresses.ipv4.len(),
            MAX_SOURCES,
        )?;
        within(
            "IPv6 source addresses",
            self.source_addresses.ipv6.len(),
            MAX_SOURCES,
        )
    }

    fn place(&mut self, config: &Config) -> Result<(), Error> {
        let mut v4: Vec<ServiceKey<Ipv4Address>> = Vec::new();
        let mut v6: Vec<ServiceKey<Ipv6Address>> = Vec::new();
        for listen in config.services.iter().flat_map(|service| &service.listen) {
            let (port, protocol) = (
                listen.address.port().to_be_bytes(),
                listen.protocol.number(),
            );
            match listen.address.ip() {
                IpAddr::V4(ip) => v4.push(ServiceKey::service(ip.into(), port, protocol)),
                IpAddr::V6(ip) => v6.push(ServiceKey::service(ip.into(), port, protocol)),
            }
        }
        // Pools may share a source; it has one mark all the same.
        let marks: BTreeSet<_> = self.source_addresses.ipv4.iter().collect();
        v4.extend(marks.into_iter().map(|&ip| ServiceKey::mark(ip.into())));
        let marks: BTreeSet<_> = self.source_addresses.ipv6.iter().collect();
        v6.extend(marks.into_iter().map(|&ip| ServiceKey::mark(ip.into())));
        (self.salt, self.positions) = place::find(&v4, &v6).ok_or(Error::Unplaceable {
            count: v4.len().max(v6.len()),
        })?;
        Ok(())
    }
}

/// All backend addresses, in the order of the files.
fn backends(config: &Config) -> impl Iterator<Item = (BackendId, IpAddr)> {
    config
        .pools
        .iter()
        .enumerate()
        .flat_map(|(pool, settings)| {
            settings
                .backends
                .iter()
                .enumerate()
                .flat_map(move |(n, backend)| {
                    backend
                        .addresses
                        .iter()
                        .map(move |a| ((pool, n, Family::of(a.ip)), a.ip))
                })
        })
}

/// Numbers from 1, in the order of first appearance.
fn numbered<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, u32> {
    let mut numbers = BTreeMap::new();
    for key in keys {
        let next = numbers.len() as u32 + 1;
        numbers.entry(key).or_insert(next);
    }
    numbers
}

fn within(what: &'static str, count: usize, limit: u32) -> Result<(), Error> {
    if count > limit as usize {
        Err(Error::TooMany { what, count, limit })
    } else {
        Ok(())
    }
}
