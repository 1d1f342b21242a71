//! Which pools have flows with ends of both families: those in `full-nat` that a service reaches at an
//! address of the other family. The packet path records all of their flows among those of IPv6, IPv4
//! addresses as mapped ones, whatever the ends of each are. Where it finds their services by mapped
//! packets.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use lb_common::abi::{
    Address, Ipv6Address, MAPPED_SOURCE, Service, ServiceSpec, ServiceTraits, mapped_position,
};

use crate::{
    model::{Config, Family, Forward, PoolIndex},
    plan::Tables,
};

use super::desired::{Inputs, Specs};

/// Those pools, and all that share a source address or a service with one: a port of a source address
/// is one flow's alone, so they are recorded in one place; and flows stay where they are while a
/// service goes to its fallback and back.
pub(super) fn pools(config: &Config) -> BTreeSet<PoolIndex> {
    let mut crossing = BTreeSet::new();
    for service in &config.services {
        let families = service.listen.iter().map(|l| Family::of(l.address.ip()));
        for family in families.collect::<BTreeSet<_>>() {
            crossing.extend(
                service
                    .pools()
                    .filter(|&p| reaches_other(config, p, family)),
            );
        }
    }
    let bound = bound(config);
    while spread(&mut crossing, &bound) {}
    crossing
}

/// Whether services of `family` reach a backend of a pool at an address of the other one.
fn reaches_other(config: &Config, pool: PoolIndex, family: Family) -> bool {
    let pool = &config.pools[pool];
    let mut reached = pool.backends.iter().filter_map(|backend| {
        let address = pool.forward.address(family, &backend.addresses)?;
        Some(Family::of(address.ip))
    });
    pool.forward == Forward::FullNat && reached.any(|of| of != family)
}

/// Pools in `full-nat` of which all cross or none does.
fn bound(config: &Config) -> Vec<BTreeSet<PoolIndex>> {
    let full_nat = |pool: &PoolIndex| config.pools[*pool].forward == Forward::FullNat;
    let by_service = config
        .services
        .iter()
        .map(|service| service.pools().filter(full_nat).collect());
    let sources = config.pools.iter().flat_map(|pool| &pool.source);
    let sources: BTreeSet<IpAddr> = sources.map(|source| source.ip).collect();
    let by_source = sources.into_iter().map(|source| {
        let has = |pool: &PoolIndex| {
            let mut own = config.pools[*pool].source.iter();
            own.any(|own| own.ip == source)
        };
        (0..config.pools.len())
            .filter(full_nat)
            .filter(has)
            .collect()
    });
    by_service.chain(by_source).collect()
}

/// Adds what is bound to those that cross; whether that was anything.
fn spread(crossing: &mut BTreeSet<PoolIndex>, bound: &[BTreeSet<PoolIndex>]) -> bool {
    let before = crossing.len();
    for pools in bound {
        if !crossing.is_disjoint(pools) {
            crossing.extend(pools);
        }
    }
    crossing.len() > before
}

/// An address as flows that may have ends of both families have it.
pub(super) fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Bits in front of the IPv4 address in a mapped one.
const MAPPED_BITS: u8 = 96;

/// Writes what mapped packets find: the services that they are for, and what stands for all source
/// addresses.
pub(super) fn fill(inputs: Inputs<'_>, specs: &Specs<'_>, tables: &mut Tables) {
    let entries = &mut tables.numbered.ipv6;
    for (n, service) in inputs.config.services.iter().enumerate() {
        for listen in service.listen.iter().filter(|l| l.address.is_ipv4()) {
            let spec = specs.of(n, Family::Ipv4, listen.protocol);
            let crosses = |spec: &ServiceSpec| spec.traits.has(ServiceTraits::CROSSES);
            if let Some(spec) = spec.filter(crosses) {
                let position = mapped_position(spec.id, listen.protocol.number());
                entries.insert(position, Service::numbered(mapped_spec(spec)));
            }
        }
    }
    if !inputs.ids.crossing_sources.is_empty() {
        let source = Service::source(Ipv6Address::ZERO).crossing();
        entries.insert(MAPPED_SOURCE, source);
    }
}

/// The same, where clients have mapped addresses.
fn mapped_spec(spec: ServiceSpec) -> ServiceSpec {
    let prefix = match spec.prefix {
        0 => 0,
        bits => bits + MAPPED_BITS,
    };
    ServiceSpec { prefix, ..spec }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Pool,
        state::fixtures::{backend, config, pool, service},
    };

    const SOURCES: [&str; 2] = ["198.18.1.254", "fd00:1::fe"];

    fn full_nat(name: &str, sources: &[&str], addresses: &[&str]) -> Pool {
        pool(
            name,
            Forward::FullNat,
            sources,
            vec![backend("a", 100, addresses)],
        )
    }

    fn crossing(pools: Vec<Pool>, services: &[(usize, &[&str])]) -> Vec<PoolIndex> {
        let mut config = config();
        config.pools = pools;
        let services = services.iter().enumerate();
        let services = services.map(|(n, (pool, listen))| service(&n.to_string(), *pool, listen));
        config.services = services.collect();
        super::pools(&config).into_iter().collect()
    }

    #[test]
    fn a_pool_crosses_where_a_service_has_no_other_way() {
        let v4: &[&str] = &["198.18.0.10:80"];
        let v6: &[&str] = &["[fd00::10]:80"];
        let both = &["198.18.1.1", "fd00:1::1"];
        let listens = &[v4[0], v6[0]];
        let only = |addresses: &[&str], listen| {
            crossing(vec![full_nat("web", &SOURCES, addresses)], &[(0, listen)])
        };
        assert_eq!(only(both, listens), [] as [usize; 0]);
        assert_eq!(only(&both[..1], v4), [] as [usize; 0]);
        assert_eq!(only(&both[..1], v6), [0]);
        assert_eq!(only(&both[1..], v4), [0]);
        assert_eq!(only(&both[1..], listens), [0]);
    }

    #[test]
    fn other_modes_put_headers_around() {
        let mut tunnel = full_nat("web", &[], &["fd00:1::1"]);
        tunnel.forward = Forward::Ipip;
        assert_eq!(
            crossing(vec![tunnel], &[(0, &["198.18.0.10:80"])]),
            [] as [usize; 0]
        );
    }

    #[test]
    fn pools_that_share_a_source_address_cross_together() {
        let pools = vec![
            full_nat("six", &["fd00:1::fe", "198.18.1.1"], &["fd00:1::1"]),
            full_nat("four", &["198.18.1.1", "198.18.1.2"], &["198.18.1.3"]),
            full_nat("next", &["198.18.1.2"], &["198.18.1.3"]),
            full_nat("apart", &["198.18.1.4"], &["198.18.1.3"]),
        ];
        let listens: Vec<[String; 1]> = (0..4).map(|n| [format!("198.18.0.{n}:80")]).collect();
        let services = [
            (0, &[listens[0][0].as_str()][..]),
            (1, &[listens[1][0].as_str()][..]),
            (2, &[listens[2][0].as_str()][..]),
            (3, &[listens[3][0].as_str()][..]),
        ];
        assert_eq!(crossing(pools, &services), [0, 1, 2]);
    }
}
