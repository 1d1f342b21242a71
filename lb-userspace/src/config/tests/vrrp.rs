//! `[[vrrp]]`: what it resolves to, what each key refuses, and what excludes what.

use std::time::Duration;

use super::{
    GOOD, assert_snapshot, load_text,
    mistakes::{assert_mistake, mistakes},
    printed,
};
use crate::{
    config::Item,
    model::{Checksum, Family, Notify, Version, VirtualAddress, Vrrp},
};

/// An instance without a mistake.
const INSTANCE: &str = r#"
[[vrrp]]
name = "gateway"
interface = "eth0"
vrid = 51
addresses = ["198.18.0.10/24", "fd00:18::10/64"]
"#;

/// The same with another name, number and addresses.
const ANOTHER: &str = r#"
[[vrrp]]
name = "second"
interface = "eth0"
vrid = 52
addresses = ["198.18.0.11/24"]
"#;

/// Snapshots what is said of an instance with other lines.
fn assert_instance(name: &str, edits: &[(&str, &str)]) {
    let mut text = INSTANCE.to_owned() + ANOTHER;
    for (from, to) in edits {
        assert!(text.contains(from), "{name}: `{from}`");
        text = text.replacen(from, to, 1);
    }
    assert_snapshot(name, &printed(&load_text(&format!("{GOOD}{text}"))));
}

macro_rules! instances {
    ($($name:ident: $($from:literal => $to:literal),+;)+) => {$(
        #[test]
        fn $name() {
            assert_instance(stringify!($name), &[$(($from, $to)),+]);
        }
    )+};
}

instances! {
    vrrp_values: "vrid = 51" => "vrid = 256\npriority = 0\nversion = 4\nchecksum = \"pseudo\"", "10/24" => "10/33", "fd00:18::10/64" => "fe80::1/64";
    vrrp_more_values: "vrid = 51" => "vrid = 51\nlink_local = \"fd00::1\"\nunicast_peers = [\"198.18.0.3:112\", \"ff02::12\"]\nversion = 2\npassword = \"much too long\"";
    vrrp_keys: "vrid = 51" => "virtual_router_id = 51", "interface = \"eth0\"\n" => "";
    vrrp_interval_of_nothing: "vrid = 51" => "vrid = 51\ninterval = \"5ms\"";
    vrrp_interval_between: "vrid = 51" => "vrid = 51\ninterval = \"15ms\"";
    vrrp_interval_long: "vrid = 51" => "vrid = 51\ninterval = \"41s\"";
    vrrp_interval_of_version_2: "vrid = 52" => "vrid = 52\nversion = 2\ninterval = \"1500ms\"";
    vrrp_version_2_of_ipv6: "vrid = 51" => "vrid = 51\nversion = 2";
    vrrp_password_of_version_3: "vrid = 51" => "vrid = 51\npassword = \"secret\"";
    vrrp_same_number: "vrid = 52" => "vrid = 51";
    vrrp_same_name: "second" => "gateway";
    vrrp_same_address: "198.18.0.11/24" => "198.18.0.11/24\", \"198.18.0.10/32";
    vrrp_owner: "vrid = 51" => "vrid = 51\npriority = 255\npreempt = false", "vrid = 52" => "vrid = 52\npriority = 255\npreempt_delay = \"5s\"";
    vrrp_idle: "vrid = 52" => "vrid = 52\npreempt = false\npreempt_delay = \"5s\"\nlink_local = \"fe80::52\"\nversion = 2\nchecksum = \"packet\"";
    vrrp_owner_accepts: "vrid = 51" => "vrid = 51\npriority = 255\naccept = false";
    vrrp_peers: "vrid = 52" => "vrid = 52\nunicast_peers = [\"198.18.0.3\", \"198.18.0.3\", \"fe80::3\", \"198.18.0.11\"]";
    vrrp_peers_of_one_family: "vrid = 51" => "vrid = 51\nunicast_peers = [\"198.18.0.3\"]";
    vrrp_sources: "vrid = 51" => "vrid = 51\nunicast_source = [\"198.18.0.2\", \"198.18.0.4\", \"fd00:18::2\"]", "vrid = 52" => "vrid = 52\nunicast_source = [\"198.18.0.11\", \"fe80::2\"]";
    vrrp_sources_of_an_owner: "vrid = 52" => "vrid = 52\npriority = 255\nunicast_source = [\"198.18.0.11\"]";
    vrrp_no_sources: "vrid = 51" => "vrid = 51\nunicast_source = []";
    vrrp_no_service: "198.18.0.11/24" => "wob", "198.18.0.10/24" => "198.18.0.10";
    vrrp_track_nothing: "vrid = 51" => "vrid = 51\ntrack = [{ fault = true }, { interface = \"eth1\" }, { data_plane = false, fault = false }]";
    vrrp_track_too_much: "vrid = 51" => "vrid = 51\ntrack = [{ interface = \"eth1\", pool = \"web\", fault = true }, { file = \"/run/up\", penalty = 10, fault = true }]";
    vrrp_track_values: "vrid = 51" => "vrid = 51\ntrack = [{ pool = \"wob\", at_least = 0, penalty = 254 }, { file = \"up\", at_least = 1, penalty = 1 }, { no_file = \"/run/down\", wait = 1, fault = true }]";
    vrrp_track_check: "vrid = 51" => "vrid = 51\ntrack = [{ check = { type = \"tcp\" }, fault = true }, { check = { type = \"exec\", command = [\"true\"], through = \"service\", timeout = \"3s\" }, fault = true }, { check = \"tcp\", fault = true }]";
    vrrp_track_of_an_owner: "vrid = 51" => "vrid = 51\npriority = 255\ntrack = [{ interface = \"eth1\", penalty = 10 }]";
    vrrp_no_peers: "vrid = 51" => "vrid = 51\nunicast_peers = []";
    vrrp_notify: "vrid = 51" => "vrid = 51\nnotify = []\nnotify_timeout = \"0s\"", "vrid = 52" => "vrid = 52\nnotify = [\"notify\", \"/bin/true\"]";
    vrrp_notify_of_nothing: "vrid = 51" => "vrid = 51\nnotify = 5", "vrid = 52" => "vrid = 52\nnotify_timeout = \"5s\"";
}

mistakes! {
    empty_interfaces_of_services: "[\"eth0\"]" => "[]", "weight = 50" => "[[vrrp]]\nname = \"gateway\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"198.18.0.10/24\"]";
}

#[test]
fn an_instance_resolves() {
    let text = format!(
        "{GOOD}{}",
        INSTANCE.replace(
            "vrid = 51",
            "vrid = 51\npriority = 150\ninterval = \"100ms\"\npreempt_delay = \"5s\"\n\
             accept = false\nunicast_peers = [\"198.18.0.3\", \"fe80::3\"]\n\
             unicast_source = [\"198.18.0.2\"]\nchecksum = \"packet\"\n\
             notify = [\"/etc/sluice/notify\", \"--quiet\"]\nnotify_timeout = \"5s\"",
        )
    );
    let address = |ip: &str, length| VirtualAddress {
        ip: ip.parse().unwrap(),
        length,
    };
    let (v4, v6) = (address("198.18.0.10", 24), address("fd00:18::10", 64));
    let expected = Vrrp {
        name: "gateway".into(),
        interface: "eth0".into(),
        vrid: 51,
        priority: 150,
        interval: Duration::from_millis(100),
        version: Version::V3,
        addresses: vec![v4, v6],
        link_local: Some("fe80::200:5eff:fe00:233".parse().unwrap()),
        preempt: Some(Duration::from_secs(5)),
        accept: false,
        refresh: Duration::from_secs(60),
        unicast_peers: vec!["198.18.0.3".parse().unwrap(), "fe80::3".parse().unwrap()],
        sources: vec!["198.18.0.2".parse().unwrap()],
        checksum: Checksum::Packet,
        password: None,
        sync_group: None,
        track: vec![],
        notify: Some(Notify {
            program: "/etc/sluice/notify".into(),
            arguments: vec!["--quiet".into()],
            timeout: Duration::from_secs(5),
        }),
    };
    let loaded = load_text(&text).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.vrrp.len(), 1);
    assert_eq!(loaded.config.vrrp[0], expected);
    let at = loaded.places.at(Item::VrrpInterface(0)).unwrap();
    assert_eq!(at.text, "\"eth0\"");
    let of = |family| expected.in_family(family).collect::<Vec<_>>();
    assert_eq!(of(Family::Ipv4), [v4]);
    let first = address("fe80::200:5eff:fe00:233", 64);
    assert_eq!(of(Family::Ipv6), [first, v6]);
}

#[test]
fn what_is_tracked_resolves() {
    let track = r#"track = [
    { interface = "eth1", fault = true },
    { pool = "web", penalty = 100 },
    { pool = "web", at_least = 2, penalty = 50 },
    { check = { type = "tcp", port = 5432 }, fault = true },
    { check = { type = "exec", command = ["/usr/local/bin/writable", "-q"], interval = "1s" }, fault = true },
    { file = "/run/primary", penalty = 10 },
    { no_file = "/etc/sluice/standby", fault = true },
    { data_plane = true, fault = true },
]"#;
    let instance = INSTANCE.replace(
        "vrid = 51",
        &format!("vrid = 51\nsync_group = \"both\"\n{track}"),
    );
    let loaded = load_text(&format!("{GOOD}{instance}")).unwrap();
    let vrrp = &loaded.config.vrrp[0];
    assert_eq!(vrrp.sync_group.as_deref(), Some("both"));
    let said: Vec<String> = vrrp.track.iter().map(ToString::to_string).collect();
    let expected = [
        "interface eth1: fault",
        "pool web (at least 1): penalty 100",
        "pool web (at least 2): penalty 50",
        "tcp check of 127.0.0.1:5432: fault",
        "exec /usr/local/bin/writable check: fault",
        "file /run/primary: penalty 10",
        "no file /etc/sluice/standby: fault",
        "data plane: fault",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_service_says_which_addresses_move() {
    let instance = INSTANCE.replace("\"198.18.0.10/24\"", "\"web\"");
    let loaded = load_text(&format!("{GOOD}{instance}")).unwrap();
    let said: Vec<String> = loaded.config.vrrp[0]
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said, ["198.18.0.10/32", "fd00:18::10/64"]);
}

#[test]
fn what_an_instance_leaves_out_gets_its_default() {
    let vrrp = load_text(&format!("{GOOD}{ANOTHER}")).unwrap().config.vrrp;
    let vrrp = &vrrp[0];
    assert_eq!(
        (vrrp.priority, vrrp.interval),
        (100, Duration::from_secs(1))
    );
    assert_eq!(
        (vrrp.version, vrrp.preempt),
        (Version::V3, Some(Duration::ZERO))
    );
    assert_eq!(
        (vrrp.link_local, vrrp.checksum, vrrp.accept),
        (None, Checksum::PseudoHeader, true)
    );
    assert_eq!(vrrp.notify, None);
}

#[test]
fn a_hook_may_be_a_path_alone() {
    let instance = format!("{ANOTHER}notify = \"/etc/sluice/notify\"\n");
    let vrrp = load_text(&format!("{GOOD}{instance}")).unwrap().config.vrrp;
    let expected = Notify {
        program: "/etc/sluice/notify".into(),
        arguments: vec![],
        timeout: Duration::from_secs(30),
    };
    assert_eq!(vrrp[0].notify, Some(expected));
}

#[test]
fn a_host_without_services_needs_no_interface() {
    let text = format!("[agent]\ninterfaces = []\n{INSTANCE}");
    assert_eq!(printed(&load_text(&text)), "valid\n\n");
}

#[test]
fn one_number_may_be_of_each_family_or_of_two_interfaces() {
    for edit in [
        ("198.18.0.10/24\", \"", ""),
        ("eth0", "eth1"),
        ("\"eth0\"\nvrid = 51", "\"eth0\"\nvrid = 53"),
    ] {
        let instance = INSTANCE.replacen(edit.0, edit.1, 1);
        let text = format!("{GOOD}{instance}{}", ANOTHER.replace("52", "51"));
        assert_eq!(printed(&load_text(&text)), "valid\n\n", "{text}");
    }
}
