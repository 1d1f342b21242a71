//! /metrics: what families there are, one list, and what a snapshot says of each. How that is written, `exposition`
//! knows. Pure.
//!
//! Series are bounded by the configuration: a handful per service, backend, check and interface, and one
//! per interface and reason, and per check and failure.

use super::{
    exposition::{self, Family, Kind, Samples},
    health::{CheckView, HealthMode, HealthView},
    snapshot::{CountersView, HandshakesView, Mode, Snapshot},
};
use crate::{
    health::{State, Status},
    vrrp::{FamilyView, InstanceView, Role, instance::Refusal},
};

/// The whole page.
pub fn text(snapshot: &Snapshot) -> String {
    exposition::page(FAMILIES, snapshot)
}

const FAMILIES: &[Family] = &[
    Family {
        name: "sluice_build_info",
        kind: Kind::Gauge,
        help: "Always 1; its labels tell what this agent was built from.",
        samples: build,
    },
    Family {
        name: "sluice_start_time_seconds",
        kind: Kind::Gauge,
        help: "When the agent was started, in seconds since 1970.",
        samples: |snapshot, to| to.add(&[], snapshot.agent.started_unix_seconds),
    },
    Family {
        name: "sluice_config_generation",
        kind: Kind::Gauge,
        help: "How many configurations the agent has taken since it was started.",
        samples: |snapshot, to| to.add(&[], snapshot.agent.generation),
    },
    Family {
        name: "sluice_config_last_reload_successful",
        kind: Kind::Gauge,
        help: "0 if the last reload or rollback failed, so that the configuration before is in use; else 1.",
        samples: |snapshot, to| {
            to.add(&[], u8::from(snapshot.agent.reload_error.is_none()));
        },
    },
    Family {
        name: "sluice_config_taken_time_seconds",
        kind: Kind::Gauge,
        help: "When the agent took the configuration in use, in seconds since 1970.",
        samples: |snapshot, to| to.add(&[], snapshot.agent.taken_unix_seconds),
    },
    Family {
        name: "sluice_service_packets_total",
        kind: Kind::Counter,
        help: "Packets of a service: in from clients, out to clients (only where replies pass here).",
        samples: |snapshot, to| services(snapshot, |labels, c| to.directions(labels, packets(c))),
    },
    Family {
        name: "sluice_service_bytes_total",
        kind: Kind::Counter,
        help: "IP bytes of a service: in from clients, out to clients (only where replies pass here).",
        samples: |snapshot, to| services(snapshot, |labels, c| to.directions(labels, bytes(c))),
    },
    Family {
        name: "sluice_service_new_flows_total",
        kind: Kind::Counter,
        help: "Flows of a service that were opened.",
        samples: |snapshot, to| services(snapshot, |labels, c| to.add(labels, c.new_flows)),
    },
    Family {
        name: "sluice_backend_packets_total",
        kind: Kind::Counter,
        help: "Packets of a backend: in from clients, out to clients (only where replies pass here).",
        samples: |snapshot, to| backends(snapshot, |labels, c| to.directions(labels, packets(c))),
    },
    Family {
        name: "sluice_backend_bytes_total",
        kind: Kind::Counter,
        help: "IP bytes of a backend: in from clients, out to clients (only where replies pass here).",
        samples: |snapshot, to| backends(snapshot, |labels, c| to.directions(labels, bytes(c))),
    },
    Family {
        name: "sluice_backend_new_flows_total",
        kind: Kind::Counter,
        help: "Flows of a backend that were opened.",
        samples: |snapshot, to| backends(snapshot, |labels, c| to.add(labels, c.new_flows)),
    },
    Family {
        name: "sluice_backend_syns_total",
        kind: Kind::Counter,
        help: "SYNs of clients that went to a backend (only where replies pass here; of recorded flows not those sent again).",
        samples: |snapshot, to| handshakes(snapshot, |labels, h| to.add(labels, h.syns)),
    },
    Family {
        name: "sluice_backend_answered_total",
        kind: Kind::Counter,
        help: "SYNs of clients that a backend answered with SYN and ACK.",
        samples: |snapshot, to| handshakes(snapshot, |labels, h| to.add(labels, h.answered)),
    },
    Family {
        name: "sluice_backend_refused_total",
        kind: Kind::Counter,
        help: "SYNs of clients that a backend answered with a reset.",
        samples: |snapshot, to| handshakes(snapshot, |labels, h| to.add(labels, h.refused)),
    },
    Family {
        name: "sluice_backend_weight",
        kind: Kind::Gauge,
        help: "A backend's configured weight.",
        samples: weights,
    },
    Family {
        name: "sluice_backend_override_weight",
        kind: Kind::Gauge,
        help: "The weight that an operator gave a backend, over the configured one; 0 while it is drained.",
        samples: overrides,
    },
    Family {
        name: "sluice_backend_drain_remaining_flows",
        kind: Kind::Gauge,
        help: "Flows that are left of a backend that is drained, by kind: live ones of services that record all, of others those seen since.",
        samples: remaining,
    },
    Family {
        name: "sluice_backend_up",
        kind: Kind::Gauge,
        help: "1 if a backend at an address is up by its checks and, with `passive`, its clients' connections; 0 if it is down or held down.",
        samples: |snapshot, to| {
            health(snapshot, |labels, health| {
                to.add(labels, u8::from(health.state == State::Up));
            });
        },
    },
    Family {
        name: "sluice_backend_effective_weight",
        kind: Kind::Gauge,
        help: "The weight that operators, agents and slow start leave a backend at an address that is checked.",
        samples: |snapshot, to| health(snapshot, |labels, health| to.add(labels, health.weight)),
    },
    Family {
        name: "sluice_backend_since_seconds",
        kind: Kind::Gauge,
        help: "Since when a backend at an address is up, down or held down, in seconds since 1970.",
        samples: |snapshot, to| {
            health(snapshot, |labels, health| {
                to.add(labels, health.since_unix_seconds);
            });
        },
    },
    Family {
        name: "sluice_check_up",
        kind: Kind::Gauge,
        help: "1 if a check of a backend is up, 0 if it is down.",
        samples: |snapshot, to| {
            checks(snapshot, |labels, check| {
                to.add(labels, u8::from(check.status == Status::Up));
            });
        },
    },
    Family {
        name: "sluice_check_runs_total",
        kind: Kind::Counter,
        help: "Runs of a check by result: passed, failed, or unknown, which says nothing of the backend.",
        samples: |snapshot, to| checks(snapshot, |labels, check| to.results(labels, check)),
    },
    Family {
        name: "sluice_check_failures_total",
        kind: Kind::Counter,
        help: "Runs of a check that failed, by reason.",
        samples: |snapshot, to| {
            checks(snapshot, |labels, check| {
                for (reason, count) in &check.failed {
                    to.add(&[labels, &[("reason", reason)]].concat(), count);
                }
            });
        },
    },
    Family {
        name: "sluice_check_last_duration_seconds",
        kind: Kind::Gauge,
        help: "How long the last run of a check took.",
        samples: |snapshot, to| {
            checks(snapshot, |labels, check| {
                to.add(labels, check.last_microseconds as f64 / 1e6);
            });
        },
    },
    Family {
        name: "sluice_pool_health_mode",
        kind: Kind::Gauge,
        help: "1 for how the health of a pool is taken: normal, panic (all are used) or below-minimum (none is).",
        samples: health_modes,
    },
    Family {
        name: "sluice_interface_native",
        kind: Kind::Gauge,
        help: "1 if the packet program runs in the interface's driver, 0 if in the slower generic mode.",
        samples: natives,
    },
    Family {
        name: "sluice_interface_received_packets_total",
        kind: Kind::Counter,
        help: "Packets that the program saw: the sum of those forwarded, answered, passed and dropped.",
        samples: |snapshot, to| {
            for interface in &snapshot.interfaces {
                to.add(
                    &[("interface", &interface.name)],
                    interface.verdicts.received,
                );
            }
        },
    },
    Family {
        name: "sluice_interface_forwarded_packets_total",
        kind: Kind::Counter,
        help: "Packets that were rewritten and sent on.",
        samples: |snapshot, to| {
            for interface in &snapshot.interfaces {
                to.add(
                    &[("interface", &interface.name)],
                    interface.verdicts.forwarded,
                );
            }
        },
    },
    Family {
        name: "sluice_interface_answered_packets_total",
        kind: Kind::Counter,
        help: "Packets that were answered by one made here, by what that is.",
        samples: |snapshot, to| {
            for interface in &snapshot.interfaces {
                to.reasons(&interface.name, &interface.verdicts.answered);
            }
        },
    },
    Family {
        name: "sluice_interface_passed_packets_total",
        kind: Kind::Counter,
        help: "Packets that were left to the kernel, by reason.",
        samples: |snapshot, to| {
            for interface in &snapshot.interfaces {
                to.reasons(&interface.name, &interface.verdicts.passed);
            }
        },
    },
    Family {
        name: "sluice_interface_dropped_packets_total",
        kind: Kind::Counter,
        help: "Packets that were dropped, by reason.",
        samples: |snapshot, to| {
            for interface in &snapshot.interfaces {
                to.reasons(&interface.name, &interface.verdicts.dropped);
            }
        },
    },
    Family {
        name: "sluice_pool_slots",
        kind: Kind::Gauge,
        help: "Slots of a pool by phase: settled, moving to another backend, or mixed (moved, but for recorded flows).",
        samples: slots,
    },
    Family {
        name: "sluice_exceptions",
        kind: Kind::Gauge,
        help: "Flows that are recorded since their slots are not settled.",
        samples: |snapshot, to| {
            to.add(&[("family", "ipv4")], snapshot.exceptions.ipv4);
            to.add(&[("family", "ipv6")], snapshot.exceptions.ipv6);
        },
    },
    Family {
        name: "sluice_exceptions_limit",
        kind: Kind::Gauge,
        help: "How many such flows of each family can be recorded.",
        samples: |snapshot, to| to.add(&[], snapshot.exceptions.limit),
    },
    Family {
        name: "sluice_vrrp_role",
        kind: Kind::Gauge,
        help: "1 for what an instance is in a family: fault, backup or master.",
        samples: vrrp_roles,
    },
    Family {
        name: "sluice_vrrp_priority",
        kind: Kind::Gauge,
        help: "The priority of an instance, less what tracked things cost.",
        samples: |snapshot, to| {
            instances(snapshot, |label, instance| {
                to.add(&[label], instance.effective_priority)
            })
        },
    },
    Family {
        name: "sluice_vrrp_tracked_failing",
        kind: Kind::Gauge,
        help: "How many of the things that an instance tracks are not well.",
        samples: |snapshot, to| {
            instances(snapshot, |label, instance| {
                to.add(&[label], instance.failing.len())
            })
        },
    },
    Family {
        name: "sluice_vrrp_flapping",
        kind: Kind::Gauge,
        help: "1 while a role of an instance has changed six times in five minutes.",
        samples: |snapshot, to| {
            instances(snapshot, |label, instance| {
                to.add(&[label], u8::from(instance.flapping))
            })
        },
    },
    Family {
        name: "sluice_vrrp_transitions_total",
        kind: Kind::Counter,
        help: "How often an instance became what it is called, by reason.",
        samples: vrrp_transitions,
    },
    Family {
        name: "sluice_vrrp_adverts_sent_total",
        kind: Kind::Counter,
        help: "Adverts that an instance sent.",
        samples: |snapshot, to| vrrp(snapshot, |labels, family| to.add(labels, family.sent)),
    },
    Family {
        name: "sluice_vrrp_resignations_sent_total",
        kind: Kind::Counter,
        help: "Of these, those that gave the addresses up.",
        samples: |snapshot, to| {
            vrrp(snapshot, |labels, family| {
                to.add(labels, family.resignations)
            })
        },
    },
    Family {
        name: "sluice_vrrp_adverts_received_total",
        kind: Kind::Counter,
        help: "Adverts that an instance received and heeded.",
        samples: |snapshot, to| vrrp(snapshot, |labels, family| to.add(labels, family.received)),
    },
    Family {
        name: "sluice_vrrp_refused_total",
        kind: Kind::Counter,
        help: "Packets for an instance that were not heeded, by reason.",
        samples: vrrp_refused,
    },
    Family {
        name: "sluice_vrrp_contested_total",
        kind: Kind::Counter,
        help: "Adverts of another host that had the addresses while this one had them.",
        samples: |snapshot, to| vrrp(snapshot, |labels, family| to.add(labels, family.contested)),
    },
    Family {
        name: "sluice_vrrp_errors_total",
        kind: Kind::Counter,
        help: "What an instance could not do, by what: open, send, receive, address or announce.",
        samples: vrrp_errors,
    },
    Family {
        name: "sluice_vrrp_notify_total",
        kind: Kind::Counter,
        help: "Calls of an instance's notify hook, by what came of them; skipped: of none, the role had changed again.",
        samples: vrrp_notify,
    },
    Family {
        name: "sluice_next_hops_unresolved",
        kind: Kind::Gauge,
        help: "Addresses of backends that have no next hop.",
        samples: |snapshot, to| to.add(&[], snapshot.next_hops_unresolved()),
    },
];

fn build(snapshot: &Snapshot, to: &mut Samples) {
    let agent = &snapshot.agent;
    let layout = agent.layout.to_string();
    let labels = [
        ("version", agent.version.as_str()),
        ("commit", &agent.commit),
        ("layout", &layout),
    ];
    to.add(&labels, 1);
}

fn services(snapshot: &Snapshot, mut each: impl FnMut(&[(&str, &str)], &CountersView)) {
    for service in &snapshot.services {
        each(&[("service", &service.name)], &service.counters);
    }
}

fn backends(snapshot: &Snapshot, mut each: impl FnMut(&[(&str, &str)], &CountersView)) {
    for (pool, backend) in snapshot.backends() {
        let labels = [("pool", pool.name.as_str()), ("backend", &backend.name)];
        each(&labels, &backend.counters);
    }
}

fn handshakes(snapshot: &Snapshot, mut each: impl FnMut(&[(&str, &str)], &HandshakesView)) {
    for (pool, backend) in snapshot.backends() {
        let labels = [("pool", pool.name.as_str()), ("backend", &backend.name)];
        backend.handshakes.iter().for_each(|h| each(&labels, h));
    }
}

fn weights(snapshot: &Snapshot, to: &mut Samples) {
    for (pool, backend) in snapshot.backends() {
        to.add(
            &[("pool", &pool.name), ("backend", &backend.name)],
            backend.weight,
        );
    }
}

fn overrides(snapshot: &Snapshot, to: &mut Samples) {
    for (pool, backend) in snapshot.backends() {
        if backend.overridden.is_some() {
            let labels = [("pool", pool.name.as_str()), ("backend", &backend.name)];
            to.add(&labels, backend.weight_in_force());
        }
    }
}

fn remaining(snapshot: &Snapshot, to: &mut Samples) {
    for (pool, backend) in snapshot.backends() {
        let Some(left) = backend.remaining else {
            continue;
        };
        for (kind, flows) in [("live", left.tracked), ("seen", left.seen)] {
            let labels = [
                ("pool", pool.name.as_str()),
                ("backend", &backend.name),
                ("kind", kind),
            ];
            flows.iter().for_each(|flows| to.add(&labels, flows));
        }
    }
}

/// Each address of each backend that is checked.
fn health(snapshot: &Snapshot, mut each: impl FnMut(&[(&str, &str)], &HealthView)) {
    for (pool, backend) in snapshot.backends() {
        for address in &backend.addresses {
            if let Some(health) = &address.health {
                let labels = [
                    ("pool", pool.name.as_str()),
                    ("backend", &backend.name),
                    ("address", &address.address),
                ];
                each(&labels, health);
            }
        }
    }
}

fn checks(snapshot: &Snapshot, mut each: impl FnMut(&[(&str, &str)], &CheckView)) {
    health(snapshot, |labels, health| {
        for check in &health.checks {
            let own = [("check", check.check.as_str()), ("target", &check.target)];
            each(&[labels, &own].concat(), check);
        }
    });
}

fn health_modes(snapshot: &Snapshot, to: &mut Samples) {
    for pool in &snapshot.pools {
        for health in &pool.health {
            let family = health.family.to_string().to_lowercase();
            for (mode, word) in [
                (HealthMode::Normal, "normal"),
                (HealthMode::Panic, "panic"),
                (HealthMode::BelowMinimum, "below-minimum"),
            ] {
                let labels = [
                    ("pool", pool.name.as_str()),
                    ("family", &family),
                    ("mode", word),
                ];
                to.add(&labels, u8::from(mode == health.mode));
            }
        }
    }
}

fn slots(snapshot: &Snapshot, to: &mut Samples) {
    for pool in &snapshot.pools {
        for slots in &pool.slots {
            let family = slots.family.to_string().to_lowercase();
            for (phase, count) in [
                ("settled", slots.settled),
                ("moving", slots.moving),
                ("mixed", slots.mixed),
            ] {
                let labels = [
                    ("pool", pool.name.as_str()),
                    ("family", &family),
                    ("phase", phase),
                ];
                to.add(&labels, count);
            }
        }
    }
}

/// Each instance.
fn instances(snapshot: &Snapshot, mut each: impl FnMut((&str, &str), &InstanceView)) {
    for instance in &snapshot.vrrp {
        each(("instance", &instance.name), instance);
    }
}

/// Each family of each instance.
fn vrrp(snapshot: &Snapshot, mut each: impl FnMut(&[(&str, &str)], &FamilyView)) {
    for instance in &snapshot.vrrp {
        for family in &instance.families {
            let word = family.family.to_string().to_lowercase();
            each(&[("instance", &instance.name), ("family", &word)], family);
        }
    }
}

fn vrrp_roles(snapshot: &Snapshot, to: &mut Samples) {
    vrrp(snapshot, |labels, family| {
        for role in Role::ALL.map(Role::name) {
            to.add(
                &[labels, &[("role", role)]].concat(),
                u8::from(family.role == role),
            );
        }
    });
}

fn vrrp_transitions(snapshot: &Snapshot, to: &mut Samples) {
    vrrp(snapshot, |labels, family| {
        for change in &family.transitions {
            let own = [("role", change.role.as_str()), ("reason", &change.reason)];
            to.add(&[labels, &own].concat(), change.count);
        }
    });
}

fn vrrp_refused(snapshot: &Snapshot, to: &mut Samples) {
    vrrp(snapshot, |labels, family| {
        for reason in Refusal::all().map(Refusal::name) {
            let count = family.refused.get(reason).copied().unwrap_or_default();
            to.add(&[labels, &[("reason", reason)]].concat(), count);
        }
    });
}

fn vrrp_errors(snapshot: &Snapshot, to: &mut Samples) {
    instances(snapshot, |label, instance| {
        for (what, count) in &instance.errors {
            to.add(&[label, ("what", what)], count);
        }
    });
}

fn vrrp_notify(snapshot: &Snapshot, to: &mut Samples) {
    for instance in &snapshot.vrrp {
        let outcomes = instance.notify.iter().flat_map(|notify| &notify.outcomes);
        for (outcome, count) in outcomes {
            let labels = [("instance", instance.name.as_str()), ("outcome", outcome)];
            to.add(&labels, count);
        }
    }
}

fn natives(snapshot: &Snapshot, to: &mut Samples) {
    for interface in &snapshot.interfaces {
        let native = match interface.mode {
            Mode::Native => 1,
            Mode::Generic => 0,
        };
        to.add(&[("interface", &interface.name)], native);
    }
}

/// A count each way; none out where replies don't pass here.
type BothWays = (u64, Option<u64>);

fn packets(counters: &CountersView) -> BothWays {
    (counters.packets_in, counters.packets_out)
}

fn bytes(counters: &CountersView) -> BothWays {
    (counters.bytes_in, counters.bytes_out)
}

impl Samples<'_> {
    fn directions(&mut self, labels: &[(&str, &str)], (inward, outward): BothWays) {
        self.add(&[labels, &[("direction", "in")]].concat(), inward);
        if let Some(outward) = outward {
            self.add(&[labels, &[("direction", "out")]].concat(), outward);
        }
    }

    fn results(&mut self, labels: &[(&str, &str)], check: &CheckView) {
        for (result, count) in [
            ("passed", check.passed),
            ("failed", check.failed.values().sum()),
            ("unknown", check.unknown.values().sum()),
        ] {
            self.add(&[labels, &[("result", result)]].concat(), count);
        }
    }

    fn reasons<'a>(
        &mut self,
        interface: &str,
        counts: impl IntoIterator<Item = (&'a String, &'a u64)>,
    ) {
        for (reason, count) in counts {
            self.add(&[("interface", interface), ("reason", reason)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sample;

    #[test]
    fn the_whole_page() {
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!("metrics", text(&sample::troubled()));
        });
    }

    #[test]
    fn labels_are_escaped() {
        let mut snapshot = sample::healthy();
        snapshot.agent.commit = "a\"b\\c\nd".into();
        assert!(text(&snapshot).contains(r#"commit="a\"b\\c\nd""#));
    }

    #[test]
    fn counters_and_only_they_end_in_total() {
        for family in FAMILIES {
            let counts = matches!(family.kind, Kind::Counter);
            assert_eq!(family.name.ends_with("_total"), counts, "{}", family.name);
        }
    }
}
