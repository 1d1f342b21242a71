//! The example of the documentation, and the commented one that is installed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Memory, assert_snapshot, load_text, printed};
use crate::{
    config::{Code, Diagnostic, Disk, Item, load},
    model::{
        Agent, Backend, BackendAddress, Config, Forward, Gue, Health, NoBackend, OnDown, Pool,
        ReplyLimits, Scheduler, Service, SourcePrefix, TableSize, Timeouts, Tracking, Udp, Weight,
    },
};

const EXAMPLE: &str = r#"
include = ["pools.d/*.toml"]            # pools may live in files of their own

[agent]
interfaces = ["eth0", "eth1"]
control = "/run/sluice/control.sock"
stats = "127.0.0.1:9633"

[[service]]
name = "web"
listen = ["198.18.0.10:80/tcp", "[fd00:18::10]:80/tcp"]
pool = "web"
scheduler = "maglev"

[[pool]]
name = "web"
forward = "full-nat"
source = ["198.18.1.254", "fd00:181::fe"]     # addresses that full-nat connects from

[[pool.backend]]
name = "web1"
address = ["198.18.1.11:8080", "[fd00:181::11]:8080"]
weight = 100
"#;

fn resolved() -> Config {
    let agent = Agent {
        interfaces: vec!["eth0".into(), "eth1".into()],
        control: "/run/sluice/control.sock".into(),
        stats: "127.0.0.1:9633".parse().unwrap(),
        state: "/var/lib/sluice".into(),
        pin: "/sys/fs/bpf/sluice".into(),
        seed: None,
        flows: 262_144,
        backends: 65_536,
        exceptions: 65_536,
        exception_rate: 50_000,
        replies: ReplyLimits {
            errors: 1000,
            errors_per_source: 20,
            resets: 10_000,
            resets_per_source: 200,
        },
        probe_sources: vec![],
        watch: false,
        debug: false,
    };
    let listen = ["198.18.0.10:80/tcp", "[fd00:18::10]:80/tcp"];
    let service = Service {
        name: "web".into(),
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        pool: 0,
        scheduler: Scheduler::Maglev,
        source_prefix: SourcePrefix {
            ipv4: 32,
            ipv6: 128,
        },
        tracking: Tracking::Auto,
        affinity: None,
        settle: Duration::from_secs(7_800),
        entry_timeout: Duration::from_secs(7_800),
        timeouts: Timeouts {
            handshake: Duration::from_secs(60),
            established: Duration::from_secs(7_800),
            closing: Duration::from_secs(120),
            reset: Duration::from_secs(10),
            udp: Duration::from_secs(120),
        },
        on_down: OnDown::Reschedule,
        fallback: None,
        no_backend: NoBackend::Reject,
        echo: true,
        mss_clamp: None,
        udp: Udp::Flows,
        server_ids: None,
        access: None,
        new_flows: None,
        removed: false,
    };
    let address = |ip: &str| BackendAddress {
        ip: ip.parse().unwrap(),
        port: Some(8080),
    };
    let backend = Backend {
        name: "web1".into(),
        addresses: vec![address("198.18.1.11"), address("fd00:181::11")],
        weight: Weight::DEFAULT,
        priority: 0,
        max_flows: None,
        server_id: None,
    };
    let pool = Pool {
        name: "web".into(),
        forward: Forward::FullNat,
        source: vec![
            "198.18.1.254".parse().unwrap(),
            "fd00:181::fe".parse().unwrap(),
        ],
        gue: Gue {
            port: 6080,
            checksum: true,
        },
        slots: TableSize::Large,
        backends: vec![backend],
        health: Health::default(),
        checks: Vec::new(),
    };
    Config {
        agent,
        access: None,
        services: vec![service],
        pools: vec![pool],
        vrrp: vec![],
    }
}

#[test]
fn the_documented_example_resolves() {
    let loaded = load_text(EXAMPLE).unwrap();
    assert_eq!(loaded.config, resolved());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn what_is_left_out_gets_its_default() {
    let defaults = ["control", "stats", "scheduler", "forward", "weight"];
    let kept = |line: &&str| !defaults.iter().any(|key| line.starts_with(key));
    let text: Vec<&str> = EXAMPLE.lines().filter(kept).collect();
    assert_eq!(load_text(&text.join("\n")).unwrap().config, resolved());
}

#[test]
fn places_lead_back_to_the_file() {
    let places = load_text(EXAMPLE).unwrap().places;
    let text = |item| {
        places
            .at(item)
            .map(|at| (at.line, at.column, at.text.as_str()))
    };
    assert_eq!(text(Item::Interface(1)), Some((5, 23, "\"eth1\"")));
    let item = Item::Listen {
        service: 0,
        index: 1,
    };
    assert_eq!(text(item), Some((11, 33, "\"[fd00:18::10]:80/tcp\"")));
    assert_eq!(
        text(Item::Source { pool: 0, index: 0 }),
        Some((18, 11, "\"198.18.1.254\""))
    );
    let item = Item::Address {
        pool: 0,
        backend: 0,
        index: 1,
    };
    assert_eq!(text(item), Some((22, 32, "\"[fd00:181::11]:8080\"")));
    assert_eq!(text(Item::Interface(2)), None);
}

#[test]
fn diagnostics_survive_json() {
    let report = load_text(&EXAMPLE.replace("100", "\"heavy\"")).unwrap_err();
    let json = serde_json::to_string_pretty(&report.diagnostics).unwrap();
    assert_snapshot("json", &json);
    let back: Vec<Diagnostic> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, report.diagnostics);
}

#[test]
fn the_installed_example_is_valid_and_without_warnings() {
    let path = repository().join("config/sluice.toml");
    assert_eq!(printed(&load(&path, &Disk)), "valid\n\n");
}

#[test]
fn the_comments_of_the_installed_example_show_the_defaults() {
    let read = |name: &str| fs::read_to_string(repository().join("config").join(name)).unwrap();
    let (main, dns) = (read("sluice.toml"), read("pools.d/dns.toml"));
    let key = |line: &str| {
        let comment = line.strip_prefix("# ").filter(|text| is_default(text));
        comment.map(str::to_owned)
    };
    let spelt_out: Vec<_> = main
        .lines()
        .map(|line| key(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    assert_ne!(main.lines().collect::<Vec<_>>(), spelt_out);

    let load = |main: &str| {
        let files = Memory::new(&[("sluice.toml", main), ("pools.d/dns.toml", &dns)]);
        load(Path::new("sluice.toml"), &files).unwrap().config
    };
    assert_eq!(load(&main), load(&spelt_out.join("\n")));
}

/// Whether a comment is a key with its default, and not one that has none.
fn is_default(comment: &str) -> bool {
    let without = [
        "seed",
        "probe_sources",
        "affinity",
        "fallback",
        "mss_clamp",
        "quic_lb",
        "max_flows",
        "server_id",
        "access",
        "new_flows",
        "slow_start",
        "flap_damping",
        "address",
        "port",
        "host",
        "body",
        "body_regex",
        "sni",
        "ca_file",
        "service",
        "send",
        "expect",
        "query",
        "command",
        "environment",
        "preempt_delay",
        "unicast_peers",
        "unicast_source",
        "password",
        "sync_group",
        "notify",
        "notify_timeout",
        "interface",
        "file",
        "check",
    ];
    let key = comment.split_once(" = ").map(|(key, _)| key);
    key.is_some_and(|key| !without.contains(&key) && key.chars().all(is_key))
}

fn is_key(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

#[test]
fn the_installed_example_has_every_key() {
    let read = |name: &str| fs::read_to_string(repository().join("config").join(name)).unwrap();
    let example = read("sluice.toml") + &read("pools.d/dns.toml");
    let written = |key: &str| {
        let starts = |line: &str| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{key} =")) || line.trim_matches(['[', ']']).ends_with(key)
        };
        example.lines().any(starts)
    };
    for table in EVERY_TABLE {
        // An unknown key is answered with those that there are.
        let report = load_text(&format!("{table}x_x_x_x = 1\n")).unwrap_err();
        let unknown = report
            .diagnostics
            .iter()
            .find(|d| d.code == Code::UnknownKey);
        let keys = unknown.unwrap().expected.as_ref().unwrap();
        for key in keys.split('`').skip(1).step_by(2) {
            assert!(written(key), "`{key}` of {table:?}");
        }
    }
}

/// What each table of a configuration begins with.
const EVERY_TABLE: [&str; 18] = [
    "",
    "[agent]\n",
    "[[vrrp]]\n",
    "[[vrrp]]\n[[vrrp.track]]\n",
    "[[service]]\n",
    "[[service]]\n[service.timeouts]\n",
    "[[pool]]\n",
    "[[pool]]\n[[pool.backend]]\n",
    "[[pool]]\n[pool.health]\n",
    "[[pool]]\n[[pool.check]]\n",
    "[[pool]]\n[[pool.check]]\ntype = \"tcp\"\n",
    "[[pool]]\n[[pool.check]]\ntype = \"http\"\n",
    "[[pool]]\n[[pool.check]]\ntype = \"https\"\n",
    "[[pool]]\n[[pool.check]]\ntype = \"grpc\"\n",
    "[[pool]]\n[[pool.check]]\ntype = \"udp\"\n",
    "[[pool]]\n[[pool.check]]\ntype = \"dns\"\n",
    "[[pool]]\n[[pool.check]]\ntype = \"icmp\"\n",
    "[[pool]]\n[[pool.check]]\ntype = \"exec\"\n",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
