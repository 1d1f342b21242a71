//! Interfaces: without a driver's help, with debug lines, with too small an MTU; and two agents.

use std::{io::Write as _, net::SocketAddr, thread, time::Duration};

use sluice_tests::{
    addresses::{Dual, Family, GATEWAY_BACK, GATEWAY_FRONT, ROUTER_FRONT, SOURCE, TUNNEL, client},
    clients::LIMIT,
    http,
    link::{End, route},
    namespace::Namespace,
    scenario::Scenario,
    services::{INTERFACES, PORT, SERVICES},
    wait,
};

use super::{answered, binary, scenario, send, surroundings};

/// Puts a port under a bridge, which takes over its addresses.
pub(super) fn bridge(
    gateway: &Namespace,
    port: &str,
    bridge: &str,
    addresses: &[(Dual, (u8, u8))],
) {
    for arguments in [
        format!("link add {bridge} type bridge mcast_snooping 0 stp_state 0 forward_delay 0"),
        format!("addr flush dev {port}"),
        format!("-6 route flush dev {port}"),
        format!("link set {port} master {bridge}"),
        format!("link set {bridge} up"),
    ] {
        gateway.ip(&arguments).unwrap();
    }
    let end = End {
        namespace: gateway,
        interface: bridge,
    };
    for (dual, prefixes) in addresses {
        end.add_addresses(*dual, *prefixes).unwrap();
    }
}

/// A scenario where `front` and `back` are the gateway's interfaces; bridges, if they are called br…
fn bridged(test: &str, front: &str, back: &str) -> Scenario {
    let surroundings = surroundings(test);
    let gateway = &surroundings.network.gateway;
    if front != "eth0" {
        bridge(gateway, "eth0", front, &[(GATEWAY_FRONT, (24, 64))]);
        route(gateway, ("default", "default"), ROUTER_FRONT).unwrap();
    }
    if back != "eth1" {
        let addresses = [(GATEWAY_BACK, (24, 64)), (SOURCE, (32, 128))];
        bridge(gateway, "eth1", back, &addresses);
    }
    let interfaces = format!("[{front:?}, {back:?}]");
    let configuration = surroundings.configuration().with("interfaces", interfaces);
    let mut scenario = surroundings.start(&binary(), &configuration).unwrap();
    scenario.wait_until_unresolved(0).unwrap();
    scenario
}

/// Every mode and family works, uploads included.
fn assert_works(scenario: &Scenario) {
    send(scenario, 100);
    for service in &SERVICES {
        for family in Family::ALL {
            let uploaded = scenario.upload(service, family, 100_000);
            assert!(uploaded.is_ok(), "{:#}", uploaded.unwrap_err());
        }
    }
}

/// The interface is served in the stack, and log, status and metrics say so, and why: `why` is in
/// the reason.
fn assert_generic(scenario: &mut Scenario, interface: &str, why: &str) {
    let metrics = scenario.scrape().unwrap();
    let labels = [("interface", interface)];
    assert_eq!(metrics.sum("sluice_interface_native", &labels), Some(0.0));
    let status = scenario.sluice().ask("/api/v1/status").unwrap();
    let interfaces = status["interfaces"].as_array().unwrap();
    let mut named = interfaces.iter().filter(|i| i["name"] == interface);
    let shown = named.next().unwrap();
    assert_eq!(shown["mode"], "generic");
    let reason = shown["mode_reason"].as_str().unwrap();
    assert!(reason.contains(why), "{reason}");
    let line = format!("attached to {interface}, in the stack (generic: slower), since: {reason}");
    scenario.sluice().wait_until_logged(&line).unwrap();
}

#[test]
fn drivers_are_used_where_they_can() {
    let scenario = scenario("native");
    let metrics = scenario.scrape().unwrap();
    for interface in INTERFACES {
        let labels = [("interface", interface)];
        assert_eq!(metrics.sum("sluice_interface_native", &labels), Some(1.0));
    }
}

#[test]
fn devices_without_driver_support_are_served_in_the_stack() {
    let mut scenario = bridged("generic", "br0", "br1");
    assert_works(&scenario);
    for interface in ["br0", "br1"] {
        assert_generic(&mut scenario, interface, "not supported");
    }
}

// A driver can't redirect to a device without driver support, so one such device is enough to need
// the stack on all.

#[test]
fn one_device_without_driver_support_in_front() {
    let mut scenario = bridged("generic-front", "br0", "eth1");
    assert_works(&scenario);
    assert_generic(&mut scenario, "br0", "not supported");
    assert_generic(&mut scenario, "eth1", "br0");
}

#[test]
fn one_device_without_driver_support_in_the_back() {
    let mut scenario = bridged("generic-back", "eth0", "br1");
    assert_works(&scenario);
    assert_generic(&mut scenario, "br1", "not supported");
    assert_generic(&mut scenario, "eth0", "br1");
}

#[test]
fn the_programs_own_lines_reach_the_log() {
    let surroundings = surroundings("debug");
    let configuration = surroundings.configuration().with("debug", "true");
    let mut scenario = surroundings.start(&binary(), &configuration).unwrap();
    scenario.wait_until_unresolved(0).unwrap();
    send(&scenario, 20);
    let index = || Ok(nix::net::if_::if_nametoindex("eth0")?);
    let index = scenario.network().gateway.run(index).unwrap();
    let line = format!("packet from interface {index}: forwarded");
    scenario.sluice().wait_until_logged(&line).unwrap();
}

#[test]
fn without_debug_the_program_says_nothing() {
    let mut scenario = scenario("quiet");
    send(&scenario, 20);
    scenario.sluice().stop().unwrap();
    let log = scenario.sluice().log();
    assert!(!log.contains("packet from interface"), "{log}");
}

#[test]
fn clients_are_told_what_does_not_fit_the_back_network() {
    let surroundings = surroundings("mtu");
    let gateway = &surroundings.network.gateway;
    gateway.ip("link set eth1 mtu 1500").unwrap();
    let configuration = surroundings.configuration();
    let mut scenario = surroundings.start(&binary(), &configuration).unwrap();
    scenario.wait_until_unresolved(0).unwrap();
    send(&scenario, 40);
    let [full_nat, _] = &SERVICES;
    for family in Family::ALL {
        scenario.upload(full_nat, family, 100_000).unwrap();
    }
    let too_big = || answered(&scenario, "eth0", "told_too_big");
    assert_eq!(too_big(), 0.0);
    for family in Family::ALL {
        let before = too_big();
        let to = SocketAddr::new(TUNNEL.of(family), PORT);
        let client = || {
            let mut stream = http::connect(Some(client(family, 0)), to, LIMIT)?;
            stream.write_all(&[b'x'; 4000])?;
            Ok(stream)
        };
        let _open = scenario.network().client.run(client).unwrap();
        wait::until("a packet too big", Duration::from_secs(5), || {
            Ok((too_big() > before).then_some(()))
        })
        .unwrap();
    }
    send(&scenario, 40);
}

#[test]
fn two_agents_of_one_host_do_not_meet() {
    let first = || scenario("first");
    let second = || scenario("second");
    let work = |set_up: fn() -> Scenario| {
        let mut scenario = set_up();
        let answers = send(&scenario, 400);
        let problems = scenario.report(400, answers).unwrap().problems();
        assert!(problems.is_empty(), "{problems:#?}\n{}", scenario.logs());
        scenario.sluice().stop().unwrap();
    };
    thread::scope(|scope| {
        let other = scope.spawn(move || work(second));
        work(first);
        other.join().unwrap();
    });
}
