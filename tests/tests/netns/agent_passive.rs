//! Backends that are judged by their clients' connections alone: one whose port is closed, and one behind a firewall
//! that drops. How soon each was left alone is printed: `--nocapture` shows it.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;
use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, SOURCE, WEB, client},
    command,
    network::Network,
    services::PORT,
    wait,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::site::{PATIENCE, Site, lead_back};

/// The port that the backends' servers listen on.
const BACKEND_PORT: u16 = 8080;

/// One service for all backends, without a check.
fn balancing(forward: &str) -> String {
    let backends = (1..).zip(BACKENDS).map(|(n, Dual { v4, .. })| {
        format!("[[pool.backend]]\nname = \"web{n}\"\naddress = \"{v4}:{BACKEND_PORT}\"\n\n")
    });
    let backends: String = backends.collect();
    format!(
        "[[service]]\nname = \"web\"\nlisten = [\"{}:{PORT}/tcp\"]\npool = \"web\"\n\
         settle = \"1s\"\nentry_timeout = \"1s\"\n\n\
         [[pool]]\nname = \"web\"\nforward = {forward}\n\n\
         [pool.health]\npassive = true\n\n{backends}",
        WEB.v4
    )
}

/// What a backend is, and why.
fn state(site: &Site, backend: &str) -> Result<(String, String)> {
    let answer = site.sluice.ask("/api/v1/backends")?;
    let backends = answer["pools"][0]["backends"].as_array().unwrap();
    let backend = backends.iter().find(|one| one["name"] == backend).unwrap();
    let health = &backend["addresses"][0]["health"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((word(&health["state"]), word(&health["passive"]["cause"])))
}

fn wait_until(site: &Site, backend: &str, expected: &str, words: &str) {
    let is = || {
        let (state, cause) = state(site, backend)?;
        Ok((state == expected && cause.contains(words)).then_some(()))
    };
    let what = format!("{backend} to be {expected}: {words}");
    wait::until(&what, PATIENCE, is)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", site.sluice.log()));
}

/// Connections of clients, one every two milliseconds until the work is done.
fn under_load<T>(network: &Network, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let to = SocketAddr::new(WEB.of(Family::Ipv4), PORT);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            network.client.run(|| {
                for number in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
                    socket.set_nonblocking(true)?;
                    socket.bind(&SocketAddr::new(client(Family::Ipv4, number), 0).into())?;
                    // It is under way.
                    let _ = socket.connect(&to.into());
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            })
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        load.join().unwrap().unwrap();
        result
    })
}

/// SYNs that a backend got, were sent an answer to, or refused.
fn handshakes(site: &Site, backend: &str) -> [f64; 3] {
    let (metrics, labels) = (site.scrape(), [("backend", backend)]);
    ["syns", "answered", "refused"].map(|what| {
        let name = format!("sluice_backend_{what}_total");
        metrics.sum(&name, &labels).unwrap()
    })
}

/// How long after `began` a backend still got SYNs: until none has come for half a second, and it is down.
fn last_syn(site: &Site, backend: &str, began: Instant) -> Duration {
    let ([mut count, ..], mut last, mut over) = (handshakes(site, backend), began, false);
    while last.elapsed() < Duration::from_millis(500) || !over {
        let late = began.elapsed() > PATIENCE;
        assert!(!late, "SYNs still come\n{}", site.sluice.log());
        let [now, ..] = handshakes(site, backend);
        if now != count {
            (count, last) = (now, Instant::now());
        }
        over = over || state(site, backend).unwrap().0 == "down";
        thread::sleep(Duration::from_millis(5));
    }
    last - began
}

/// Which servers answer a number of requests.
fn who_answers(site: &Site) -> Vec<String> {
    let to = SocketAddr::new(WEB.of(Family::Ipv4), PORT);
    let answers = (0..32).map(|number| {
        let answer = site.answer(client(Family::Ipv4, number), to);
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", site.sluice.log()));
        answer.split(' ').next().unwrap_or_default().to_owned()
    });
    let mut answers: Vec<_> = answers.collect();
    answers.sort();
    answers.dedup();
    answers
}

/// A backend fails under load, is left alone, and then is mended and comes back.
fn fails(
    site: &mut Site,
    backend: &str,
    words: &str,
    begin: impl FnOnce(&mut Site),
    end: impl FnOnce(&mut Site),
) {
    wait_until(site, backend, "up", "");
    let network = site.network().client.name().to_owned();
    begin(site);
    let began = Instant::now();
    let last = under_load(site.network(), || last_syn(site, backend, began));
    println!(
        "{network}: {words}: the last SYN {} ms after it began",
        last.as_millis()
    );
    wait_until(site, backend, "down", words);
    assert!(!who_answers(site).contains(&backend.to_owned()));
    end(site);
    wait_until(site, backend, "up", "");
    let [_, answered, _] = handshakes(site, backend);
    let answers = || {
        let [_, now, _] = handshakes(site, backend);
        Ok((who_answers(site).contains(&backend.to_owned()) && now > answered).then_some(()))
    };
    wait::until("the backend to answer again", PATIENCE, answers).unwrap();
    let name = format!("web/{backend}");
    let (_, history, _) = site.say(&["backends", &name, "--history"]);
    for words in [words, "it gets new flows again after 10s"] {
        assert!(history.contains(words), "{words}: {history}");
    }
}

fn firewall(site: &Site, rules: &str) {
    let mut nft = site.network().backends[1].command("nft").unwrap();
    command::run(nft.arg(rules)).unwrap();
}

const DROPS: &str = "add table inet health { chain in { type filter hook input priority 0; tcp dport 8080 drop; }; }";

fn are_left_alone(title: &str, forward: &str) -> Site {
    let mut site = Site::start(title, &balancing(forward), lead_back);
    fails(
        &mut site,
        "web1",
        "refused by reset",
        |site| site.server(0).stop().unwrap(),
        |site| site.start_server(0),
    );
    fails(
        &mut site,
        "web2",
        "unanswered within",
        |site| firewall(site, DROPS),
        |site| firewall(site, "delete table inet health"),
    );
    let [syns, answered, refused] = handshakes(&site, "web1");
    assert!(
        refused > 0.0 && answered > 0.0,
        "{syns} {answered} {refused}"
    );
    site
}

#[test]
fn backends_that_fail_their_clients_are_left_alone() {
    let mut site = are_left_alone("passive-nat", "\"nat\"");
    // The next agent knows it from the one before.
    site.server(2).stop().unwrap();
    under_load(site.network(), || {
        wait_until(&site, "web3", "down", "refused")
    });
    let kept = || {
        let text = fs::read_to_string(site.folder().join("state/health.json"))?;
        Ok(text.contains("refused by reset").then_some(()))
    };
    wait::until("the backend to be down on disk", PATIENCE, kept).unwrap();
    site.sluice.kill().unwrap();
    site.restart(&balancing("\"nat\""));
    let (state, cause) = state(&site, "web3").unwrap();
    assert_eq!(state, "down", "{}", site.sluice.log());
    assert!(cause.contains("refused by reset"), "{cause}");
    site.start_server(2);
    wait_until(&site, "web3", "up", "");
}

#[test]
fn so_are_those_whose_flows_are_recorded() {
    let forward = format!("\"full-nat\"\nsource = [\"{}\"]", SOURCE.v4);
    are_left_alone("passive-full", &forward);
}
