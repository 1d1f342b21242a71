//! The agent as a process: how it starts and stops, and what it leaves behind when it can't start.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use nix::sys::signal::Signal;
use sluice_tests::{
    link::End,
    namespace::Namespace,
    network::Network,
    programs::{self, Pass},
    scenario::Scenario,
    services::{Configuration, INTERFACES},
    sluice::Sluice,
    stage::Stage,
};

use super::{binary, scenario, send};

/// The network alone, where nothing will be sent.
fn network(test: &str) -> (Network, Stage) {
    let stage = Stage::set_up(&format!("sluice-{test}")).unwrap();
    (Network::set_up(&stage).unwrap(), stage)
}

fn configuration(stage: &Stage) -> Configuration {
    Configuration::new(stage.folder(), &stage.bpf())
}

fn end<'a>(gateway: &'a Namespace, interface: &'a str) -> End<'a> {
    End {
        namespace: gateway,
        interface,
    }
}

/// The interfaces of the gateway that an XDP program runs on.
fn attached(gateway: &Namespace) -> Vec<String> {
    programs::interfaces_with_any(gateway).unwrap()
}

/// A start that must fail, and leave the host as it was. Returns what it said.
fn refused(gateway: &Namespace, configuration: &Configuration) -> String {
    let before = attached(gateway);
    let mut sluice = Sluice::start(&binary(), gateway, configuration).unwrap();
    let log = sluice.expect_refusal().unwrap();
    assert_eq!(attached(gateway), before, "{log}");
    assert!(!sluice.control().exists());
    let managed = gateway.read_ip("neigh show proto 83").unwrap();
    assert!(!managed.contains("managed"), "{managed}");
    log
}

fn assert_tells(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "no {part:?} in:\n{log}");
    }
}

/// Stops the agent by `stop`, looks whether packets go on without it, and starts another, which has nothing to
/// write.
fn stops_and_starts_again(test: &str, stop: impl FnOnce(&mut Sluice)) -> Scenario {
    let mut scenario = scenario(test);
    let configuration = configuration(scenario.stage());
    send(&scenario, 40);
    stop(scenario.sluice());
    assert_eq!(attached(&scenario.network().gateway), INTERFACES);
    send(&scenario, 40);
    scenario.restart(&binary(), &configuration).unwrap();
    let log = scenario.sluice().log();
    assert_tells(
        &log,
        &["eth0: still attached to", "eth1: still", "operations=0"],
    );
    assert!(!log.contains("WARN"), "{log}");
    send(&scenario, 40);
    scenario
}

/// Stops by `signal`; nothing may be left.
fn stops_cleanly(test: &str, signal: Signal) {
    let mut scenario = stops_and_starts_again(test, |sluice| {
        let control = sluice.control();
        assert!(control.exists());
        sluice.stop_with(signal).unwrap();
        assert!(!control.exists());
    });
    scenario.sluice().stop_with(signal).unwrap();
    let left = scenario.network().gateway.read_ip("neigh show").unwrap();
    assert!(!left.contains("managed"), "{left}");
}

#[test]
fn sigterm_ends_it_cleanly() {
    stops_cleanly("sigterm", Signal::SIGTERM);
}

#[test]
fn sigint_ends_it_cleanly() {
    stops_cleanly("sigint", Signal::SIGINT);
}

#[test]
fn a_killed_agent_is_not_in_the_way_of_the_next() {
    stops_and_starts_again("sigkill", |sluice| {
        sluice.kill().unwrap();
        assert!(sluice.control().exists());
    });
}

#[test]
fn a_missing_interface_keeps_it_from_starting() {
    let (network, stage) = network("no-interface");
    let configuration = configuration(&stage).with("interfaces", "[\"eth0\", \"eth7\"]");
    let log = refused(&network.gateway, &configuration);
    let place = format!("{}/sluice.toml:", stage.folder().display());
    assert_tells(&log, &["no interface `eth7`", &place, "`eth1`"]);
}

#[test]
fn another_program_on_an_interface_keeps_it_from_starting() {
    let (network, stage) = network("busy");
    let mut pass = Pass::load().unwrap();
    // The second interface: the first was taken already when this is found out.
    pass.attach(end(&network.gateway, "eth1")).unwrap();
    let log = refused(&network.gateway, &configuration(&stage));
    assert_tells(
        &log,
        &["eth1", "another XDP program", "bpftool net show dev eth1"],
    );
    drop(pass);
    let mut sluice = Sluice::start(&binary(), &network.gateway, &configuration(&stage)).unwrap();
    sluice.wait_until_ready(&network.gateway).unwrap();
}

#[test]
fn a_taken_stats_address_keeps_it_from_starting() {
    let (network, stage) = network("no-port");
    let bind = || Ok(TcpListener::bind("127.0.0.1:9633")?);
    let _holder = network.gateway.run(bind).unwrap();
    let log = refused(&network.gateway, &configuration(&stage));
    assert_tells(&log, &["127.0.0.1:9633", "in use"]);
}

#[test]
fn another_agents_control_socket_is_left_alone() {
    let mut first = scenario("taken");
    let elsewhere = Namespace::create(&first.stage().name("elsewhere")).unwrap();
    elsewhere.ip("link add eth0 type bridge").unwrap();
    let control = first.sluice().control();
    let folder = first.stage().folder().join("second");
    fs::create_dir(&folder).unwrap();
    let second = Configuration::new(&folder, &first.stage().bpf())
        .with("interfaces", "[\"eth0\"]")
        .with("pin", format!("{:?}", first.stage().bpf().join("second")))
        .with("control", format!("{control:?}"));
    let log = refused(&elsewhere, &second);
    assert_tells(
        &log,
        &["an agent answers at", &control.display().to_string()],
    );
    assert!(first.sluice().ask("/api/v1/status").is_ok());
    send(&first, 40);
}

#[test]
fn the_seed_is_made_once_and_kept_secret() {
    let (network, stage) = network("seed");
    let configuration = configuration(&stage);
    let file = stage.folder().join("state/seed");
    assert!(!file.exists());
    let run = || {
        let mut sluice = Sluice::start(&binary(), &network.gateway, &configuration).unwrap();
        sluice.wait_until_ready(&network.gateway).unwrap();
        let status = sluice.ask("/api/v1/status").unwrap();
        sluice.stop().unwrap();
        let seed = fs::read_to_string(&file).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        for shown in [status.to_string(), sluice.log()] {
            assert!(!shown.contains(seed.trim()), "{shown}");
        }
        let fingerprint = status["agent"]["seed_fingerprint"].as_str().unwrap();
        (seed, fingerprint.to_owned())
    };
    let (seed, fingerprint) = run();
    assert_eq!(seed.trim().len(), 32);
    assert_eq!(run(), (seed.clone(), fingerprint.clone()));
    fs::remove_file(&file).unwrap();
    let (other_seed, other_fingerprint) = run();
    assert_ne!(other_seed, seed);
    assert_ne!(other_fingerprint, fingerprint);
}
