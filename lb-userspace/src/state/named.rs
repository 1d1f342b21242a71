//! What a configuration names, by names that mean the same in another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::abi::{Address, Ipv4Address, Ipv6Address, ServiceKey, TableSize};
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Backend, BackendAddress, Config, Family, Forward, Listen, Pool, PoolIndex, Protocol,
        Scheduler, Service, Source,
    },
    plan::Families,
};

use super::{
    echo, groups,
    ids::{BackendId, Ids, PoolFamily},
    ranges::Sources,
    slot_tables::{Choice, Finding, Owner},
};

/// All that makes a backend's entry in the tables what it is. Entries are not changed: where any
/// of this differs, it is another backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The pool's name.
    pub pool: String,
    /// Its name in the pool.
    pub backend: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port, if not the service's.
    pub port: Option<u16>,
    /// How packets get there, as the configuration has it.
    pub forward: String,
    /// What it is sent packets from, if the pool says so.
    pub sources: Vec<IpAddr>,
    /// `ipip`, `gue`: how many bits of that each flow has of its own.
    #[serde(default)]
    pub entropy: u8,
    /// `ipip`, `gue`: what the kernel would send from, where the pool does not say.
    pub outer: Option<IpAddr>,
    /// `gue`: the outer port, and whether there are outer checksums.
    pub gue: Option<(u16, bool)>,
    /// Whether it is for probes alone: it never owns a slot, and lives whatever becomes of the backend.
    #[serde(default)]
    pub probed: bool,
}

impl Identity {
    fn of(
        pool: &Pool,
        backend: &Backend,
        address: &BackendAddress,
        outer: &BTreeMap<IpAddr, IpAddr>,
    ) -> Self {
        let sources: Vec<_> = sources_of(pool, Family::of(address.ip)).collect();
        let chosen = match pool.forward {
            Forward::Ipip | Forward::Gue if sources.is_empty() => outer.get(&address.ip).copied(),
            Forward::Ipip | Forward::Gue | Forward::FullNat | Forward::Nat | Forward::Dsr => None,
        };
        Self {
            pool: pool.name.clone(),
            backend: backend.name.clone(),
            address: address.ip,
            port: address.port,
            forward: pool.forward.to_string(),
            entropy: sources.iter().map(|source| source.entropy).sum(),
            sources: sources.iter().map(|source| source.ip).collect(),
            outer: chosen,
            gue: (pool.forward == Forward::Gue).then_some((pool.gue.port, pool.gue.checksum)),
            probed: false,
        }
    }

    /// The source addresses that its entry refers to, if it does.
    pub(super) fn source_piece(&self) -> Sources {
        Sources {
            pool: self.pool.clone(),
            family: Family::of(self.address),
            addresses: self.sources.clone(),
        }
    }
}

/// All addresses of backends, in the order of the files. `outer` is what the kernel would send from
/// to each.
pub(super) fn identities<'a>(
    config: &'a Config,
    outer: &'a BTreeMap<IpAddr, IpAddr>,
) -> impl Iterator<Item = (BackendId, Identity)> + 'a {
    let pools = config.pools.iter().enumerate();
    pools.flat_map(move |(p, pool)| {
        let backends = pool.backends.iter().enumerate();
        backends.flat_map(move |(n, backend)| {
            let identity = move |address: &BackendAddress| {
                let id = (p, n, Family::of(address.ip));
                (id, Identity::of(pool, backend, address, outer))
            };
            backend.addresses.iter().map(identity)
        })
    })
}

/// The same of those that probes through services are for.
pub(super) fn probed_identities<'a>(
    config: &'a Config,
    outer: &'a BTreeMap<IpAddr, IpAddr>,
) -> impl Iterator<Item = (BackendId, Identity)> + 'a {
    let is_asked = |pool: PoolIndex| config.pools[pool].is_asked_through_services();
    let identities = identities(config, outer).filter(move |((pool, ..), _)| is_asked(*pool));
    identities.map(|(id, identity)| {
        let probed = true;
        (id, Identity { probed, ..identity })
    })
}

/// The addresses that next hops are for, in the order of the files: backends, and where probes come from.
pub(super) fn next_hops(config: &Config) -> impl Iterator<Item = IpAddr> {
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    let addresses = backends.flat_map(|b| &b.addresses);
    let probes = config.probe_sources().iter().copied();
    addresses.map(|address| address.ip).chain(probes)
}

/// The source addresses that flows are given, a piece for each pool and family.
pub(super) fn source_pieces(config: &Config) -> impl Iterator<Item = (usize, Sources)> {
    let pools = config.pools.iter().enumerate();
    let pools = pools.filter(|(_, pool)| pool.forward == Forward::FullNat);
    let pieces = pools.flat_map(|(p, pool)| {
        Family::ALL.map(|family| {
            let piece = Sources {
                pool: pool.name.clone(),
                family,
                addresses: sources_of(pool, family).map(|source| source.ip).collect(),
            };
            (p, piece)
        })
    });
    pieces.filter(|(_, piece)| !piece.addresses.is_empty())
}

/// The source addresses of flows that may have ends of both families: those of these pools.
pub(super) fn crossing_sources(
    config: &Config,
    crossing: &BTreeSet<PoolIndex>,
) -> BTreeSet<IpAddr> {
    let pieces = source_pieces(config).filter(|(pool, _)| crossing.contains(pool));
    pieces.flat_map(|(_, piece)| piece.addresses).collect()
}

/// A pool's sources of a family, as far as packets are sent from them: outer headers have one.
fn sources_of(pool: &Pool, family: Family) -> impl Iterator<Item = Source> {
    let count = match pool.forward {
        Forward::FullNat => usize::MAX,
        Forward::Ipip | Forward::Gue => 1,
        Forward::Nat | Forward::Dsr => 0,
    };
    let sources = pool.source.iter().copied();
    let sources = sources.filter(move |source| Family::of(source.ip) == family);
    sources.take(count)
}

/// The slot tables that services need: one of their pool and of their fallback, for each family that
/// they listen in.
pub(super) fn table_keys(config: &Config) -> impl Iterator<Item = PoolFamily> {
    let services = config.services.iter();
    let keys = services.flat_map(|service| {
        let listen = service.listen.iter();
        listen.flat_map(|listen| {
            let family = Family::of(listen.address.ip());
            service.pools().map(move |pool| (pool, family))
        })
    });
    let mut seen = BTreeSet::new();
    keys.filter(move |key| seen.insert(*key))
}

/// What finds the slots of flows in each of them.
pub(super) fn findings(config: &Config) -> impl Iterator<Item = (PoolFamily, Finding)> {
    let tracked = config.tracked();
    table_keys(config).map(move |key| {
        let (pool, family) = key;
        let services = config.services.iter().zip(&tracked);
        // Flows that are recorded find no slot again.
        let services = services.filter(|(service, tracked)| {
            tracked.is_none() && service.pools().any(|used| used == pool)
        });
        let prefix = |(service, _): (&Service, _)| (service.name.clone(), hashed(service, family));
        let finding = Finding {
            size: config.pools[pool].slots,
            prefixes: services.map(prefix).collect(),
        };
        (key, finding)
    })
}

/// How many bits of a client's address choose its slot; 0: the whole flow does.
pub(super) fn hashed(service: &Service, family: Family) -> u8 {
    match service.scheduler {
        Scheduler::SourceHash => service.source_prefix.length(family),
        Scheduler::Maglev | Scheduler::LeastConnections | Scheduler::RoundRobin => 0,
    }
}

/// Whose such a table is.
pub(super) fn table_owner(config: &Config, (pool, family): PoolFamily, by: Choice) -> Owner {
    let pool = config.pools[pool].name.clone();
    Owner { pool, family, by }
}

/// The tables of turns that services need, and what size they are: for each backend a few slots, so
/// that the shares come out.
pub(super) fn turns(config: &Config) -> impl Iterator<Item = (PoolFamily, TableSize)> {
    let by_turns = |pool| {
        let mut services = config.services.iter();
        services.any(|service| {
            service.scheduler == Scheduler::RoundRobin && service.pools().any(|used| used == pool)
        })
    };
    let keys = table_keys(config).filter(move |key| by_turns(key.0));
    keys.map(|key| {
        let few = 4 * config.pools[key.0].backends.len() as u32;
        let enough = TableSize::ALL.into_iter().find(|size| size.slots() >= few);
        (key, enough.unwrap_or(TableSize::Large))
    })
}

/// The keys of the service table: the single ports that services listen on, a mark for each source
/// address, though pools may share it, for each of this host's own, and for each address with ranges of
/// ports, the ends that answer, and where echo requests are answered.
pub(super) fn service_keys(
    config: &Config,
    ids: &Ids,
) -> Families<Vec<ServiceKey<Ipv4Address>>, Vec<ServiceKey<Ipv6Address>>> {
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for listen in listens(config).filter(|listen| listen.is_exact()) {
        match listen.address.ip() {
            IpAddr::V4(ip) => ipv4.push(service_key(ip.into(), listen)),
            IpAddr::V6(ip) => ipv6.push(service_key(ip.into(), listen)),
        }
    }
    for mark in marks(ids) {
        match mark {
            IpAddr::V4(ip) => ipv4.push(ServiceKey::mark(ip.into())),
            IpAddr::V6(ip) => ipv6.push(ServiceKey::mark(ip.into())),
        }
    }
    for &(address, port, protocol) in ids.replies.keys() {
        match address {
            IpAddr::V4(ip) => ipv4.push(reply_key(ip.into(), port, protocol)),
            IpAddr::V6(ip) => ipv6.push(reply_key(ip.into(), port, protocol)),
        }
    }
    let echo = echo::keys(config);
    ipv4.extend(echo.ipv4);
    ipv6.extend(echo.ipv6);
    Families { ipv4, ipv6 }
}

/// The addresses that have a mark.
fn marks(ids: &Ids) -> BTreeSet<IpAddr> {
    let (ipv4, ipv6) = (&ids.source_addresses.ipv4, &ids.source_addresses.ipv6);
    let sources = ipv4.values().map(|&ip| IpAddr::from(ip));
    // Mapped ones stand for those of IPv4.
    let sources = sources.chain(ipv6.values().map(|&ip| IpAddr::from(ip).to_canonical()));
    let groups = ids
        .groups
        .keys()
        .filter(|network| groups::is_address(**network));
    let grouped = groups.map(|&(ip, _)| ip);
    sources
        .chain(ids.own.iter().copied())
        .chain(grouped)
        .chain(ids.probe_sources.iter().copied())
        .collect()
}

/// The key of a backend's end that answers.
pub(super) fn reply_key<A: Address>(address: A, port: u16, protocol: Protocol) -> ServiceKey<A> {
    ServiceKey::reverse(address, port.to_be_bytes(), protocol.number())
}

/// The key of an address that a service listens on.
pub(super) fn service_key<A: Address>(address: A, listen: &Listen) -> ServiceKey<A> {
    let port = listen.address.port().to_be_bytes();
    ServiceKey::service(address, port, listen.protocol.number())
}

/// What has this key, for people.
pub(super) fn of_ipv4_key(config: &Config, key: ServiceKey<Ipv4Address>) -> String {
    described(config, |listen| match listen.address.ip() {
        IpAddr::V4(ip) => service_key(ip.into(), listen) == key,
        IpAddr::V6(_) => false,
    })
}

/// What has this key, for people.
pub(super) fn of_ipv6_key(config: &Config, key: ServiceKey<Ipv6Address>) -> String {
    described(config, |listen| match listen.address.ip() {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => service_key(ip.into(), listen) == key,
    })
}

fn described(config: &Config, is_it: impl Fn(&Listen) -> bool) -> String {
    let found = listens(config).find(|listen| listen.is_exact() && is_it(listen));
    let other = || {
        "an address of this host or with a range of ports, a backend's port in nat mode, or an address that echoes".into()
    };
    found.map_or_else(other, ToString::to_string)
}

fn listens(config: &Config) -> impl Iterator<Item = &Listen> {
    config.services.iter().flat_map(|service| &service.listen)
}
