//! Echo: an entry of the service table for each address that services answer echo requests at. It
//! leads to the slot table of one of them: the first that has a backend, else the first. An address that moves between hosts
//! has one only on the host where it is.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_common::{
    abi::{
        Address, Ipv4Address, Ipv6Address, Scheduler, Service, ServiceKey, ServiceSpec,
        ServiceTraits,
    },
    net::{Icmp, Ipv4, Ipv6},
};

use crate::{
    model::{Config, Family, PoolIndex, ServiceIndex},
    plan::{Families, Tables},
};

use super::{contenders::Contender, desired::Inputs, ids::PoolFamily};

/// The keys of the entries.
pub(super) fn keys(
    config: &Config,
) -> Families<Vec<ServiceKey<Ipv4Address>>, Vec<ServiceKey<Ipv6Address>>> {
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for address in addresses(config).into_keys() {
        match address {
            IpAddr::V4(ip) => ipv4.push(ipv4_key(ip)),
            IpAddr::V6(ip) => ipv6.push(ipv6_key(ip)),
        }
    }
    Families { ipv4, ipv6 }
}

/// Adds the entries.
pub(super) fn entries(
    inputs: Inputs<'_>,
    contenders: &BTreeMap<PoolFamily, Vec<Contender>>,
    answering: &BTreeMap<(ServiceIndex, Family), PoolIndex>,
    tables: &mut Tables,
) {
    let positions = &inputs.ids.positions;
    for (address, services) in addresses(inputs.config) {
        if is_elsewhere(inputs, address) {
            continue;
        }
        let Some(spec) = spec(inputs, contenders, answering, address, &services) else {
            continue;
        };
        match address {
            IpAddr::V4(ip) => {
                let key = ipv4_key(ip);
                add(
                    &mut tables.services.ipv4,
                    positions.ipv4.get(&key),
                    key,
                    spec,
                );
            }
            IpAddr::V6(ip) => {
                let key = ipv6_key(ip);
                add(
                    &mut tables.services.ipv6,
                    positions.ipv6.get(&key),
                    key,
                    spec,
                );
            }
        }
    }
}

fn add<A: Address>(
    entries: &mut BTreeMap<u32, Service<A>>,
    position: Option<&u32>,
    key: ServiceKey<A>,
    spec: ServiceSpec,
) {
    if let Some(&position) = position {
        entries.insert(position, Service::new(key, spec));
    }
}

/// The addresses, each with its services that answer, in their order. Those of prefixes are not among
/// them.
fn addresses(config: &Config) -> BTreeMap<IpAddr, Vec<ServiceIndex>> {
    let mut addresses: BTreeMap<IpAddr, Vec<ServiceIndex>> = BTreeMap::new();
    let answering = config.services.iter().enumerate();
    for (index, service) in answering.filter(|(_, service)| service.echo) {
        for listen in service.listen.iter().filter(|listen| !listen.is_prefix()) {
            addresses
                .entry(listen.address.ip())
                .or_default()
                .push(index);
        }
    }
    addresses
}

/// Whether an address moves between hosts, and is not here now.
fn is_elsewhere(inputs: Inputs<'_>, address: IpAddr) -> bool {
    let mut moving = inputs.config.vrrp.iter().flat_map(|vrrp| &vrrp.addresses);
    moving.any(|moving| moving.ip == address) && !inputs.own.contains(&address)
}

/// Where the echo requests for an address are asked whether they are answered.
fn spec(
    inputs: Inputs<'_>,
    contenders: &BTreeMap<PoolFamily, Vec<Contender>>,
    answering: &BTreeMap<(ServiceIndex, Family), PoolIndex>,
    address: IpAddr,
    services: &[ServiceIndex],
) -> Option<ServiceSpec> {
    let family = Family::of(address);
    let pool = |service: ServiceIndex| {
        let pool = answering.get(&(service, family)).copied();
        (pool.unwrap_or(inputs.config.services[service].pool), family)
    };
    let is_live = |service: &&ServiceIndex| {
        let contenders = contenders.get(&pool(**service));
        contenders.is_some_and(|all| all.iter().any(|contender| contender.alive))
    };
    let chosen = *services.iter().find(is_live).or(services.first())?;
    Some(ServiceSpec {
        id: *inputs.ids.services.get(chosen)?,
        table: *inputs.ids.tables.get(&pool(chosen))?,
        traits: ServiceTraits::NONE,
        scheduler: Scheduler::Hash,
        prefix: 0,
    })
}

fn ipv4_key(ip: Ipv4Addr) -> ServiceKey<Ipv4Address> {
    ServiceKey::echo(ip.into(), Ipv4::ICMP)
}

fn ipv6_key(ip: Ipv6Addr) -> ServiceKey<Ipv6Address> {
    ServiceKey::echo(ip.into(), Ipv6::ICMP)
}
