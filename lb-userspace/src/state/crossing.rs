//! Which pools have flows with ends of both families: those in `full-nat` that a service reaches at an
//! address of the other family. The packet path records all of their flows among those of IPv6, IPv4
//! addresses as mapped ones, whatever the ends of each are. Where it finds their services by mapped
//! packets.
//!
//! A flow is looked up where it was recorded, so no reload moves one:
//!
//! ```text
//!  a pool                its flows of IPv4 are recorded      and looked up
//!  does not cross        by their own addresses              there
//!    │ begins to
//!  crosses               by mapped ones                      first by their own, while there are any
//!    │ need not any more
//!  crosses               by mapped ones                      there, until the tables end
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use lb_common::abi::{
    Address, Ipv6Address, MAPPED_SOURCE, Service, ServiceSpec, ServiceTraits, mapped_position,
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{self, Config, Family, Forward, Pool, PoolIndex},
    plan::Tables,
};

use super::{
    desired::{Inputs, Specs},
    ids::Ids,
    pairs,
};

/// What crossed in the configurations that the agent has had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Past {
    /// Whether their flows did, when they were last there.
    #[serde(with = "pairs")]
    crossed: BTreeMap<Named, bool>,
    /// Whether some may be recorded without mapped addresses that cross now.
    unmapped: bool,
}

/// Whose flows they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Named {
    Pool(String),
    Service(String),
}

impl Past {
    /// The pools whose flows cross in this configuration, which it takes note of.
    pub(super) fn follow(&mut self, config: &Config) -> BTreeSet<PoolIndex> {
        let crossing = self.pools(config);
        let pools = config.pools.iter().enumerate();
        let pools = pools.map(|(p, pool)| (of_pool(pool), crossing.contains(&p)));
        let services = config.services.iter();
        let services = services.map(|service| (of_service(service), crosses(service, &crossing)));
        for (named, crosses) in pools.chain(services) {
            let before = self.crossed.insert(named, crosses);
            self.unmapped |= crosses && before == Some(false);
        }
        crossing
    }

    /// Whether some flows may be recorded without mapped addresses that cross now.
    pub(super) fn has_unmapped(&self) -> bool {
        self.unmapped
    }

    /// There are no such flows any more.
    pub(super) fn forget_unmapped(&mut self) {
        self.unmapped = false;
    }

    /// Those pools that have to, or did before, and all that share a source address or a service with
    /// one: a port of a source address is one flow's alone, so they are recorded in one place; and flows
    /// stay where they are while a service goes to its fallback and back, or to another pool.
    fn pools(&self, config: &Config) -> BTreeSet<PoolIndex> {
        let did = |named: Named| self.crossed.get(&named) == Some(&true);
        let pools = config.pools.iter().enumerate();
        let pools = pools.filter(|(_, pool)| did(of_pool(pool)));
        let mut crossing: BTreeSet<PoolIndex> = pools.map(|(p, _)| p).collect();
        for service in &config.services {
            if did(of_service(service)) {
                crossing.extend(service.pools());
            }
            let families = service.listen.iter().map(|l| Family::of(l.address.ip()));
            for family in families.collect::<BTreeSet<_>>() {
                crossing.extend(
                    service
                        .pools()
                        .filter(|&p| reaches_other(config, p, family)),
                );
            }
        }
        crossing.retain(|&p| config.pools[p].forward == Forward::FullNat);
        let bound = bound(config);
        while spread(&mut crossing, &bound) {}
        crossing
    }
}

/// Numbers of the services whose flows cross.
pub(super) fn services(config: &Config, ids: &Ids) -> BTreeSet<u32> {
    let services = config.services.iter().zip(&ids.services);
    let services = services.filter(|(service, _)| crosses(service, &ids.crossing));
    services.map(|(_, &number)| number).collect()
}

fn crosses(service: &model::Service, crossing: &BTreeSet<PoolIndex>) -> bool {
    service.pools().any(|pool| crossing.contains(&pool))
}

fn of_pool(pool: &Pool) -> Named {
    Named::Pool(pool.name.clone())
}

fn of_service(service: &model::Service) -> Named {
    Named::Service(service.name.clone())
}

/// Whether services of `family` reach a backend of a pool at an address of the other one.
fn reaches_other(config: &Config, pool: PoolIndex, family: Family) -> bool {
    let pool = &config.pools[pool];
    let mut reached = pool.backends.iter().filter_map(|backend| {
        let address = pool.forward.address(family, &backend.addresses)?;
        Some(Family::of(address.ip))
    });
    reached.any(|of| of != family)
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
        let source = Service::source(Ipv6Address::ZERO).with(inputs.ids.crossing_traits());
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

    fn config_of(pools: Vec<Pool>, services: &[(usize, &[&str])]) -> Config {
        let mut config = config();
        config.pools = pools;
        let services = services.iter().enumerate();
        let services = services.map(|(n, (pool, listen))| service(&n.to_string(), *pool, listen));
        config.services = services.collect();
        config
    }

    fn crossing(pools: Vec<Pool>, services: &[(usize, &[&str])]) -> Vec<PoolIndex> {
        let config = config_of(pools, services);
        Past::default().follow(&config).into_iter().collect()
    }

    /// The pools that cross in each of these configurations after those before it, and whether flows may
    /// be recorded otherwise then.
    fn in_turn<const N: usize>(configs: [&Config; N]) -> [(Vec<PoolIndex>, bool); N] {
        let mut past = Past::default();
        configs.map(|config| {
            let crossing = past.follow(config).into_iter().collect();
            (crossing, past.has_unmapped())
        })
    }

    #[test]
    fn what_crosses_goes_on_to() {
        let listen: &[&str] = &["198.18.0.10:80"];
        let web = |address| {
            let pool = full_nat("web", &SOURCES, &[address]);
            config_of(vec![pool], &[(0, listen)])
        };
        let (four, six) = (&web("198.18.1.1"), &web("fd00:1::1"));
        let (apart, from_the_start, later) = ((vec![], false), (vec![0], false), (vec![0], true));
        let all = [six, six, four].map(|_| from_the_start.clone());
        assert_eq!(in_turn([six, six, four]), all);
        let all = [apart.clone(), apart, later.clone(), later];
        assert_eq!(in_turn([four, four, six, four]), all);
    }

    #[test]
    fn flows_that_are_over_are_looked_for_again_only_after_another_pool_crosses() {
        let pools = |second| {
            vec![
                full_nat("first", &["198.18.1.253", "fd00:1::fd"], &["fd00:1::1"]),
                full_nat("second", &SOURCES, &[second]),
            ]
        };
        let services: [(usize, &[&str]); 2] = [(0, &["198.18.0.1:80"]), (1, &["198.18.0.2:80"])];
        let one = config_of(pools("198.18.1.1"), &services);
        let both = config_of(pools("fd00:1::2"), &services);
        let mut past = Past::default();
        past.follow(&one);
        past.follow(&both);
        past.forget_unmapped();
        past.follow(&both);
        assert!(!past.has_unmapped());
        let mut past = Past::default();
        past.follow(&one);
        past.forget_unmapped();
        past.follow(&both);
        assert!(past.has_unmapped());
    }

    #[test]
    fn a_service_goes_on_to_at_another_pool() {
        let listen: &[&str] = &["198.18.0.10:80"];
        let pools = || {
            vec![
                full_nat("blue", &SOURCES, &["fd00:1::1"]),
                full_nat("green", &["198.18.1.253"], &["198.18.1.1"]),
            ]
        };
        let (blue, green) = (
            config_of(pools(), &[(0, listen)]),
            config_of(pools(), &[(1, listen)]),
        );
        let [first, second] = in_turn([&blue, &green]);
        assert_eq!((first.0, second.0), (vec![0], vec![0, 1]));
        // The other way round, those of the first pool are where they were.
        let [first, second] = in_turn([&green, &blue]);
        assert_eq!((first, second), ((vec![], false), (vec![0], true)));
    }

    #[test]
    fn a_pool_in_another_mode_does_not() {
        let listen: &[&str] = &["198.18.0.10:80"];
        let pool = full_nat("web", &SOURCES, &["fd00:1::1"]);
        let mut tunnel = pool.clone();
        tunnel.forward = Forward::Ipip;
        let (pool, tunnel) = (
            config_of(vec![pool], &[(0, listen)]),
            config_of(vec![tunnel], &[(0, listen)]),
        );
        let [_, (crossing, _)] = in_turn([&pool, &tunnel]);
        assert!(crossing.is_empty());
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
