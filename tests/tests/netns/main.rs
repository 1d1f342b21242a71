//! Ring 3: real clients and real servers with Sluice between them, in network namespaces. Needs
//! root and nginx; without them the tests fail, they are not skipped.

mod agent_access;
mod agent_crossing;
mod agent_drain;
mod agent_health;
mod agent_hops;
mod agent_host;
mod agent_icmp;
mod agent_interfaces;
mod agent_jumbo;
mod agent_nat;
mod agent_older;
mod agent_passive;
mod agent_pins;
mod agent_plan;
mod agent_pools;
mod agent_probes;
mod agent_quic;
mod agent_ranges;
mod agent_reload;
mod agent_removed;
mod agent_schedulers;
mod agent_start;
mod conservation;
mod failover;
mod live;
mod net;
mod pair;
mod ping;
mod receiver;
mod restart;
mod site;
mod vrrp;
mod vrrp_accept;
mod vrrp_backup;
mod vrrp_capture;
mod vrrp_keepalived;
mod vrrp_notify;
mod vrrp_postgres;
mod vrrp_site;
mod vrrp_tracking;

use std::{path::PathBuf, process::Command};

use sluice_tests::{
    addresses::Family, clients::Answer, progress::Progress, scenario::Scenario, services::SERVICES,
    sluice, surroundings::Surroundings,
};

fn binary() -> PathBuf {
    sluice::binary().unwrap()
}

fn scenario(title: &str) -> Scenario {
    Scenario::set_up(&format!("sluice-{title}"), &binary(), &Progress::new()).unwrap()
}

/// Everything but the agent.
fn surroundings(title: &str) -> Surroundings {
    Surroundings::set_up(&format!("sluice-{title}"), &Progress::new()).unwrap()
}

/// Sends requests that must all be answered rightly.
fn send(scenario: &Scenario, count: u32) -> Vec<Answer> {
    let answers = scenario.send(count, &Progress::new()).unwrap();
    let failure = |Answer { order, result }: &Answer| {
        let error = result.as_ref().err()?;
        Some(format!(
            "{} from {}: {error}",
            order.service.name, order.from
        ))
    };
    let failed: Vec<_> = answers.iter().filter_map(failure).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", scenario.logs());
    assert_eq!(answers.len(), count as usize);
    answers
}

/// Packets from an interface that were answered for a reason.
fn answered(scenario: &Scenario, interface: &str, reason: &str) -> f64 {
    let family = "sluice_interface_answered_packets_total";
    counted(scenario, family, interface, reason)
}

/// Packets from an interface that were dropped for a reason.
fn dropped(scenario: &Scenario, interface: &str, reason: &str) -> f64 {
    let family = "sluice_interface_dropped_packets_total";
    counted(scenario, family, interface, reason)
}

/// Packets from an interface that were left to the kernel for a reason.
fn passed(scenario: &Scenario, interface: &str, reason: &str) -> f64 {
    let family = "sluice_interface_passed_packets_total";
    counted(scenario, family, interface, reason)
}

fn counted(scenario: &Scenario, family: &str, interface: &str, reason: &str) -> f64 {
    let labels = [("interface", interface), ("reason", reason)];
    let metrics = scenario.scrape().unwrap();
    metrics.sum(family, &labels).unwrap()
}

#[test]
fn requests_are_balanced_in_every_mode_and_family() {
    let mut scenario = scenario("balance");
    let answers = scenario.send(400, &Progress::new()).unwrap();
    let report = scenario.report(400, answers).unwrap();
    let problems = report.problems();
    assert!(
        problems.is_empty(),
        "{problems:#?}\n{report}\n{}",
        scenario.logs()
    );
    for backend in 0..3 {
        let outcomes = scenario.tunnel_outcomes(backend).unwrap();
        assert!(outcomes.decapsulated > 0, "{outcomes:?}");
        assert_eq!(
            (outcomes.refused, outcomes.malformed),
            (0, 0),
            "{outcomes:?}"
        );
    }
    scenario.sluice().stop().unwrap();
}

#[test]
fn uploads_arrive_whole_in_every_mode_and_family() {
    let scenario = scenario("upload");
    for service in &SERVICES {
        for family in Family::ALL {
            let uploaded = scenario.upload(service, family, 100_000);
            assert!(
                uploaded.is_ok(),
                "{:#}\n{}",
                uploaded.unwrap_err(),
                scenario.logs()
            );
        }
    }
}

#[test]
fn without_the_data_plane_nothing_is_answered() {
    let mut scenario = scenario("killed");
    scenario.sluice().stop().unwrap();
    let pin = scenario.stage().pin();
    sluice::detach(&binary(), &scenario.network().gateway, &pin).unwrap();
    let answers = scenario.send(200, &Progress::new()).unwrap();
    assert!(
        answers.iter().all(|answer| answer.result.is_err()),
        "{answers:#?}"
    );
    let problems = scenario.report(200, answers).unwrap().problems();
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("requests failed")),
        "{problems:?}"
    );
}

/// The demo as a user starts it, the agent killed before the requests: it must not end well.
#[test]
fn the_demo_fails_without_the_data_plane() {
    let ended = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--requests", "200", "--detach", "--sluice"])
        .arg(binary())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("requests failed"), "{said}");
}
