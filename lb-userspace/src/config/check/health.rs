//! Checks whose keys contradict each other, and what a pool's health asks of its backends.

use humantime::format_duration;

use super::{Use, keys::idle};
use crate::{
    config::{
        diagnostic::{Code, Finding},
        probe::Argument,
        raw::{
            Balancing, Pool, Service,
            health::{Check, Grpc, Health, Http, Probe, Tcp, Tls},
        },
        resolve,
        schema::List,
        source::Place,
    },
    model::{Config, Listen, Protocol, Through},
};

pub(super) fn check(uses: &[Use<'_>], findings: &mut Vec<Finding>) {
    for Use { pool, services } in uses {
        if let Some(health) = &pool.health {
            self::health(pool, health, findings);
            passive(pool, health, services, findings);
        }
        for check in &pool.checks {
            one(check, findings);
        }
    }
}

/// A check, of whomever.
pub(super) fn one(check: &Check, findings: &mut Vec<Finding>) {
    pace(check, findings);
    if let Some(probe) = &check.probe {
        self::probe(check, probe, findings);
    }
}

/// A pool that can't have as many healthy backends as it needs is never up; one of whose backends nothing is
/// known has no others.
fn health(pool: &Pool, health: &Health, findings: &mut Vec<Finding>) {
    let passive = health.passive.as_ref().is_some_and(|at| at.value);
    if pool.checks.is_empty() && !passive {
        let why = "the pool has no `[[pool.check]]`, nor `passive = true`";
        findings.push(idle("health", health.place, why));
    }
    let backends = pool.backends.len();
    let Some(least) = &health.min_healthy else {
        return;
    };
    if usize::try_from(least.value.0).is_ok_and(|least| least > backends) {
        let message = format!("`min_healthy`, {}, of {backends} backends", least.value.0);
        let finding = Finding::error(Code::KeyConflict, least.place, message)
            .expected(format!("at most {backends}"));
        findings.push(finding.related(pool.named_at(), "the pool"));
    }
}

/// What clients' connections come to is only seen where replies pass here, and of TCP. Where a service listens on ports
/// that nobody serves, a port scan would look like a backend that refuses its clients.
fn passive(pool: &Pool, health: &Health, services: &[&Service], findings: &mut Vec<Finding>) {
    let Some(passive) = health.passive.as_ref().filter(|passive| passive.value) else {
        return;
    };
    if let Some(forward) = pool.forward.filter(|forward| !forward.replies_return()) {
        let message = format!("`passive` in a pool whose replies don't pass here, in {forward}");
        let finding = Finding::error(Code::KeyConflict, passive.place, message)
            .expected("`forward = \"full-nat\"` or `\"nat\"`, or no `passive`");
        findings.push(finding.related(pool.named_at(), "the pool"));
    }
    let listens = || services.iter().flat_map(|service| &service.listen.items);
    let addresses = || {
        pool.backends
            .iter()
            .flat_map(|backend| &backend.address.items)
    };
    let tcp = |listen: &Listen| listen.protocol == Protocol::Tcp;
    let mut ranges = listens().filter(|at| tcp(&at.value) && !at.value.is_single_port());
    if let (Some(range), true) = (ranges.next(), addresses().any(|at| at.value.port.is_none())) {
        let message = "`passive` in a pool of a service that listens on many ports";
        let finding = Finding::error(Code::KeyConflict, passive.place, message)
            .expected("single ports, a port of each backend's own, or no `passive`");
        let why = "a scan of closed ports would look like a backend that refuses its clients";
        findings.push(finding.related(range.place, why));
    }
    let whole = services.iter().all(|service| service.listen.whole);
    if whole && !services.is_empty() && !listens().any(|at| tcp(&at.value)) {
        let why = "no service of the pool listens on a TCP address";
        findings.push(idle("passive", passive.place, why));
    }
}

/// Runs of one check don't overlap: one that may take longer than the interval would make it longer,
/// and with it the time until a failure is noticed.
fn pace(check: &Check, findings: &mut Vec<Finding>) {
    let Some(pace) = resolve::pace(check) else {
        return;
    };
    let interval = format_duration(pace.interval);
    let parts = [
        (
            "timeout",
            pace.timeout,
            check.timeout.as_ref().map(|at| at.place),
        ),
        (
            "jitter",
            pace.jitter,
            check.jitter.as_ref().map(|at| at.place),
        ),
    ];
    for (key, time, place) in parts {
        let Some(place) = place.filter(|_| time > pace.interval) else {
            continue;
        };
        let message = format!(
            "`{key}`, {}, is above `interval`, {interval}",
            format_duration(time)
        );
        let finding = Finding::error(Code::KeyConflict, place, message)
            .expected(format!("{interval} at most"));
        findings.push(match check.interval.value() {
            Some(at) => finding.related(at.place, "the interval"),
            None => finding.related(check.place, "this check names no `interval`"),
        });
    }
}

fn probe(check: &Check, probe: &Probe, findings: &mut Vec<Finding>) {
    match probe {
        Probe::Tcp(tcp) => self::tcp(tcp, findings),
        Probe::Http(http) => self::http(http, findings),
        Probe::Https(http, tls) => {
            self::http(http, findings);
            self::tls(tls, findings);
        }
        Probe::Grpc(grpc) => self::grpc(grpc, findings),
        Probe::Icmp => {
            let port = check.port.as_ref().map(|at| at.place);
            findings.extend(port.map(|at| idle("port", at, "echo requests have none")));
        }
        Probe::Exec(exec) => whole_path(&exec.command, findings),
        Probe::Udp(_) | Probe::Dns(_) => {}
    }
}

/// What an agent answers is read as its words.
fn tcp(tcp: &Tcp, findings: &mut Vec<Finding>) {
    let agent = tcp.agent.as_ref().filter(|agent| agent.value);
    if let (Some(agent), Some(expect)) = (agent, &tcp.expect) {
        let message = "`expect` of an agent, whose answer sets state and weight";
        let finding = Finding::error(Code::KeyConflict, expect.place, message);
        let finding = finding.expected("no `expect`, or `agent = false`");
        findings.push(finding.related(agent.place, "the agent"));
    }
}

/// Answers to HEAD have no body.
fn http(http: &Http, findings: &mut Vec<Finding>) {
    let head = http
        .method
        .as_ref()
        .filter(|method| method.value.0 == "HEAD");
    let Some(head) = head else {
        return;
    };
    let keys = [
        ("body", http.body.as_ref().map(|at| at.place)),
        ("body_regex", http.body_regex.as_ref().map(|at| at.place)),
    ];
    for (key, place) in keys {
        let Some(place) = place else {
            continue;
        };
        let message = format!("`{key}` of an answer to HEAD, which has no body");
        let finding = Finding::error(Code::KeyConflict, place, message);
        let finding = finding.expected("another `method`");
        findings.push(finding.related(head.place, "the method"));
    }
}

fn grpc(grpc: &Grpc, findings: &mut Vec<Finding>) {
    if grpc.tls.as_ref().is_some_and(|tls| tls.value) {
        return tls(&grpc.keys, findings);
    }
    for (key, place) in tls_keys(&grpc.keys) {
        findings.extend(place.map(|at| idle(key, at, "there is no `tls = true`")));
    }
}

fn tls(tls: &Tls, findings: &mut Vec<Finding>) {
    if tls.verify.as_ref().is_some_and(|verify| !verify.value) {
        let ca = tls.ca_file.as_ref().map(|at| at.place);
        findings.extend(ca.map(|at| idle("ca_file", at, "`verify` is `false`")));
    }
}

fn tls_keys(tls: &Tls) -> [(&'static str, Option<Place>); 3] {
    [
        ("verify", tls.verify.as_ref().map(|at| at.place)),
        ("sni", tls.sni.as_ref().map(|at| at.place)),
        ("ca_file", tls.ca_file.as_ref().map(|at| at.place)),
    ]
}

/// The agent doesn't choose the folder that it is started in, nor its `PATH`.
pub(super) fn whole_path(command: &List<Argument>, findings: &mut Vec<Finding>) {
    let program = command.items.first().filter(|_| command.whole);
    let Some(program) = program.filter(|program| !program.value.0.starts_with('/')) else {
        return;
    };
    let message = format!(
        "program `{}` is not named by its whole path",
        program.value.0
    );
    let finding = Finding::error(Code::BadValue, program.place, message);
    findings.push(finding.expected("a path that starts with `/`"));
}

/// Checks of a configuration that was resolved from `balancing` and need a port have one: their own,
/// the backend's, or that of its services.
pub(in crate::config) fn ports(
    config: &Config,
    balancing: &Balancing,
    findings: &mut Vec<Finding>,
) {
    let pools = balancing.pools.iter().zip(&config.pools).enumerate();
    for (n, (written, pool)) in pools {
        let mut addresses = pool.backends.iter().flat_map(|backend| &backend.addresses);
        let Some(without) = addresses.find(|address| address.port.is_none()) else {
            continue;
        };
        if config.service_port(n).is_some() {
            continue;
        }
        let checks = written.checks.iter().zip(&pool.checks);
        let checks = checks.filter(|(_, check)| check.through == Through::Backend);
        for (at, check) in checks.filter(|(_, c)| c.probe.needs_port() && c.port.is_none()) {
            let kind = check.probe.kind();
            let message = format!("no port for the {kind} check of backend {without}");
            let finding = Finding::error(Code::MissingKey, at.place, message)
                .expected("a `port` of the check or of the backend");
            let why = "its services don't listen on one port alone";
            findings.push(finding.related(written.named_at(), why));
        }
    }
}
