//! Which pool answers.

use serde_json::Value;
use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, TUNNEL},
    services::PORT,
    wait,
};

use super::site::{PATIENCE, Site};

/// A service of all addresses, and what follows of it.
fn service(rest: &str) -> String {
    let Dual { v4, v6 } = TUNNEL;
    format!(
        "[[service]]\nname = \"tunnel\"\nlisten = [\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\"]\n\
         pool = \"tunnel\"\n{rest}"
    )
}

/// A pool of one backend.
fn pool(name: &str, forward: &str, backend: &str, addresses: &[String]) -> String {
    format!(
        "\n[[pool]]\nname = \"{name}\"\nforward = \"{forward}\"\n\n\
         [[pool.backend]]\nname = \"{backend}\"\naddress = {addresses:?}\n"
    )
}

fn both(backend: usize) -> Vec<String> {
    let Dual { v4, v6 } = BACKENDS[backend];
    vec![v4.to_string(), v6.to_string()]
}

#[test]
fn the_fallback_answers_until_the_pool_does() {
    let balancing = service("fallback = \"sorry\"\n")
        + &pool("tunnel", "ipip", "first", &both(0))
        + &pool("sorry", "ipip", "sorry", &both(1));
    let mut site = Site::start_without("fallback", &balancing, 2, |network| {
        network.unplug(0).unwrap();
        network.gateway.ip("neigh flush all").unwrap();
    });
    for family in Family::ALL {
        assert_eq!(site.who_answers(family).unwrap(), "tunnel2");
    }
    let warnings = |status: &Value| {
        let problems = status["problems"].as_array().unwrap().iter();
        Some(problems.filter(|p| p["code"] == "fallback").count())
    };
    assert_eq!(site.wait_for("a status", warnings), 2);
    site.network().plug_in(0).unwrap();
    site.wait_until_ready();
    for family in Family::ALL {
        let back = || Ok(site.who_answers(family).ok().filter(|who| who == "tunnel1"));
        wait::until("the pool to answer", PATIENCE, back).unwrap();
    }
    assert_eq!(site.wait_for("a status", warnings), 0);
}
