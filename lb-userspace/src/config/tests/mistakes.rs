//! One case for each mistake that a single file can have: an edit of the good file, and the
//! picture that it makes.

use super::{GOOD, assert_snapshot, load_text, printed};

/// Spoils the good file and compares what is said with the snapshot.
pub(super) fn assert_mistake(name: &str, edits: &[(&str, &str)]) {
    let mut text = GOOD.to_owned();
    for (from, to) in edits {
        assert!(
            text.contains(from),
            "{name}: `{from}` is not in the good file"
        );
        text = text.replacen(from, to, 1);
    }
    assert_snapshot(name, &printed(&load_text(&text)));
}

/// A test for each mistake, by the name of its snapshot.
macro_rules! mistakes {
    ($($name:ident: $($from:literal => $to:literal),+;)+) => {$(
        #[test]
        fn $name() {
            assert_mistake(stringify!($name), &[$(($from, $to)),+]);
        }
    )+};
}
pub(super) use mistakes;

mistakes! {
    // Syntax.
    syntax_unquoted: r#"["eth0"]"# => "[eth0]";
    syntax_unclosed_string: r#"name = "web""# => r#"name = "web"#;
    syntax_unclosed_array: r#"["eth0"]"# => r#"["eth0""#;
    syntax_unclosed_inline: r#"interfaces = ["eth0"]"# => "", "[agent]" => r#"agent = { interfaces = ["eth0"]"#;
    syntax_after_unclosed: "50" => "\n[[pool.backend]]\nname = \"web2\"\naddress = [\"198.18.1.12\"", "198.18.0.10" => "198.18.0.300";
    syntax_unclosed_header: "[[pool.backend]]" => "[[pool.backend]";
    syntax_bracket_too_many: r#"["eth0"]"# => r#"["eth0"]]"#;
    syntax_no_value: "weight = 50" => "weight";
    syntax_duplicate_key: "weight = 50" => "weight = 50\nweight = 60";
    syntax_and_others: r#"["eth0"]"# => "[eth0]", "weight" => "wieght", "50" => r#""heavy""#;
    syntax_hides_no_seed: "[agent]" => "[agent]\nseed = 0123456789abcdef0123456789abcdef";

    // Keys.
    unknown_key: "weight =" => "wieght =";
    unknown_key_far: "weight =" => "colour =";
    unknown_key_at_top: "[agent]" => "[logging]\nlevel = 1\n\n[agent]";
    unknown_key_for_missing: "listen =" => "listn =";
    unknown_key_with_controls: "weight =" => r#""\u001b[31m" ="#;
    missing_keys: r#"name = "web1""# => "", r#"pool = "web""# => "", r#"interfaces = ["eth0"]"# => "";
    missing_agent: "[agent]" => "", r#"interfaces = ["eth0"]"# => "";

    // Types.
    wrong_type_integer: "50" => r#""50""#;
    wrong_type_float: "50" => "0.5";
    wrong_type_string: r#"name = "web1""# => "name = 1";
    wrong_type_boolean: "[agent]" => "[agent]\ndebug = 1";
    wrong_type_array: r#"["198.18.0.10:80/tcp"]"# => r#""198.18.0.10:80/tcp""#;
    wrong_type_entry: r#"["eth0"]"# => r#"["eth0", 1]"#;
    wrong_type_table: "[[service]]" => "[service]";
    wrong_type_agent: "[agent]" => "[[agent]]";

    // Values.
    bad_name: r#"name = "web1""# => r#"name = "web/1""#;
    bad_name_empty: r#"name = "web1""# => r#"name = """#;
    bad_name_long: r#""web1""# => r#""a123456789b123456789c123456789d123456789e123456789f123456789g123""#;
    bad_interface: r#""eth0""# => r#""a-name-too-long-for-linux""#;
    bad_paths: "[agent]" => "[agent]\ncontrol = \"run/control.sock\"\nstate = \"\"\npin = \"bpf\"";
    bad_control_long: "[agent]" => "[agent]\ncontrol = \"/run/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.sock\"";
    bad_stats: "[agent]" => "[agent]\nstats = \"localhost:9633\"";
    bad_stats_port: "[agent]" => "[agent]\nstats = \"127.0.0.1:0\"";
    bad_seed_length: "[agent]" => "[agent]\nseed = \"0123456789abcdef\"";
    bad_seed_digit: "[agent]" => "[agent]\nseed = \"0123456789abcdef0123456789abcdeX\"";
    bad_flows: "[agent]" => "[agent]\nflows = 1000";
    bad_flows_large: "[agent]" => "[agent]\nflows = 99999999999999999999";
    bad_weight: "50" => "10001";
    bad_weight_negative: "50" => "-1";
    bad_scheduler: r#"pool = "web""# => "pool = \"web\"\nscheduler = \"maglve\"";
    bad_forward: "source" => "forward = \"fullnat\"\nsource";
    bad_slots: "source" => "slots = 65536\nsource";

    // Addresses, ports and protocols.
    bad_address: "198.18.0.10" => "198.18.0.300";
    bad_address_name: "198.18.1.11" => "web1.example";
    bad_address_port_zero: "10:80" => "10:0";
    bad_address_port_large: "10:80" => "10:65536";
    bad_address_no_port: "10:80" => "10";
    bad_address_port_word: "10:80" => "10:http";
    bad_address_protocol: "/tcp" => "/sctp";
    bad_address_no_protocol: "/tcp" => "";
    bad_address_brackets: "198.18.0.10" => "fd00:18::10";
    bad_address_brackets_backend: "198.18.1.11:8080" => "fd00:181::11:65536";
    bad_address_unspecified: "198.18.0.10" => "0.0.0.0";
    bad_address_multicast: "198.18.0.10" => "[ff02::1]";
    bad_address_loopback: "198.18.1.11" => "127.0.0.1";
    bad_address_link_local: "198.18.1.254" => "fe80::1";
    bad_address_source_port: "198.18.1.254" => "198.18.1.254:80";

    // Lists.
    empty_interfaces: r#"["eth0"]"# => "[]";
    empty_listen: r#"["198.18.0.10:80/tcp"]"# => "[]";
    empty_address: r#""198.18.1.11:8080""# => "[]";

    // Names that clash, or lead nowhere.
    duplicate_service: "[[pool]]" => "[[service]]\nname = \"web\"\nlisten = [\"198.18.0.10:81/tcp\"]\npool = \"web\"\n\n[[pool]]";
    duplicate_pool: "weight = 50" => "\n[[pool]]\nname = \"web\"";
    duplicate_backend: "weight = 50" => "\n[[pool.backend]]\nname = \"web1\"\naddress = \"198.18.1.12:8080\"";
    duplicate_interface: r#"["eth0"]"# => r#"["eth0", "eth1", "eth0"]"#;
    unknown_pool: r#"pool = "web""# => r#"pool = "wbe""#;
    unknown_pool_far: r#"pool = "web""# => r#"pool = "database""#;
    unused_pool: "[[pool]]" => "[[pool]]\nname = \"spare\"\n\n[[pool]]";

    // Addresses that clash.
    duplicate_listen: r#"["198.18.0.10:80/tcp"]"# => r#"["198.18.0.10:80/tcp", "198.18.0.10:80/udp", "198.18.0.10:80/tcp"]"#;
    range_backwards: "198.18.0.10:80/tcp" => "198.18.0.10:8099-8000/tcp";
    range_overlaps: r#"["198.18.0.10:80/tcp"]"# => r#"["198.18.0.10:80/tcp", "198.18.0.10:*/tcp", "198.18.0.10:443/tcp", "198.18.0.10:8000-8099/tcp"]"#;
    range_overlaps_across: "80/tcp" => "80-90/tcp", "[[pool]]" => "[[service]]\nname = \"api\"\nlisten = [\"198.18.0.10:90-99/tcp\", \"198.18.0.10:80-99/udp\", \"198.18.0.0/24:80-99/tcp\"]\npool = \"web\"\n\n[[pool]]";
    range_of_no_ports: "198.18.0.10:80/tcp" => "198.18.0.10:80-/tcp";
    access_contradicts: "[[service]]" => "[access]\nallow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.2.0/24\", \"192.0.2.1\"]\n\n[[service]]";
    access_bits: "[[service]]" => "[access]\ndeny = [\"192.0.2.1/24\", \"not an address\"]\n\n[[service]]";
    new_flows_of_no_rate: "[[pool]]" => "new_flows = { burst = 5 }\n\n[[pool]]";
    new_flows_rates: "[[pool]]" => "new_flows = { per_source = \"100\", total = \"0/s\", burst = 0 }\n\n[[pool]]";
    prefix_length: "198.18.0.10:80/tcp" => "198.18.0.0/33:80/tcp";
    prefix_bits: "198.18.0.10:80/tcp" => "198.18.0.10/24:80/tcp";
    prefix_without_port: "198.18.0.10:80/tcp" => "198.18.0.0/24/tcp";
    duplicate_listen_across: "[[pool]]" => "[[service]]\nname = \"api\"\nlisten = [\"198.18.0.10:80/tcp\"]\npool = \"web\"\n\n[[pool]]";
    duplicate_source: r#"["198.18.1.254"]"# => r#"["198.18.1.254", "198.18.1.254"]"#;
    two_of_a_family: r#""198.18.1.11:8080""# => r#"["198.18.1.11:8080", "198.18.1.12:8080"]"#;
    duplicate_server: "weight = 50" => "\n[[pool.backend]]\nname = \"web2\"\naddress = \"198.18.1.11:8080\"";
    duplicate_server_implied: ":8080" => "", "weight = 50" => "\n[[pool.backend]]\nname = \"web2\"\naddress = \"198.18.1.11:80\"";
    source_is_service: "198.18.1.254" => "198.18.0.10";
    backend_is_service: "198.18.1.11:8080" => "198.18.0.10:8080";
    backend_is_source: "198.18.1.11:8080" => "198.18.1.254:8080";

    // What a mode needs.
    no_backend_at_all: "[[pool.backend]]\nname = \"web1\"\naddress = \"198.18.1.11:8080\"\nweight = 50" => "";
    source_of_ports_is_a_prefix: "\"198.18.1.254\"" => "\"198.18.8.0/24\"";
    source_too_wide: "\"198.18.1.254\"" => "\"fd00:181::/64\"", ":8080\"" => "\"", "source" => "forward = \"ipip\"\nsource";
    no_backend_of_family: r#"/tcp"]"# => r#"/tcp", "[fd00:18::10]:80/tcp"]"#, "source = [\"198.18.1.254\"]" => "forward = \"nat\"";
    zero_weight: "50" => "0";
    zero_weight_of_family: "50" => "0\n\n[[pool.backend]]\nname = \"web2\"\naddress = \"[fd00:181::12]:8080\"", "source = [\"198.18.1.254\"]" => "forward = \"nat\"";
    zero_weight_of_both: "50" => "0", "/tcp\"]" => "/tcp\", \"[fd00:18::10]:80/tcp\"]";
    missing_source: "source = [\"198.18.1.254\"]\n" => "";
    missing_source_of_backend: "198.18.1.11:8080" => "[fd00:181::11]:8080";
    missing_source_of_family: r#"["198.18.1.254"]"# => r#"["fd00:181::fe"]"#;
    port_mismatch: "source" => "forward = \"ipip\"\nsource";
    port_mismatch_dsr: "source = [\"198.18.1.254\"]" => "forward = \"dsr\"";
    port_mismatch_across_families: "source" => "forward = \"gue\"\nsource", "198.18.1.11:8080" => "[fd00:181::11]:8080";

    // Everything at once.
    many: "eth0" => "", "198.18.0.10" => "198.18.0", "weight" => "wieght", r#"pool = "web""# => r#"pool = "wbe""#;
}

#[test]
fn what_is_no_mistake() {
    let cases: [&[(&str, &str)]; 11] = [
        &[],
        &[("source", "forward = \"ipip\"\nsource"), (":8080", "")],
        &[
            ("source = [\"198.18.1.254\"]", "forward = \"ipip\""),
            (":8080", ":80"),
        ],
        &[("/tcp\"]", "/tcp\", \"198.18.0.10:80/udp\"]")],
        // The IPv6 address has no service that could miss a weight.
        &[
            ("source = [\"198.18.1.254\"]", "forward = \"nat\""),
            (
                "weight = 50",
                "\n[[pool.backend]]\nname = \"web2\"\naddress = \"fd00::1\"\nweight = 0",
            ),
        ],
        // Backends of the other family.
        &[("/tcp\"]", "/tcp\", \"[fd00:18::10]:80/tcp\"]")],
        &[
            ("198.18.1.11:8080", "fd00:181::11"),
            (
                "source = [\"198.18.1.254\"]",
                "forward = \"gue\"\ngue_port = 6081",
            ),
        ],
        &[
            ("198.18.1.11:8080", "[fd00:181::11]:8080"),
            ("[\"198.18.1.254\"]", "[\"fd00:181::fe\"]"),
        ],
        // Its default settle time follows its protocol.
        &[
            (
                "80/tcp",
                "53/udp\"]\nentry_timeout = \"2m\"\nno_backend = \"drop",
            ),
            ("\"drop\"]", "\"drop\""),
            ("source = [\"198.18.1.254\"]", "forward = \"nat\""),
        ],
        // Instances on ports of their own.
        &[(
            "weight = 50",
            "\n[[pool.backend]]\nname = \"web2\"\naddress = \"198.18.1.11:8081\"",
        )],
        &[(
            "[agent]",
            "[agent]\nseed = \"0123456789abcdefABCDEF0123456789\"",
        )],
    ];
    for edits in cases {
        let mut text = GOOD.to_owned();
        edits
            .iter()
            .for_each(|(from, to)| text = text.replacen(from, to, 1));
        assert_eq!(printed(&load_text(&text)), "valid\n\n", "{text}");
    }
}

#[test]
fn an_agent_without_services_is_valid() {
    let text = "[agent]\ninterfaces = [\"eth0\"]\n";
    assert_eq!(printed(&load_text(text)), "valid\n\n");
}
