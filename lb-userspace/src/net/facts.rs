//! What the kernel reported, in our own words: links, addresses, neighbours, routes, and the events
//! that change them. Plain data between `netlink`, which decodes it, and `resolve` and `machine`,
//! which judge it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;

use super::resolution::{IfIndex, Mac};

/// A neighbour's place: on this device, with this address.
pub(super) type Neighbourhood = (IfIndex, IpAddr);

/// The kernel's network state as far as it bears on the wanted destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) links: BTreeMap<IfIndex, Link>,
    pub(super) addresses: Vec<InterfaceAddress>,
    pub(super) neighbours: BTreeMap<Neighbourhood, Neighbour>,
    /// The answer to one look-up for each wanted destination.
    pub(super) routes: BTreeMap<IpAddr, Route>,
}

/// What kind of frames a device sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// Ethernet frames (ARPHRD_ETHER), whatever is below.
    Ethernet,
    /// The loopback device.
    Loopback,
    /// Packets without an Ethernet header, such as a tunnel's.
    None,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    /// IFF_UP: administratively up.
    pub(super) up: bool,
    /// IFF_LOWER_UP: there is a carrier.
    pub(super) carrier: bool,
    /// Not IFF_NOARP: neighbours on it can be asked.
    pub(super) resolves: bool,
    pub(super) kind: LinkKind,
    /// What it is, as `ip -details link` says (IFLA_INFO_KIND): `bridge`, `veth`; none for a card.
    pub(super) make: Option<String>,
    /// Its part of a frame, if it is a VLAN device.
    pub(super) vlan: Option<Vlan>,
}

/// What is a VLAN device's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Vlan {
    /// The device that it lies over, which may be a VLAN device too; none if that is in another
    /// network namespace.
    pub lower: Option<IfIndex>,
    /// The tag of its frames.
    pub tag: VlanTag,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VlanTag {
    /// The Ethernet type that announces it: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub protocol: u16,
    /// The VLAN's number.
    pub id: u16,
}

/// An address of this host, on one of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceAddress {
    /// The device that carries it.
    pub device: IfIndex,
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix that is on-link there.
    pub prefix: u8,
}

/// Addresses of this host that packets from outside can be for.
pub(super) fn own_addresses(carried: &[InterfaceAddress]) -> BTreeSet<IpAddr> {
    let addresses = carried.iter().map(|carried| carried.address);
    addresses.filter(|address| !address.is_loopback()).collect()
}

/// Who keeps a neighbour entry as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// Nobody: the kernel learned it, and forgets it when it is not used.
    Nobody,
    /// The kernel, since this agent (or a former run of it) asked for that.
    Sluice,
    /// The kernel, since somebody else asked for that (NTF_EXT_MANAGED).
    Another,
    /// An operator or a routing daemon: permanent, NOARP or externally learned. Not to be touched.
    Fixed,
}

/// An entry of the kernel's ARP or neighbour discovery table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// Its Ethernet address while the kernel would use it (NUD_VALID).
    pub(super) mac: Option<Mac>,
    /// NUD_FAILED: it was asked, and nobody answered.
    pub(super) failed: bool,
    pub(super) keeper: Keeper,
}

/// The kernel's answer to a route look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Out of a device, to a gateway or to the destination itself.
    Unicast {
        device: IfIndex,
        gateway: Option<IpAddr>,
        preferred_source: Option<IpAddr>,
        mtu: Option<u32>,
    },
    Encapsulating,
    Local,
    Broadcast,
    Multicast,
    Anycast,
    /// Refused, with the error number that stands for the type of route.
    Refused(i32),
}

/// The route that a look-up matched, as it stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Local,
    Unicast { prefix: u8 },
    Nothing,
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

impl Prefix {
    /// Whether `address` lies in it.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differing = u32::from(a) ^ u32::from(b);
                differing.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differing = u128::from(a) ^ u128::from(b);
                differing.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Something that the kernel announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Link(IfIndex, Link),
    LinkGone(IfIndex),
    Neighbour(Neighbourhood, Neighbour),
    NeighbourGone(Neighbourhood),
    /// A route to this block was added, changed or removed.
    Route(Prefix),
    /// An address was added, changed or removed.
    Address,
    /// A policy routing rule was added or removed.
    Rule,
    /// Events were lost: anything may have changed.
    Overrun,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_contains() {
        let prefix = |address: &str, length| Prefix {
            address: address.parse().unwrap(),
            length,
        };
        let holds = |p: Prefix, address: &str| p.contains(address.parse().unwrap());
        assert!(holds(prefix("198.18.4.0", 22), "198.18.7.255"));
        assert!(!holds(prefix("198.18.4.0", 22), "198.18.8.0"));
        assert!(holds(prefix("198.18.4.1", 32), "198.18.4.1"));
        assert!(!holds(prefix("198.18.4.1", 32), "198.18.4.0"));
        assert!(holds(prefix("0.0.0.0", 0), "255.255.255.255"));
        assert!(!holds(prefix("0.0.0.0", 0), "::"));
        assert!(holds(prefix("fd00:1::", 32), "fd00:1:ffff::1"));
        assert!(!holds(prefix("fd00:1::", 32), "fd00:2::1"));
    }
}
