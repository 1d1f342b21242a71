//! The requests that we send, as rtnetlink messages.

use std::net::IpAddr;

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::LinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    },
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol},
};

use crate::net::facts::Neighbourhood;

/// NDA_PROTOCOL of neighbours that are kept on our behalf (`ip neigh show proto 83`), so that the
/// next run of an agent that was killed knows them again. The number is free in
/// include/uapi/linux/rtnetlink.h and in iproute2's rt_protos.
pub(super) const SLUICE: RouteProtocol = RouteProtocol::Other(83);

/// Asks for all devices.
pub(super) fn links() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

/// Asks for all addresses of this host.
pub(super) fn addresses() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

/// Asks for all neighbours, of both families.
pub(super) fn neighbours() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default())
}

/// Asks for one neighbour.
pub(super) fn neighbour((device, address): Neighbourhood) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetNeighbour(entry(device.0, address))
}

/// Asks for the route of a packet to `destination` (`ip route get`), or with
/// [`RouteFlags::FibMatch`] for the table's route that it matches.
pub(super) fn route(destination: IpAddr, flags: RouteFlags) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
    message.header.flags = flags;
    message
        .attributes
        .push(RouteAttribute::Destination(RouteAddress::from(destination)));
    RouteNetlinkMessage::GetRoute(message)
}

/// Has the kernel resolve a neighbour and keep it so.
///
/// `neigh_add` in net/core/neighbour.c: with NTF_USE or NTF_EXT_MANAGED the entry keeps its state
/// (but for PERMANENT, which it loses: hence never on fixed entries) and is asked at once; managed,
/// it is asked again each `interval_probe_time_ms`, 5 s, for as long as it is (Linux 5.16,
/// 7482e3841d52).
pub(super) fn keep((device, address): Neighbourhood) -> RouteNetlinkMessage {
    let mut message = entry(device.0, address);
    message.header.flags = NeighbourFlags::Use;
    message
        .attributes
        .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message
        .attributes
        .push(NeighbourAttribute::Protocol(SLUICE));
    RouteNetlinkMessage::NewNeighbour(message)
}

/// Has the kernel resolve a neighbour once. On a managed entry the same message ends that: an
/// update sets and clears the flag alike (`neigh_update_flags`).
pub(super) fn solicit((device, address): Neighbourhood) -> RouteNetlinkMessage {
    let mut message = entry(device.0, address);
    message.header.flags = NeighbourFlags::Use;
    RouteNetlinkMessage::NewNeighbour(message)
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

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
