//! Addresses that move between hosts that all run Sluice: who has them, who takes them over, and what is left behind.

use std::time::Duration;

use sluice_tests::wait;

use super::vrrp_site::{Agent, FLOATING, Lan};

/// Of both families. The interval is long enough for a machine that does much else: a host that is kept from sending
/// for three of them is missed.
fn lines(priority: u8, more: &str) -> String {
    let [v4, v6] = FLOATING;
    format!("priority = {priority}\ninterval = \"500ms\"\naddresses = [\"{v4}\", \"{v6}\"]\n{more}")
}

/// Two hosts, of which the first has the addresses.
fn pair<'a>(lan: &'a Lan, more: &str) -> (Agent<'a>, Agent<'a>) {
    let first = lan.agent(1, &lines(150, more));
    first.wait_until("master");
    let second = lan.agent(2, &lines(100, more));
    second.wait_until("backup");
    (first, second)
}

#[test]
fn vrrp_a_host_that_is_killed_is_missed_and_comes_back_clean() {
    let lan = Lan::set_up("vrrp-killed", 2);
    let (mut first, second) = pair(&lan, "");
    first.sluice.kill().unwrap();
    let took = second.wait_until("master");
    println!("killed: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(second.transitions("master", "silence"), 1);
    assert_eq!(second.transitions("master", "other_family"), 1);
    // Nobody was there to give them up.
    for address in FLOATING {
        assert!(lan.has(1, address));
    }
    first.start_again();
    let log = first.sluice.log();
    assert!(log.contains("198.18.0.10/24 on device"), "{log}");
    // And preempts.
    first.wait_until("master");
    second.wait_until("backup");
    assert_eq!(first.transitions("backup", "able"), 2);
    assert!(first.transitions("master", "preemption") >= 1);
    assert_eq!(
        second.transitions("backup", "higher_priority")
            + second.transitions("backup", "other_family"),
        2
    );
}

#[test]
fn vrrp_neighbours_are_told_where_the_addresses_are() {
    let lan = Lan::set_up("vrrp-told", 3);
    let (mut first, second) = pair(&lan, "");
    let addresses = FLOATING.map(|text| text.split('/').next().unwrap().parse().unwrap());
    let wait_until_at = |number: u8| {
        for address in addresses {
            let known = || {
                let known = lan.neighbour(3, address);
                Ok((known == Some(lan.mac(number))).then_some(()))
            };
            let what = format!("{address} to be known at host {number}");
            wait::until(&what, Duration::from_secs(20), known).unwrap();
        }
    };
    for address in addresses {
        lan.ask_for(3, address);
    }
    wait_until_at(1);
    // Nobody asks any more.
    first.sluice.kill().unwrap();
    second.wait_until("master");
    wait_until_at(2);
    first.start_again();
    first.wait_until("master");
    wait_until_at(1);
}

#[test]
fn vrrp_a_host_that_stops_resigns() {
    let lan = Lan::set_up("vrrp-stops", 2);
    let (mut first, second) = pair(&lan, "");
    first.sluice.stop().unwrap();
    for address in FLOATING {
        assert!(!lan.has(1, address));
    }
    second.wait_until("master");
    assert!(second.transitions("master", "resignation") >= 1);
    assert_eq!(second.transitions("master", "silence"), 0);
}

#[test]
fn vrrp_a_host_that_does_not_preempt_waits() {
    let lan = Lan::set_up("vrrp-waits", 2);
    let second = lan.agent(2, &lines(100, "preempt = false\n"));
    second.wait_until("master");
    let mut first = lan.agent(1, &lines(150, "preempt = false\n"));
    first.wait_until("backup");
    // As it hears who has them, for some seconds.
    let heard = || {
        first.instance().unwrap()["families"][0]["received"]
            .as_u64()
            .unwrap()
    };
    let begun = heard();
    let long = || Ok((heard() > begun + 8).then_some(()));
    wait::until("adverts", Duration::from_secs(20), long).unwrap();
    first.wait_until("backup");
    drop(second);
    first.wait_until("master");
    first.sluice.stop().unwrap();
}

#[test]
fn vrrp_hosts_may_be_named() {
    let lan = Lan::set_up("vrrp-named", 2);
    let peers =
        |other: u8| format!("unicast_peers = [\"198.18.0.{other}\", \"fd00:18::{other}\"]\n");
    let mut first = lan.agent(1, &lines(150, &peers(2)));
    first.wait_until("master");
    let second = lan.agent(2, &lines(100, &peers(1)));
    second.wait_until("backup");
    let heard = || {
        let peer = second.instance()?["families"][1]["peer"]["address"].clone();
        Ok((peer == "fd00:18::1").then_some(()))
    };
    wait::until("an advert of IPv6", Duration::from_secs(20), heard).unwrap();
    first.sluice.kill().unwrap();
    second.wait_until("master");
    first.start_again();
    first.wait_until("master");
    second.wait_until("backup");
}

#[test]
fn vrrp_adverts_pass_the_packet_program() {
    let lan = Lan::set_up("vrrp-gateways", 2);
    let mut first = lan.gateway(1, &lines(150, ""));
    first.wait_until("master");
    let second = lan.gateway(2, &lines(100, ""));
    second.wait_until("backup");
    first.sluice.stop().unwrap();
    second.wait_until("master");
    assert!(second.transitions("master", "resignation") >= 1);
    first.start_again();
    first.wait_until("master");
    second.wait_until("backup");
}

#[test]
fn vrrp_a_cable_that_is_cut_is_a_fault() {
    let lan = Lan::set_up("vrrp-cut", 2);
    let (first, second) = pair(&lan, "");
    lan.host(1).ip("link set eth0 down").unwrap();
    second.wait_until("master");
    first.wait_until("fault");
    let fault = first.instance().unwrap()["fault"].clone();
    assert_eq!(fault, "the interface is down");
    lan.host(1).ip("link set eth0 up").unwrap();
    // The kernel has removed its address of IPv6 with the link.
    lan.host(1)
        .ip("address replace fd00:18::1/64 dev eth0 nodad")
        .unwrap();
    first.wait_until("master");
    second.wait_until("backup");
}

#[test]
fn vrrp_a_reload_changes_no_role_without_need() {
    let lan = Lan::set_up("vrrp-reload", 1);
    let agent = lan.agent(1, &lines(150, ""));
    agent.wait_until("master");
    agent.reload(&lines(150, "refresh = \"5s\"\n"));
    let more = lines(140, "").replace("[\"198.18.0.10", "[\"198.18.0.11/24\", \"198.18.0.10");
    agent.reload(&more);
    agent.wait_until("master");
    assert!(lan.has(1, "198.18.0.11/24"));
    assert_eq!(agent.transitions("backup", "able"), 2);
    // What is named no more goes.
    agent.reload(&lines(150, "").replace("interval = \"500ms\"", "interval = \"200ms\""));
    lan.wait_until_has(1, "198.18.0.11/24", false).unwrap();
    agent.wait_until("master");
    assert_eq!(agent.transitions("backup", "able"), 2);
}

#[test]
fn vrrp_an_address_that_others_remove_is_put_back() {
    let lan = Lan::set_up("vrrp-removed", 2);
    let (first, second) = pair(&lan, "");
    let capture = lan.capture(1);
    for address in FLOATING {
        let remove = format!("address delete {address} dev eth0");
        lan.host(1).ip(&remove).unwrap();
        lan.wait_until_has(1, address, true).unwrap();
        let log = first.sluice.log();
        let said = format!("{address} was removed by others, and is put back");
        assert!(log.contains(&said), "{log}");
    }
    // It announces before it sends another.
    let heard = || second.instance().unwrap()["families"][0]["received"].as_u64();
    let begun = heard().unwrap();
    let another = || Ok((heard().unwrap() > begun + 1).then_some(()));
    wait::until("an advert", Duration::from_secs(20), another).unwrap();
    // Neighbours may have looked for them meanwhile.
    let announced = capture.end().announced;
    for address in FLOATING {
        let address = address.split('/').next().unwrap().parse().unwrap();
        assert!(announced.contains(&address), "{announced:?}");
    }
    // It has been master all the time.
    assert_eq!(first.transitions("backup", "able"), 2);
    second.wait_until("backup");
    assert_eq!(second.transitions("master", "silence"), 0);
}

/// Host 1 has these addresses besides, and its adverts come from them.
fn comes_from(title: &str, others: [&str; 2], lines_of: impl Fn(u8) -> String) {
    let lan = Lan::set_up(title, 2);
    for address in others
        .into_iter()
        .zip([24, 64])
        .map(|(ip, length)| format!("{ip}/{length}"))
    {
        let add = format!("address add {address} dev eth0 nodad");
        lan.host(1).ip(&add).unwrap();
    }
    let first = lan.agent(1, &lines_of(1));
    first.wait_until("master");
    let second = lan.agent(2, &lines_of(2));
    second.wait_until("backup");
    for (family, other) in others.into_iter().enumerate() {
        let heard = || {
            let peer = second.instance()?["families"][family]["peer"]["address"].clone();
            Ok((peer == other).then_some(()))
        };
        wait::until(
            &format!("an advert from {other}"),
            Duration::from_secs(20),
            heard,
        )
        .unwrap();
    }
    // Which it has no more.
    let remove = format!("address delete {}/24 dev eth0", others[0]);
    lan.host(1).ip(&remove).unwrap();
    second.wait_until("master");
    first.wait_until("fault");
    let fault = first.instance().unwrap()["fault"].clone();
    let expected = format!(
        "the interface does not have {}, from which adverts are to come",
        others[0]
    );
    assert_eq!(fault, expected.as_str());
}

#[test]
fn vrrp_adverts_to_the_group_come_from_where_they_are_to() {
    comes_from(
        "vrrp-source",
        ["198.18.0.77", "fe80::77"],
        |number| match number {
            1 => lines(150, "unicast_source = [\"198.18.0.77\", \"fe80::77\"]\n"),
            _ => lines(100, ""),
        },
    );
}

#[test]
fn vrrp_adverts_to_hosts_come_from_where_they_are_to() {
    comes_from(
        "vrrp-source-hosts",
        ["198.18.0.77", "fd00:18::77"],
        |number| match number {
            1 => lines(
                150,
                "unicast_source = [\"198.18.0.77\", \"fd00:18::77\"]\n\
             unicast_peers = [\"198.18.0.2\", \"fd00:18::2\"]\n",
            ),
            _ => lines(100, "unicast_peers = [\"198.18.0.77\", \"fd00:18::77\"]\n"),
        },
    );
}
