//! The requests that make the device of probes and the ways through it, as rtnetlink messages. All have flags of their
//! own, since all change something.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::RawFd,
};

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
        RouteScope, RouteType,
    },
};

use crate::net::resolution::Mac;

/// One end of a pair of devices.
pub(in crate::net) struct End<'a> {
    pub(in crate::net) name: &'a str,
    pub(in crate::net) mac: Mac,
}

/// Makes a veth pair.
pub(in crate::net) fn pair(end: &End<'_>, other: &End<'_>, mtu: u32) -> RouteNetlinkMessage {
    let described = |end: &End<'_>| {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(end.name.to_owned()),
            LinkAttribute::Address(end.mac.to_vec()),
            LinkAttribute::Mtu(mtu),
        ];
        message
    };
    let mut message = described(end);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(described(other)))),
    ]));
    RouteNetlinkMessage::NewLink(message)
}

/// Moves a device to the network namespace of a file descriptor.
pub(in crate::net) fn moved(device: u32, to: RawFd) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = device;
    message.attributes = vec![LinkAttribute::NetNsFd(to)];
    RouteNetlinkMessage::SetLink(message)
}

/// Brings a device up.
pub(in crate::net) fn up(device: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = device;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::SetLink(message)
}

/// Asks for a device by name.
pub(in crate::net) fn named(device: &str) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(device.to_owned())];
    RouteNetlinkMessage::GetLink(message)
}

/// Gives a device an address, of which nobody is asked whether it is taken.
pub(in crate::net) fn address(device: u32, address: IpAddr) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = whole(address);
    message.header.index = device;
    message.header.scope = AddressScope::Universe;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    RouteNetlinkMessage::NewAddress(message)
}

/// Where all packets of the family of `from` go: through a device, to whoever is behind it.
pub(in crate::net) fn default_route(device: u32, from: IpAddr) -> RouteNetlinkMessage {
    let mut message = route(device, from);
    message.header.scope = RouteScope::Universe;
    message.header.flags = RouteFlags::Onlink;
    let attributes = [
        RouteAttribute::Gateway(RouteAddress::from(behind(from))),
        RouteAttribute::PrefSource(RouteAddress::from(from)),
    ];
    message.attributes.extend(attributes);
    RouteNetlinkMessage::NewRoute(message)
}

/// Where packets for an address go: through a device.
pub(in crate::net) fn route_to(device: u32, to: IpAddr) -> RouteNetlinkMessage {
    let mut message = route(device, to);
    message.header.destination_prefix_length = whole(to);
    message
        .attributes
        .push(RouteAttribute::Destination(RouteAddress::from(to)));
    RouteNetlinkMessage::NewRoute(message)
}

/// The address that stands for whoever is at the other end, which needs none; of the family of `from`.
pub(in crate::net) fn behind(from: IpAddr) -> IpAddr {
    match from {
        IpAddr::V4(_) => Ipv4Addr::new(169, 254, 1, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The neighbour that an address is, for good.
pub(in crate::net) fn neighbour(device: u32, address: IpAddr, mac: Mac) -> RouteNetlinkMessage {
    let mut message = entry(device, address);
    message.header.state = NeighbourState::Permanent;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    RouteNetlinkMessage::NewNeighbour(message)
}

/// Has this host answer on a device to those who ask for an address that it forwards to.
pub(in crate::net) fn proxy(device: u32, address: IpAddr) -> RouteNetlinkMessage {
    let mut message = entry(device, address);
    message.header.flags = NeighbourFlags::Proxy;
    RouteNetlinkMessage::NewNeighbour(message)
}

fn route(device: u32, family_of: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(family_of);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Link;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Oif(device));
    message
}

fn entry(device: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = device;
    message
        .attributes
        .push(NeighbourAttribute::Destination(NeighbourAddress::from(
            address,
        )));
    message
}

fn whole(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
