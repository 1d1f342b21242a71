//! The kinds of value that keys take: how each is written, what it can be, and the words of the
//! error when it can't.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, de::IntoDeserializer};

use super::{address, diagnostic::Code, diagnostic::Quoted, schema::Value};
use crate::model::{BackendAddress, Forward, Listen, Scheduler, Seed, TableSize, Weight};

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
                                    \"198.18.0.10:80/tcp\" or \"[fd00:18::10]:80/udp\"";
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

impl Value for IpAddr {
    type Form = String;
    const EXPECTED: &'static str =
        "an address without a port, such as \"198.18.1.254\" or \"fd00:181::fe\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        address::unicast(&text).map_err(|error| error.to_string())
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

impl Value for Scheduler {
    type Form = String;
    const EXPECTED: &'static str = "`maglev`";
    const WORDS: &'static [&'static str] = &["maglev"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a scheduler", Quoted(&text)))
    }
}

impl Value for Forward {
    type Form = String;
    const EXPECTED: &'static str = "`full-nat` or `ipip`";
    const WORDS: &'static [&'static str] = &["full-nat", "ipip"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a forwarding mode", Quoted(&text)))
    }
}

impl Value for Weight {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 0 to 10000";

    fn read(number: i64) -> Result<Self, String> {
        let weight = u16::try_from(number).ok().and_then(Self::new);
        weight.ok_or_else(|| format!("{number} is not a weight"))
    }
}

impl Value for TableSize {
    type Form = i64;
    const EXPECTED: &'static str = "1021, 16381 or 65537";

    fn read(number: i64) -> Result<Self, String> {
        let size = Self::ALL
            .into_iter()
            .find(|size| i64::from(size.slots()) == number);
        size.ok_or_else(|| format!("{number} is not a table size"))
    }
}

/// Entries of a flow table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flows(pub u32);

impl Value for Flows {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1024 to 16777216";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(flows @ 1024..=16_777_216) => Ok(Self(flows)),
            _ => Err(format!("{number} flow entries can't be")),
        }
    }
}

impl Value for bool {
    type Form = bool;
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(value: bool) -> Result<Self, String> {
        Ok(value)
    }
}

/// The variant that serde knows by this word.
fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let deserializer: serde::de::value::StrDeserializer<'de, serde::de::value::Error> =
        text.into_deserializer();
    T::deserialize(deserializer).ok()
}
