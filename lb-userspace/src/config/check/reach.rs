//! Every service has a backend that its pool's mode can reach, with a weight, and what the mode
//! itself needs.

use super::Use;
use crate::{
    config::{
        diagnostic::{Code, Finding},
        raw::{Backend, Service},
        source::{At, Place},
    },
    model::{BackendAddress, Family, Forward, Listen},
};

pub(super) fn check(uses: &[Use<'_>], findings: &mut Vec<Finding>) {
    for used in uses {
        // Which backends can be reached depends on the mode.
        let Some(forward) = used.pool.forward else {
            continue;
        };
        let mut backends = used.pool.backends.iter();
        if backends.all(|backend| backend.address.whole) {
            for family in Family::ALL {
                self::backends(used, forward, family, findings);
            }
            weights(used, forward, findings);
        }
        if forward == Forward::FullNat {
            for family in Family::ALL {
                source(used, family, findings);
            }
        }
        if !forward.maps_ports() {
            ports(used, forward, findings);
        }
    }
}

/// A service has a backend for each family that it listens on.
fn backends(used: &Use<'_>, forward: Forward, family: Family, findings: &mut Vec<Finding>) {
    let pool = used.pool;
    let reaches = |backend| address(backend, forward, family).is_some();
    if pool.backends.iter().any(reaches) {
        return;
    }
    let services = used.services.iter();
    for listen in services.filter_map(|service| first(service, family)) {
        let title = pool.title();
        let message = format!("{title} has no backend that {} can reach", listen.value);
        let expected = if forward.crosses_families() {
            format!("a backend in {title}")
        } else {
            format!("a backend with an {family} address in {title}, for {forward}")
        };
        let finding = Finding::error(Code::NoBackend, listen.place, message).expected(expected);
        findings.push(finding.related(pool.named_at(), "the pool"));
    }
}

/// Of the backends that a service can reach, one at least has a weight above 0. In a pool that no
/// service uses, all are looked at.
fn weights(used: &Use<'_>, forward: Forward, findings: &mut Vec<Finding>) {
    let listens = |family| {
        used.services
            .iter()
            .any(|service| first(service, family).is_some())
    };
    for family in Family::ALL {
        let needed = used.services.is_empty() || listens(family);
        let Some(weight) = weightless(used, forward, family).filter(|_| needed) else {
            continue;
        };
        let title = used.pool.title();
        let message = if forward.crosses_families() {
            format!("every backend of {title} has weight 0")
        } else {
            format!("every {family} backend of {title} has weight 0")
        };
        let finding = Finding::error(Code::ZeroWeight, weight, message)
            .expected("a weight above 0 for one backend at least")
            .related(used.pool.named_at(), "the pool");
        findings.push(finding);
        if forward.crosses_families() {
            // The other family reaches the same backends.
            return;
        }
    }
}

/// The first weight of the backends that a family reaches, if all are 0.
fn weightless(used: &Use<'_>, forward: Forward, family: Family) -> Option<Place> {
    let mut first = None;
    for backend in &used.pool.backends {
        if address(backend, forward, family).is_some() {
            let weight = backend.weight.as_ref();
            let zero = weight.filter(|weight| weight.value.value() == 0)?;
            first = first.or(Some(zero.place));
        }
    }
    first
}

/// Full-nat needs an address to connect from of each family that backends are reached in.
fn source(used: &Use<'_>, family: Family, findings: &mut Vec<Finding>) {
    let pool = used.pool;
    let there = pool
        .source
        .values()
        .any(|source| Family::of(source.ip) == family);
    if there || !pool.source.whole {
        return;
    }
    let Some(backend) = reached_in(used, family) else {
        return;
    };
    let place = pool.source.place.unwrap_or(pool.named_at());
    let title = pool.title();
    let message = format!("{title} has no {family} address to connect from");
    let expected = format!("an {family} address in `source`, which full-nat needs");
    let finding = Finding::error(Code::MissingSource, place, message).expected(expected);
    findings.push(finding.related(backend.place, "to connect to this backend"));
}

/// A backend's address of this family that full-nat connects to for some service.
fn reached_in<'a>(used: &Use<'a>, family: Family) -> Option<&'a At<BackendAddress>> {
    let served = |of: &Family| {
        used.services
            .iter()
            .any(|service| first(service, *of).is_some())
    };
    let mut served = Family::ALL.into_iter().filter(served);
    served.find_map(|of| {
        let backends = used.pool.backends.iter();
        let mut addresses = backends.filter_map(|b| address(b, Forward::FullNat, of));
        addresses.find(|address| Family::of(address.value.ip) == family)
    })
}

/// Where ports can't be mapped, a backend listens on the service's port.
fn ports(used: &Use<'_>, forward: Forward, findings: &mut Vec<Finding>) {
    for backend in &used.pool.backends {
        for at in &backend.address.items {
            let Some(port) = at.value.port else {
                continue;
            };
            let differs = |listen: &&At<Listen>| {
                let service = listen.value.address;
                let reached = address(backend, forward, Family::of(service.ip()));
                reached.is_some_and(|reached| reached.place == at.place)
                    && !(listen.value.is_single_port() && service.port() == port)
            };
            let services = used.services.iter();
            let mut listens = services.flat_map(|service| &service.listen.items);
            if let Some(listen) = listens.find(differs) {
                findings.push(mismatch(at, port, forward, listen));
            }
        }
    }
}

fn mismatch(
    address: &At<BackendAddress>,
    port: u16,
    forward: Forward,
    listen: &At<Listen>,
) -> Finding {
    if !listen.value.is_single_port() {
        let message = format!("port {port} of a backend for {}", listen.value);
        return Finding::error(Code::PortMismatch, address.place, message)
            .expected(format!("no port: {forward} can't map ports"))
            .related(listen.place, "the service");
    }
    let service = listen.value.address.port();
    let message = format!("port {port} differs from the service's, {service}");
    Finding::error(Code::PortMismatch, address.place, message)
        .expected(format!("no port, or {service}: {forward} can't map ports"))
        .related(listen.place, "the service")
}

/// The backend's address that a service of a family uses, once that is certain: one that could not
/// be read may be of the family.
fn address(backend: &Backend, forward: Forward, family: Family) -> Option<&At<BackendAddress>> {
    let chosen = forward.address(family, backend.address.values())?;
    let certain = backend.address.whole || Family::of(chosen.ip) == family;
    let mut items = backend.address.items.iter();
    items.find(|address| certain && address.value == *chosen)
}

/// The first address of a family that a service listens on.
fn first(service: &Service, family: Family) -> Option<&At<Listen>> {
    let mut listens = service.listen.items.iter();
    listens.find(|listen| Family::of(listen.value.address.ip()) == family)
}
