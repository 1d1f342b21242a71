//! Addresses as the configuration writes them: `198.18.0.10:80/tcp`, `[fd00::11]:8080`,
//! `fd00::fe`. Refuses what parses but can't carry a service.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::diagnostic::Quoted;
use crate::model::{BackendAddress, Listen, Network, Protocol, Source, whole};

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither family's notation.
    #[error("{} is not an IP address", Quoted(.0))]
    Ip(String),
    /// A name; names aren't looked up.
    #[error("{} is a host name, and names aren't looked up", Quoted(.0))]
    HostName(String),
    /// An IPv6 address with a port, without brackets.
    #[error("an IPv6 address with a port needs brackets: [ADDRESS]:PORT")]
    Brackets,
    /// No port where one is needed.
    #[error("{} has no port", Quoted(.0))]
    NoPort(String),
    /// Not a number from 1 to 65535.
    #[error("{} is not a port: ports go from 1 to 65535", Quoted(.0))]
    Port(String),
    /// No protocol where one is needed.
    #[error("{} has no protocol: /tcp or /udp", Quoted(.0))]
    NoProtocol(String),
    /// A protocol that isn't balanced.
    #[error("{} is not a protocol: tcp or udp", Quoted(.0))]
    Protocol(String),
    /// Not the length of a prefix.
    #[error("{} is not the length of a prefix", Quoted(.0))]
    Length(String),
    /// A prefix of too many addresses.
    #[error("a prefix of too many addresses: its length is at least {0}")]
    Wide(u8),
    /// A prefix with bits behind its length.
    #[error("{0}/{1} has bits behind its first {1}")]
    Bits(IpAddr, u8),
    /// A range that ends before it starts.
    #[error("{} is not a range of ports: FIRST-LAST", Quoted(.0))]
    Range(String),
    /// An address that no packet on a wire can have as its destination or source.
    #[error("{0} is {1}, which can't be used here")]
    Senseless(IpAddr, &'static str),
}

impl FromStr for Listen {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (address, protocol) = text
            .rsplit_once('/')
            .ok_or_else(|| AddressError::NoProtocol(text.to_owned()))?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(AddressError::Protocol(other.to_owned())),
        };
        let (address, length) = without_length(address)?;
        let (ip, (first, last)) = ip_and_ports(&address)?;
        let length = match length {
            Some(digits) => prefix_length(ip, digits)?,
            None => whole(ip),
        };
        Ok(Self {
            address: SocketAddr::new(ip, first),
            length,
            last_port: last,
            protocol,
        })
    }
}

/// Takes the length out of `PREFIX/LENGTH:PORT` or `[PREFIX/LENGTH]:PORT`.
fn without_length(text: &str) -> Result<(String, Option<&str>), AddressError> {
    let Some((before, after)) = text.split_once('/') else {
        return Ok((text.to_owned(), None));
    };
    let end = after.find([']', ':']).unwrap_or(after.len());
    let (digits, after) = after.split_at(end);
    Ok((format!("{before}{after}"), Some(digits)))
}

/// The length of the prefix that begins with `ip`, whose other bits are zeros.
fn prefix_length(ip: IpAddr, digits: &str) -> Result<u8, AddressError> {
    let bad = || AddressError::Length(digits.to_owned());
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let length: u8 = digits.parse().map_err(|_| bad())?;
    if !plain || !(1..=whole(ip)).contains(&length) {
        return Err(bad());
    }
    let (bits, width) = match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    if bits.trailing_zeros().min(width) < width - u32::from(length) {
        return Err(AddressError::Bits(ip, length));
    }
    Ok(length)
}

/// Splits `ADDRESS:PORT`, `ADDRESS:FIRST-LAST` or `ADDRESS:*`, IPv6 addresses in brackets.
fn ip_and_ports(text: &str) -> Result<(IpAddr, (u16, u16)), AddressError> {
    let Some((address, ports)) = text
        .rsplit_once(':')
        .filter(|(_, ports)| *ports == "*" || ports.contains('-'))
    else {
        let (ip, port) = ip_and_port(text)?;
        let port = port.ok_or_else(|| match ip {
            IpAddr::V6(_) if !text.starts_with('[') => AddressError::Brackets,
            _ => AddressError::NoPort(text.to_owned()),
        })?;
        return Ok((ip, (port, port)));
    };
    let (ip, any) = ip_and_port(&format!("{address}:1"))?;
    if any.is_none() {
        return Err(AddressError::Brackets);
    }
    let Some((first, last)) = ports.split_once('-') else {
        return Ok((ip, (0, u16::MAX)));
    };
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(AddressError::Range(ports.to_owned()));
    }
    Ok((ip, (first, last)))
}

impl FromStr for BackendAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (ip, port) = ip_and_port(text)?;
        Ok(Self { ip, port })
    }
}

/// `198.18.1.254`, or `198.18.8.0/24`.
impl FromStr for Source {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some((address, digits)) = text.split_once('/') else {
            return Ok(unicast(text)?.into());
        };
        let ip = unicast(address)?;
        let entropy = whole(ip) - prefix_length(ip, digits)?;
        if entropy > Self::MAX_ENTROPY {
            return Err(AddressError::Wide(whole(ip) - Self::MAX_ENTROPY));
        }
        Ok(Self { ip, entropy })
    }
}

/// An address without a port, for packets that leave this host.
fn unicast(text: &str) -> Result<IpAddr, AddressError> {
    sensible(ip(text)?)
}

/// An address without a port that a check asks: a proxy of this host may do that for it.
pub(super) fn asked(text: &str) -> Result<IpAddr, AddressError> {
    match unicast(text) {
        Err(AddressError::Senseless(ip, _)) if ip.is_loopback() => Ok(ip),
        other => other,
    }
}

/// `198.18.0.10/24`: an address, and the length of its network's prefix; all of it, if none is named.
pub(super) fn in_network(text: &str) -> Result<Network, AddressError> {
    let Some((address, digits)) = text.split_once('/') else {
        return unicast(text).map(|ip| (ip, whole(ip)));
    };
    let ip = unicast(address)?;
    let bad = || AddressError::Length(digits.to_owned());
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let length = digits.parse().ok().filter(|_| plain);
    let length = length.filter(|length| (1..=whole(ip)).contains(length));
    Ok((ip, length.ok_or_else(bad)?))
}

/// An address of a host on one of our networks.
pub(super) fn neighbour(text: &str) -> Result<IpAddr, AddressError> {
    match unicast(text) {
        Err(AddressError::Senseless(IpAddr::V6(ip), _)) if ip.is_unicast_link_local() => {
            Ok(ip.into())
        }
        other => other,
    }
}

/// An address, or a prefix; of clients, so any.
pub(super) fn prefix(text: &str) -> Result<Network, AddressError> {
    match text.split_once('/') {
        Some((address, digits)) => {
            let ip = ip(address)?;
            match digits {
                "0" if ip.is_unspecified() => Ok((ip, 0)),
                _ => Ok((ip, prefix_length(ip, digits)?)),
            }
        }
        None => ip(text).map(|ip| (ip, whole(ip))),
    }
}

/// Splits `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
fn ip_and_port(text: &str) -> Result<(IpAddr, Option<u16>), AddressError> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) = inside
            .split_once(']')
            .ok_or_else(|| AddressError::Ip(text.to_owned()))?;
        let address: Ipv6Addr = address
            .parse()
            .map_err(|_| AddressError::Ip(address.to_owned()))?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return Err(AddressError::Ip(text.to_owned())),
        };
        return Ok((sensible(address.into())?, port));
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Ok((unicast(text)?, None)),
        Some((address, digits)) => Ok((unicast(address)?, Some(port(digits)?))),
        None => Ok((unicast(text)?, None)),
    }
}

fn ip(text: &str) -> Result<IpAddr, AddressError> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    // With a port at its end it may be too long for an address, or the port for a group.
    let without_port = text.rsplit_once(':').map(|(address, _)| address);
    if without_port.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return Err(AddressError::Brackets);
    }
    let numeric = text.contains(':') || text.chars().all(|c| c.is_ascii_digit() || c == '.');
    Err(
        if numeric || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            AddressError::Ip(text.to_owned())
        } else {
            AddressError::HostName(text.to_owned())
        },
    )
}

fn port(digits: &str) -> Result<u16, AddressError> {
    let bad = || AddressError::Port(digits.to_owned());
    // `u16::from_str` would also take a plus sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(bad()),
        Ok(port) => Ok(port),
    }
}

fn sensible(ip: IpAddr) -> Result<IpAddr, AddressError> {
    let flaw = match ip {
        ip if ip.is_unspecified() => "the unspecified address",
        ip if ip.is_loopback() => "a loopback address",
        ip if ip.is_multicast() => "a multicast address",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 clothes",
        _ => return Ok(ip),
    };
    Err(AddressError::Senseless(ip, flaw))
}
