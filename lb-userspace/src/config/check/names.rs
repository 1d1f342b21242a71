//! Names: each used once, and each that is referred to is there.

use super::{is_named, named, repeated, taken};
use crate::config::{
    diagnostic::{Code, Finding},
    raw::{Agent, Balancing, Pool, Service, vrrp::Vrrp},
    source::At,
    suggest::closest,
    value::Name,
};

pub(super) fn check(
    agent: Option<&Agent>,
    vrrp: &[Vrrp],
    balancing: &Balancing,
    findings: &mut Vec<Finding>,
) {
    let services = balancing
        .services
        .iter()
        .filter_map(|service| service.name.as_ref());
    unique(services, "service", findings);
    let pools = balancing.pools.iter().filter_map(|pool| pool.name.as_ref());
    unique(pools, "pool", findings);
    for pool in &balancing.pools {
        let backends = pool
            .backends
            .iter()
            .filter_map(|backend| backend.name.as_ref());
        unique(backends, "backend of this pool", findings);
    }
    interfaces(agent, findings);
    pools_exist(vrrp, balancing, findings);
    pools_used(vrrp, balancing, findings);
}

fn unique<'a>(names: impl Iterator<Item = &'a At<Name>>, kind: &str, findings: &mut Vec<Finding>) {
    for (again, first) in repeated(names) {
        let message = format!("another {kind} is named `{}`", again.value.0);
        let code = Code::DuplicateName;
        findings.push(taken(
            code,
            again.place,
            first,
            message,
            "a name of its own",
        ));
    }
}

fn interfaces(agent: Option<&Agent>, findings: &mut Vec<Finding>) {
    for (again, first) in repeated(agent.iter().flat_map(|agent| &agent.interfaces.items)) {
        let message = format!("interface `{}` is named twice", again.value.0);
        let code = Code::DuplicateName;
        findings.push(taken(
            code,
            again.place,
            first,
            message,
            "each interface once",
        ));
    }
}

fn pools_exist(vrrp: &[Vrrp], balancing: &Balancing, findings: &mut Vec<Finding>) {
    let pools = || balancing.pools.iter().filter_map(|pool| pool.name.as_ref());
    let known = |wanted: &Name| pools().any(|name| name.value == *wanted);
    let wanted = balancing
        .services
        .iter()
        .flat_map(|service| [&service.pool, &service.fallback])
        .flatten()
        .chain(tracked(vrrp));
    for wanted in wanted.filter(|wanted| !known(&wanted.value)) {
        let name = &wanted.value.0;
        let meant = closest(name, pools().map(|pool| pool.value.0.as_str()));
        let finding = Finding::error(
            Code::UnknownPool,
            wanted.place,
            format!("no pool is named `{name}`"),
        );
        findings.push(finding.expected("the name of a pool").suggest(meant));
    }
}

/// The pools that floating IPs depend on.
fn tracked(vrrp: &[Vrrp]) -> impl Iterator<Item = &At<Name>> {
    let tracks = vrrp.iter().flat_map(|instance| &instance.track);
    tracks.filter_map(|track| track.pool.value())
}

/// Warns of pools that no service names, once it is known which pool each service means.
fn pools_used(vrrp: &[Vrrp], balancing: &Balancing, findings: &mut Vec<Finding>) {
    let services = || balancing.services.iter();
    let known = |wanted: &Name| balancing.pools.iter().any(|pool| is_named(pool, wanted));
    let found = |service: &Service| service.pool.is_some() && named(service).all(known);
    if !services().all(found) {
        return;
    }
    let unused = |pool: &&Pool| {
        let mut names = services().flat_map(named);
        let mut tracked = tracked(vrrp).map(|name| &name.value);
        !names.any(|name| is_named(pool, name)) && !tracked.any(|name| is_named(pool, name))
    };
    for pool in balancing.pools.iter().filter(unused) {
        let message = format!("no service uses {}", pool.title());
        let finding = Finding::warning(Code::UnusedPool, pool.named_at(), message);
        findings.push(finding.expected("a service with this `pool` or `fallback`"));
    }
}
