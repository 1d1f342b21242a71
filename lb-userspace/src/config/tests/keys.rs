//! The keys beyond the first ones: what each refuses, which do nothing where, and what makes a
//! service record every flow.

use std::time::Duration;

use super::{
    load_text,
    mistakes::{assert_mistake, mistakes},
};
use crate::model::{
    Forward, NoBackend, OnDown, ReplyLimits, Scheduler, ServerId, ServerIds, TrackedBecause,
    Tracking, Udp,
};

mistakes! {
    // Values.
    bad_duration_unit: "[[pool]]" => "settle = \"90\"\nentry_timeout = \"2 hourz\"\naffinity = \"\"\n\n[[pool]]";
    bad_duration_type: "[[pool]]" => "settle = 90\n\n[[pool]]";
    bad_duration_range: "[[pool]]" => "affinity = \"0s\"\n[service.timeouts]\nudp = \"2M\"\n\n[[pool]]";
    bad_tracking: "[[pool]]" => "tracking = \"all\"\n\n[[pool]]";
    bad_source_prefix: "[[pool]]" => "scheduler = \"source-hash\"\nsource_prefix = { ipv4 = 33, ipv6 = 0, ip = 1 }\n\n[[pool]]";
    bad_source_prefix_type: "[[pool]]" => "scheduler = \"source-hash\"\nsource_prefix = 24\n\n[[pool]]";
    bad_timeouts: "[[pool]]" => "[service.timeouts]\nestablised = \"2h\"\n\n[[pool]]";
    bad_on_down: "[[pool]]" => "on_down = \"kep\"\ndown_grace = \"10s\"\nno_backend = \"refuse\"\n\n[[pool]]";
    bad_gue: "source" => "forward = \"gue\"\ngue_port = 65536\ngue_checksum = \"yes\"\nsource", ":8080" => "";
    bad_backend: "weight = 50" => "priority = 256\nmax_flows = 0";
    bad_exceptions: "[agent]" => "[agent]\nexceptions = 63\nexception_rate = 0";
    bad_backends: "[agent]" => "[agent]\nbackends = 1023";
    bad_backends_many: "[agent]" => "[agent]\nbackends = 16777216";

    bad_quic_lb: "[[pool]]" => "quic_lb = { config_id = 7, server_id_length = 16 }\n\n[[pool]]", "weight = 50" => "server_id = \"0a0b0\"";
    bad_quic_lb_keys: "[[pool]]" => "quic_lb = { config_id = -1 }\n\n[[pool]]", "weight = 50" => "server_id = \"\"";
    bad_server_id: "weight = 50" => "server_id = \"+a0102030405060708090a0b0c0d0e0f\"";
    bad_mss_clamp: "[[pool]]" => "mss_clamp = 535\n\n[[pool]]";
    bad_reply_rate: "[agent]" => "[agent]\nicmp_rate = -1\nreset_rate = 10000001";

    // Keys that exclude each other.
    entry_timeout_below_settle: "[[pool]]" => "settle = \"10m\"\nentry_timeout = \"5m\"\n\n[[pool]]";
    entry_timeout_below_default: "[[pool]]" => "entry_timeout = \"2h\"\n\n[[pool]]";
    entry_timeout_of_two_protocols: "80/tcp\"]" => "53/tcp\", \"198.18.0.10:53/udp\"]\nentry_timeout = \"2m\"";
    entry_timeout_beside_a_bad_settle: "[[pool]]" => "settle = \"1\"\nentry_timeout = \"1s\"\n\n[[pool]]";
    one_packet_and_quic: "80/tcp" => "443/udp", "[[pool]]" => "quic = true\none_packet = true\n\n[[pool]]";
    one_packet_without_udp: "[[pool]]" => "one_packet = true\nquic = false\n\n[[pool]]";
    quic_without_udp: "[[pool]]" => "quic = true\n\n[[pool]]";
    quic_lb_without_quic: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "80/tcp" => "443/udp", "[[pool]]" => "quic_lb = { server_id_length = 2 }\n\n[[pool]]", "weight = 50" => "server_id = \"0a0b\"";
    server_ids_missing: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "80/tcp" => "443/udp", "[[pool]]" => "quic = true\nquic_lb = { server_id_length = 2 }\n\n[[pool]]";
    server_ids_of_other_lengths: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "80/tcp" => "443/udp", "[[pool]]" => "quic = true\nquic_lb = { server_id_length = 1 }\n\n[[pool]]", "weight = 50" => "server_id = \"0a0b\"";
    server_ids_twice: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "80/tcp" => "443/udp", "[[pool]]" => "quic = true\nquic_lb = { server_id_length = 2 }\n\n[[pool]]", "weight = 50" => "server_id = \"0a0b\"\n\n[[pool.backend]]\nname = \"web2\"\naddress = \"198.18.1.12:8080\"\nserver_id = \"0A0B\"";
    source_in_nat: "source" => "forward = \"nat\"\nsource";
    source_in_dsr: "source" => "forward = \"dsr\"\nsource", ":8080" => "";

    // Fallback pools.
    fallback_is_the_pool: "[[pool]]" => "fallback = \"web\"\n\n[[pool]]";
    fallback_unknown: "[[pool]]" => "fallback = \"sory\"\n\n[[pool]]\nname = \"sorry\"\n\n[[pool]]";
    fallback_of_another_family: "[[pool]]" => "fallback = \"sorry\"\n\n[[pool]]\nname = \"sorry\"\nforward = \"nat\"\nbackend = [{ name = \"a\", address = \"fd00::1\" }]\n\n[[pool]]";
    fallback_without_a_source: "[[pool]]" => "fallback = \"sorry\"\n\n[[pool]]\nname = \"sorry\"\nbackend = [{ name = \"a\", address = \"fd00::1\" }]\n\n[[pool]]";

    // Keys that do nothing.
    idle_where_tracked: "80/tcp" => "443/udp", "[[pool]]" => "settle = \"10m\"\nentry_timeout = \"10m\"\nquic = true\n\n[[pool]]";
    idle_where_not_tracked: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "[[pool]]" => "[service.timeouts]\nudp = \"1m\"\n\n[[pool]]";
    idle_source_prefix: "[[pool]]" => "source_prefix = { ipv4 = 24 }\n\n[[pool]]";
    idle_down_grace: "[[pool]]" => "on_down = \"reset\"\ndown_grace = \"10s\"\n\n[[pool]]";
    idle_mss_clamp: "source = [\"198.18.1.254\"]" => "forward = \"dsr\"", "[[pool]]" => "mss_clamp = 1360\n\n[[pool]]", ":8080" => "";
    idle_mss_clamp_of_udp: "80/tcp" => "443/udp", "[[pool]]" => "mss_clamp = 1360\n\n[[pool]]";
    idle_quic_lb: "80/tcp" => "443/udp", "[[pool]]" => "quic = true\nquic_lb = { server_id_length = 2 }\n\n[[pool]]", "weight = 50" => "server_id = \"0a0b\"";
    idle_server_id: "weight = 50" => "server_id = \"0a0b\"";
    idle_gue: "source" => "gue_port = 6081\ngue_checksum = false\nsource";

    idle_is_no_guess: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "[[pool]]" => "tracking = \"ful\"\n[service.timeouts]\nudp = \"1m\"\n\n[[pool]]";

    // What makes a service record every flow.
    tracked_by_scheduler: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "[[pool]]" => "scheduler = \"least-connections\"\n\n[[pool]]";
    tracked_by_affinity: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "[[pool]]" => "affinity = \"10m\"\nsource_prefix = { ipv4 = 24 }\n\n[[pool]]";
    tracked_by_cap: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "weight = 50" => "max_flows = 100";
    tracked_by_shared_backend: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "80/tcp\"]" => "80/tcp\", \"198.18.0.10:443/tcp\"]";
    tracked_by_other_service: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "[[pool]]" => "[[service]]\nname = \"api\"\nlisten = [\"198.18.0.11:8080/tcp\"]\npool = \"api\"\n\n[[pool]]\nname = \"api\"\nforward = \"nat\"\nbackend = [{ name = \"a\", address = \"198.18.1.11\" }]\n\n[[pool]]";
    tracked_obviously: "[[pool]]" => "scheduler = \"round-robin\"\naffinity = \"10m\"\n\n[[pool]]", "weight = 50" => "max_flows = 100";
    tracked_as_asked: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "[[pool]]" => "tracking = \"full\"\naffinity = \"10m\"\n\n[[pool]]";
    not_tracked: "source = [\"198.18.1.254\"]" => "forward = \"nat\"", "80/tcp\"]" => "80/tcp\", \"198.18.0.10:443/tcp\"]", ":8080" => "";
}

const EVERYTHING: &str = r#"
[agent]
interfaces = ["eth0"]
backends = 1024
exceptions = 64
exception_rate = 1000
icmp_rate = 1
icmp_rate_per_source = 2
reset_rate = 3
reset_rate_per_source = 0

[[service]]
name = "web"
listen = ["198.18.0.10:80/tcp", "198.18.0.10:80/udp"]
pool = "web"
scheduler = "source-hash"
source_prefix = { ipv4 = 24 }
tracking = "full"
affinity = "10m"
on_down = "keep"
down_grace = "500ms"
fallback = "sorry"
no_backend = "drop"
echo = false
mss_clamp = 1360

[service.timeouts]
handshake = "5s"
established = "1h"
closing = "4s"
reset = "3s"
udp = "1h 2s"

[[service]]
name = "dns"
listen = ["198.18.0.53:53/udp"]
pool = "sorry"
settle = "1m"
entry_timeout = "90s"
one_packet = true

[[service]]
name = "http3"
listen = ["198.18.0.10:443/udp"]
pool = "http3"
quic = true
quic_lb = { config_id = 6, server_id_length = 3 }

[[pool]]
name = "web"
forward = "nat"

[[pool.backend]]
name = "web1"
address = "198.18.1.11:8080"
priority = 255
max_flows = 100

[[pool]]
name = "sorry"
forward = "gue"
gue_port = 6081
gue_checksum = false

[[pool.backend]]
name = "sorry1"
address = "fd00:181::99"

[[pool]]
name = "http3"
forward = "dsr"

[[pool.backend]]
name = "http3"
address = "198.18.1.13"
server_id = "0aFF00"
"#;

#[test]
fn every_key_reaches_the_model() {
    let loaded = load_text(EVERYTHING).unwrap();
    assert_eq!((loaded.warnings, loaded.notes), (vec![], vec![]));
    let config = loaded.config;
    assert_eq!(config.agent.backends, 1024);
    assert_eq!(config.agent.exceptions, 64);
    assert_eq!(config.agent.exception_rate, 1000);
    let replies = ReplyLimits {
        errors: 1,
        errors_per_source: 2,
        resets: 3,
        resets_per_source: 0,
    };
    assert_eq!(config.agent.replies, replies);

    let seconds = Duration::from_secs;
    let [web, dns, http3] = &config.services[..] else {
        panic!("three services");
    };
    assert_eq!(web.scheduler, Scheduler::SourceHash);
    assert_eq!((web.source_prefix.ipv4, web.source_prefix.ipv6), (24, 128));
    assert_eq!(web.tracking, Tracking::Full);
    assert_eq!(web.affinity, Some(seconds(600)));
    let grace = Duration::from_millis(500);
    assert_eq!(web.on_down, OnDown::Keep { grace });
    assert_eq!((web.fallback, web.no_backend), (Some(1), NoBackend::Drop));
    assert!(!web.echo && dns.echo);
    assert_eq!((web.mss_clamp, dns.mss_clamp), (Some(1360), None));
    assert_eq!(
        (web.settle, web.entry_timeout),
        (seconds(7800), seconds(7800))
    );
    let timeouts = &web.timeouts;
    assert_eq!(timeouts.handshake, seconds(5));
    assert_eq!(timeouts.established, seconds(3600));
    assert_eq!(timeouts.closing, seconds(4));
    assert_eq!(timeouts.reset, seconds(3));
    assert_eq!(timeouts.udp, seconds(3602));
    assert_eq!((dns.settle, dns.entry_timeout), (seconds(60), seconds(90)));
    assert_eq!(dns.udp, Udp::OnePacket);

    let configuration = 6;
    assert_eq!(http3.server_ids, Some(ServerIds { configuration }));
    assert_eq!((http3.udp, dns.server_ids), (Udp::Quic, None));

    let [web, sorry, named] = &config.pools[..] else {
        panic!("three pools");
    };
    let id = ServerId::new(&[0x0a, 0xff, 0]).unwrap();
    assert_eq!(named.backends[0].server_id, Some(id));
    assert_eq!(web.forward, Forward::Nat);
    let backend = &web.backends[0];
    assert_eq!((backend.priority, backend.max_flows), (255, Some(100)));
    assert_eq!(sorry.forward, Forward::Gue);
    assert_eq!((sorry.gue.port, sorry.gue.checksum), (6081, false));
}

#[test]
fn the_first_reason_to_record_every_flow_counts() {
    let why = |edits: &[(&str, &str)]| {
        let mut text = EVERYTHING.to_owned();
        for (from, to) in edits {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        load_text(&text).unwrap().config.tracked()
    };
    let asked = ("tracking = \"full\"\n", "");
    let affinity = ("affinity = \"10m\"\n", "");
    let capped = TrackedBecause::MaxFlows {
        pool: 0,
        backend: 0,
    };
    assert_eq!(why(&[]), [Some(TrackedBecause::Asked), None, None]);
    assert_eq!(why(&[asked]), [Some(TrackedBecause::Affinity), None, None]);
    assert_eq!(why(&[asked, affinity]), [Some(capped), None, None]);
    let cap = ("max_flows = 100", "");
    assert_eq!(why(&[asked, affinity, cap]), [None, None, None]);
    let scheduler = ("source-hash", "round-robin");
    let scheduled = Some(TrackedBecause::Scheduler);
    assert_eq!(why(&[asked, affinity, scheduler]), [scheduled, None, None]);

    // A fallback pool counts as well, and makes its own service tracked.
    let full_nat = (
        "\"gue\"\ngue_port",
        "\"full-nat\"\nsource = [\"fd00::1\"]\ngue_port",
    );
    let mode = Some(TrackedBecause::Mode { pool: 1 });
    assert_eq!(why(&[full_nat]), [mode, mode, None]);
}
