//! What the agent says of a host that is not ready for it, and how it gets on with the host's own
//! traffic.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use sluice_tests::{
    addresses::{BACKENDS, Family, SOURCE, TUNNEL, WEB, client},
    clients::LIMIT,
    http::{self, Request},
    scenario::Scenario,
    services::{PORT, SERVICES},
    surroundings::Surroundings,
};

use super::{binary, dropped, passed, scenario, send, surroundings};

fn start(surroundings: Surroundings) -> Scenario {
    let configuration = surroundings.configuration();
    let mut scenario = surroundings.start(&binary(), &configuration).unwrap();
    scenario.wait_until_unresolved(0).unwrap();
    scenario
}

/// All that the agent warns of, which its log has as well.
fn warnings(scenario: &mut Scenario) -> Vec<String> {
    let status = scenario.sluice().ask("/api/v1/status").unwrap();
    let warnings = status["agent"]["warnings"].as_array().unwrap();
    let warnings: Vec<_> = warnings
        .iter()
        .map(|w| w.as_str().unwrap().to_owned())
        .collect();
    let log = scenario.sluice().log();
    for warning in &warnings {
        assert!(log.contains(warning), "{warning:?} is not in\n{log}");
    }
    warnings
}

#[test]
fn a_host_that_is_ready_is_not_warned_of() {
    assert_eq!(warnings(&mut scenario("ready")), [""; 0]);
}

#[test]
fn addresses_that_do_not_reach_this_host_are_warned_of() {
    let surroundings = surroundings("foreign");
    let gateway = &surroundings.network.gateway;
    let away: [(IpAddr, u8, &str); 2] = [
        (TUNNEL.v4.into(), 32, "lo"),
        (SOURCE.v6.into(), 128, "eth1"),
    ];
    for (address, length, interface) in away {
        let change = format!("addr del {address}/{length} dev {interface}");
        gateway.ip(&change).unwrap();
    }
    let warnings = warnings(&mut start(surroundings));
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for (address, ..) in away {
        let named = |warning: &&String| warning.contains(&address.to_string());
        assert_eq!(warnings.iter().filter(named).count(), 1, "{warnings:#?}");
    }
}

#[test]
fn replies_need_forwarding_which_is_warned_of() {
    let surroundings = surroundings("forwarding");
    let gateway = &surroundings.network.gateway;
    for family in ["ipv4", "ipv6"] {
        gateway
            .sysctl(&format!("{family}/conf/eth1/forwarding"), "0")
            .unwrap();
    }
    let mut scenario = start(surroundings);
    let warnings = warnings(&mut scenario);
    for family in ["ipv4", "ipv6"] {
        let sysctl = format!("net.{family}.conf.eth1.forwarding=1");
        let named = |warning: &&String| warning.contains(&sysctl);
        assert_eq!(warnings.iter().filter(named).count(), 1, "{warnings:#?}");
    }
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for family in Family::ALL {
        let count = || dropped(&scenario, "eth1", "forwarding_disabled");
        let before = count();
        let connect = |to: IpAddr| {
            let to = SocketAddr::new(to, PORT);
            let limit = Duration::from_millis(500);
            let connect = || Ok(http::connect(Some(client(family, 0)), to, limit).is_ok());
            scenario.network().client.run(connect).unwrap()
        };
        assert!(!connect(WEB.of(family)));
        assert!(count() > before, "{family}");
        // No reply of ipip comes through here.
        assert!(connect(TUNNEL.of(family)));
    }
    for family in ["ipv4", "ipv6"] {
        let key = format!("{family}/conf/eth1/forwarding");
        scenario.network().gateway.sysctl(&key, "1").unwrap();
    }
    send(&scenario, 40);
}

#[test]
fn the_hosts_own_connections_from_a_source_address_work() {
    let scenario = scenario("own");
    let [full_nat, _] = &SERVICES;
    let done = AtomicBool::new(false);
    let own = || {
        let mut count = 0;
        while !done.load(Ordering::Relaxed) || count < 40 {
            for (backend, family) in BACKENDS.iter().zip(Family::ALL.into_iter().cycle()) {
                let to = SocketAddr::new(backend.of(family), full_nat.backend_port);
                let request = Request::get("/?number=7");
                let answer = http::exchange(Some(SOURCE.of(family)), to, &request, LIMIT)?;
                anyhow::ensure!(answer.status == 200, "{answer:?}");
                count += 1;
            }
        }
        Ok(count)
    };
    thread::scope(|scope| {
        let gateway = scope.spawn(|| scenario.network().gateway.run(own).unwrap());
        send(&scenario, 400);
        done.store(true, Ordering::Relaxed);
        assert!(gateway.join().unwrap() >= 40);
    });
    assert!(passed(&scenario, "eth1", "no_flow") >= 40.0);
}
