//! rtnetlink messages to facts. What is malformed or not about IP is nothing (`None`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
        VlanProtocol,
    },
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia,
    },
};

use super::encode::SLUICE;
use crate::net::{
    facts::{
        Event, InterfaceAddress, Keeper, Link, LinkKind, Match, Neighbour, Neighbourhood, Prefix,
        Route, Vlan, VlanTag,
    },
    resolution::{IfIndex, Mac},
};

/// An announcement, if it is of a kind that we follow.
pub(super) fn event(message: RouteNetlinkMessage) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(&message).map(|(i, l)| Event::Link(i, l)),
        RouteNetlinkMessage::DelLink(message) => link(&message).map(|(i, _)| Event::LinkGone(i)),
        RouteNetlinkMessage::NewNeighbour(message) => {
            neighbour(&message).map(|(place, entry)| Event::Neighbour(place, entry))
        }
        RouteNetlinkMessage::DelNeighbour(message) => {
            neighbour(&message).map(|(place, _)| Event::NeighbourGone(place))
        }
        RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message) => {
            // Clones are learned path MTUs and redirects, not routes of a table.
            let listed = !message.header.flags.contains(RouteFlags::Cloned);
            prefix(&message).filter(|_| listed).map(Event::Route)
        }
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => {
            Some(Event::Address)
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Event::Rule),
        _ => None,
    }
}

/// A device. Bridges announce their ports in messages of the same type with a family of their own,
/// whose removal is not the device's.
pub(super) fn link(message: &LinkMessage) -> Option<(IfIndex, Link)> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let kind = match message.header.link_layer_type {
        LinkLayerType::Ether => LinkKind::Ethernet,
        LinkLayerType::Loopback => LinkKind::Loopback,
        _ => LinkKind::None,
    };
    let mut link = Link {
        name: String::new(),
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        resolves: !flags.contains(LinkFlags::Noarp),
        kind,
        make: None,
        vlan: None,
    };
    let (mut lower, mut elsewhere, mut tag) = (None, false, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Link(index) => lower = Some(IfIndex(*index)),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(info) => (link.make, tag) = (make(info), vlan_tag(info)),
            _ => {}
        }
    }
    // Indices of another network namespace say nothing here.
    let lower = lower.filter(|_| !elsewhere);
    link.vlan = tag.map(|tag| Vlan { lower, tag });
    Some((IfIndex(message.header.index), link))
}

fn make(info: &[LinkInfo]) -> Option<String> {
    info.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

/// The tag of a VLAN device.
fn vlan_tag(info: &[LinkInfo]) -> Option<VlanTag> {
    let vlan = info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(vlan)) => Some(vlan),
        _ => None,
    })?;
    let (mut id, mut protocol) = (None, VlanProtocol::Ieee8021Q);
    for attribute in vlan {
        match attribute {
            InfoVlan::Id(number) => id = Some(*number),
            InfoVlan::Protocol(announced) => protocol = *announced,
            _ => {}
        }
    }
    let protocol = protocol.into();
    Some(VlanTag { protocol, id: id? })
}

/// An address of this host. On a point-to-point device IFA_ADDRESS is the peer's, and IFA_LOCAL
/// ours (include/uapi/linux/if_addr.h).
pub(super) fn address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    let any = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        });
    Some(InterfaceAddress {
        device: IfIndex(message.header.index),
        address: local.or(any)?,
        prefix: message.header.prefix_len,
    })
}

/// A neighbour entry; none for bridge tables and proxies.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Neighbourhood, Neighbour)> {
    let header = &message.header;
    if header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut address = None;
    let (mut lladdr, mut flags, mut ours) = (None, NeighbourExtFlags::empty(), false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => {
                address = Some((*a).into())
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => {
                address = Some((*a).into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => lladdr = mac(bytes),
            NeighbourAttribute::ExtFlags(ext) => flags = *ext,
            NeighbourAttribute::Protocol(protocol) => ours = *protocol == SLUICE,
            _ => {}
        }
    }
    let fixed = matches!(
        header.state,
        NeighbourState::Permanent | NeighbourState::Noarp
    ) || header.flags.contains(NeighbourFlags::ExtLearned)
        || flags.contains(NeighbourExtFlags::ExtValidated);
    let managed = flags.contains(NeighbourExtFlags::Managed);
    let keeper = match (fixed, managed, ours) {
        (true, _, _) => Keeper::Fixed,
        (false, true, true) => Keeper::Sluice,
        (false, true, false) => Keeper::Another,
        (false, false, _) => Keeper::Nobody,
    };
    let entry = Neighbour {
        mac: lladdr.filter(|_| valid(header.state)),
        failed: header.state == NeighbourState::Failed,
        keeper,
    };
    Some(((IfIndex(header.ifindex), address?), entry))
}

/// NUD_VALID of include/net/neighbour.h: the states in which the kernel sends to the address.
fn valid(state: NeighbourState) -> bool {
    match state {
        NeighbourState::Permanent
        | NeighbourState::Noarp
        | NeighbourState::Reachable
        | NeighbourState::Probe
        | NeighbourState::Stale
        | NeighbourState::Delay => true,
        // `Incomplete`, `Failed`, `None`, and what is not known.
        _ => false,
    }
}

/// The answer to a route look-up.
pub(super) fn route(message: &RouteMessage) -> Route {
    match message.header.kind {
        RouteType::Unicast => unicast(message),
        RouteType::Local => Route::Local,
        RouteType::Broadcast => Route::Broadcast,
        RouteType::Multicast => Route::Multicast,
        RouteType::Anycast => Route::Anycast,
        RouteType::BlackHole => Route::Refused(libc::EINVAL),
        RouteType::Prohibit => Route::Refused(libc::EACCES),
        RouteType::Unreachable => Route::Refused(libc::EHOSTUNREACH),
        _ => Route::Refused(libc::ENETUNREACH),
    }
}

fn unicast(message: &RouteMessage) -> Route {
    let (mut device, mut gateway, mut preferred_source) = (None, None, None);
    let (mut mtu, mut learned) = (None, false);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => device = Some(IfIndex(*index)),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some((*address).into()),
            RouteAttribute::PrefSource(address) => preferred_source = ip(address),
            RouteAttribute::Metrics(metrics) => mtu = metric_mtu(metrics),
            RouteAttribute::CacheInfo(info) => learned = info.expires != 0,
            RouteAttribute::EncapType(_) | RouteAttribute::Encap(_) => return Route::Encapsulating,
            _ => {}
        }
    }
    // A path MTU that the host learned for connections of its own is not the route's: it expires
    // without an event, and the data plane learns path MTUs itself.
    let mtu = mtu.filter(|_| !learned);
    match device {
        Some(device) => Route::Unicast {
            device,
            gateway,
            preferred_source,
            mtu,
        },
        None => Route::Refused(libc::ENETUNREACH),
    }
}

fn metric_mtu(metrics: &[RouteMetric]) -> Option<u32> {
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
        _ => None,
    })
}

/// The route of a table that a look-up with RTM_F_FIB_MATCH matched.
pub(super) fn matched(message: &RouteMessage) -> Match {
    match message.header.kind {
        RouteType::Local => Match::Local,
        RouteType::Unicast => Match::Unicast {
            prefix: message.header.destination_prefix_length,
        },
        _ => Match::Nothing,
    }
}

/// The block that a route is for; absent attributes are the default route's.
fn prefix(message: &RouteMessage) -> Option<Prefix> {
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let destination = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip(address),
            _ => None,
        });
    let length = message.header.destination_prefix_length;
    Some(Prefix {
        address: destination.unwrap_or(any),
        length,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// An Ethernet address, unless it is all zero (lo has that, and entries on NOARP devices).
fn mac(bytes: &[u8]) -> Option<Mac> {
    Mac::try_from(bytes).ok().filter(|mac| *mac != [0; 6])
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
