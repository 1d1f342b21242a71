//! Who gets a new flow where flows are recorded: what the configuration says of schedulers, affinity
//! and caps reaches the packets.

use std::{collections::BTreeMap, fmt::Write as _};

use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, TUNNEL},
    services::PORT,
};

use super::site::Site;

/// The tunnels' service with keys of its own, before two backends, the second with keys of its own.
fn balancing(service: &str, second: &str) -> String {
    let Dual { v4, v6 } = TUNNEL;
    let mut text = format!(
        "[[service]]\nname = \"tunnel\"\nlisten = [\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\"]\n\
         pool = \"tunnel\"\n{service}\n\n[[pool]]\nname = \"tunnel\"\nforward = \"ipip\"\n"
    );
    for ((n, Dual { v4, v6 }), keys) in (1..).zip(BACKENDS).zip(["", second]) {
        let _ = write!(
            text,
            "\n[[pool.backend]]\nname = \"backend{n}\"\naddress = [\"{v4}\", \"{v6}\"]\n{keys}\n"
        );
    }
    text
}

/// Who answers so many requests of one client, one after the other.
fn answers(site: &Site, family: Family, requests: u32) -> BTreeMap<String, u32> {
    let mut answers = BTreeMap::new();
    for _ in 0..requests {
        *answers
            .entry(site.who_answers(family).unwrap())
            .or_default() += 1;
    }
    answers
}

fn shares(shares: &[(&str, u32)]) -> BTreeMap<String, u32> {
    let shares = shares.iter().map(|&(name, count)| (name.into(), count));
    shares.collect()
}

/// Each CPU goes round by itself, and packets of a namespace may come from any, so a turn or two may
/// be out.
#[test]
fn backends_are_given_flows_in_turn() {
    let site = Site::start(
        "round-robin",
        &balancing("scheduler = \"round-robin\"", "weight = 300"),
        |_| {},
    );
    for family in Family::ALL {
        let answers = answers(&site, family, 40);
        let second = answers["tunnel2"];
        assert!((28..=32).contains(&second), "{answers:?}");
    }
}

#[test]
fn a_client_keeps_its_backend() {
    let keys = "scheduler = \"round-robin\"\naffinity = \"1h\"";
    let site = Site::start("affinity", &balancing(keys, ""), |_| {});
    for family in Family::ALL {
        assert_eq!(answers(&site, family, 10).len(), 1);
    }
}

/// Requests that are over make room: none of these is refused.
#[test]
fn a_capped_backend_takes_flows_again_when_others_are_over() {
    let site = Site::start("cap", &balancing("", "max_flows = 1"), |_| {});
    for family in Family::ALL {
        let answers = answers(&site, family, 20);
        assert!(answers.len() == 2, "{answers:?}");
    }
}

/// Flows that are over count no more, so an idle backend is taken as often as the other.
#[test]
fn the_heavier_backend_is_given_more_flows() {
    let keys = "scheduler = \"least-connections\"";
    let site = Site::start("least", &balancing(keys, "weight = 1000"), |_| {});
    for family in Family::ALL {
        let expected = shares(&[("tunnel2", 10)]);
        assert_eq!(answers(&site, family, 10), expected);
    }
}
