//! What holds for any text: loading and rendering never panic, a refusal names an error, every
//! diagnostic stands in its file, and the seed never shows.

use proptest::prelude::*;

use super::{GOOD, load_text, printed};
use crate::config::{Code, Diagnostic, Severity, address::AddressError, diagnostic::Quoted};
use crate::model::{BackendAddress, Listen};

fn holds_for(text: &str) {
    let loaded = load_text(text);
    let _ = printed(&loaded);
    let diagnostics = match loaded {
        Ok(loaded) => {
            is_in_order(&loaded.notes, text);
            loaded.warnings
        }
        Err(report) => {
            let is_error = |found: &Diagnostic| found.severity == Severity::Error;
            assert!(
                report.diagnostics.iter().any(is_error),
                "refused without an error"
            );
            report.diagnostics
        }
    };
    is_in_order(&diagnostics, text);
}

fn is_in_order(diagnostics: &[Diagnostic], text: &str) {
    let mut last = (0, 0);
    for found in diagnostics {
        let at = found.at.as_ref().unwrap();
        let line = text.split('\n').nth(at.line - 1).unwrap();
        assert!(at.column <= line.chars().count() + 1);
        assert!((at.line, at.column) >= last, "not in the order of the file");
        last = (at.line, at.column);
    }
}

/// Pieces that configurations are made of, so that random texts get far.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "\n",
            "=",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            ",",
            "\"",
            "'",
            ".",
            "#",
            "\r\n",
            "\u{feff}",
            "agent",
            "[agent]\n",
            "[[pool]]\n",
            "[[service]]\n",
            "[[pool.backend]]\n",
            "[[pool.check]]\n",
            "[[vrrp]]\n",
            "vrid = ",
            "addresses = ",
            "\"198.18.0.10/24\"",
            "unicast_peers = ",
            "unicast_source = ",
            "interval = ",
            "version = ",
            "[pool.health]\n",
            "type = ",
            "\"http\"\n",
            "\"exec\"\n",
            "status = ",
            "body_regex = ",
            "command = ",
            "jitter = ",
            "flap_damping = ",
            "name = ",
            "listen = ",
            "pool = ",
            "address = ",
            "weight = ",
            "settle = ",
            "entry_timeout = ",
            "fallback = ",
            "forward = ",
            "\"nat\"\n",
            "\"2h10m\"",
            "one_packet = ",
            "[service.timeouts]\n",
            "source_prefix = ",
            "source = ",
            "include = ",
            "seed = ",
            "\"web\"",
            "\"198.18.0.10:80/tcp\"",
            "[\"198.18.0.10\"]",
            "65537",
            "0",
            "-1",
            "true",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ]
}

proptest! {
    #[test]
    fn any_text(text in "(?s).{0,200}") {
        holds_for(&text);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(piece(), 0..40)) {
        holds_for(&pieces.concat());
    }

    #[test]
    fn a_good_file_with_a_part_replaced(
        start in 0..GOOD.len(), length in 0..60usize, put in prop::collection::vec(piece(), 0..4),
    ) {
        let end = (start + length).min(GOOD.len());
        holds_for(&format!("{}{}{}", &GOOD[..start], put.concat(), &GOOD[end..]));
    }

    #[test]
    fn any_address(text in "[0-9a-f:./\\[\\]tcpud-]{0,30}|.{0,20}") {
        let _ = text.parse::<Listen>().map_err(|error: AddressError| error.to_string());
        let _ = text.parse::<BackendAddress>();
    }

    #[test]
    fn a_listen_address_reads_as_it_prints(bits: u128, v4: u32, port in 1u16.., udp: bool) {
        let protocol = if udp { "udp" } else { "tcp" };
        for text in [
            format!("[{}]:{port}/{protocol}", std::net::Ipv6Addr::from(bits)),
            format!("{}:{port}/{protocol}", std::net::Ipv4Addr::from(v4)),
            format!("{}:{port}-65535/{protocol}", std::net::Ipv4Addr::from(v4)),
            format!("[{}]:*/{protocol}", std::net::Ipv6Addr::from(bits)),
            format!("{}/16:*/{protocol}", std::net::Ipv4Addr::from(v4 & 0xffff_0000)),
            format!("[{}/64]:{port}/{protocol}", std::net::Ipv6Addr::from(bits >> 64 << 64)),
        ] {
            if let Ok(listen) = text.parse::<Listen>() && port < u16::MAX {
                prop_assert_eq!(listen.to_string(), text);
            }
        }
    }

    #[test]
    fn a_seed_never_shows(
        seed in "[0-9a-f]{20,40}", quote in prop::sample::select(vec!["\"", "'", ""]), trailer in "[ ,x\"']{0,2}",
    ) {
        let text = GOOD.replace("[agent]", &format!("[agent]\nseed = {quote}{seed}{quote}{trailer}"));
        let loaded = load_text(&text);
        prop_assert!(!printed(&loaded).contains(&seed[..6]), "{}", printed(&loaded));
        let shown = format!("{loaded:?}");
        prop_assert!(!shown.contains(&seed[..6]));
    }
}

#[test]
fn what_is_quoted_is_short_and_harmless() {
    assert_eq!(Quoted("web").to_string(), "`web`");
    assert_eq!(Quoted("\u{1b}[31m\n").to_string(), "`\\u{1b}[31m\\n`");
    assert_eq!(
        Quoted(&"ü".repeat(40)).to_string(),
        format!("`{}…`", "ü".repeat(32))
    );
}

#[test]
fn a_code_prints_as_it_serialises() {
    let codes = [
        Code::Unreadable,
        Code::Syntax,
        Code::UnknownKey,
        Code::MisplacedKey,
        Code::MissingKey,
        Code::WrongType,
        Code::NotATable,
        Code::BadValue,
        Code::BadAddress,
        Code::EmptyList,
        Code::DuplicateName,
        Code::DuplicateAddress,
        Code::UnknownPool,
        Code::NoBackend,
        Code::ZeroWeight,
        Code::MissingSource,
        Code::AddressConflict,
        Code::PortMismatch,
        Code::KeyConflict,
        Code::IdleKey,
        Code::Tracked,
        Code::UnusedPool,
        Code::UnmatchedInclude,
        Code::MissingInterface,
        Code::VlanDevice,
        Code::TooLarge,
        Code::NotForwarding,
        Code::ForeignAddress,
        Code::OwnBackend,
    ];
    for code in codes {
        assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
    }
}
