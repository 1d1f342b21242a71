//! What follows from how a service's flows are recorded: that all of them are where this isn't
//! obvious, and keys that are for the other way.

use super::keys::idle;
use crate::{
    config::{
        diagnostic::{Code, Finding},
        raw::{Balancing, Service},
        source::{At, Place},
    },
    model::{self, Config, Family, Scheduler, TrackedBecause},
};

/// Looks at a configuration that was resolved from `balancing`, without an error: where one keeps a
/// key from being read, what is recorded is a guess.
pub(in crate::config) fn check(
    config: &Config,
    balancing: &Balancing,
    findings: &mut Vec<Finding>,
) {
    let services = balancing.services.iter().zip(&config.services);
    for ((written, service), why) in services.zip(config.tracked()) {
        match why {
            Some(why) => {
                findings.extend(note(written, balancing, why));
                idle_where_tracked(written, findings);
            }
            None => idle_where_not(written, findings),
        }
        source_prefix(written, service, findings);
    }
}

/// Says that every flow is recorded, unless the mode or `tracking` says so already.
fn note(service: &Service, balancing: &Balancing, why: TrackedBecause) -> Option<Finding> {
    let (at, reason) = because(service, balancing, why)?;
    let message = format!("{} records every flow: {reason}", service.title());
    let finding = Finding::note(Code::Tracked, at, message);
    Some(finding.related(service.named_at(), "the service"))
}

/// The place that makes it so, and in words, why.
fn because(
    service: &Service,
    balancing: &Balancing,
    why: TrackedBecause,
) -> Option<(Place, String)> {
    let backend = |pool: usize, n: usize| balancing.pools.get(pool)?.backends.get(n);
    match why {
        TrackedBecause::Mode { .. } | TrackedBecause::Asked => None,
        TrackedBecause::Scheduler => {
            let scheduler = service.scheduler.as_ref()?;
            let reason = format!("{} is not determined by a hash", scheduler.value);
            Some((scheduler.place, reason))
        }
        TrackedBecause::Affinity => {
            let reason = "each keeps its client's affinity alive".to_owned();
            Some((service.affinity.as_ref()?.place, reason))
        }
        TrackedBecause::MaxFlows { pool, backend: n } => {
            let cap = backend(pool, n)?.max_flows.as_ref()?;
            Some((cap.place, "a cap counts the live ones".to_owned()))
        }
        TrackedBecause::ManyEnds { listen } => {
            let mut listens = service.listen.items.iter();
            let at = listens.find(|at| at.value == listen)?;
            let reason = format!("in nat a reply doesn't tell which end of {listen} it is from");
            Some((at.place, reason))
        }
        TrackedBecause::SharedBackend {
            pool,
            backend: n,
            listen,
            other,
        } => {
            let family = Family::of(listen.address.ip());
            let mut addresses = backend(pool, n)?.address.items.iter();
            let address = addresses.find(|at| Family::of(at.value.ip) == family)?;
            let reason = format!("a reply of this backend may be for {listen} or {other}");
            Some((address.place, reason))
        }
    }
}

/// Where every flow is recorded there are no exceptions.
fn idle_where_tracked(service: &Service, findings: &mut Vec<Finding>) {
    let set = |at: &Option<At<bool>>| at.as_ref().filter(|at| at.value).map(|at| at.place);
    let keys = [
        ("settle", service.settle.value().map(|at| at.place)),
        (
            "entry_timeout",
            service.entry_timeout.as_ref().map(|at| at.place),
        ),
        ("one_packet", set(&service.one_packet)),
        ("quic", set(&service.quic)),
        ("quic_lb", service.quic_lb.as_ref().map(|lb| lb.place)),
    ];
    for (key, place) in keys {
        let why = format!("{} records every flow", service.title());
        findings.extend(place.map(|place| idle(key, place, &why)));
    }
}

/// Where only exceptions are recorded, flows have no state to time out by.
fn idle_where_not(service: &Service, findings: &mut Vec<Finding>) {
    if let Some(timeouts) = &service.timeouts {
        let why = format!("{} doesn't record every flow", service.title());
        let finding = idle("timeouts", timeouts.place, &why);
        findings.push(finding.help("`tracking = \"full\"` makes it do so"));
    }
}

fn source_prefix(written: &Service, service: &model::Service, findings: &mut Vec<Finding>) {
    let used = service.scheduler == Scheduler::SourceHash || service.affinity.is_some();
    if let Some(prefix) = written.source_prefix.as_ref().filter(|_| !used) {
        let why = "only `source-hash` and `affinity` look at prefixes of clients";
        findings.push(idle("source_prefix", prefix.place, why));
    }
}
