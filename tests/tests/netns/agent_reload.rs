//! Configurations that follow each other while the agent runs, or over a restart.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};
use sluice_tests::{
    link::End,
    programs::{Pass, interfaces_with_any},
    services::INTERFACES,
    sluice::scrape,
};

use super::site::{Site, tunnel};

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

/// What a verb prints as JSON.
fn printed(site: &Site, verb: &str) -> Value {
    let (status, printed, complained) = site.say(&[verb, "--output", "json"]);
    assert_eq!(status, Some(0), "{complained}");
    serde_json::from_str(&printed).unwrap()
}

/// What the verbs of configurations say of one that gives the third backend another weight.
fn assert_weight_changed(said: &Value, from: &str, to: &str) {
    let difference = json!({"key": "weight", "from": from, "to": to});
    let backend =
        json!({"name": "tunnel/backend3", "change": "changed", "differences": [difference]});
    assert_eq!(said["changes"]["backends"], json!([backend]));
    assert_eq!(said["changes"]["services"], json!([]));
}

/// A gauge of the agent's without labels.
fn gauge(site: &Site, name: &str) -> f64 {
    let metrics = scrape(&site.network().gateway).unwrap();
    metrics.sum(name, &[]).unwrap()
}

#[test]
fn a_reload_that_fails_changes_nothing_and_is_shown() {
    let good = tunnel("1h", &[100, 100, 100]);
    let mut site = Site::start("reload-bad", &good, |_| {});
    site.assert_answered("tunnel", 20);
    let bad = good.replace("forward = \"ipip\"", "forward = \"pigeon\"");
    site.reload(&bad, |status| !status["agent"]["reload_error"].is_null());
    let shown = printed(&site, "status").to_string();
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

#[test]
fn a_plan_says_exactly_what_a_reload_then_moves() {
    let site = Site::start("reload-plan", &tunnel("1h", &[100; 3]), |_| {});
    assert_eq!(printed(&site, "plan")["changes"]["slots"], json!([]));
    site.write(&tunnel("1h", &[100, 100, 300]));
    let planned = printed(&site, "plan");
    assert_weight_changed(&planned, "100", "300");
    let status = site.sluice.ask("/api/v1/status").unwrap();
    assert_eq!(
        (generation(&status), is_settled(&status)),
        (Some(1), Some(()))
    );

    assert_eq!(printed(&site, "reload"), planned);
    let moving = site.wait_for("moving slots", moving);
    for (n, (family, slots, _)) in moving.into_iter().enumerate() {
        let moved = &planned["changes"]["slots"][n];
        assert_eq!(
            (&moved["service"], &moved["family"]),
            (&json!("tunnel"), &json!(family))
        );
        let share = moved["share"].as_f64().unwrap();
        let status = site.sluice.ask("/api/v1/status").unwrap();
        let phases = |phase: &str| status["unsettled"][n][phase].as_u64().unwrap();
        let all = phases("settled") + phases("moving") + phases("mixed");
        assert_eq!((share * all as f64).round() as u64, slots);
        let least = moved["least"].as_f64().unwrap();
        assert!(
            least > 0.2 && least <= share && share < least + 0.1,
            "{moved}"
        );
    }
    site.assert_answered("tunnel", 20);
}

#[test]
fn a_rollback_returns_to_the_configuration_before() {
    let site = Site::start("reload-rollback", &tunnel("1h", &[100; 3]), |_| {});
    let (status, _, complained) = site.say(&["rollback"]);
    assert_eq!(status, Some(1));
    assert!(
        complained.contains("no configuration before"),
        "{complained}"
    );
    site.write(&tunnel("1h", &[100, 100, 300]));
    printed(&site, "reload");

    let bad = tunnel("1h", &[100; 3]).replace("forward = \"ipip\"", "forward = \"pigeon\"");
    site.write(&bad);
    let (status, _, complained) = site.say(&["reload"]);
    assert_eq!(status, Some(1));
    assert!(
        complained.contains("pigeon") && complained.contains("sluice.toml:"),
        "{complained}"
    );
    assert_eq!(gauge(&site, "sluice_config_last_reload_successful"), 0.0);
    assert_eq!(gauge(&site, "sluice_config_generation"), 2.0);

    assert_weight_changed(&printed(&site, "rollback"), "300", "100");
    let status = printed(&site, "status");
    assert_eq!(generation(&status), Some(3));
    let problems = status["problems"].to_string();
    assert!(problems.contains("rolled back"), "{problems}");
    assert_eq!(gauge(&site, "sluice_config_last_reload_successful"), 1.0);
    site.assert_answered("tunnel", 20);
    assert_weight_changed(&printed(&site, "rollback"), "100", "300");
}

#[test]
fn interfaces_come_and_go_by_reload() {
    let balancing = tunnel("1h", &[100; 3]);
    let site = Site::start("reload-interfaces", &balancing, |network| {
        for name in ["spare", "taken"] {
            let link = format!("link add {name} type veth peer name {name}-end");
            network.gateway.ip(&link).unwrap();
        }
    });
    let gateway = &site.network().gateway;
    let mut other = Pass::load().unwrap();
    let taken = End {
        namespace: gateway,
        interface: "taken",
    };
    other.attach(taken).unwrap();
    let attached = || interfaces_with_any(gateway).unwrap();
    let before = attached();

    // One that can't be attached to keeps all others from it.
    let interfaces = |more: &[&str]| format!("{:?}", [&INTERFACES, more].concat());
    site.write_agent("interfaces", &interfaces(&["spare", "taken"]), &balancing);
    let (status, _, complained) = site.say(&["reload"]);
    assert_eq!(status, Some(1));
    assert!(
        complained.contains("taken has another XDP program"),
        "{complained}"
    );
    assert_eq!(attached(), before);
    assert_eq!(generation(&printed(&site, "status")), Some(1));

    site.write_agent("interfaces", &interfaces(&["spare"]), &balancing);
    let added = json!([{"key": "interfaces", "added": ["spare"], "removed": []}]);
    assert_eq!(printed(&site, "plan")["changes"]["agent"], added);
    assert_eq!(printed(&site, "reload")["changes"]["agent"], added);
    assert_eq!(attached().len(), before.len() + 1);
    // A link that goes up announces itself.
    gateway.ip("link set spare up").unwrap();
    gateway.ip("link set spare-end up").unwrap();
    site.wait_for("packets on the new interface", |status| {
        let mut interfaces = status["interfaces"].as_array()?.iter();
        let spare = interfaces.find(|interface| interface["name"] == "spare")?;
        (spare["received"].as_u64()? > 0).then_some(())
    });
    site.assert_answered("tunnel", 20);

    site.write(&balancing);
    printed(&site, "reload");
    assert_eq!(attached(), before);
    assert!(
        !printed(&site, "status")["interfaces"]
            .to_string()
            .contains("spare")
    );
    site.assert_answered("tunnel", 20);
}

#[test]
fn files_that_change_are_read_again_where_that_is_wanted() {
    let text = |weight| tunnel("1h", &[100, 100, weight]);
    let site = Site::start("reload-watch", &text(100), |_| {});
    let watched = |weight| {
        site.write_agent("watch", "true", &text(weight));
    };
    watched(100);
    printed(&site, "reload");
    let taken = |wanted| {
        site.wait_for("another configuration", |status| {
            let clean = status["agent"]["reload_error"].is_null();
            (clean && generation(status) == Some(wanted)).then_some(())
        });
    };
    taken(2);
    watched(300);
    taken(3);
    // One that can't be taken, and then what was there before.
    site.write_agent("watch", "1", &text(300));
    site.wait_for("the refusal", |status| {
        let error = status["agent"]["reload_error"].as_str()?;
        error.contains("watch").then_some(())
    });
    watched(300);
    taken(4);
    // None at all for a while.
    fs::remove_file(site.folder().join("sluice.toml")).unwrap();
    site.wait_for("the refusal", |status| {
        let error = status["agent"]["reload_error"].as_str()?;
        error.contains("can't read").then_some(())
    });
    watched(300);
    taken(5);
    // A rollback stays until the files say something new.
    assert_weight_changed(&printed(&site, "rollback"), "300", "100");
    watched(300);
    // Longer than it takes to be read.
    thread::sleep(Duration::from_secs(2));
    taken(6);
    watched(200);
    taken(7);
    let shown = printed(&site, "backends").to_string();
    assert!(shown.contains("\"weight\":200"), "{shown}");
    site.assert_answered("tunnel", 20);
}
