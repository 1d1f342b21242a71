//! Every service has a backend that its pool's mode can reach, with a weight, and what the mode
//! itself needs.

use super::Use;
use crate::{
    config::{
        diagnostic::{Code, Finding},
        raw::{Backend, Service},
        source::At,
    },
    model::{BackendAddress, Family, Forward, Listen, Weight},
};

pub(super) fn check(uses: &[Use<'_>], findings: &mut Vec<Finding>) {
    for used in uses {
        // Which backends can be reached depends on the mode.
        let Some(forward) = used.pool.forward else {
            continue;
        };
        let whole = used
            .pool
            .backends
            .iter()
            .all(|backend| backend.address.whole);
        for family in Family::ALL {
            if whole {
                backends(used, family, findings);
                weights(used, family, findings);
            }
            if forward == Forward::FullNat {
                source(used, family, findings);
            }
        }
        if !forward.maps_ports() {
            ports(used, forward, findings);
        }
    }
}

/// A service has a backend of each family that it listens on.
fn backends(used: &Use<'_>, family: Family, findings: &mut Vec<Finding>) {
    let pool = used.pool;
    if pool
        .backends
        .iter()
        .any(|backend| address(backend, family).is_some())
    {
        return;
    }
    for listen in used
        .services
        .iter()
        .filter_map(|service| first(service, family))
    {
        let title = pool.title();
        let message = format!("{title} has no backend that {} can reach", listen.value);
        let expected = format!("a backend with an {family} address in {title}");
        let finding = Finding::error(Code::NoBackend, listen.place, message).expected(expected);
        findings.push(finding.related(pool.named_at(), "the pool"));
    }
}

/// Of the backends that a service can reach, one at least has a weight above 0. In a pool that no
/// service uses, all are looked at.
fn weights(used: &Use<'_>, family: Family, findings: &mut Vec<Finding>) {
    let needed = used.services.is_empty()
        || used
            .services
            .iter()
            .any(|service| first(service, family).is_some());
    let mut reachable = used
        .pool
        .backends
        .iter()
        .filter(|b| address(b, family).is_some())
        .peekable();
    let Some(none) = reachable.peek().and_then(|backend| backend.weight.as_ref()) else {
        return;
    };
    let mut weights = reachable.map(|b| b.weight.as_ref().map_or(Weight::DEFAULT, |w| w.value));
    if needed && weights.all(|weight| weight.value() == 0) {
        let title = used.pool.title();
        let message = format!("every {family} backend of {title} has weight 0");
        let finding = Finding::error(Code::ZeroWeight, none.place, message)
            .expected("a weight above 0 for one backend at least")
            .related(used.pool.named_at(), "the pool");
        findings.push(finding);
    }
}

/// Full-nat needs an address of the family to connect from.
fn source(used: &Use<'_>, family: Family, findings: &mut Vec<Finding>) {
    let pool = used.pool;
    let listen = used
        .services
        .iter()
        .find_map(|service| first(service, family));
    let there = pool.source.values().any(|ip| Family::of(*ip) == family);
    let (Some(listen), false) = (listen, there || !pool.source.whole) else {
        return;
    };
    let place = pool.source.place.unwrap_or(pool.named_at());
    let title = pool.title();
    let message = format!("{title} has no {family} address to connect from");
    let finding = Finding::error(Code::MissingSource, place, message)
        .expected(format!(
            "an {family} address in `source`, which full-nat needs"
        ))
        .related(listen.place, "clients connect to this address");
    findings.push(finding);
}

/// Where ports can't be mapped, a backend listens on the service's port.
fn ports(used: &Use<'_>, forward: Forward, findings: &mut Vec<Finding>) {
    let listens = || {
        used.services
            .iter()
            .flat_map(|service| &service.listen.items)
    };
    for address in used
        .pool
        .backends
        .iter()
        .flat_map(|backend| &backend.address.items)
    {
        let Some(port) = address.value.port else {
            continue;
        };
        let family = Family::of(address.value.ip);
        let differs = |listen: &&At<Listen>| {
            let service = listen.value.address;
            Family::of(service.ip()) == family && service.port() != port
        };
        if let Some(listen) = listens().find(differs) {
            let service = listen.value.address.port();
            let message = format!("port {port} differs from the service's, {service}");
            let finding = Finding::error(Code::PortMismatch, address.place, message)
                .expected(format!("no port, or {service}: {forward} can't map ports"))
                .related(listen.place, "the service");
            findings.push(finding);
        }
    }
}

/// The backend's address of a family.
fn address(backend: &Backend, family: Family) -> Option<&BackendAddress> {
    backend
        .address
        .values()
        .find(|address| Family::of(address.ip) == family)
}

/// The first address of a family that a service listens on.
fn first(service: &Service, family: Family) -> Option<&At<Listen>> {
    let mut listens = service.listen.items.iter();
    listens.find(|listen| Family::of(listen.value.address.ip()) == family)
}
