//! Backends that an operator drains: who gets new flows, what becomes of those that there are, and what is said of it.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use serde_json::Value;
use sluice_tests::{
    addresses::{BACKENDS, Family, WEB, client},
    services::PORT,
    wait,
};

use super::site::{PATIENCE, Site, ask_over, tunnel};

/// A service of `full-nat`, whose flows are recorded, over two backends.
fn web() -> String {
    let listen = WEB.of(Family::Ipv4);
    let mut text = format!(
        "[[service]]\nname = \"web\"\nlisten = [\"{listen}:{PORT}/tcp\"]\npool = \"web\"\n\n\
         [[pool]]\nname = \"web\"\nforward = \"full-nat\"\nsource = [\"198.18.1.254\"]\n"
    );
    for (n, backend) in (1..=2).zip(BACKENDS) {
        let ip = backend.of(Family::Ipv4);
        text += &format!("\n[[pool.backend]]\nname = \"web{n}\"\naddress = \"{ip}:8080\"\n");
    }
    text
}

fn backend(site: &Site, pool: &str, name: &str) -> Value {
    let answer = site.sluice.ask("/api/v1/backends").unwrap();
    let named = |list: &Value, name: &str| {
        let found = list
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name);
        found.unwrap().clone()
    };
    named(&named(&answer["pools"], pool)["backends"], name)
}

/// A connection to the service that a backend's server answers.
fn connection(site: &Site, server: &str) -> TcpStream {
    let to = SocketAddr::new(WEB.of(Family::Ipv4), PORT);
    for number in 0..200 {
        let mut stream = site.connect(client(Family::Ipv4, number), to).unwrap();
        if ask_over(&mut stream).unwrap() == server {
            return stream;
        }
    }
    panic!("{server} never answered");
}

fn assert_all_answered_by(site: &Site, server: &str) {
    let to = SocketAddr::new(WEB.of(Family::Ipv4), PORT);
    for number in 0..20 {
        let answer = site.answer(client(Family::Ipv4, 300 + number), to).unwrap();
        assert!(answer.starts_with(server), "{answer}");
    }
}

#[test]
fn a_drained_backend_keeps_its_flows_through_restarts_until_the_deadline() {
    let mut site = Site::start("drain", &web(), |_| {});
    let mut kept = connection(&site, "web1");
    let (code, said, complained) = site.say(&["drain", "web/web1"]);
    assert_eq!((code, complained.as_str()), (Some(0), ""), "{said}");
    assert_eq!(said, "web/web1 is drained: 1 flow live\n");
    assert_all_answered_by(&site, "web2");
    assert_eq!(ask_over(&mut kept).unwrap(), "web1");

    // It outlives a reload, which says so, and a restart.
    let (_, _, complained) = site.say(&["reload"]);
    let words = "web/web1 is drained by an override, whatever its `weight = 100` says";
    assert!(complained.contains(words), "{complained}");
    site.sluice.kill().unwrap();
    site.restart(&web());
    assert_all_answered_by(&site, "web2");
    assert_eq!(ask_over(&mut kept).unwrap(), "web1");
    let (_, table, _) = site.say(&["backends"]);
    assert!(
        table.contains("web/web1: drained by an operator: 1 flow live"),
        "{table}"
    );
    let (_, status, _) = site.say(&["status"]);
    assert!(
        status.contains("backend web/web1 is drained by an operator"),
        "{status}"
    );
    let labels = [("backend", "web1")];
    let metrics = site.scrape();
    assert_eq!(
        metrics.sum("sluice_backend_override_weight", &labels),
        Some(0.0)
    );
    let left = metrics.sum("sluice_backend_drain_remaining_flows", &labels);
    assert_eq!(left, Some(1.0));

    // The deadline ends what is left.
    let words = [
        "drain",
        "web/web1",
        "--deadline",
        "2s",
        "--then",
        "reset",
        "--wait",
    ];
    let (code, _, lines) = site.say(&words);
    assert_eq!(code, Some(0), "{lines}");
    assert!(lines.contains("1 flow live"), "{lines}");
    let ended = || {
        let answer = ask_over(&mut kept);
        Ok(answer
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
            .then_some(()))
    };
    wait::until("the flow to be reset", PATIENCE, ended).unwrap();
    assert_all_answered_by(&site, "web2");

    let (code, said, _) = site.say(&["undrain", "web1"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "web/web1 is as configured, with weight 100\n")
    );
    drop(connection(&site, "web1"));
}

#[test]
fn a_whole_pool_and_weights_are_overridden_by_name_or_address() {
    let site = Site::start("overrides", &web(), |_| {});
    let first = BACKENDS[0].of(Family::Ipv4).to_string();
    let (code, said, _) = site.say(&["weight", "--address", &first, "--to", "300"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "web/web1 is given weight 300, over weight 100\n")
    );
    let share = backend(&site, "web", "web1")["share"].as_f64().unwrap();
    assert!((share - 0.75).abs() < 0.01, "{share}");
    let (code, said, _) = site.say(&["weight", "web1", "--undo"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "web/web1 is as configured, with weight 100\n")
    );

    // Nobody is left: clients are told.
    let (code, _, _) = site.say(&["drain", "web", "--wait"]);
    assert_eq!(code, Some(0));
    let to = SocketAddr::new(WEB.of(Family::Ipv4), PORT);
    let answer = site.connect(client(Family::Ipv4, 1), to);
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let (code, _, _) = site.say(&["undrain", "web"]);
    assert_eq!(code, Some(0));
    assert!(site.answer(client(Family::Ipv4, 1), to).is_ok());

    for (words, expected) in [
        (
            vec!["drain", "web/web9"],
            "pool `web` has no backend `web9`; there are web1, web2",
        ),
        (
            vec!["drain", "--address", "198.18.9.9"],
            "no backend is at 198.18.9.9",
        ),
        (
            vec!["weight", "web", "--to", "10001"],
            "a weight is a number from 0 to 10000",
        ),
    ] {
        let (code, _, complained) = site.say(&words);
        assert_ne!(code, Some(0));
        assert!(complained.contains(expected), "{complained}");
    }
}

/// How often the agent looks at what is recorded.
const SWEEP: Duration = Duration::from_secs(5);

/// Of the first backend of the tunnels.
fn wait_until_nothing_is_left(site: &Site) {
    let left = || {
        let (_, said, _) = site.say(&["drain", "tunnel/backend1"]);
        Ok(said.ends_with("nothing is left\n").then_some(()))
    };
    wait::until("nothing to be left", PATIENCE, left).unwrap();
}

#[test]
fn flows_that_are_not_recorded_are_counted_as_they_are_seen() {
    let site = Site::start("drain-seen", &tunnel("2s", &[100, 100]), |_| {});
    let to = SocketAddr::new(sluice_tests::addresses::TUNNEL.of(Family::Ipv4), PORT);
    let found = (0..200).find_map(|number| {
        let mut stream = site.connect(client(Family::Ipv4, number), to).unwrap();
        (ask_over(&mut stream).unwrap() == "tunnel1").then_some(stream)
    });
    let mut kept = found.unwrap();
    let (code, said, _) = site.say(&["drain", "tunnel/backend1"]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("flows seen since, silent ones count as ended in"),
        "{said}"
    );
    // Its packets have it recorded, and it stays where it is.
    assert_eq!(ask_over(&mut kept).unwrap(), "tunnel1");
    let seen = || {
        assert_eq!(ask_over(&mut kept).unwrap(), "tunnel1");
        let left = &backend(&site, "tunnel", "backend1")["remaining"];
        Ok((left["seen"] == 1 && left["settle_seconds"].is_null()).then_some(()))
    };
    wait::until(
        "the flow to be counted, and the others to have settled",
        PATIENCE,
        seen,
    )
    .unwrap();
    // A deadline ends it, for longer than it takes the agent to look at what is recorded.
    let words = [
        "drain",
        "tunnel/backend1",
        "--deadline",
        "1s",
        "--then",
        "reset",
        "--wait",
    ];
    let (code, _, lines) = site.say(&words);
    assert_eq!(code, Some(0), "{lines}");
    thread::sleep(2 * SWEEP);
    let answer = ask_over(&mut kept).unwrap_err();
    assert_eq!(answer.kind(), ErrorKind::ConnectionReset);
    wait_until_nothing_is_left(&site);
}
