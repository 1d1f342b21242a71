//! Configurations of several files.

use std::{fs, path::Path};

use super::{GOOD, Memory, assert_snapshot, printed};
use crate::config::{Disk, load};

const POOL: &str = r#"
[[pool]]
name = "api"

[[pool.backend]]
name = "api1"
address = "198.18.1.21"
"#;

fn including(pattern: &str) -> String {
    format!("include = [{pattern}]\n{GOOD}")
}

fn check(name: &str, files: Memory) {
    assert_snapshot(name, &printed(&load(Path::new("etc/sluice.toml"), &files)));
}

#[test]
fn included_files_come_sorted_after_the_main_file() {
    let files = Memory::new(&[
        ("etc/sluice.toml", &including(r#""pools.d/*.toml""#)),
        (
            "etc/pools.d/20-b.toml",
            &POOL.replace("api", "b").replace(".21", ".22"),
        ),
        ("etc/pools.d/10-a.toml", POOL),
        ("etc/pools.d/README", "not TOML"),
        ("pools.d/elsewhere.toml", "not TOML"),
    ]);
    let loaded = load(Path::new("etc/sluice.toml"), &files).unwrap();
    let names: Vec<_> = loaded
        .config
        .pools
        .iter()
        .map(|pool| pool.name.as_str())
        .collect();
    assert_eq!(names, ["web", "api", "b"]);
}

#[test]
fn a_pattern_may_match_nothing_but_a_name_should() {
    let main = including(r#""pools.d/*.toml", "pools.toml""#);
    check(
        "include_unmatched",
        Memory::new(&[("etc/sluice.toml", &main)]),
    );
}

#[test]
fn a_file_is_read_once_and_the_main_file_never_again() {
    let main = including(r#""*.toml", "./api.toml", "a*""#);
    let files = Memory::new(&[("etc/sluice.toml", &main), ("etc/api.toml", POOL)]);
    let loaded = load(Path::new("etc/sluice.toml"), &files).unwrap();
    assert_eq!(loaded.config.pools.len(), 2);
}

#[test]
fn mistakes_in_all_files_are_told_at_once() {
    let main = including(r#""pools.d/*.toml""#).replace("weight", "wieght");
    let bad = POOL.replace("198.18.1.21", "198.18.1.321");
    let clash = POOL.replace("api", "web");
    check(
        "include_mistakes",
        Memory::new(&[
            ("etc/sluice.toml", &main),
            ("etc/pools.d/bad.toml", &bad),
            ("etc/pools.d/clash.toml", &clash),
        ]),
    );
}

#[test]
fn agent_and_include_belong_into_the_main_file() {
    let main = including(r#""more.toml""#);
    let more = "include = [\"x\"]\n[agent]\ninterfaces = [\"eth1\"]\n[pol]\n";
    check(
        "include_misplaced",
        Memory::new(&[("etc/sluice.toml", &main), ("etc/more.toml", more)]),
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_where_it_is_included() {
    let main = including(r#""more.toml""#).replace("pool = \"web\"", "pool = \"api\"");
    let files = Memory::new(&[("etc/sluice.toml", &main)]).unreadable("etc/more.toml");
    check("include_unreadable", files);
}

#[test]
fn a_pattern_that_is_none_is_an_error() {
    let main = including(r#""pools.d/[*.toml", """#);
    check(
        "include_bad_pattern",
        Memory::new(&[("etc/sluice.toml", &main)]),
    );
}

#[test]
fn broken_syntax_in_one_file_makes_nothing_look_absent() {
    let main = including(r#""api.toml""#).replace("pool = \"web\"", "pool = \"api\"");
    let broken = POOL.replace("name = \"api\"", "name = api");
    check(
        "include_broken",
        Memory::new(&[("etc/sluice.toml", &main), ("etc/api.toml", &broken)]),
    );
}

#[test]
fn a_main_file_that_is_not_there_is_the_only_error() {
    check("main_file_missing", Memory::default());
}

#[test]
fn on_disk_patterns_are_relative_to_the_main_file() {
    // A folder whose own name looks like a pattern.
    let folder = tempfile::Builder::new()
        .prefix("sluice[1]*")
        .tempdir()
        .unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("pools.d")).unwrap();
    write("sluice.toml", &including(r#""pools.d/*.toml""#));
    write(
        "pools.d/b.toml",
        &POOL.replace("api", "b").replace(".21", ".22"),
    );
    write("pools.d/a.toml", POOL);
    write("pools.d/a.toml~", "not TOML");

    let loaded = load(&folder.path().join("sluice.toml"), &Disk).unwrap();
    let names: Vec<_> = loaded
        .config
        .pools
        .iter()
        .map(|pool| pool.name.as_str())
        .collect();
    assert_eq!(names, ["web", "api", "b"]);

    fs::create_dir(folder.path().join("pools.d/c.toml")).unwrap();
    let report = load(&folder.path().join("sluice.toml"), &Disk).unwrap_err();
    let [found] = report.diagnostics.as_slice() else {
        panic!("{report}")
    };
    assert_eq!(
        found.at.as_ref().map(|at| (at.line, at.column)),
        Some((1, 12)),
        "{report}"
    );
}
