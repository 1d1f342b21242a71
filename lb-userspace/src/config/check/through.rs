//! Checks that go through services: which can, from where, and to which of a service's addresses.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

use crate::{
    config::{
        diagnostic::{Code, Finding},
        probe::CheckAddress,
        raw::{
            Agent, Balancing,
            health::{Check, Probe},
        },
        source::{At, Place},
    },
    model::{self, Config, Family, Forward, PoolIndex, Through, lies_in},
};

use super::keys::idle;

pub(super) fn check(agent: Option<&Agent>, balancing: &Balancing, findings: &mut Vec<Finding>) {
    let checks = balancing.pools.iter().flat_map(|pool| &pool.checks);
    let through = checks.filter_map(|check| Some((check, asks_service(check)?)));
    let through: Vec<(&Check, Place)> = through.collect();
    through
        .iter()
        .for_each(|(check, at)| possible(check, *at, findings));
    let Some(agent) = agent else {
        return;
    };
    sources(agent, balancing, findings);
    if let Some(place) = agent.probe_sources.place.filter(|_| through.is_empty()) {
        let why = "no check has `through = \"service\"`";
        findings.push(idle("probe_sources", place, why));
    }
}

fn asks_service(check: &Check) -> Option<Place> {
    let through = check.through.as_ref()?;
    (through.value == Through::Service).then_some(through.place)
}

/// Services have no echo requests and no programs behind them, and an agent is no part of one; nor is the address of
/// something else.
fn possible(check: &Check, through: Place, findings: &mut Vec<Finding>) {
    let refused = |what: &str, expected: &str| {
        let message = format!("`through = \"service\"` of {what}");
        Finding::error(Code::KeyConflict, through, message).expected(expected)
    };
    let is_agent = |agent: &Option<At<bool>>| agent.as_ref().is_some_and(|agent| agent.value);
    let what = match &check.probe {
        Some(Probe::Icmp) => Some("a check of type `icmp`"),
        Some(Probe::Exec(_)) => Some("a check of type `exec`"),
        Some(Probe::Tcp(tcp)) if is_agent(&tcp.agent) => Some("an agent"),
        Some(Probe::Http(http) | Probe::Https(http, _)) if is_agent(&http.agent) => {
            Some("an agent")
        }
        _ => None,
    };
    if let Some(what) = what {
        let expected =
            "`backend`, or a check of type `tcp`, `http`, `https`, `grpc`, `udp` or `dns`";
        findings.push(refused(what, expected));
    }
    if let Some(address) = &check.address {
        let finding = refused("a check with an `address` of its own", "no `address`");
        findings.push(finding.related(address.place, "the address"));
    }
}

/// One of each family, and nobody else's: what comes for them is taken for answers to probes.
fn sources(agent: &Agent, balancing: &Balancing, findings: &mut Vec<Finding>) {
    let mut first: HashMap<Family, Place> = HashMap::new();
    for source in &agent.probe_sources.items {
        let family = Family::of(source.value.0);
        let place = *first.entry(family).or_insert(source.place);
        if place != source.place {
            let message = format!("a second {family} address of `probe_sources`");
            let finding = Finding::error(Code::DuplicateAddress, source.place, message)
                .expected("one address of each family at most");
            findings.push(finding.related(place, "its first"));
        }
        findings.extend(in_use(source, balancing));
    }
}

/// That an address is somebody else's.
fn in_use(source: &At<CheckAddress>, balancing: &Balancing) -> Option<Finding> {
    let ip = source.value.0;
    let listens = balancing.services.iter().flat_map(|s| &s.listen.items);
    let service = listens.map(|at| (at.place, lies_in(ip, at.value.network())));
    let service = service.map(|(place, is_it)| (place, is_it, "a service's address"));
    let pools = || balancing.pools.iter();
    let sources = pools().flat_map(|pool| &pool.source.items);
    let sources = sources.map(|at| (at.place, at.value.ip == ip, "a pool's source"));
    let backends = pools().flat_map(|pool| &pool.backends);
    let backends = backends.flat_map(|backend| &backend.address.items);
    let backends = backends.map(|at| (at.place, at.value.ip == ip, "a backend's address"));
    let mut all = service.chain(sources).chain(backends);
    let (place, _, what) = all.find(|(_, is_it, _)| *is_it)?;
    let message = format!("{ip} in `probe_sources` is also {what}");
    let finding = Finding::error(Code::AddressConflict, source.place, message)
        .expected("an address that nothing else has, which backends reach through this host");
    Some(finding.related(place, "it is used here"))
}

/// Checks of a configuration that was resolved from `balancing` and that go through services have a service's address to
/// ask, and one to ask from.
pub(in crate::config) fn services(
    config: &Config,
    balancing: &Balancing,
    findings: &mut Vec<Finding>,
) {
    let pools = balancing.pools.iter().zip(&config.pools).enumerate();
    for (n, (written, pool)) in pools {
        let checks = written.checks.iter().zip(&pool.checks);
        for (at, check) in checks.filter(|(_, check)| check.through == Through::Service) {
            let found = reached(config, n, check, at.place);
            findings.extend(found.map(|finding| finding.related(written.named_at(), "the pool")));
        }
    }
}

fn reached(config: &Config, n: PoolIndex, check: &model::Check, at: Place) -> Option<Finding> {
    let asked = config.asked_at(n, check);
    let kind = check.probe.kind();
    let protocol = check.probe.protocol()?;
    if asked.is_empty() {
        let port = match check.port {
            Some(port) => format!("{port}/{protocol}"),
            None => format!("a single port of {protocol}"),
        };
        let message = format!(
            "no service address for the {kind} check: none of the pool's services listens on {port}"
        );
        let finding = Finding::error(Code::MissingKey, at, message);
        return Some(finding.expected(
            "a `port` that a service of the pool listens on, at an address that is no prefix",
        ));
    }
    if let Some(fallback) = crosses_beside_a_fallback(config, n, &asked) {
        let message = format!(
            "`through = \"service\"` where {fallback} has a fallback, and reaches backends at addresses of the other family"
        );
        let finding = Finding::error(Code::KeyConflict, at, message);
        return Some(finding.expected("`backend`, or an address of each family for every backend"));
    }
    let from: BTreeSet<Family> = config
        .agent
        .probe_sources
        .iter()
        .map(|ip| Family::of(*ip))
        .collect();
    let missing = asked
        .iter()
        .find(|address| !from.contains(&Family::of(address.ip())))?;
    let family = Family::of(missing.ip());
    let message = format!("no address to ask {missing} from: `probe_sources` has none of {family}");
    let finding = Finding::error(Code::MissingKey, at, message);
    Some(finding.expected(format!(
        "an {family} address in `probe_sources` of `[agent]`"
    )))
}

/// Where flows of a service cross families is said of the pool that answers: while the other one does, probes of this one
/// would go astray.
fn crosses_beside_a_fallback(
    config: &Config,
    pool: PoolIndex,
    asked: &BTreeSet<SocketAddr>,
) -> Option<String> {
    let backends = &config.pools[pool];
    let crosses = asked.iter().any(|service| {
        let family = Family::of(service.ip());
        let mut reached = backends.reachable(family);
        backends.forward == Forward::FullNat
            && reached.any(|(_, address)| Family::of(address.ip) != family)
    });
    let mut users = config.services.iter();
    let user = users
        .find(|service| service.fallback.is_some() && service.pools().any(|used| used == pool));
    user.filter(|_| crosses)
        .map(|service| format!("service `{}`", service.name))
}
