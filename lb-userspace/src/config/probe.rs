//! The kinds of value that the keys of checks take: how each is written, what it can be, and the
//! words of the error when it can't.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;

use super::{
    address,
    diagnostic::{Code, Quoted},
    schema::Value,
    value::{octets, word},
};
use crate::model::{
    Initial, Through,
    probe::{Payload, RecordType, StatusRange},
};

/// What a check asks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CheckType {
    Tcp,
    Http,
    Https,
    Grpc,
    Udp,
    Dns,
    Icmp,
    Exec,
}

impl Value for CheckType {
    type Form = String;
    const EXPECTED: &'static str = "`tcp`, `http`, `https`, `grpc`, `udp`, `dns`, `icmp` or `exec`";
    const WORDS: &'static [&'static str] =
        &["tcp", "http", "https", "grpc", "udp", "dns", "icmp", "exec"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a type of check", Quoted(&text)))
    }
}

impl Value for Initial {
    type Form = String;
    const EXPECTED: &'static str = "`up`, `fully-up`, `down` or `fully-down`";
    const WORDS: &'static [&'static str] = &["up", "fully-up", "down", "fully-down"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a state", Quoted(&text)))
    }
}

impl Value for Through {
    type Form = String;
    const EXPECTED: &'static str = "`backend` or `service`";
    const WORDS: &'static [&'static str] = &["backend", "service"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a way to ask", Quoted(&text)))
    }
}

impl Value for RecordType {
    type Form = String;
    const EXPECTED: &'static str = "`A`, `AAAA`, `CNAME`, `MX`, `NS`, `PTR`, `SOA`, `SRV` or `TXT`";
    const WORDS: &'static [&'static str] =
        &["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"];

    fn read(text: String) -> Result<Self, String> {
        word(&text).ok_or_else(|| format!("{} is not a type of record", Quoted(&text)))
    }
}

/// By how much an interval varies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jitter(pub Duration);

impl Value for Jitter {
    type Form = String;
    const EXPECTED: &'static str = "a duration from 0s to 7d, such as \"200ms\"";

    fn read(text: String) -> Result<Self, String> {
        match text.as_str() {
            "0s" => Ok(Self(Duration::ZERO)),
            _ => Duration::read(text).map(Self),
        }
    }
}

/// Whom a check asks instead of the backend, or whom it asks from.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckAddress(pub IpAddr);

impl Value for CheckAddress {
    type Form = String;
    const EXPECTED: &'static str = "an address without a port, such as \"198.18.1.11\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        let address = address::asked(&text).map_err(|error| error.to_string())?;
        Ok(Self(address))
    }
}

/// The method of a request (RFC 9110, section 9.1: a token; those in use are of capitals).
#[derive(Clone, Debug)]
pub(super) struct Method(pub String);

impl Value for Method {
    type Form = String;
    const EXPECTED: &'static str = "a method, such as \"GET\", \"HEAD\" or \"OPTIONS\"";
    const WORDS: &'static [&'static str] = &["GET", "HEAD", "OPTIONS", "POST"];

    fn read(text: String) -> Result<Self, String> {
        let plain = text.bytes().all(|byte| byte.is_ascii_uppercase());
        if plain && (1..=20).contains(&text.len()) && text != "CONNECT" {
            Ok(Self(text))
        } else {
            Err(format!("{} is not a method", Quoted(&text)))
        }
    }
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct HttpPath(pub String);

impl Value for HttpPath {
    type Form = String;
    const EXPECTED: &'static str =
        "a path that starts with `/`, without spaces, such as \"/healthz?full=1\"";

    fn read(text: String) -> Result<Self, String> {
        let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && !text.contains('#') {
            Ok(Self(text))
        } else {
            Err(format!("{} is not a path", Quoted(&text)))
        }
    }
}

/// What goes into a `Host` header.
#[derive(Clone, Debug)]
pub(super) struct Host(pub String);

impl Value for Host {
    type Form = String;
    const EXPECTED: &'static str = "a host name or address, perhaps with a port";

    fn read(text: String) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if !text.is_empty() && text.len() <= 255 && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(format!("{} is not a host", Quoted(&text)))
        }
    }
}

/// A name of the DNS.
#[derive(Clone, Debug)]
pub(super) struct DnsName(pub String);

impl Value for DnsName {
    type Form = String;
    const EXPECTED: &'static str = "a name such as \"www.example.com\"";

    fn read(text: String) -> Result<Self, String> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(inner);
        let name = text.strip_suffix('.').unwrap_or(&text);
        let numeric = name.parse::<IpAddr>().is_ok();
        if name.len() <= 253 && name.split('.').all(label) && !numeric {
            Ok(Self(text))
        } else {
            Err(format!("{} is not a name of the DNS", Quoted(&text)))
        }
    }
}

impl Value for StatusRange {
    type Form = String;
    const EXPECTED: &'static str = "a status or a range of them, such as \"200\" or \"200-399\"";

    fn read(text: String) -> Result<Self, String> {
        let status = |digits: &str| {
            let plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let status = digits.parse().ok().filter(|_| plain);
            status.filter(|status| (100..=599).contains(status))
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!("{} is not a range of statuses", Quoted(&text))),
        }
    }
}

/// Any text but none.
#[derive(Clone, Debug)]
pub(super) struct Text(pub String);

impl Value for Text {
    type Form = String;
    const EXPECTED: &'static str = "a text that is not empty";

    fn read(text: String) -> Result<Self, String> {
        if text.is_empty() {
            Err("an empty text".to_owned())
        } else {
            Ok(Self(text))
        }
    }
}

/// A regular expression.
#[derive(Clone, Debug)]
pub(super) struct RegexText(pub String);

impl Value for RegexText {
    type Form = String;
    const EXPECTED: &'static str = "a regular expression, as of Perl but without look-around";

    fn read(text: String) -> Result<Self, String> {
        match regex::bytes::Regex::new(&text) {
            Ok(_) => Ok(Self(text)),
            // The last line of what it says is the reason; those before it are a picture.
            Err(error) => {
                let words = error.to_string();
                let reason = words.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                Err(format!("{} can't be used: {reason}", Quoted(&text)))
            }
        }
    }
}

impl Value for Payload {
    type Form = String;
    const EXPECTED: &'static str = "a text, or `hex:` and pairs of hexadecimal digits";

    fn read(text: String) -> Result<Self, String> {
        let Some(digits) = text.strip_prefix("hex:") else {
            return Text::read(text).map(|Text(text)| Self(text.into_bytes()));
        };
        let octets = octets(digits).filter(|octets| !octets.is_empty());
        let bad = || format!("{} are not pairs of hexadecimal digits", Quoted(digits));
        octets.map(Self).ok_or_else(bad)
    }
}

/// A word of a command line.
#[derive(Clone, Debug)]
pub(super) struct Argument(pub String);

impl Value for Argument {
    type Form = String;
    const EXPECTED: &'static str = "a text; the first one is the program's whole path";

    fn read(text: String) -> Result<Self, String> {
        if text.contains('\0') {
            Err("an argument can't contain a NUL character".to_owned())
        } else {
            Ok(Self(text))
        }
    }
}

/// A variable of an environment.
#[derive(Clone, Debug)]
pub(super) struct EnvVar {
    pub name: String,
    pub value: String,
}

impl Value for EnvVar {
    type Form = String;
    const EXPECTED: &'static str = "a name, `=` and a value, such as \"PGUSER=monitor\"";

    fn read(text: String) -> Result<Self, String> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(inner);
        match text.split_once('=') {
            Some((name, value)) if is_name(name) && !value.contains('\0') => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(format!("{} is not a variable", Quoted(&text))),
        }
    }
}
