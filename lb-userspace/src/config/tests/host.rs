//! What this host has to say, from facts that are made up.

use super::{GOOD, assert_snapshot, load_text};
use crate::config::{
    Palette, Severity,
    host::{self, HostFacts, Prefix},
    render,
};
use crate::model::Family;

/// A host that the good file fits.
fn ready() -> HostFacts {
    HostFacts {
        interfaces: ["eth0".to_owned(), "lo".to_owned()].into(),
        addresses: ["198.18.0.10".parse().unwrap(), "127.0.0.1".parse().unwrap()].into(),
        local_routes: vec![prefix("198.18.1.252", 30)],
        ..HostFacts::default()
    }
}

fn prefix(address: &str, length: u8) -> Prefix {
    Prefix {
        address: address.parse().unwrap(),
        length,
    }
}

fn printed(facts: &HostFacts, severity: Severity) -> String {
    let loaded = load_text(GOOD).unwrap();
    render(
        &host::check(&loaded.config, &loaded.places, facts, severity),
        Palette::Plain,
    )
}

#[test]
fn a_host_that_is_ready_has_nothing_to_say() {
    assert_eq!(printed(&ready(), Severity::Error), "");
}

#[test]
fn another_host_says_what_it_lacks() {
    let facts = HostFacts {
        interfaces: ["eth1".to_owned()].into(),
        ..HostFacts::default()
    };
    assert_snapshot("host_lacks", &printed(&facts, Severity::Warning));
}

#[test]
fn what_keeps_it_from_running_can_be_an_error() {
    let mut facts = ready();
    facts.interfaces.remove("eth0");
    facts.addresses.insert("198.18.1.11".parse().unwrap());
    assert_snapshot("host_refuses", &printed(&facts, Severity::Error));
}

#[test]
fn a_host_that_does_not_forward_loses_replies() {
    let mut facts = ready();
    facts.not_forwarding = [("eth0".to_owned(), Family::Ipv4)].into();
    facts.not_forwarding.insert(("lo".to_owned(), Family::Ipv4));
    assert_snapshot("host_does_not_forward", &printed(&facts, Severity::Error));
}

#[test]
fn prefixes_know_what_they_contain() {
    let holds = |at: &str, length, ip: &str| prefix(at, length).contains(ip.parse().unwrap());
    assert!(holds("10.0.0.0", 8, "10.255.0.1"));
    assert!(!holds("10.0.0.0", 8, "11.0.0.1"));
    assert!(holds("10.0.0.1", 32, "10.0.0.1"));
    assert!(!holds("10.0.0.1", 32, "10.0.0.2"));
    assert!(holds("0.0.0.0", 0, "203.0.113.1"));
    assert!(holds("::", 0, "fd00::1"));
    assert!(!holds("::", 0, "10.0.0.1"));
    assert!(holds("fd00::", 64, "fd00::ffff"));
    assert!(!holds("fd00::", 64, "fd00:0:0:1::1"));
}
