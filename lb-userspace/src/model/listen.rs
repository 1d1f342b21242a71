//! Where a service listens: one address and port, a range of ports, all of them, or any of these at
//! every address of a prefix.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::Protocol;

/// An address, or all of a prefix; ports, and a protocol: `198.18.0.10:80/tcp`,
/// `[fd00:18::10]:8000-8099/udp`, `198.18.4.0/24:*/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listen {
    /// The address, or the first one of the prefix, and the first port: 0 if it is all ports.
    pub address: SocketAddr,
    /// Bits of the address that count: all, or those of a prefix.
    pub length: u8,
    /// The last port: the first one, if it is one alone.
    pub last_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// An address, or a prefix: its first address, and how many bits count.
pub type Network = (IpAddr, u8);

impl Listen {
    /// One address and port.
    pub fn exact(address: SocketAddr, protocol: Protocol) -> Self {
        Self {
            address,
            length: whole(address.ip()),
            last_port: address.port(),
            protocol,
        }
    }

    /// Whether it is one address and port.
    pub fn is_exact(&self) -> bool {
        !self.is_prefix() && self.is_single_port()
    }

    /// Whether it is at every address of a prefix.
    pub fn is_prefix(&self) -> bool {
        self.length < whole(self.address.ip())
    }

    /// Whether it is one port.
    pub fn is_single_port(&self) -> bool {
        self.address.port() == self.last_port
    }

    /// The address or prefix.
    pub fn network(&self) -> Network {
        (self.address.ip(), self.length)
    }

    /// Whether a port is among its own.
    pub fn has_port(&self, port: u16) -> bool {
        (self.address.port()..=self.last_port).contains(&port)
    }
}

/// How many bits an address has.
pub(crate) fn whole(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Whether an address lies in a prefix.
pub(crate) fn lies_in(address: IpAddr, (prefix, length): Network) -> bool {
    let (one, other, width) = match (address, prefix) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let differ: u128 = one ^ other;
    // A shift by the whole width (a prefix of length 0) leaves nothing that could differ.
    let ignored = width - u32::from(length).min(width);
    differ.checked_shr(ignored).unwrap_or(0) == 0
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address.ip(), self.is_prefix()) {
            (ip @ IpAddr::V4(_), false) => write!(f, "{ip}:")?,
            (ip @ IpAddr::V4(_), true) => write!(f, "{ip}/{}:", self.length)?,
            (ip @ IpAddr::V6(_), false) => write!(f, "[{ip}]:")?,
            (ip @ IpAddr::V6(_), true) => write!(f, "[{ip}/{}]:", self.length)?,
        }
        match (self.address.port(), self.last_port) {
            (0, u16::MAX) => f.write_str("*")?,
            (first, last) if first == last => write!(f, "{first}")?,
            (first, last) => write!(f, "{first}-{last}")?,
        }
        write!(f, "/{}", self.protocol)
    }
}
