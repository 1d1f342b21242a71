//! Access lists and limits on new flows: who is kept out, who is not, and that both are counted.

use std::net::SocketAddr;

use serde_json::Value;
use sluice_tests::{
    addresses::{Family, TUNNEL, client},
    services::PORT,
};

use super::site::{Site, tunnel};

/// The tunnels' service with another key.
fn with(key: &str) -> String {
    tunnel("15m", &[100, 100, 100])
        .replace("pool = \"tunnel\"", &format!("pool = \"tunnel\"\n{key}"))
}

/// Whether a client is answered.
fn serves(site: &Site, family: Family, number: u32) -> bool {
    let to = SocketAddr::new(TUNNEL.of(family), PORT);
    site.answer(client(family, number), to).is_ok()
}

/// Packets that were dropped for a reason.
fn dropped(site: &Site, reason: &str) -> u64 {
    let status = site.sluice.ask("/api/v1/status").unwrap();
    let interfaces = status["interfaces"].as_array().unwrap().iter();
    let counted = interfaces.map(|one| one["dropped"][reason].as_u64().unwrap());
    counted.sum()
}

#[test]
fn who_is_denied_is_refused_and_counted_and_others_are_served() {
    let denied = Family::ALL.map(|family| format!("\"{}\"", client(family, 7)));
    let key = format!("access = {{ deny = [{}] }}", denied.join(", "));
    let site = Site::start("access", &with(&key), |_| ());
    for family in Family::ALL {
        assert!(serves(&site, family, 6), "{}", site.sluice.log());
        assert!(!serves(&site, family, 7));
        assert!(serves(&site, family, 8));
    }
    assert!(dropped(&site, "service_denied") >= 2);
    assert_eq!(dropped(&site, "denied"), 0);
}

#[test]
fn one_source_gets_no_more_flows_than_it_may() {
    let key = "new_flows = { per_source = \"1/s\", burst = 2 }";
    let site = Site::start("new-flows", &with(key), |_| ());
    for family in Family::ALL {
        // SYNs that are sent again get through in the end.
        for _ in 0..5 {
            assert!(serves(&site, family, 6), "{}", site.sluice.log());
        }
        assert!(serves(&site, family, 7), "another source");
    }
    assert!(dropped(&site, "source_limited") >= 2);
}

#[test]
fn lists_come_and_go_by_reload() {
    let open = with("");
    let mut site = Site::start("access-reload", &open, |_| ());
    let denied = Family::ALL.map(|family| format!("\"{}\"", client(family, 7)));
    let all = format!("{open}\n[access]\ndeny = [{}]\n", denied.join(", "));
    let generation = |n: u64| move |status: &Value| status["agent"]["generation"] == n;
    for (n, config, comes_in) in [(2, &all, false), (3, &open, true)] {
        site.reload(config, generation(n));
        for family in Family::ALL {
            assert_eq!(serves(&site, family, 7), comes_in, "{family:?}");
            assert!(serves(&site, family, 6), "{}", site.sluice.log());
        }
    }
    assert!(dropped(&site, "denied") >= 2);
}
