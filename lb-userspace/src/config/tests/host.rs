//! What this host has to say, from facts that are made up.

use super::{GOOD, assert_snapshot, load_text};
use crate::config::{
    Palette, Severity,
    host::{self, Bottom, HostFacts, Prefix, VlanDevice},
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
fn probes_are_sent_from_no_address_of_this_host() {
    let text = GOOD
        .replace("[agent]", "[agent]\nprobe_sources = [\"198.18.1.250\"]")
        .replace(
            "weight = 50",
            "[[pool.check]]\ntype = \"tcp\"\nthrough = \"service\"",
        );
    let loaded = load_text(&text).unwrap();
    let said = |facts: &HostFacts| {
        let found = host::check(&loaded.config, &loaded.places, facts, Severity::Error);
        render(&found, Palette::Plain)
    };
    assert_eq!(said(&ready()), "");
    let mut facts = ready();
    facts.addresses.insert("198.18.1.250".parse().unwrap());
    assert_snapshot("host_probe_sources", &said(&facts));
}

#[test]
fn a_host_that_does_not_forward_loses_replies() {
    let mut facts = ready();
    facts.not_forwarding = [("eth0".to_owned(), Family::Ipv4)].into();
    facts.not_forwarding.insert(("lo".to_owned(), Family::Ipv4));
    assert_snapshot("host_does_not_forward", &printed(&facts, Severity::Error));
}

#[test]
fn a_dot_in_a_name_is_no_dot_in_a_sysctl() {
    let text = GOOD.replace("eth0", "eth0.100");
    let loaded = load_text(&text).unwrap();
    let mut facts = ready();
    facts.interfaces.insert("eth0.100".into());
    facts.not_forwarding = [("eth0.100".to_owned(), Family::Ipv4)].into();
    let found = host::check(&loaded.config, &loaded.places, &facts, Severity::Error);
    let help = found.iter().find_map(|found| found.help.as_deref());
    assert_eq!(help, Some("sysctl -w net.ipv4.conf.eth0/100.forwarding=1"));
}

/// A VLAN device of these VLANs over a device of this name and make.
fn vlan(ids: &[u16], bottom: &str, make: Option<&str>) -> VlanDevice {
    let bottom = Bottom {
        name: bottom.into(),
        make: make.map(str::to_owned),
    };
    VlanDevice {
        ids: ids.to_vec(),
        mtu: 1500,
        fitting: 1500,
        bottom: Some(bottom),
    }
}

/// What is said where these interfaces are listed, of which those with a VLAN device are one.
fn printed_of(listed: &str, vlans: &[(&str, VlanDevice)]) -> String {
    let text = GOOD.replace(r#"["eth0"]"#, listed);
    let loaded = load_text(&text).unwrap();
    let mut facts = ready();
    facts.interfaces.extend(["eth1".into(), "br0".into()]);
    for (name, device) in vlans {
        facts.interfaces.insert((*name).into());
        facts.vlans.insert((*name).into(), device.clone());
    }
    let found = host::check(&loaded.config, &loaded.places, &facts, Severity::Error);
    render(&found, Palette::Plain)
}

#[test]
fn vlan_devices_beside_the_device_below_are_well() {
    let vlans = [
        ("eth0.100", vlan(&[100], "eth0", None)),
        ("eth1.300", vlan(&[300], "eth1", Some("veth"))),
        ("eth1.300.301", vlan(&[300, 301], "eth1", Some("veth"))),
    ];
    let listed = r#"["eth0", "eth0.100", "eth1.300.301", "eth1"]"#;
    assert_eq!(printed_of(listed, &vlans), "");
    // Who lists none is not concerned by those that there are.
    assert_eq!(printed_of(r#"["eth0"]"#, &vlans), "");
}

#[test]
fn vlan_devices_that_the_program_can_not_serve_are_refused() {
    let elsewhere = VlanDevice {
        bottom: None,
        ..vlan(&[7], "", None)
    };
    let vlans = [
        ("eth1.300", vlan(&[300], "eth1", None)),
        ("eth0.1.2.3", vlan(&[1, 2, 3], "eth0", None)),
        ("br0.100", vlan(&[100], "br0", Some("bridge"))),
        ("eth0.0", vlan(&[0], "eth0", None)),
        ("far.7", elsewhere),
    ];
    let listed = r#"["eth0", "br0", "eth1.300", "eth0.1.2.3", "br0.100", "eth0.0", "far.7"]"#;
    assert_snapshot("host_vlans", &printed_of(listed, &vlans));
}

#[test]
fn two_tags_need_room() {
    let device = VlanDevice {
        fitting: 1496,
        ..vlan(&[300, 301], "eth0", None)
    };
    let printed = printed_of(r#"["eth0", "eth0.300.301"]"#, &[("eth0.300.301", device)]);
    assert_snapshot("host_vlan_mtu", &printed);
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
