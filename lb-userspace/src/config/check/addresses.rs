//! Addresses: each used once where it must be, and none in two roles that exclude each other.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{Use, repeated, taken};
use crate::{
    config::{
        diagnostic::{Code, Finding},
        raw::{Backend, Balancing, Pool},
        source::{At, Place},
    },
    model::{BackendAddress, Family, Forward, Listen, Network, Source, lies_in},
};

pub(super) fn check(uses: &[Use<'_>], balancing: &Balancing, findings: &mut Vec<Finding>) {
    listens(balancing, findings);
    ranges(balancing, findings);
    for used in uses {
        sources(used.pool, findings);
        used.pool
            .backends
            .iter()
            .for_each(|backend| families(backend, findings));
        backends(used, findings);
    }
    conflicts(balancing, findings);
}

/// No two services, and no service twice, on one address, port and protocol.
fn listens(balancing: &Balancing, findings: &mut Vec<Finding>) {
    let listens = balancing
        .services
        .iter()
        .flat_map(|service| &service.listen.items);
    for (again, first) in repeated(listens) {
        let message = format!("{} is listened on twice", again.value);
        let expected = "an address, port and protocol that no service listens on yet";
        findings.push(taken(
            Code::DuplicateAddress,
            again.place,
            first,
            message,
            expected,
        ));
    }
}

/// No two ranges of ports at one address or prefix have a port in common. A single port may be one
/// of a range: it comes first.
fn ranges(balancing: &Balancing, findings: &mut Vec<Finding>) {
    let mut ranges: HashMap<_, Vec<&At<Listen>>> = HashMap::new();
    let listens = balancing
        .services
        .iter()
        .flat_map(|service| &service.listen.items);
    for listen in listens.filter(|at| !at.value.is_single_port()) {
        let (value, place) = (&listen.value, listen.place);
        let others = ranges.entry((value.network(), value.protocol)).or_default();
        let meets = |other: &&&At<Listen>| {
            let other = &other.value;
            value.address.port() <= other.last_port && other.address.port() <= value.last_port
        };
        // The same range was told so by `listens`.
        if let Some(other) = others.iter().find(meets).filter(|o| o.value != *value) {
            let message = format!("{value} overlaps {}", other.value);
            let finding = Finding::error(Code::DuplicateAddress, place, message)
                .expected("ports that no other range at this address has")
                .related(other.place, "the other range");
            findings.push(finding.help("a single port may be one of a range, and comes first"));
        }
        others.push(listen);
    }
}

/// No source twice in a pool. Two pools may share one: the flow table keeps their ports apart.
fn sources(pool: &Pool, findings: &mut Vec<Finding>) {
    for (again, first) in repeated(pool.source.items.iter()) {
        let message = format!("source {} is named twice", again.value);
        let code = Code::DuplicateAddress;
        findings.push(taken(
            code,
            again.place,
            first,
            message,
            "each address once",
        ));
    }
}

/// A backend has one address of each family at most.
fn families(backend: &Backend, findings: &mut Vec<Finding>) {
    let mut first = HashMap::new();
    for address in &backend.address.items {
        let family = Family::of(address.value.ip);
        let place = *first.entry(family).or_insert(address.place);
        if place != address.place {
            let message = format!("a second {family} address of one backend");
            let expected = "one address of each family at most";
            let finding = Finding::error(Code::DuplicateAddress, address.place, message)
                .expected(expected)
                .related(place, "its first")
                .help("a second instance is a `[[pool.backend]]` of its own");
            findings.push(finding);
        }
    }
}

/// No two backends of a pool are the same server.
fn backends(used: &Use<'_>, findings: &mut Vec<Finding>) {
    let Some(forward) = used.pool.forward else {
        return;
    };
    let listens = used
        .services
        .iter()
        .flat_map(|service| service.listen.values());
    let ports: HashSet<&Listen> = listens.collect();
    let mut seen: HashMap<IpAddr, Vec<(usize, &At<BackendAddress>)>> = HashMap::new();
    for (owner, backend) in used.pool.backends.iter().enumerate() {
        for address in &backend.address.items {
            let others = seen.entry(address.value.ip).or_default();
            // A backend that repeats itself was told so by `families`.
            let same = others.iter().find(|(other, first)| {
                *other != owner && same_server(forward, address.value, first.value, &ports)
            });
            if let Some((_, first)) = same {
                let message = format!("another backend of this pool has {}", shown(first.value));
                let expected = "a server of its own for each backend";
                let code = Code::DuplicateAddress;
                findings.push(taken(code, address.place, first.place, message, expected));
            }
            others.push((owner, address));
        }
    }
}

/// Whether two backends at one address would get the same packets. A port that is left out is
/// the service's; a mode that maps no ports tells backends apart by their addresses alone.
fn same_server(
    forward: Forward,
    one: BackendAddress,
    other: BackendAddress,
    listens: &HashSet<&Listen>,
) -> bool {
    if !forward.maps_ports() {
        return true;
    }
    match (one.port, other.port) {
        (Some(one), Some(other)) => one == other,
        (None, None) => true,
        (Some(port), None) | (None, Some(port)) => {
            listens.iter().any(|listen| listen.has_port(port))
        }
    }
}

/// An address is a service's, a source or a backend's.
fn conflicts(balancing: &Balancing, findings: &mut Vec<Finding>) {
    let services = Services::of(balancing);
    let mut sources: HashMap<IpAddr, Place> = HashMap::new();
    for pool in &balancing.pools {
        for source in &pool.source.items {
            sources.entry(source.value.ip).or_insert(source.place);
            // Only full-nat's replies come back to the source as packets of the service.
            let service = services.at(source.value.ip);
            if let (Some(Forward::FullNat), Some(service)) = (pool.forward, service) {
                findings.push(source_is_service(source, service));
            }
        }
    }
    let backends = balancing.pools.iter().flat_map(|pool| &pool.backends);
    for address in backends.flat_map(|backend| &backend.address.items) {
        if let Some(service) = services.at(address.value.ip) {
            findings.push(backend_is_service(address, service));
        }
        if let Some(&source) = sources.get(&address.value.ip) {
            findings.push(backend_is_source(address, source));
        }
    }
}

/// The addresses of services.
#[derive(Default)]
struct Services {
    alone: HashMap<IpAddr, Place>,
    prefixes: Vec<(Network, Place)>,
}

impl Services {
    fn of(balancing: &Balancing) -> Self {
        let mut known = Self::default();
        let services = balancing.services.iter();
        for listen in services.flat_map(|service| &service.listen.items) {
            let (ip, place) = (listen.value.address.ip(), listen.place);
            if listen.value.is_prefix() {
                known.prefixes.push((listen.value.network(), place));
            } else {
                known.alone.entry(ip).or_insert(place);
            }
        }
        known
    }

    /// Where a service listens at an address.
    fn at(&self, address: IpAddr) -> Option<Place> {
        let mut prefixes = self.prefixes.iter();
        let mut around = || prefixes.find(|(network, _)| lies_in(address, *network));
        let alone = self.alone.get(&address).copied();
        alone.or_else(|| around().map(|(_, place)| *place))
    }
}

fn source_is_service(source: &At<Source>, service: Place) -> Finding {
    let message = format!("source {} is also a service's address", source.value);
    Finding::error(Code::AddressConflict, source.place, message)
        .expected("an address that no service listens on")
        .related(service, "the service listens here")
        .help("replies to connections from it would be taken for new requests to the service")
}

fn backend_is_service(address: &At<BackendAddress>, service: Place) -> Finding {
    let message = format!("backend address {} is also a service's", address.value.ip);
    Finding::error(Code::AddressConflict, address.place, message)
        .expected("the address of a server, which no service listens on")
        .related(service, "the service listens here")
        .help("packets for this backend would come back to Sluice")
}

fn backend_is_source(address: &At<BackendAddress>, source: Place) -> Finding {
    let message = format!(
        "backend address {} is also a pool's source",
        address.value.ip
    );
    Finding::error(Code::AddressConflict, address.place, message)
        .expected("the address of a server, which no pool connects from")
        .related(source, "a pool connects from it")
}

fn shown(address: BackendAddress) -> String {
    match address.port {
        Some(port) => std::net::SocketAddr::new(address.ip, port).to_string(),
        None => address.ip.to_string(),
    }
}
