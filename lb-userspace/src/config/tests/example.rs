//! The example of the documentation, and the commented one that is installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Memory, assert_snapshot, load_text, printed};
use crate::{
    config::{Diagnostic, Disk, Item, load},
    model::{
        Agent, Backend, BackendAddress, Config, Forward, Pool, Scheduler, Service, TableSize,
        Weight,
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
        debug: false,
    };
    let listen = ["198.18.0.10:80/tcp", "[fd00:18::10]:80/tcp"];
    let service = Service {
        name: "web".into(),
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        pool: 0,
        scheduler: Scheduler::Maglev,
    };
    let address = |ip: &str| BackendAddress {
        ip: ip.parse().unwrap(),
        port: Some(8080),
    };
    let backend = Backend {
        name: "web1".into(),
        addresses: vec![address("198.18.1.11"), address("fd00:181::11")],
        weight: Weight::DEFAULT,
    };
    let pool = Pool {
        name: "web".into(),
        forward: Forward::FullNat,
        source: vec![
            "198.18.1.254".parse().unwrap(),
            "fd00:181::fe".parse().unwrap(),
        ],
        slots: TableSize::Large,
        backends: vec![backend],
    };
    Config {
        agent,
        services: vec![service],
        pools: vec![pool],
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
        let comment = line
            .strip_prefix("# ")
            .filter(|comment| is_default(comment));
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

/// Whether a comment is a key with its default (the seed has none).
fn is_default(comment: &str) -> bool {
    let key = comment.split_once(" = ").map(|(key, _)| key);
    key.is_some_and(|key| key != "seed" && key.chars().all(|c| c.is_ascii_lowercase()))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
