//! Hosts that take no packets for addresses that move: neighbours find the addresses, and what is routed by them is
//! forwarded.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use sluice_tests::{namespace::Namespace, wait};

use super::{
    ping,
    vrrp_site::{Agent, Lan},
};

const PORT: u16 = 4000;

const LIMIT: Duration = Duration::from_millis(500);

/// How soon a host may be found or be reached.
const PATIENCE: Duration = Duration::from_secs(20);

const MOVING: [&str; 2] = ["198.18.0.10", "fd00:18::10"];

/// What is reached by way of the addresses, on host 4.
const BEHIND: [&str; 2] = ["198.19.0.4", "fd00:19::4"];

fn lines(priority: u8, accept: &str) -> String {
    let [v4, v6] = MOVING;
    format!(
        "priority = {priority}\ninterval = \"500ms\"\naddresses = [\"{v4}/24\", \"{v6}/64\"]\n{accept}"
    )
}

fn connect(client: &Namespace, to: IpAddr) -> io::Result<TcpStream> {
    let to = SocketAddr::new(to, PORT);
    client
        .run(|| Ok(TcpStream::connect_timeout(&to, LIMIT)))
        .unwrap()
}

/// Listens at all addresses of a host.
fn listen(host: &Namespace) -> TcpListener {
    host.run(|| Ok(TcpListener::bind(("::", PORT))?)).unwrap()
}

/// Has hosts 1 and 2 forward what is routed by the addresses that move, and host 3 route that.
fn route(lan: &Lan) {
    for (family, (by, to)) in ["-4", "-6"].into_iter().zip(MOVING.into_iter().zip(BEHIND)) {
        let own = by.replace("10", "4");
        lan.host(3)
            .ip(&format!("{family} route add {to} via {by}"))
            .unwrap();
        lan.host(4).ip(&format!("address add {to} dev lo")).unwrap();
        for number in [1, 2] {
            let host = lan.host(number);
            host.ip(&format!("{family} route add {to} via {own}"))
                .unwrap();
        }
    }
    for number in [1, 2] {
        lan.host(number).forward_packets().unwrap();
    }
}

/// Whether host 3 finds the addresses at a host, gets through by them, and gets nowhere at them.
fn assert_only_forwards(lan: &Lan, number: u8) {
    let client = lan.host(3);
    for (moving, behind) in MOVING.into_iter().zip(BEHIND) {
        let (moving, behind): (IpAddr, IpAddr) = (moving.parse().unwrap(), behind.parse().unwrap());
        lan.ask_for(3, moving);
        let found = || Ok((lan.neighbour(3, moving) == Some(lan.mac(number))).then_some(()));
        let what = format!("{moving} to be found at host {number}");
        wait::until(&what, PATIENCE, found).unwrap();
        let any = match moving {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let through = || Ok(ping::exchange(client, any, behind, LIMIT).ok());
        wait::until("an answer from behind", PATIENCE, through).unwrap();
        assert!(
            ping::exchange(client, any, moving, LIMIT).is_err(),
            "{moving}"
        );
        assert!(connect(client, moving).is_err(), "{moving}");
        // Of its own addresses it is another matter.
        let own = moving.to_string().replace("10", &number.to_string());
        let own: IpAddr = own.parse().unwrap();
        ping::exchange(client, any, own, LIMIT).unwrap();
        connect(client, own).unwrap();
    }
}

fn tables(lan: &Lan, number: u8) -> String {
    let mut nft = lan.host(number).command("nft").unwrap();
    sluice_tests::command::read(nft.args(["list", "tables"])).unwrap()
}

/// They go after the addresses, by which a change of role is known.
fn wait_until_no_table(lan: &Lan, number: u8) {
    let none = || Ok(tables(lan, number).is_empty().then_some(()));
    wait::until("the tables to go", PATIENCE, none).unwrap();
}

#[test]
fn vrrp_a_host_that_does_not_accept_forwards() {
    let lan = Lan::set_up("vrrp-accept", 4);
    route(&lan);
    ping::allow(lan.host(3));
    let _listening = [1, 2].map(|number| listen(lan.host(number)));
    let mut first: Agent<'_> = lan.agent(1, &lines(150, "accept = false\n"));
    first.wait_until("master");
    let second = lan.agent(2, &lines(100, "accept = false\n"));
    second.wait_until("backup");
    assert_only_forwards(&lan, 1);
    wait_until_no_table(&lan, 2);

    first.sluice.kill().unwrap();
    second.wait_until("master");
    assert_only_forwards(&lan, 2);
    // What it left behind goes first.
    assert!(tables(&lan, 1).contains("sluice-vrrp-eth0-51"));
    first.start_again();
    first.wait_until("master");
    second.wait_until("backup");
    assert_only_forwards(&lan, 1);
    wait_until_no_table(&lan, 2);
    first.reload(&lines(150, "accept = true\n"));
    wait_until_no_table(&lan, 1);
    for moving in MOVING {
        connect(lan.host(3), moving.parse().unwrap()).unwrap();
    }
    first.sluice.stop().unwrap();
    wait_until_no_table(&lan, 1);
}
