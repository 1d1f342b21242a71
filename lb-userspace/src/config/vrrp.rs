//! The kinds of value that the keys of `[[vrrp]]` take, each for itself.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU8,
};

use super::{
    address,
    diagnostic::{Code, Quoted},
    schema::Value,
    value::Name,
};
use crate::model::{Checksum, Version, VirtualAddress};

/// The number of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vrid(pub u8);

impl Value for Vrid {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 255";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n @ 1..) => Ok(Self(n)),
            _ => Err(format!("{number} is not the number of a virtual router")),
        }
    }
}

/// How much a host wants the addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostPriority(pub u8);

impl Value for HostPriority {
    type Form = i64;
    const EXPECTED: &'static str =
        "a whole number from 1 to 254, or 255 if the addresses are this host's own";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n @ 1..) => Ok(Self(n)),
            Ok(0) => Err("0 is what a host says that gives the addresses up".to_owned()),
            Err(_) => Err(format!("{number} is not a priority")),
        }
    }
}

impl Value for Version {
    type Form = i64;
    const EXPECTED: &'static str = "2 or 3";

    fn read(number: i64) -> Result<Self, String> {
        match number {
            2 => Ok(Self::V2),
            3 => Ok(Self::V3),
            _ => Err(format!("{number} is not a version of VRRP")),
        }
    }
}

impl Value for Checksum {
    type Form = String;
    const EXPECTED: &'static str = "`pseudo-header` or `packet`";
    const WORDS: &'static [&'static str] = &["pseudo-header", "packet"];

    fn read(text: String) -> Result<Self, String> {
        match text.as_str() {
            "packet" => Ok(Self::Packet),
            "pseudo-header" => Ok(Self::PseudoHeader),
            _ => Err(format!("{} is nothing to sum up", Quoted(&text))),
        }
    }
}

/// What moves between hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Moving {
    /// An address.
    Address(VirtualAddress),
    /// The addresses of a service.
    Service(Name),
}

impl Value for Moving {
    type Form = String;
    const EXPECTED: &'static str = "an address and the length of its network's prefix, such as \
                                    \"198.18.0.10/24\" or \"fd00:18::10/64\", or the name of a service";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        // A name has a letter, and neither `:` nor `/`.
        let is_word = text.bytes().any(|byte| byte.is_ascii_alphabetic());
        if is_word && let Ok(name) = Name::read(text.clone()) {
            return Ok(Self::Service(name));
        }
        let read = address::in_network(&text);
        let (ip, length) = read.map_err(|error| error.to_string())?;
        Ok(Self::Address(VirtualAddress { ip, length }))
    }
}

/// How many healthy backends are enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Least(pub u32);

impl Value for Least {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 100000";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 1..=100_000) => Ok(Self(n)),
            _ => Err(format!(
                "{number} is no number of backends that can be missed"
            )),
        }
    }
}

/// What something costs of a priority.
#[derive(Clone, Copy, Debug)]
pub(super) struct Penalty(pub NonZeroU8);

impl Value for Penalty {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 253";

    fn read(number: i64) -> Result<Self, String> {
        let penalty = u8::try_from(number).ok().filter(|n| *n <= 253);
        let penalty = penalty.and_then(NonZeroU8::new).map(Self);
        penalty.ok_or_else(|| format!("{number} can't be taken from a priority"))
    }
}

/// The link-local address of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkLocal(pub Ipv6Addr);

impl Value for LinkLocal {
    type Form = String;
    const EXPECTED: &'static str = "a link-local address, such as \"fe80::51\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        let address = text.parse::<Ipv6Addr>();
        match address {
            Ok(address) if address.is_unicast_link_local() => Ok(Self(address)),
            _ => Err(format!("{} is not a link-local address", Quoted(&text))),
        }
    }
}

/// Another host of the network, or of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(pub IpAddr);

impl Value for Peer {
    type Form = String;
    const EXPECTED: &'static str = "a host's address, such as \"198.18.0.3\" or \"fe80::3\"";
    const CODE: Code = Code::BadAddress;

    fn read(text: String) -> Result<Self, String> {
        let peer = address::neighbour(&text);
        peer.map(Self).map_err(|error| error.to_string())
    }
}

/// What old peers want to hear.
#[derive(Clone, Debug)]
pub(super) struct Password(pub String);

impl Value for Password {
    type Form = String;
    const EXPECTED: &'static str = "1 to 8 characters of ASCII";

    fn read(text: String) -> Result<Self, String> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        match text.len() {
            1..=8 if plain => Ok(Self(text)),
            1..=8 => Err("a password with a character that is not plain".to_owned()),
            n => Err(format!("a password of {n} bytes")),
        }
    }
}
