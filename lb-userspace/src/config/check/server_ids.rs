//! Server ids: each backend that connection ids are to name has one, as long as its services say, and
//! no other backend of theirs has the same.

use super::{Use, is_named, keys::idle, named, taken};
use crate::{
    config::{
        diagnostic::{Code, Finding},
        number::ServerIdLength,
        raw::{Backend, Balancing, Pool, Service},
        schema::Written,
        source::At,
    },
    model::ServerId,
};

pub(super) fn check(uses: &[Use<'_>], balancing: &Balancing, findings: &mut Vec<Finding>) {
    for service in &balancing.services {
        needs_quic(service, findings);
        let length = service.quic_lb.as_ref();
        if let Some(length) = length.and_then(|lb| lb.server_id_length.as_ref()) {
            let backends = || backends(service, balancing);
            for (pool, backend) in backends() {
                is_there(service, pool, backend, findings);
                is_as_long(length, backend, findings);
            }
            differ(backends().map(|(_, backend)| backend), findings);
        }
    }
    for used in uses {
        used_by_nobody(used, findings);
    }
}

/// The backends that may answer for a service, each with its pool.
fn backends<'a>(
    service: &'a Service,
    balancing: &'a Balancing,
) -> impl Iterator<Item = (&'a Pool, &'a Backend)> {
    let names = |pool: &Pool| named(service).any(|name| is_named(pool, name));
    let pools = balancing.pools.iter().filter(move |pool| names(pool));
    pools.flat_map(|pool| pool.backends.iter().map(move |backend| (pool, backend)))
}

fn needs_quic(service: &Service, findings: &mut Vec<Finding>) {
    let Some(lb) = &service.quic_lb else {
        return;
    };
    if service.quic.as_ref().is_some_and(|quic| quic.value) {
        return;
    }
    let message = format!("`quic_lb` in {}, which is not `quic`", service.title());
    let finding = Finding::error(Code::KeyConflict, lb.place, message);
    findings.push(finding.expected("`quic = true` beside it"));
}

fn is_there(service: &Service, pool: &Pool, backend: &Backend, findings: &mut Vec<Finding>) {
    let (Written::Not, Some(name)) = (&backend.server_id, &backend.name) else {
        return;
    };
    let message = format!("a backend of {} has no `server_id`", pool.title());
    let finding = Finding::error(Code::MissingKey, name.place, message);
    let finding = finding.expected("a `server_id`, which its connection ids name it by");
    findings.push(finding.related(service.named_at(), "this service has `quic_lb`"));
}

fn is_as_long(length: &At<ServerIdLength>, backend: &Backend, findings: &mut Vec<Finding>) {
    let Written::As(id) = &backend.server_id else {
        return;
    };
    let (len, ServerIdLength(wanted)) = (id.value.len(), length.value);
    if len == wanted {
        return;
    }
    let message = format!("server id {} has {}", id.value, octets(len));
    let finding = Finding::error(Code::KeyConflict, id.place, message).expected(octets(wanted));
    findings.push(finding.related(length.place, "the length that its service has them"));
}

fn octets(count: u8) -> String {
    match count {
        1 => "1 octet".to_owned(),
        n => format!("{n} octets"),
    }
}

fn differ<'a>(backends: impl Iterator<Item = &'a Backend>, findings: &mut Vec<Finding>) {
    let ids: Vec<&At<ServerId>> = backends.filter_map(|b| b.server_id.value()).collect();
    for (again, first) in super::repeated(ids.into_iter()) {
        let message = format!("another backend has the server id {}", again.value);
        let finding = taken(
            Code::DuplicateName,
            again.place,
            first,
            message,
            "an id of its own",
        );
        // Two services may share a pool.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

/// Warns of ids that no connection id is looked through for.
fn used_by_nobody(used: &Use<'_>, findings: &mut Vec<Finding>) {
    if used
        .services
        .iter()
        .any(|service| service.quic_lb.is_some())
    {
        return;
    }
    let ids = used.pool.backends.iter();
    for id in ids.filter_map(|backend| backend.server_id.value()) {
        let why = "no service of its pool has `quic_lb`";
        findings.push(idle("server_id", id.place, why));
    }
}
