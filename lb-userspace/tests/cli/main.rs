//! The `sluice` binary from outside: what it prints and how it ends, without root. Agents are made
//! up: the real server with a made-up source, or a socket that answers what it is told.

mod command;
mod fake;

use std::{fs, os::unix::net::UnixListener};

use command::{assert_text, sluice};
use fake::{Canned, FakeAgent};

/// A configuration without a mistake, whatever the host.
const GOOD: &str = r#"
[agent]
interfaces = ["lo"]

[[service]]
name = "web"
listen = ["198.18.0.10:80/tcp"]
pool = "web"

[[pool]]
name = "web"
source = ["198.18.1.254"]

[[pool.backend]]
name = "web1"
address = "198.18.1.11:8080"
"#;

#[test]
fn help_of_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [
        "",
        "run",
        "check",
        "plan",
        "reload",
        "rollback",
        "status",
        "services",
        "backends",
        "drain",
        "undrain",
        "weight",
        "vrrp",
        "vrrp resign",
        "vrrp maintenance",
        "events",
        "detach",
    ] {
        let words: Vec<_> = verb.split_whitespace().chain(["--help"]).collect();
        let ended = sluice(folder.path(), &words);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_text(
            &format!(
                "help{}{}",
                if verb.is_empty() { "" } else { "_" },
                verb.replace(' ', "_")
            ),
            &ended.stdout,
        );
    }
}

#[test]
fn addresses_are_given_up() {
    let agent = FakeAgent::start();
    let vrrp = |words: &[&str]| sluice(agent.folder(), &[&["vrrp"], words].concat());
    let ended = vrrp(&["resign", "gateway"]);
    assert_eq!(
        (ended.code, &*ended.stdout),
        (0, "resigned: gateway, inside\n")
    );
    let ended = vrrp(&["resign", "gatway"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("no instance is named `gatway`"),
        "{ended:?}"
    );
    for on in ["on", "off"] {
        let ended = vrrp(&["maintenance", on, "--output", "json"]);
        let expected = format!("\"maintenance\": {}", on == "on");
        assert!(ended.stdout.contains(&expected), "{ended:?}");
    }
    let ended = vrrp(&["maintenance", "yes"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("possible values: on, off"),
        "{ended:?}"
    );
}

#[test]
fn events_are_listed_and_followed() {
    let agent = FakeAgent::start();
    let events = |words: &[&str]| sluice(agent.folder(), &[&["events"], words].concat());
    let ended = events(&[]);
    let said: Vec<_> = ended.stdout.lines().map(|line| &line[24..]).collect();
    let expected = ["     1  maintenance is on", "     2  maintenance is over"];
    assert_eq!((ended.code, &said[..]), (0, &expected[..]));
    let ended = events(&["--since", "1", "--output", "json"]);
    assert!(ended.stdout.contains("\"sequence\": 2"), "{ended:?}");
    assert!(!ended.stdout.contains("\"sequence\": 1"), "{ended:?}");
    let ended = events(&["--follow", "--since", "1", "--output", "json"]);
    let [line] = ended.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{ended:?}");
    };
    assert!(line.starts_with("{\"sequence\":2,"), "{line}");
    assert!(
        line.ends_with("\"kind\":\"maintenance\",\"on\":false}"),
        "{line}"
    );
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("the agent has ended"), "{ended:?}");
}

#[test]
fn version() {
    let folder = tempfile::tempdir().unwrap();
    let ended = sluice(folder.path(), &["--version"]);
    assert_eq!(ended.code, 0);
    let text = ended.stdout.trim_end();
    let version = concat!("sluice ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(text.starts_with(version), "{text}");
    let layout = format!(", layout {})", lb_common::abi::LAYOUT);
    assert!(text.ends_with(&layout), "{text}");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["stauts"][..],
        &["status", "--output", "xml"],
        &["check", "a", "b"],
        &[],
    ] {
        let ended = sluice(folder.path(), words);
        assert_eq!(ended.code, 2, "{words:?}: {ended:?}");
        assert!(
            ended.stdout.is_empty() && !ended.stderr.is_empty(),
            "{ended:?}"
        );
    }
}

#[test]
fn check_of_a_good_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.toml"), GOOD).unwrap();
    let ended = sluice(folder.path(), &["check", "good.toml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let last = ended.stdout.lines().last();
    assert_eq!(last, Some("good.toml: ok: 1 service, 1 pool, 1 backend"));
    // Whoever runs this test has no such address.
    assert!(
        ended.stdout.contains("warning[foreign-address]"),
        "{ended:?}"
    );
}

#[test]
fn check_of_a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let bad = GOOD.replace("pool = \"web\"", "pool = \"wbe\"") + "wieght = 50\n";
    fs::write(folder.path().join("bad.toml"), bad).unwrap();
    let ended = sluice(folder.path(), &["check", "bad.toml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_text("check_bad", &ended.stdout);
    let ended = sluice(folder.path(), &["check", "--output", "json", "bad.toml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_text("check_bad_json", &ended.stdout);
}

#[test]
fn check_of_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let ended = sluice(folder.path(), &["check", "none.toml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_text("check_none", &ended.stdout);
}

#[test]
fn what_the_host_lacks_is_an_error_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = GOOD.replace("\"lo\"", "\"not-here-0\"");
    fs::write(folder.path().join("sluice.toml"), elsewhere).unwrap();
    let ended = sluice(folder.path(), &["check", "sluice.toml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.contains("warning[missing-interface]"),
        "{ended:?}"
    );
    let ended = sluice(folder.path(), &["check", "--host", "sluice.toml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("error[missing-interface]"),
        "{ended:?}"
    );
    let last = ended.stdout.lines().last();
    assert_eq!(
        last,
        Some("sluice.toml: valid, but this host is not ready for it")
    );
}

#[test]
fn listings_of_an_agent() {
    let agent = FakeAgent::start();
    for (name, words) in [
        ("status", &["status"][..]),
        ("services", &["services"]),
        ("backends", &["backends"]),
        ("backends_of_pool", &["backends", "web"]),
        ("backend", &["backends", "dns1"]),
        ("status_json", &["status", "--output", "json"]),
        ("services_json", &["services", "--output", "json"]),
        (
            "backend_json",
            &["backends", "web/web2", "--output", "json"],
        ),
    ] {
        let ended = sluice(agent.folder(), words);
        assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        assert_text(name, &ended.stdout);
    }
}

#[test]
fn a_plan_of_files_that_the_agent_has_never_seen() {
    let agent = FakeAgent::start();
    fs::write(agent.folder().join("sluice.toml"), GOOD).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = agent.folder().join("control.sock");
    let plan = |text: &str, more: &[&str]| {
        fs::write(elsewhere.path().join("next.toml"), text).unwrap();
        let words = ["plan", "next.toml", "--control", socket.to_str().unwrap()];
        sluice(elsewhere.path(), &[&words, more].concat())
    };
    let ended = plan(GOOD, &[]);
    assert_eq!((ended.code, &*ended.stdout), (0, "nothing would change\n"));
    let next = GOOD.to_owned() + "weight = 50\n";
    let ended = plan(&next, &[]);
    let expected = "~ backend web/web1: weight 100 → 50\n";
    assert_eq!((ended.code, &*ended.stdout), (0, expected), "{ended:?}");
    let ended = plan(&next, &["--output", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_text("plan_json", &ended.stdout);
    let ended = plan(GOOD, &["--sample", "1m"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("not counted for 60s"), "{ended:?}");
    let ended = plan(GOOD, &["--sample", "0s"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("no more than 60 s"), "{ended:?}");
    let ended = plan(&GOOD.replace("pool = \"web\"", "pool = \"wbe\""), &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("next.toml:8"), "{ended:?}");
}

#[test]
fn a_reload_that_the_agent_refuses_says_what_check_would() {
    let agent = FakeAgent::start();
    let file = agent.folder().join("sluice.toml");
    fs::write(&file, GOOD).unwrap();
    let ended = sluice(agent.folder(), &["reload"]);
    assert_eq!((ended.code, &*ended.stdout), (0, "nothing has changed\n"));
    assert_eq!(ended.stderr, "warning: all is not well\n");
    fs::write(&file, GOOD.to_owned() + "wieght = 50\n").unwrap();
    let ended = sluice(agent.folder(), &["reload"]);
    assert_eq!((ended.code, &*ended.stdout), (1, ""));
    assert_text("reload_refused", &ended.stderr);
    let ended = sluice(agent.folder(), &["rollback"]);
    let expected = "sluice: the agent at FOLDER/control.sock says: \
                    there is no configuration before this one\n";
    assert_eq!((ended.code, &*ended.stderr), (1, expected));
}

#[test]
fn a_backend_that_is_not_there() {
    let agent = FakeAgent::start();
    let ended = sluice(agent.folder(), &["backends", "wbe"]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stderr,
        "sluice: no pool and no backend is called `wbe`; of pools there are web, dns\n"
    );
}

#[test]
fn the_socket_is_found_by_option_or_variable() {
    let agent = FakeAgent::start();
    let socket = agent.folder().join("control.sock");
    let elsewhere = tempfile::tempdir().unwrap();
    let option = ["services", "--control", socket.to_str().unwrap()];
    assert_eq!(sluice(elsewhere.path(), &option).code, 0);
    assert_eq!(sluice(elsewhere.path(), &["services"]).code, 1);
}

#[test]
fn no_agent() {
    let folder = tempfile::tempdir().unwrap();
    let ended = sluice(folder.path(), &["status"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert_text("no_socket", &ended.stderr);
    drop(UnixListener::bind(folder.path().join("control.sock")).unwrap());
    let ended = sluice(folder.path(), &["status"]);
    assert_eq!(ended.code, 1);
    assert_text("stale_socket", &ended.stderr);
}

#[test]
fn an_agent_of_another_version() {
    let canned = Canned::start(
        "HTTP/1.1 404 Not Found\r\nsluice-version: 0.9.0\r\nconnection: close\r\n\r\n\
         {\"api\":2,\"error\":\"this agent (sluice 0.9.0) serves /api/v2, not /api/v1\"}",
    );
    let ended = sluice(canned.folder(), &["status"]);
    assert_eq!(ended.code, 1);
    assert_text("other_version", &ended.stderr);
}

#[test]
fn something_else_on_the_socket() {
    let canned = Canned::start("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
    let ended = sluice(canned.folder(), &["status"]);
    assert_eq!(ended.code, 1);
    assert_text("other_server", &ended.stderr);
    let canned = Canned::start("220 mail ESMTP\r\n");
    let ended = sluice(canned.folder(), &["status"]);
    assert_eq!(ended.code, 1);
    assert_text("no_http", &ended.stderr);
}
