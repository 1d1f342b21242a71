//! What is wrong, from a snapshot alone: each finding with a code for scripts and a line that says
//! what it is. Pure.

use serde::{Deserialize, Serialize};

use super::health::HealthMode;
use super::snapshot::{
    InterfaceView, Mode, NextHopView, PoolView, Readiness, RemovedView, ServiceView, Snapshot,
};
use crate::{config::Severity, health::State, model::Forward, vrrp::InstanceView};

/// One thing that is wrong, or looks so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whether clients suffer from it, now or soon.
    pub severity: Severity,
    /// What kind of thing: stable, for scripts.
    pub code: ProblemCode,
    /// What is wrong, in one line.
    pub message: String,
}

/// A kind of problem. The text form is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemCode {
    /// The agent does not do its work.
    NotReady,
    /// No backend can answer a service.
    NoBackend,
    /// The fallback of a service answers, since its own pool can't.
    Fallback,
    /// A backend is down.
    BackendDown,
    /// So few backends of a pool are up that all are used.
    Panic,
    /// Fewer backends of a pool are up than must be, so none is used.
    BelowMinimum,
    /// An operator says something else of a backend than the configuration.
    Override,
    /// A service that the configuration has no more still has flows.
    Removed,
    /// A backend's address has no next hop.
    UnresolvedNextHop,
    /// An instance of `[[vrrp]]` can't take part.
    VrrpFault,
    /// The families of an instance of `[[vrrp]]` are at different hosts.
    VrrpApart,
    /// The role of an instance of `[[vrrp]]` changes again and again.
    VrrpFlapping,
    /// Something that an instance of `[[vrrp]]` tracks costs it priority.
    VrrpPriority,
    /// The program does not run in the driver.
    GenericMode,
    /// The last reload failed.
    Reload,
    /// The agent itself warns of something.
    Agent,
}

/// Everything that a snapshot shows to be wrong, the worst first, and what should be known beside.
pub fn problems(snapshot: &Snapshot) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(readiness(&snapshot.readiness));
    problems.extend(services(snapshot));
    problems.extend(snapshot.pools.iter().flat_map(too_few));
    problems.extend(down(snapshot));
    problems.extend(next_hops(snapshot));
    problems.extend(snapshot.vrrp.iter().filter_map(vrrp));
    problems.extend(modes(snapshot));
    problems.extend(snapshot.agent.reload_error.iter().map(|error| Problem {
        severity: Severity::Warning,
        code: ProblemCode::Reload,
        message: format!("the last reload failed, the configuration before is in use: {error}"),
    }));
    problems.extend(snapshot.agent.warnings.iter().map(|warning| Problem {
        severity: Severity::Warning,
        code: ProblemCode::Agent,
        message: warning.clone(),
    }));
    problems.extend(overrides(snapshot));
    problems.extend(snapshot.agent.removed.iter().map(removed));
    problems
}

fn readiness(readiness: &Readiness) -> Option<Problem> {
    match readiness {
        Readiness::Ready => None,
        Readiness::NotReady { reason } => Some(Problem {
            severity: Severity::Error,
            code: ProblemCode::NotReady,
            message: format!("not ready: {reason}"),
        }),
    }
}

fn vrrp(instance: &InstanceView) -> Option<Problem> {
    let name = &instance.name;
    let (code, message) = match &instance.fault {
        Some(fault) => {
            let interface = &instance.interface;
            let message = format!("vrrp {name} takes no part on {interface}: {fault}");
            (ProblemCode::VrrpFault, message)
        }
        None if instance.is_apart() => {
            let roles = instance.families.iter();
            let roles = roles.map(|family| format!("{} is {}", family.family, family.role));
            let roles: Vec<String> = roles.collect();
            let message = format!("vrrp {name} is apart: {}", roles.join(", "));
            (ProblemCode::VrrpApart, message)
        }
        None if instance.flapping => {
            let role = instance.role();
            let message = format!("vrrp {name} is {role}, but its role changes again and again");
            (ProblemCode::VrrpFlapping, message)
        }
        None if !instance.failing.is_empty() => {
            let (left, priority) = (instance.effective_priority, instance.priority);
            let failing = instance.failing.join(", ");
            let message = format!("vrrp {name} has priority {left} of {priority}: {failing}");
            (ProblemCode::VrrpPriority, message)
        }
        None => return None,
    };
    Some(Problem {
        severity: Severity::Warning,
        code,
        message,
    })
}

/// Services that nobody answers, by family: one of them may still be served.
fn services(snapshot: &Snapshot) -> impl Iterator<Item = Problem> {
    snapshot.services.iter().flat_map(move |service| {
        let pool = snapshot.pools.iter().find(|pool| pool.name == service.pool);
        pool.into_iter().flat_map(move |pool| dead(service, pool))
    })
}

fn dead(service: &ServiceView, pool: &PoolView) -> impl Iterator<Item = Problem> {
    let crosses = matches!(pool.forward, Forward::Ipip | Forward::Gue);
    service.families().filter_map(move |family| {
        if let Some(fallback) = service.answering_fallback(family) {
            let (service, pool) = (&service.name, &pool.name);
            return Some(Problem {
                severity: Severity::Warning,
                code: ProblemCode::Fallback,
                message: format!(
                    "service {service}: no backend of pool {pool} is live for {family}, \
                     its fallback {fallback} answers"
                ),
            });
        }
        let answers = pool.backends.iter().any(|backend| {
            let mut addresses = backend.addresses.iter();
            addresses.any(|address| {
                let reaches = address.family() == Some(family) || crosses;
                reaches && address.is_used(backend.weight_in_force())
            })
        });
        (!answers).then(|| Problem {
            severity: Severity::Error,
            code: ProblemCode::NoBackend,
            message: format!(
                "service {}: no backend of pool {} answers for {family}",
                service.name, pool.name
            ),
        })
    })
}

/// Pools so few of whose backends are up that health is taken in another way.
fn too_few(pool: &PoolView) -> impl Iterator<Item = Problem> {
    pool.health.iter().filter_map(|health| {
        let family = health.family;
        let figures = match (health.up, health.of) {
            (Some(up), Some(of)) => format!("{up} of {of} backends up for {family} services"),
            _ => format!("too few backends up for {family} services"),
        };
        let (code, so) = match health.mode {
            HealthMode::Normal => return None,
            HealthMode::Panic => (
                ProblemCode::Panic,
                "below the panic threshold: health is disregarded",
            ),
            HealthMode::BelowMinimum => (
                ProblemCode::BelowMinimum,
                "fewer than `min_healthy`: none is used",
            ),
        };
        Some(Problem {
            severity: Severity::Warning,
            code,
            message: format!("pool {}: {figures}, {so}", pool.name),
        })
    })
}

/// Nothing is wrong there, but everybody should know.
fn overrides(snapshot: &Snapshot) -> impl Iterator<Item = Problem> {
    snapshot.backends().filter_map(|(pool, backend)| {
        let said = backend.overridden?;
        Some(Problem {
            severity: Severity::Note,
            code: ProblemCode::Override,
            message: format!(
                "backend {}/{} is {said} by an operator",
                pool.name, backend.name
            ),
        })
    })
}

fn removed(removed: &RemovedView) -> Problem {
    Problem {
        severity: Severity::Note,
        code: ProblemCode::Removed,
        message: removed.to_string(),
    }
}

fn down(snapshot: &Snapshot) -> impl Iterator<Item = Problem> {
    snapshot.backends().flat_map(|(pool, backend)| {
        backend.addresses.iter().filter_map(move |address| {
            let health = address.health.as_ref()?;
            let state = match health.state {
                State::Up => return None,
                State::Down => "is down",
                State::Held => "is held down",
            };
            let why = health
                .cause()
                .map_or_else(String::new, |why| format!(": {why}"));
            Some(Problem {
                severity: Severity::Warning,
                code: ProblemCode::BackendDown,
                message: format!(
                    "backend {}/{}: {} {state}{why}",
                    pool.name, backend.name, address.address
                ),
            })
        })
    })
}

fn next_hops(snapshot: &Snapshot) -> impl Iterator<Item = Problem> {
    snapshot.backends().flat_map(|(pool, backend)| {
        backend.addresses.iter().filter_map(move |address| {
            let NextHopView::Unresolved { reason } = &address.next_hop else {
                return None;
            };
            // The last known one may still be in use.
            let severity = if address.in_tables {
                Severity::Warning
            } else {
                Severity::Error
            };
            let message = format!(
                "backend {}/{}: no next hop for {}: {reason}",
                pool.name, backend.name, address.address
            );
            Some(Problem {
                severity,
                code: ProblemCode::UnresolvedNextHop,
                message,
            })
        })
    })
}

fn modes(snapshot: &Snapshot) -> impl Iterator<Item = Problem> {
    // What is said of an interface holds for VLAN devices over it. What is counted for unknown ones
    // (number 0) came by one that is on its way in or out of the configuration.
    let is_one = |interface: &InterfaceView| interface.index != 0 && interface.lower.is_none();
    let interfaces = snapshot.interfaces.iter();
    let generic = interfaces.filter(move |one| is_one(one) && one.mode == Mode::Generic);
    generic.map(|interface| {
        let reason = interface
            .mode_reason
            .as_deref()
            .unwrap_or("for an unknown reason");
        Problem {
            severity: Severity::Warning,
            code: ProblemCode::GenericMode,
            message: format!(
                "interface {}: generic mode, which is slower: {reason}",
                interface.name
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Family, Weight},
        overrides::Override,
        stats::{FallbackView, sample},
    };

    #[test]
    fn a_healthy_agent_has_none() {
        assert_eq!(problems(&sample::healthy()), []);
    }

    #[test]
    fn each_problem_is_named() {
        let found = problems(&sample::troubled());
        let codes: Vec<_> = found.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            [
                ProblemCode::NotReady,
                ProblemCode::NoBackend,
                ProblemCode::Panic,
                ProblemCode::Panic,
                ProblemCode::BackendDown,
                ProblemCode::BackendDown,
                ProblemCode::UnresolvedNextHop,
                ProblemCode::VrrpApart,
                ProblemCode::VrrpFault,
                ProblemCode::VrrpPriority,
                ProblemCode::VrrpFlapping,
                ProblemCode::GenericMode,
                ProblemCode::Reload,
                ProblemCode::Agent,
                ProblemCode::Override,
                ProblemCode::Removed,
            ]
        );
    }

    #[test]
    fn a_kept_next_hop_is_only_a_warning() {
        let mut snapshot = sample::healthy();
        snapshot.pools[0].backends[0].addresses[0].next_hop = NextHopView::Unresolved {
            reason: "198.18.1.11 on eth1 does not answer ARP".into(),
        };
        let found = problems(&snapshot);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Warning);
    }

    #[test]
    fn a_slow_interface_is_named_once() {
        let mut snapshot = sample::healthy();
        for interface in &mut snapshot.interfaces {
            interface.mode = Mode::Generic;
        }
        snapshot.interfaces[1].lower = Some("eth0".into());
        let found = problems(&snapshot);
        let codes: Vec<_> = found.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [ProblemCode::GenericMode]);
    }

    #[test]
    fn a_fallback_that_answers_is_a_warning() {
        let mut snapshot = sample::healthy();
        snapshot.services[0].fallback = Some(FallbackView {
            pool: "sorry".into(),
            answers: vec![Family::Ipv4],
        });
        snapshot.pools[0].backends.clear();
        let found = problems(&snapshot);
        let found = found.iter().map(|p| (p.severity, p.code));
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                (Severity::Warning, ProblemCode::Fallback),
                (Severity::Error, ProblemCode::NoBackend),
            ]
        );
    }

    #[test]
    fn weight_0_answers_nobody() {
        let mut snapshot = sample::healthy();
        for backend in &mut snapshot.pools[0].backends {
            backend.weight = 0;
        }
        let messages = problems(&snapshot)
            .into_iter()
            .map(|problem| problem.message);
        assert_eq!(
            messages.collect::<Vec<_>>(),
            [
                "service web: no backend of pool web answers for IPv4",
                "service web: no backend of pool web answers for IPv6",
            ]
        );
    }

    #[test]
    fn weights_count_as_operators_and_health_leave_them() {
        let drained = sample::troubled().pools[1].backends[0].overridden;
        let codes = |snapshot: &Snapshot| {
            let found = problems(snapshot);
            found.iter().map(|problem| problem.code).collect::<Vec<_>>()
        };
        let mut snapshot = sample::healthy();
        snapshot.pools[1].backends[0].overridden = drained;
        assert_eq!(
            codes(&snapshot),
            [ProblemCode::NoBackend, ProblemCode::Override]
        );
        let backend = &mut snapshot.pools[1].backends[0];
        backend.weight = 0;
        backend.overridden = Some(Override {
            weight: Weight::new(10),
            drain: None,
        });
        assert_eq!(codes(&snapshot), [ProblemCode::Override]);
    }

    #[test]
    fn interfaces_that_nobody_knows_run_in_no_mode() {
        let mut snapshot = sample::healthy();
        snapshot.interfaces[0].mode = Mode::Generic;
        let generic = |snapshot: &Snapshot| modes(snapshot).count();
        assert_eq!(generic(&snapshot), 1);
        snapshot.interfaces[0].index = 0;
        assert_eq!(generic(&snapshot), 0);
    }
}
