//! The kinds of value that keys take: how each is written, what it can be, and the words of the
//! error when it can't. Numbers are in `number`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, de::IntoDeserializer};

use super::{address, diagnostic::Code, diagnostic::Quoted, schema::Value};
use crate::model::{
    BackendAddress, Forward, Listen, Network, NoBackend, Scheduler, Seed, ServerId, Source,
    Tracking,
};

/// The name of a service, pool or backend. Names go into metrics, and into commands as
/// POOL/BACKEND.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(pub String);

impl Value for Name {
    type Form = String;
    const EXPECTED: &'static str = "a name: up to 63 letters, digits, `.`, `_` and `-`, \
                                    the first a letter or digit";

    fn read(text: String) -> Result<Self, String> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= 63 && text.bytes().all(inner) {
            Ok(Self(text))
        } else {
            Err(format!("{} can't be a name", Quoted(&text)))
        }
    }
}

/// The name of a network interface, by the kernel's rules (`dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Interface(pub String);

impl Value for Interface {
    type Form = String;
    const EXPECTED: &'static str = "the name of a network interface, such as \"eth0\"";

    fn read(text: String) -> Result<Self, String> {
        let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if fits && !text.contains(bad) {
            Ok(Self(text))
        } else {
            Err(format!(
                "{} can't be the name of an interface",
                Quoted(&text)
            ))
        }
    }
}

/// A pattern of files to include.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub String);

impl Value for Pattern {
    type Form = String;
    const EXPECTED: &'static str = "a file name or pattern, such as \"pools.d/*.toml\"";

    fn read(text: String) -> Result<Self, String> {
        if text.is_empty() {
            Err("an empty file name".to_owned())
        } else {
            Ok(Self(text))
        }
    }
}

/// A folder or file, by its whole path: the agent doesn't choose the folder it is started in.
#[derive(Clone, Debug)]
pub(super) struct AbsolutePath(pub PathBuf);

impl Value for AbsolutePath {
    type Form = String;
    const EXPECTED: &'static str = "a path that starts with `/`";

    fn read(text: String) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a path can't contain a NUL character".to_owned());
        }
        let path = PathBuf::from(&text);
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(format!("{} is not an absolute path", Quoted(&text)))
        }
    }
}

/// The path of a Unix socket, which the kernel limits.
#[derive(Clone, Debug)]
pub(super) struct SocketPath(pub PathBuf);

impl Value for SocketPath {
    type Form = String;
    const EXPECTED: &'static str = "a path that starts with `/`, of at most 107 bytes";

    fn read(text: String) -> Result<Self, String> {
        // `sun_path` has 108 bytes, the last one NUL.
        if text.len() > 107 {
            return Err(format!(
                "a path of {} bytes is too long for a socket",
                text.len()
            ));
        }
        AbsolutePath::read(text).map(|AbsolutePath(path)| Self(path))
    }
}

impl Value for SocketAddr {
    type Form = String;
    const EXPECTED: &'static str = "an address and a port, such as \"127.0.0.1:9633\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        match text.parse::<Self>() {
            Ok(address) if address.port() == 0 => Err("port 0 is no port".to_owned()),
            Ok(address) => Ok(address),
            Err(_) => Err(format!("{} is not an address and a port", Quoted(&text))),
        }
    }
}

impl Value for Listen {
    type Form = String;
    const EXPECTED: &'static str = "an address, a port and a protocol, such as \
                                    \"198.18.0.10:80/tcp\", \"[fd00:18::10]:8000-8099/udp\" \
                                    or \"198.18.4.0/24:*/tcp\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error: address::AddressError| error.to_string())
    }
}

impl Value for BackendAddress {
    type Form = String;
    const EXPECTED: &'static str = "an address and perhaps a port, such as \"198.18.1.11\", \
                                    \"198.18.1.11:8080\" or \"[fd00:181::11]:8080\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error: address::AddressError| error.to_string())
    }
}

impl Value for Source {
    type Form = String;
    const EXPECTED: &'static str =
        "an address without a port, such as \"198.18.1.254\" or \"fd00:181::fe\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error: address::AddressError| error.to_string())
    }
}

impl Value for Seed {
    type Form = String;
    const EXPECTED: &'static str = "32 hexadecimal digits";

    fn read(text: String) -> Result<Self, String> {
        // Says nothing of what was written: it is nearly the secret.
        text.parse().map_err(|_| match text.chars().count() {
            32 => "a seed with a character that is no hexadecimal digit".to_owned(),
            n => format!("a seed of {n} characters"),
        })
    }
}

impl Value for ServerId {
    type Form = String;
    const EXPECTED: &'static str = "1 to 15 octets as hexadecimal digits, such as \"0a0b0c\"";

    fn read(text: String) -> Result<Self, String> {
        let octets = octets(&text);
        let id = octets.and_then(|octets| Self::new(&octets));
        id.ok_or_else(|| format!("{} is not a server id", Quoted(&text)))
    }
}

impl Value for Scheduler {
    type Form = String;
    const EXPECTED: &'static str = "`maglev`, `source-hash`, `least-connections` or `round-robin`";
    const WORDS: &'static [&'static str] =
        &["maglev", "source-hash", "least-connections", "round-robin"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a scheduler", Quoted(&text)))
    }
}

impl Value for Forward {
    type Form = String;
    const EXPECTED: &'static str = "`full-nat`, `nat`, `dsr`, `ipip` or `gue`";
    const WORDS: &'static [&'static str] = &["full-nat", "nat", "dsr", "ipip", "gue"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a forwarding mode", Quoted(&text)))
    }
}

impl Value for Tracking {
    type Form = String;
    const EXPECTED: &'static str = "`auto` or `full`";
    const WORDS: &'static [&'static str] = &["auto", "full"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a way to track flows", Quoted(&text)))
    }
}

/// The word of a service's `on_down`; how long `keep` lasts is a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Down {
    Reschedule,
    Reset,
    Keep,
}

impl Value for Down {
    type Form = String;
    const EXPECTED: &'static str = "`reschedule`, `reset` or `keep`";
    const WORDS: &'static [&'static str] = &["reschedule", "reset", "keep"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} can't be done with flows", Quoted(&text)))
    }
}

impl Value for NoBackend {
    type Form = String;
    const EXPECTED: &'static str = "`reject` or `drop`";
    const WORDS: &'static [&'static str] = &["reject", "drop"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} can't be done with packets", Quoted(&text)))
    }
}

/// The packet path compares times in 32 bits of jiffies: with a tick of 1 ms the half of them, 24
/// days, is the longest time that it can tell.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

impl Value for Duration {
    type Form = String;
    const EXPECTED: &'static str =
        "a duration from 1ms to 7d, such as \"90s\", \"15m\" or \"2h10m\"";

    fn read(text: String) -> Result<Self, String> {
        use humantime::DurationError;
        match humantime::parse_duration(&text) {
            Ok(duration) if duration < Self::from_millis(1) => {
                Err(format!("{} is too short", Quoted(&text)))
            }
            // A capital M is humantime's month.
            Ok(duration) if duration > LONGEST => {
                let read = humantime::format_duration(duration);
                Err(format!("{} is too long: {read}", Quoted(&text)))
            }
            Ok(duration) => Ok(duration),
            Err(DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => {
                Err(format!("{} lacks a unit: ms, s, m, h or d", Quoted(&text)))
            }
            Err(DurationError::UnknownUnit { unit, .. }) => Err(format!(
                "{} is no unit of time: ms, s, m, h or d",
                Quoted(&unit)
            )),
            Err(_) => Err(format!("{} is not a duration", Quoted(&text))),
        }
    }
}

/// New flows in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowsASecond(pub u32);

impl Value for FlowsASecond {
    type Form = String;
    const EXPECTED: &'static str = "a rate from \"1/s\" to \"10000000/s\"";

    fn read(text: String) -> Result<Self, String> {
        let bad = || format!("{} is not a rate", Quoted(&text));
        let digits = text.strip_suffix("/s").ok_or_else(bad)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits.parse() {
            Ok(n @ 1..=10_000_000) if plain => Ok(Self(n)),
            _ => Err(bad()),
        }
    }
}

/// An address, or a prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix(pub Network);

impl Value for Prefix {
    type Form = String;
    const EXPECTED: &'static str =
        "an address or a prefix, such as \"198.51.100.0/24\" or \"2001:db8::/32\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        let prefix = address::prefix(&text).map_err(|error| error.to_string())?;
        Ok(Self(prefix))
    }
}

impl Value for bool {
    type Form = bool;
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(value: bool) -> Result<Self, String> {
        Ok(value)
    }
}

/// What pairs of hexadecimal digits stand for.
pub(super) fn octets(digits: &str) -> Option<Vec<u8>> {
    let octet = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).ok()?;
        let are_digits = digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit());
        let octet = are_digits.then(|| u8::from_str_radix(digits, 16));
        octet?.ok()
    };
    digits.as_bytes().chunks(2).map(octet).collect()
}

/// The variant that serde knows by this word.
pub(super) fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let deserializer: serde::de::value::StrDeserializer<'de, serde::de::value::Error> =
        text.into_deserializer();
    T::deserialize(deserializer).ok()
}
