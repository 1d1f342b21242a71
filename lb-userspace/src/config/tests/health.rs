//! Checks, and what a pool makes of them: what each key becomes, and what is refused where.

use std::{num::NonZeroU16, time::Duration};

use super::{
    load_text,
    mistakes::{assert_mistake, mistakes},
};
use crate::model::{
    FlapDamping, Health, Initial, Pace, Probe,
    probe::{Dns, Exec, Grpc, Http, Payload, RecordType, StatusRange, Tcp, Tls, Udp},
};

mistakes! {
    // Keys.
    check_without_a_type: "weight = 50" => "[[pool.check]]\npath = \"/\"\npaht = \"/\"";
    check_of_no_type: "weight = 50" => "[[pool.check]]\ntype = \"htpp\"\npath = \"/\"";
    check_key_of_another_type: "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\npath = \"/\"\nexpct = \"x\"";
    check_keys_that_are_missing: "weight = 50" => "[[pool.check]]\ntype = \"udp\"\n[[pool.check]]\ntype = \"dns\"\n[[pool.check]]\ntype = \"exec\"";
    check_is_a_table: "weight = 50" => "[pool.check]\ntype = \"tcp\"";
    health_key_misspelt: "weight = 50" => "[pool.health]\nslowstart = \"30s\"\nflap_damping = { downs = 3, within = \"10m\" }\n[[pool.check]]\ntype = \"tcp\"";

    // Values.
    bad_check_values: "weight = 50" => "[[pool.check]]\ntype = \"http\"\nmethod = \"get\"\npath = \"healthz\"\nhost = \"a b\"\nstatus = [\"20\", \"399-200\", 200]\nbody_regex = \"(\"\nbody = \"\"";
    bad_check_pace: "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\ninterval = \"2\"\nrise = 0\nfall = 101\ninitial = \"off\"\nport = 0\naddress = \"web1\"";
    bad_check_payload: "weight = 50" => "[[pool.check]]\ntype = \"udp\"\nsend = \"hex:0g\"\nexpect = \"hex:\"";
    bad_check_query: "weight = 50" => "[[pool.check]]\ntype = \"dns\"\nquery = \"198.18.0.1\"\nrecord = \"a\"";
    bad_check_command: "weight = 50" => "[[pool.check]]\ntype = \"exec\"\ncommand = [\"check-db\", \"-v\"]\nenvironment = [\"PGUSER\"]";
    bad_check_sni: "weight = 50" => "[[pool.check]]\ntype = \"https\"\nsni = \"198.18.0.1\"\nca_file = \"ca.pem\"";
    bad_health: "weight = 50" => "[pool.health]\npanic_threshold = 101\nmin_healthy = -1\n[[pool.check]]\ntype = \"tcp\"";

    // What does not go together.
    check_takes_too_long: "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\ntimeout = \"5s\"\n[[pool.check]]\ntype = \"icmp\"\ninterval = \"1s\"\ntimeout = \"2s\"\njitter = \"3s\"";
    check_of_a_head_without_a_body: "weight = 50" => "[[pool.check]]\ntype = \"http\"\nmethod = \"HEAD\"\nbody = \"ok\"";
    check_of_an_agent_that_is_expected: "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\nagent = true\nexpect = \"up\"";
    check_without_a_port: ":8080" => "", "[\"198.18.0.10:80/tcp\"]" => "[\"198.18.0.10:80/tcp\", \"198.18.0.10:443/tcp\"]", "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\n[[pool.check]]\ntype = \"icmp\"\n[[pool.check]]\ntype = \"tcp\"\nport = 80";
    check_through_a_service_that_can_not_be: "weight = 50" => "[[pool.check]]\ntype = \"icmp\"\nthrough = \"service\"\n[[pool.check]]\ntype = \"exec\"\ncommand = [\"/bin/true\"]\nthrough = \"service\"\n[[pool.check]]\ntype = \"tcp\"\nagent = true\nthrough = \"service\"\n[[pool.check]]\ntype = \"tcp\"\nthrough = \"service\"\naddress = \"198.18.1.12\"\n[[pool.check]]\ntype = \"tcp\"\nthrough = \"tunnel\"";
    check_through_a_service_from_nowhere: "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\nthrough = \"service\"\n[[pool.check]]\ntype = \"tcp\"\nthrough = \"service\"\nport = 8080\n[[pool.check]]\ntype = \"dns\"\nquery = \"www.example.com\"\nthrough = \"service\"";
    probe_sources_of_others: "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\nthrough = \"service\"", "[agent]" => "[agent]\nprobe_sources = [\"198.18.0.10\", \"198.18.1.11\", \"fd00::1\", \"127.0.0.1:80\"]";
    check_through_a_service_that_crosses_beside_a_fallback: "198.18.0.10:80/tcp" => "[fd00:18::10]:80/tcp", "pool = \"web\"" => "pool = \"web\"\nfallback = \"spare\"", "[agent]" => "[agent]\nprobe_sources = [\"fd00:18::250\"]", "weight = 50" => "[[pool.check]]\ntype = \"tcp\"\nthrough = \"service\"\n[[pool]]\nname = \"spare\"\nsource = [\"198.18.1.253\"]\n[[pool.backend]]\nname = \"spare1\"\naddress = \"198.18.1.21:8080\"";
    more_healthy_than_there_are: "weight = 50" => "[pool.health]\nmin_healthy = 2\n[[pool.check]]\ntype = \"tcp\"";

    passive_where_no_replies_pass: "source = [\"198.18.1.254\"]" => "forward = \"ipip\"", ":8080" => "", "weight = 50" => "[pool.health]\npassive = true";
    passive_of_many_ports: ":8080" => "", "198.18.0.10:80/tcp" => "198.18.0.10:80-89/tcp", "weight = 50" => "[pool.health]\npassive = true";

    // What does nothing.
    passive_without_tcp: "198.18.0.10:80/tcp" => "198.18.0.10:80/udp", "weight = 50" => "[pool.health]\npassive = true";
    passive_that_is_not: "weight = 50" => "[pool.health]\npassive = false";
    idle_probe_sources: "[agent]" => "[agent]\nprobe_sources = [\"198.18.1.250\"]";
    idle_health: "weight = 50" => "[pool.health]\nslow_start = \"30s\"";
    idle_check_keys: "weight = 50" => "[[pool.check]]\ntype = \"icmp\"\nport = 80\n[[pool.check]]\ntype = \"grpc\"\nsni = \"a.example\"\nverify = false\n[[pool.check]]\ntype = \"https\"\nverify = false\nca_file = \"/ca.pem\"";
}

const EVERYTHING: &str = r#"
[agent]
interfaces = ["eth0"]

[[service]]
name = "web"
listen = ["198.18.0.10:80/tcp"]
pool = "web"

[[pool]]
name = "web"
forward = "nat"

[pool.health]
slow_start = "30s"
panic_threshold = 50
min_healthy = 1
flap_damping = { downs = 3, within = "10m", hold = "5m" }
passive = true

[[pool.backend]]
name = "web1"
address = "198.18.1.11"

[[pool.check]]
type = "tcp"
address = "127.0.0.1"
port = 9000
interval = "10s"
jitter = "0s"
timeout = "3s"
rise = 1
fall = 5
initial = "fully-down"
send = "hex:00ff"
agent = true

[[pool.check]]
type = "http"

[[pool.check]]
type = "https"
method = "HEAD"
path = "/healthz?full=1"
host = "www.example.com:8443"
status = ["200-299", "401"]
verify = false
sni = "www.example.com"
agent = true

[[pool.check]]
type = "http"
status = "204"
body = "ok"
body_regex = "^(ok|fine)$"

[[pool.check]]
type = "grpc"
service = "shop.Cart"
host = "cart.example"
tls = true
ca_file = "/etc/ssl/ours.pem"

[[pool.check]]
type = "udp"
send = "ping\n"
expect = "pong"

[[pool.check]]
type = "dns"
query = "www.example.com."
record = "AAAA"
expect = ["fd00::1", "fd00::2"]

[[pool.check]]
type = "icmp"
interval = "500ms"

[[pool.check]]
type = "exec"
command = ["/usr/lib/check-db", "--fast"]
environment = ["PGUSER=monitor", "PGOPTIONS=-c a=b"]
agent = true
"#;

fn probes() -> Vec<Probe> {
    let http = |tls| Http {
        method: "GET".into(),
        path: "/".into(),
        host: None,
        status: vec![StatusRange::DEFAULT],
        body: None,
        body_regex: None,
        tls,
        agent: false,
    };
    let range = |first, last| StatusRange { first, last };
    let tls = |verify, sni: Option<&str>, ca_file: Option<&str>| {
        Some(Tls {
            verify,
            sni: sni.map(str::to_owned),
            ca_file: ca_file.map(Into::into),
        })
    };
    let https = Http {
        method: "HEAD".into(),
        path: "/healthz?full=1".into(),
        host: Some("www.example.com:8443".into()),
        status: vec![range(200, 299), range(401, 401)],
        agent: true,
        ..http(tls(false, Some("www.example.com"), None))
    };
    let with_body = Http {
        status: vec![range(204, 204)],
        body: Some("ok".into()),
        body_regex: Some("^(ok|fine)$".into()),
        ..http(None)
    };
    vec![
        Probe::Tcp(Tcp {
            send: Some(Payload(vec![0, 0xff])),
            expect: None,
            agent: true,
        }),
        Probe::Http(Box::new(http(None))),
        Probe::Http(Box::new(https)),
        Probe::Http(Box::new(with_body)),
        Probe::Grpc(Grpc {
            service: "shop.Cart".into(),
            host: Some("cart.example".into()),
            tls: tls(true, None, Some("/etc/ssl/ours.pem")),
        }),
        Probe::Udp(Udp {
            send: Payload(b"ping\n".into()),
            expect: Some(Payload(b"pong".into())),
        }),
        Probe::Dns(Dns {
            query: "www.example.com.".into(),
            record: RecordType::Aaaa,
            expect: vec!["fd00::1".into(), "fd00::2".into()],
        }),
        Probe::Icmp,
        Probe::Exec(Exec {
            program: "/usr/lib/check-db".into(),
            arguments: vec!["--fast".into()],
            environment: vec![
                ("PGUSER".into(), "monitor".into()),
                ("PGOPTIONS".into(), "-c a=b".into()),
            ],
            agent: true,
        }),
    ]
}

#[test]
fn every_key_reaches_the_model() {
    let loaded = load_text(EVERYTHING).unwrap();
    assert_eq!((loaded.warnings, loaded.notes), (vec![], vec![]));
    let pool = &loaded.config.pools[0];
    let seconds = Duration::from_secs;
    let times = |n| NonZeroU16::new(n).unwrap();
    let health = Health {
        slow_start: Some(seconds(30)),
        panic_threshold: 50,
        min_healthy: 1,
        flap_damping: Some(FlapDamping {
            downs: times(3),
            within: seconds(600),
            hold: seconds(300),
        }),
        passive: true,
    };
    assert_eq!(pool.health, health);
    let found: Vec<_> = pool
        .checks
        .iter()
        .map(|check| check.probe.clone())
        .collect();
    assert_eq!(found, probes());

    let first = &pool.checks[0];
    assert_eq!(first.address, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(first.port, Some(9000));
    let pace = Pace {
        interval: seconds(10),
        jitter: Duration::ZERO,
        timeout: seconds(3),
        rise: times(1),
        fall: times(5),
        initial: Initial::FullyDown,
    };
    assert_eq!(first.pace, pace);
}

#[test]
fn what_is_left_out_gets_its_default() {
    let pools = load_text(EVERYTHING).unwrap().config.pools;
    let checks = &pools[0].checks;
    let pace = |interval, timeout| Pace {
        interval: Duration::from_millis(interval),
        jitter: Duration::from_millis(interval / 10),
        timeout: Duration::from_millis(timeout),
        rise: Pace::DEFAULT_RISE,
        fall: Pace::DEFAULT_FALL,
        initial: Initial::Up,
    };
    assert_eq!(checks[1].pace, pace(2000, 1000));
    assert_eq!(
        checks[7].pace,
        pace(500, 500),
        "not longer than the interval"
    );
    assert_eq!((checks[1].address, checks[1].port), (None, None));
}
