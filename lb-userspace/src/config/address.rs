//! Addresses as the configuration writes them: `198.18.0.10:80/tcp`, `[fd00::11]:8080`,
//! `fd00::fe`. Refuses what parses but can't carry a service.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::diagnostic::Quoted;
use crate::model::{BackendAddress, Listen, Protocol};

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
        let (ip, port) = ip_and_port(address)?;
        let port = port.ok_or_else(|| match ip {
            IpAddr::V6(_) if !address.starts_with('[') => AddressError::Brackets,
            _ => AddressError::NoPort(address.to_owned()),
        })?;
        Ok(Self {
            address: SocketAddr::new(ip, port),
            protocol,
        })
    }
}

impl FromStr for BackendAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (ip, port) = ip_and_port(text)?;
        Ok(Self { ip, port })
    }
}

/// An address without a port, for packets that leave this host.
pub(super) fn unicast(text: &str) -> Result<IpAddr, AddressError> {
    sensible(ip(text)?)
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
