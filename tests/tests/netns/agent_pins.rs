//! What outlives the agent: who holds it, what the next one makes of it, and how it ends.

use std::{fs, process::Command};

use lb_common::abi::LAYOUT;
use serde_json::Value;
use sluice_tests::{
    addresses::{BACKENDS, Dual},
    command,
    programs::interfaces_with_any,
    services::INTERFACES,
    sluice,
    sluice::Sluice,
};

use super::{
    binary,
    site::{Site, lead_back, tunnel},
};

/// What is in a folder, by name.
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The sets of tables that are pinned.
pub(super) fn sets(site: &Site) -> Vec<String> {
    let mut names = names(&site.pin());
    names.retain(|name| name != "links");
    names
}

/// The name of the set that this build made as the so-manieth.
pub(super) fn set(number: u32) -> String {
    format!("{LAYOUT}-{number}")
}

fn operations(sluice: &Sluice) -> Vec<String> {
    let log = sluice.log();
    let word = |line: &str| {
        let words = line.split_whitespace();
        words
            .filter(|word| word.starts_with("operations="))
            .map(str::to_owned)
            .next()
    };
    log.lines().filter_map(word).collect()
}

fn assert_writes_nothing(sluice: &Sluice) {
    let operations = operations(sluice);
    let nothing = |words: &String| words == "operations=0";
    assert!(
        !operations.is_empty() && operations.iter().all(nothing),
        "{operations:?}"
    );
}

#[test]
fn one_agent_holds_them_at_a_time() {
    let site = Site::start("pins-held", &tunnel("1h", &[100; 3]), |_| {});
    let folder = site.folder().join("second");
    fs::create_dir(&folder).unwrap();
    let text = fs::read_to_string(site.folder().join("sluice.toml")).unwrap();
    let first = site.sluice.control();
    let own = folder.join("control.sock");
    let text = text.replace(first.to_str().unwrap(), own.to_str().unwrap());
    let gateway = &site.network().gateway;
    let mut second = Sluice::start_with(&binary(), gateway, &folder, &text).unwrap();
    let log = second.expect_refusal().unwrap();
    let holder = format!("another agent's (process {})", site.sluice.id());
    assert!(log.contains(&holder), "{log}");
    let refused = sluice::detach(&binary(), gateway, &site.pin()).unwrap_err();
    assert!(format!("{refused:#}").contains(&holder), "{refused:#}");
    site.assert_answered("tunnel", 10);
}

#[test]
fn what_is_not_an_agents_is_left_alone() {
    let mut site = Site::start("pins-others", &tunnel("1h", &[100; 3]), |_| {});
    let above = site.pin().parent().unwrap().to_owned();
    let gateway = &site.network().gateway;
    let said = sluice::detach(&binary(), gateway, &above).unwrap();
    assert!(said.contains("no agent has pinned"), "{said}");
    let other = site.pin().join("others");
    fs::create_dir(&other).unwrap();
    site.assert_answered("tunnel", 10);
    site.sluice.stop().unwrap();
    sluice::detach(&binary(), &site.network().gateway, &site.pin()).unwrap();
    assert_eq!(names(&site.pin()), ["others"]);
}

#[test]
fn a_disk_that_takes_nothing_costs_no_packet() {
    let balancing = tunnel("1h", &[100; 3]);
    let mut site = Site::start("pins-disk", &balancing, |_| {});
    site.sluice.stop().unwrap();
    // Files where folders should be: nothing can be written below.
    let state = site.folder().join("state");
    fs::remove_dir_all(state.join("slots")).unwrap();
    fs::write(state.join("slots"), "").unwrap();
    site.restart(&balancing);
    assert_writes_nothing(&site.sluice);
    site.assert_answered("tunnel", 10);
}

#[test]
fn detach_ends_what_runs_without_an_agent() {
    let mut site = Site::start("pins-detach", &tunnel("1h", &[100; 3]), |_| {});
    site.sluice.stop().unwrap();
    site.assert_answered("tunnel", 10);
    let (pin, gateway) = (site.pin(), &site.network().gateway);
    let unasked = command::read(Command::new(binary()).args(["detach", "--pin"]).arg(&pin));
    let unasked = format!("{:#}", unasked.unwrap_err());
    assert!(unasked.contains("--yes"), "{unasked}");
    assert_eq!(interfaces_with_any(gateway).unwrap(), INTERFACES);
    let said = sluice::detach(&binary(), gateway, &pin).unwrap();
    assert!(said.contains("detached from eth0"), "{said}");
    assert_eq!(interfaces_with_any(gateway).unwrap(), [""; 0]);
    assert!(!pin.exists());
    let said = sluice::detach(&binary(), gateway, &pin).unwrap();
    assert!(said.contains("no agent has pinned"), "{said}");
}

#[test]
fn a_start_with_another_configuration_writes_what_differs() {
    let mut site = Site::start("pins-differs", &tunnel("1h", &[100; 3]), |_| {});
    site.sluice.kill().unwrap();
    site.restart(&tunnel("1h", &[100, 100, 300]));
    // The slots of both families and the backend's weight in each, and nothing else.
    assert_eq!(operations(&site.sluice)[0], "operations=4");
    site.wait_for("moving slots", |status| {
        (status["unsettled"].as_array()?.len() == 2).then_some(())
    });
    site.assert_answered("tunnel", 20);
    assert_eq!(sets(&site), [set(1)]);
}

#[test]
fn tables_that_nothing_is_known_of_are_replaced_while_packets_go_on() {
    let balancing = tunnel("1h", &[100; 3]);
    let mut site = Site::start("pins-unknown", &balancing, |_| {});
    site.sluice.kill().unwrap();
    fs::remove_dir_all(site.folder().join("state/tables")).unwrap();
    site.restart(&balancing);
    let log = site.sluice.log();
    assert!(log.contains("can't be gone on with"), "{log}");
    assert_eq!(sets(&site), [set(2)]);
    site.assert_answered("tunnel", 20);
    // Those that were made are known.
    site.sluice.kill().unwrap();
    site.restart(&balancing);
    assert_writes_nothing(&site.sluice);
    assert_eq!(sets(&site), [set(2)]);
}

#[test]
fn a_map_that_is_another_than_it_should_be_is_not_used() {
    let balancing = tunnel("1h", &[100; 3]);
    let mut site = Site::start("pins-misfit", &balancing, |_| {});
    site.sluice.stop().unwrap();
    let maps = site.pin().join(set(1)).join("maps");
    fs::remove_file(maps.join("BACKENDS")).unwrap();
    fs::rename(maps.join("LOADS"), maps.join("BACKENDS")).unwrap();
    site.restart(&balancing);
    let log = site.sluice.log();
    assert!(
        log.contains(&format!("{}/maps/BACKENDS is of kind", set(1))),
        "{log}"
    );
    assert_eq!(sets(&site), [set(2)]);
    site.assert_answered("tunnel", 20);
}

#[test]
fn what_was_left_half_made_is_cleared_away() {
    let balancing = tunnel("1h", &[100; 3]);
    let mut site = Site::start("pins-half", &balancing, |_| {});
    site.sluice.kill().unwrap();
    fs::create_dir_all(site.pin().join(set(2)).join("maps")).unwrap();
    fs::create_dir_all(site.pin().join(set(1)).join("programs/7")).unwrap();
    site.restart(&balancing);
    assert_writes_nothing(&site.sluice);
    assert_eq!(sets(&site), [set(1)]);
    assert_eq!(names(&site.pin().join(set(1)).join("programs")), ["1"]);
}

/// And hears of it what agents before heard.
#[test]
fn a_start_goes_on_with_the_program_that_runs() {
    let balancing = tunnel("1h", &[100; 3]);
    let mut site = Site::start("pins-same", &balancing, |_| {});
    site.write_agent("debug", "true", &balancing);
    assert_eq!(site.say(&["reload"]).0, Some(0));
    let programs = |site: &Site| names(&site.pin().join(set(1)).join("programs"));
    assert_eq!(programs(&site), ["2"], "one that logs");
    site.sluice.kill().unwrap();
    site.restart_as_written(&binary());
    assert_eq!(programs(&site), ["2"]);
    site.assert_answered("tunnel", 10);
    site.sluice
        .wait_until_logged("packet from interface")
        .unwrap();
}

/// The same with the pool in `nat` mode, which leads to other servers.
fn nat() -> String {
    let tunnel = tunnel("1h", &[100; 3]).replace("\"ipip\"", "\"nat\"");
    BACKENDS.iter().fold(tunnel, |text, Dual { v4, v6 }| {
        let text = text.replace(&format!("\"{v4}\""), &format!("\"{v4}:8080\""));
        text.replace(&format!("\"{v6}\""), &format!("\"[{v6}]:8080\""))
    })
}

#[test]
fn a_reload_that_needs_another_program_puts_it_in_place() {
    let mut site = Site::start("pins-program", &tunnel("1h", &[100; 3]), |_| {});
    site.assert_answered("tunnel", 10);
    lead_back(site.network());
    let generation = |wanted: u64| move |status: &Value| status["agent"]["generation"] == wanted;
    site.reload(&nat(), generation(2));
    assert!(
        site.sluice
            .log()
            .contains("another program runs over the same tables")
    );
    site.assert_answered("web", 10);
    assert_eq!(names(&site.pin().join(set(1)).join("programs")), ["2"]);
    // And back: the program that knows of more stays.
    site.reload(&tunnel("1h", &[100; 3]), generation(3));
    assert_eq!(names(&site.pin().join(set(1)).join("programs")), ["2"]);
}

#[test]
fn an_interface_that_returns_is_attached_to_again() {
    let balancing = tunnel("1h", &[100; 3]);
    let spare = "link add spare type veth peer name spare-end";
    let mut site = Site::start("pins-link", &balancing, |network| {
        network.gateway.ip(spare).unwrap();
    });
    let interfaces = format!("{:?}", [&INTERFACES[..], &["spare"]].concat());
    site.write_agent("interfaces", &interfaces, &balancing);
    let (status, _, complained) = site.say(&["reload"]);
    assert_eq!(status, Some(0), "{complained}");
    let attached = |site: &Site| interfaces_with_any(&site.network().gateway).unwrap();
    let all = attached(&site);
    assert!(all.contains(&"spare".to_owned()), "{all:?}");

    site.network().gateway.ip("link delete spare").unwrap();
    site.sluice
        .wait_until_logged("interface spare is gone")
        .unwrap();
    site.wait_for("the agent to say so", |status| {
        let readiness = status["readiness"].to_string();
        readiness.contains("not attached to spare").then_some(())
    });
    site.assert_answered("tunnel", 10);
    site.network().gateway.ip(spare).unwrap();
    site.sluice
        .wait_until_logged("interface spare is there again")
        .unwrap();
    site.wait_for("the interface", |status| {
        (!status["readiness"].to_string().contains("spare")).then_some(())
    });
    assert_eq!(attached(&site), all);
    // A restart finds all of them.
    site.sluice.kill().unwrap();
    let text = fs::read_to_string(site.folder().join("sluice.toml")).unwrap();
    site.restart_with(&text);
    assert_writes_nothing(&site.sluice);
    site.assert_answered("tunnel", 10);
}
