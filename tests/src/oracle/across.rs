//! Flows of `full-nat` whose ends may be of both families: what is not taken across, and the frames that
//! are. From docs/modes.md ("Between families") and RFC 7915. In hashes and tables their IPv4 addresses
//! are mapped ones (::ffff:0:0/96).

use std::net::{IpAddr, SocketAddr};

use etherparse::IpNumber;
use lb_common::datapath::DropReason;

use super::{
    headers::{ETHERNET, Headers, anew, framed, link, short, translated, with_ports},
    model::{End, Flow, Model},
    packet::{Packet, sound},
    site::{Mode, Service},
};

/// How much longer IPv6's header is than IPv4's, bytes.
pub(super) const LONGER: usize = 20;

/// Bits in front of the IPv4 address in a mapped one.
const BEFORE: u8 = 96;

impl Model {
    /// Whether the flows of a service may have ends of both families.
    pub(super) fn crosses(&self, service: &Service) -> bool {
        self.site.crossing && service.mode == Mode::FullNat
    }

    /// A flow, and bits of its client's address that choose, as a service's hashes have them.
    pub(super) fn hashed(&self, flow: Flow, service: &Service) -> (Flow, u8) {
        let v4 = flow.source.is_ipv4();
        match service.prefix {
            prefix if !self.crosses(service) => (flow, prefix),
            0 => (mapped(flow), 0),
            bits if v4 => (mapped(flow), bits + BEFORE),
            bits => (flow, bits),
        }
    }
}

impl Packet<'_> {
    /// How long it is towards this end.
    pub(super) fn length_to(&self, end: IpAddr) -> usize {
        let length = self.headers.length;
        match (self.headers.source, end) {
            (IpAddr::V4(_), IpAddr::V6(_)) => length + LONGER,
            (IpAddr::V6(_), IpAddr::V4(_)) => length.saturating_sub(LONGER),
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => length,
        }
    }

    /// What its sender is told of the length that fits towards this end.
    pub(super) fn fitted(&self, end: End, towards: IpAddr) -> End {
        match (end, self.headers.source, towards) {
            (End::TooBig(mtu), IpAddr::V4(_), IpAddr::V6(_)) => {
                End::TooBig(mtu.saturating_sub(LONGER))
            }
            (End::TooBig(mtu), IpAddr::V6(_), IpAddr::V4(_)) => End::TooBig(mtu + LONGER),
            (end, ..) => end,
        }
    }
}

/// May this be a packet of a flow whose ends may be of both families? All of them stand as packets of
/// IPv6 for a while, which takes room.
pub(super) fn may_cross(packet: &Packet<'_>) -> Result<(), End> {
    let headers = &packet.headers;
    let is_mapped = |address| match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    };
    if !headers.is_plain() {
        // What is malformed is that first.
        sound(packet)?;
        Err(End::Drop(DropReason::CrossingShape))
    } else if is_mapped(headers.source) || is_mapped(headers.destination) {
        Err(End::Drop(DropReason::MappedAddress))
    } else if headers.source.is_ipv4() && packet.arrival.headroom < LONGER {
        Err(End::Drop(DropReason::NoHeadroom))
    } else {
        Ok(())
    }
}

/// UDP over IPv6 does not do without a checksum (RFC 7915, section 4.5).
pub(super) fn is_checked(packet: &Packet<'_>, destination: IpAddr) -> Result<(), End> {
    let headers = &packet.headers;
    let check = short(packet.arrival.frame, ETHERNET + headers.before + 6);
    let over = headers.source.is_ipv4() && destination.is_ipv6();
    if over && headers.protocol == 17 && check == Some(0) {
        Err(End::Drop(DropReason::UncheckedDatagram))
    } else {
        Ok(())
    }
}

/// The frame, which has a hop less already, with these ends, which may be of the other family. What was
/// IPv4 or becomes it has a new header; over IPv4 it is not to be fragmented.
pub(super) fn carried(frame: Vec<u8>, headers: &Headers, ends: Flow) -> Vec<u8> {
    let (source, destination) = (ends.source.ip(), ends.destination.ip());
    if headers.source.is_ipv6() && destination.is_ipv6() {
        return translated(frame, headers, ends);
    }
    let protocol = IpNumber(headers.protocol);
    let payload = &frame[ETHERNET + headers.before..];
    let length = headers.length - headers.before;
    let ip = anew(
        [source, destination],
        protocol,
        (headers.class, headers.hops - 1),
        length,
    );
    let made = framed(link(&frame), &[&ip, payload].concat());
    with_ports(made, ETHERNET + ip.len(), headers, ends)
}

/// A flow as one of IPv6.
pub(super) fn mapped(flow: Flow) -> Flow {
    let end = |end: SocketAddr| SocketAddr::new(mapped_address(end.ip()), end.port());
    Flow {
        source: end(flow.source),
        destination: end(flow.destination),
        ..flow
    }
}

/// An address as one of IPv6.
pub(super) fn mapped_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}
