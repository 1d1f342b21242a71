//! `[[vrrp]]`: addresses that move between hosts, and how the hosts agree on who has them.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Check, Family};
use crate::vrrp::machine::OWNER;
pub use crate::vrrp::packet::{Checksum, Version};

/// Addresses that move between the hosts of a network, as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrp {
    /// Its name, unique on this host.
    pub name: String,
    /// The interface of the network.
    pub interface: String,
    /// The number that all hosts know it by on that network, 1 to 255.
    pub vrid: u8,
    /// This host's priority, 1 to 255: the highest has the addresses.
    pub priority: u8,
    /// How often the one that has the addresses says so.
    pub interval: Duration,
    /// The version of the protocol.
    pub version: Version,
    /// The addresses, in the order that adverts name them.
    pub addresses: Vec<VirtualAddress>,
    /// The link-local address that comes with those of IPv6, if there are any.
    pub link_local: Option<Ipv6Addr>,
    /// After which time the addresses are taken from a host of lower priority; `None`: never.
    pub preempt: Option<Duration>,
    /// Whether this host takes packets for the addresses while it has them (RFC 9568, section 6.1, Accept_Mode).
    pub accept: bool,
    /// How often neighbours are told where the addresses are.
    pub refresh: Duration,
    /// The other hosts, if adverts are sent to each of them; to all on the network otherwise.
    pub unicast_peers: Vec<IpAddr>,
    /// Where adverts come from, of the families where it matters: one address of each at most.
    pub sources: Vec<IpAddr>,
    /// What the checksums of adverts that are sent are about, in version 3 over IPv4.
    pub checksum: Checksum,
    /// Version 2: what old peers want to hear, in plain text.
    pub password: Option<String>,
    /// Those of its sync group have their addresses all, or none.
    pub sync_group: Option<String>,
    /// What else has to be well.
    pub track: Vec<Track>,
    /// What is run when it gets another role.
    pub notify: Option<Notify>,
}

/// A program that is told of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Its whole path.
    pub program: PathBuf,
    /// What it is called with before what it is told.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// Something that has to be well for this host to have the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What.
    pub subject: Tracked,
    /// What it costs where it is not.
    pub cost: Cost,
}

/// What is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// An interface: up, and with a carrier.
    Interface(String),
    /// A pool: so many of its backends are healthy.
    Pool {
        /// Its name.
        name: String,
        /// How many.
        at_least: u32,
    },
    /// A check of its own, whose address is named.
    Check(Box<Check>),
    /// A file: there, or not there.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether it has to be there.
        present: bool,
    },
    /// What forwards packets: the program, its tables, next hops, and the agent.
    DataPlane,
}

/// What it costs where something that is tracked is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// So much of the priority, which stays 1 at least.
    Penalty(u8),
    /// The host can't have the addresses.
    Fault,
}

/// An address that moves, and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the prefix.
    pub length: u8,
}

impl Vrrp {
    /// The families of its addresses.
    pub fn families(&self) -> impl Iterator<Item = Family> {
        let has = |family: &Family| self.in_family(*family).next().is_some();
        Family::ALL.into_iter().filter(has)
    }

    /// Its addresses of a family, a link-local one first.
    pub fn in_family(&self, family: Family) -> impl Iterator<Item = VirtualAddress> {
        let link_local = self.link_local.map(|ip| VirtualAddress {
            ip: ip.into(),
            length: 64,
        });
        let all = link_local.into_iter().chain(self.addresses.iter().copied());
        all.filter(move |address| Family::of(address.ip) == family)
    }

    /// Whether this host drops what is for the addresses: not if they are its own.
    pub fn refuses(&self) -> bool {
        !self.accept && self.priority != OWNER
    }

    /// The other hosts of a family.
    pub fn peers(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        let peers = self.unicast_peers.iter().copied();
        peers.filter(move |peer| Family::of(*peer) == family)
    }

    /// Where adverts of a family come from, if it matters.
    pub fn source(&self, family: Family) -> Option<IpAddr> {
        let mut sources = self.sources.iter().copied();
        sources.find(|source| Family::of(*source) == family)
    }

    /// The link-local address of a number, where none is named: what the virtual router's MAC address gives (RFC 9568,
    /// section 7.3; RFC 4291, appendix A).
    pub fn default_link_local(vrid: u8) -> Ipv6Addr {
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            0x0200,
            0x5eff,
            0xfe00,
            0x0200 | u16::from(vrid),
        )
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cost {
            Cost::Penalty(penalty) => write!(f, "{}: penalty {penalty}", self.subject),
            Cost::Fault => write!(f, "{}: fault", self.subject),
        }
    }
}

impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Pool { name, at_least } => write!(f, "pool {name} (at least {at_least})"),
            Self::Check(check) => {
                write!(f, "{} check", check.probe)?;
                match (check.address, check.port) {
                    (Some(ip), port) if check.probe.protocol().is_some() => {
                        write!(f, " of {}", super::BackendAddress { ip, port })
                    }
                    _ => Ok(()),
                }
            }
            Self::File { path, present } => {
                let no = if *present { "" } else { "no " };
                write!(f, "{no}file {}", path.display())
            }
            Self::DataPlane => f.write_str("data plane"),
        }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_is_the_macs() {
        let expected: Ipv6Addr = "fe80::200:5eff:fe00:233".parse().unwrap();
        assert_eq!(Vrrp::default_link_local(51), expected);
    }
}
