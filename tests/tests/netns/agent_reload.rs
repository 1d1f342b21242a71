//! Configurations that follow each other while the agent runs, or over a restart.

use std::{fs, process::Command};

use serde_json::Value;

use super::{
    binary,
    site::{Site, tunnel},
};

/// Slots that go over to another backend, by family, and why they still do.
fn moving(status: &Value) -> Option<Vec<(String, u64, String)>> {
    let unsettled = status["unsettled"].as_array()?.iter();
    let change = |slots: &Value| {
        let held_up = &slots["changes"][0]["held_up"]["by"];
        let family = slots["family"].as_str()?.to_owned();
        Some((
            family,
            slots["moving"].as_u64()?,
            held_up.as_str()?.to_owned(),
        ))
    };
    let moving: Vec<_> = unsettled.filter_map(change).collect();
    (moving.len() == 2).then_some(moving)
}

fn is_settled(status: &Value) -> Option<()> {
    status["unsettled"].as_array()?.is_empty().then_some(())
}

/// The configurations taken so far.
fn generation(status: &Value) -> Option<u64> {
    status["agent"]["generation"].as_u64()
}

/// What `sluice status` prints.
fn printed(site: &Site) -> Value {
    let mut command = Command::new(binary());
    command.args(["status", "--output", "json", "--control"]);
    let printed = command.arg(site.sluice.control()).output().unwrap();
    serde_json::from_slice(&printed.stdout).unwrap()
}

#[test]
fn a_reload_that_fails_changes_nothing_and_is_shown() {
    let good = tunnel("1h", &[100, 100, 100]);
    let mut site = Site::start("reload-bad", &good, |_| {});
    site.assert_answered("tunnel", 20);
    let bad = good.replace("forward = \"ipip\"", "forward = \"pigeon\"");
    site.reload(&bad, |status| !status["agent"]["reload_error"].is_null());
    let shown = printed(&site).to_string();
    assert!(shown.contains("pigeon"), "{shown}");
    assert!(site.sluice.log().contains("stays in use"));
    site.assert_answered("tunnel", 20);
    let status = site.sluice.ask("/api/v1/status").unwrap();
    assert_eq!(generation(&status), Some(1));
    site.reload(&good, |status| status["agent"]["reload_error"].is_null());
    site.wait_for("the second configuration", |status| {
        generation(status).filter(|generation| *generation == 2)
    });
}

#[test]
fn another_weight_moves_slots_until_the_settle_time_is_over() {
    let mut site = Site::start("reload-weight", &tunnel("3s", &[100, 100, 100]), |_| {});
    site.wait_for("settled slots", is_settled);
    site.reload(&tunnel("3s", &[100, 100, 300]), |status| {
        moving(status).is_some()
    });
    let status = site.sluice.ask("/api/v1/status").unwrap();
    for (family, slots, why) in moving(&status).unwrap() {
        // From a third to three fifths of them, and few more.
        assert!(slots > 200, "{family}: {slots}");
        assert_eq!(why, "settle-time", "{family}");
    }
    site.assert_answered("tunnel", 20);
    site.wait_for("settled slots", is_settled);
}

#[test]
fn what_moved_before_a_restart_moves_after_it() {
    let (even, uneven) = (tunnel("1h", &[100; 3]), tunnel("1h", &[100, 100, 300]));
    let mut site = Site::start("reload-restart", &even, |_| {});
    site.reload(&uneven, |status| moving(status).is_some());
    let before = site.wait_for("moving slots", moving);
    for family in ["ipv4", "ipv6"] {
        let log = site
            .folder()
            .join(format!("state/slots/tunnel-{family}.log"));
        assert!(fs::read_to_string(log).unwrap().contains("changed"));
    }
    site.sluice.stop().unwrap();
    site.restart(&uneven);
    assert_eq!(site.wait_for("moving slots", moving), before);
    site.assert_answered("tunnel", 20);
}
