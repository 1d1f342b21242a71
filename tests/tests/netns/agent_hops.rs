//! Next hops while the agent runs: backends that come late, neighbours that get another card.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use sluice_tests::{
    addresses::{Family, GATEWAY_BACK, WEB, client},
    clients::{Answer, LIMIT},
    http::{self, Request},
    link::End,
    report::Report,
    scenario::Scenario,
    services::PORT,
    wait,
};

use super::{binary, scenario, send, surroundings};

const PATIENCE: Duration = Duration::from_secs(20);

/// Requests of which every backend gets enough for a judgement of its share.
const MANY: u32 = 400;

/// A scenario where the gateway has never heard of the second backend, as far as that goes.
fn without_second_backend(test: &str) -> Scenario {
    let surroundings = surroundings(test);
    surroundings.network.unplug(1).unwrap();
    surroundings.network.gateway.ip("neigh flush all").unwrap();
    let configuration = surroundings.configuration();
    let mut scenario = surroundings.start(&binary(), &configuration).unwrap();
    scenario.wait_until_unresolved(2).unwrap();
    let others = BTreeSet::from(["tunnel1", "tunnel3", "web1", "web3"]);
    assert_eq!(answered_by(&send(&scenario, MANY)), others);
    scenario
}

/// Who answered.
fn answered_by(answers: &[Answer]) -> BTreeSet<&'static str> {
    answers
        .iter()
        .flat_map(|answer| answer.result.clone())
        .collect()
}

/// Sends requests, of which every backend must get its share.
fn assert_fair(scenario: &Scenario) {
    let unfair = Report::new(MANY, send(scenario, MANY)).unfair_shares();
    assert!(unfair.is_empty(), "{unfair:#?}");
}

/// Gives an interface another address, which it announces as failovers do.
fn change_card(end: End<'_>, mac: &str) {
    let End {
        namespace,
        interface,
    } = end;
    for key in [
        format!("ipv4/conf/{interface}/arp_notify"),
        format!("ipv6/conf/{interface}/ndisc_notify"),
    ] {
        namespace.sysctl(&key, "1").unwrap();
    }
    namespace
        .ip(&format!("link set {interface} address {mac}"))
        .unwrap();
}

/// Open connections to the full-nat service, over both families.
fn connections(scenario: &Scenario) -> Vec<TcpStream> {
    let connect = |family| {
        let to = SocketAddr::new(WEB.of(family), PORT);
        let connect = || Ok(http::connect(Some(client(family, 7)), to, LIMIT)?);
        scenario.network().client.run(connect).unwrap()
    };
    // Enough for every backend to have some.
    (0..10).flat_map(|_| Family::ALL.map(connect)).collect()
}

fn assert_alive(connections: Vec<TcpStream>) {
    for connection in connections {
        let response = http::exchange_over(connection, "sluice", &Request::get("/?number=1"));
        assert_eq!(response.unwrap().status, 200);
    }
}

/// Where the agent sends packets for each of a backend's addresses, in all pools.
fn macs(scenario: &mut Scenario, backend: usize) -> Vec<String> {
    let answer = scenario.sluice().ask("/api/v1/backends").unwrap();
    let pools = answer["pools"].as_array().unwrap();
    let backends = pools.iter().map(|pool| &pool["backends"][backend]);
    let addresses = backends.flat_map(|b| b["addresses"].as_array().unwrap());
    let mac = |address: &Value| address["next_hop"]["mac"].as_str().unwrap().to_owned();
    addresses.map(mac).collect()
}

#[test]
fn a_silent_backend_gets_its_share_once_it_can_be_reached() {
    let mut scenario = without_second_backend("late");
    // The kernel asks again by itself, every five seconds.
    scenario.network().plug_in(1).unwrap();
    scenario.wait_until_unresolved(0).unwrap();
    assert_fair(&scenario);
}

#[test]
fn a_backend_that_speaks_gets_its_share_at_once() {
    let mut scenario = without_second_backend("speaks");
    let network = scenario.network();
    network.plug_in(1).unwrap();
    for family in Family::ALL {
        let to = SocketAddr::new(GATEWAY_BACK.of(family), 9);
        let connect = || Ok(http::connect(None, to, LIMIT));
        let answer = network.backends[1].run(connect).unwrap();
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    scenario.wait_until_unresolved(0).unwrap();
    assert_fair(&scenario);
}

#[test]
fn a_backends_new_card_is_followed() {
    const NEW: &str = "02:00:00:00:00:77";
    let mut scenario = scenario("card");
    let connections = connections(&scenario);
    let card = End {
        namespace: &scenario.network().backends[0],
        interface: "eth0",
    };
    change_card(card, NEW);
    wait::until("the new card's address", PATIENCE, || {
        let macs = macs(&mut scenario, 0);
        Ok(macs.iter().all(|mac| mac == NEW).then_some(()))
    })
    .unwrap();
    assert_alive(connections);
    assert_fair(&scenario);
}

#[test]
fn the_routers_new_card_is_followed() {
    let scenario = scenario("router");
    let connections = connections(&scenario);
    let card = End {
        namespace: &scenario.network().router,
        interface: "front",
    };
    change_card(card, "02:00:00:00:00:88");
    assert_alive(connections);
    send(&scenario, 100);
}
