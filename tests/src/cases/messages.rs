//! ICMP and ICMPv6 messages, and resets, built by etherparse.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber, Ipv6FlowLabel, TcpHeader,
};

use super::{
    frame::IP,
    headers::{IpHeader, ip_header},
    places::{Interface, Mac, ROUTER, UPLINK, Version},
};

/// A message in an Ethernet frame.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The interface that it comes in through.
    pub(super) ingress: Interface,
    /// From one MAC address to another.
    pub(super) link: [Mac; 2],
    /// Who sends it, and to whom.
    pub(super) ends: [IpAddr; 2],
    /// Type and code.
    pub(super) kind: (u8, u8),
    /// The four bytes behind the checksum.
    pub(super) rest: [u8; 4],
    /// What follows.
    pub(super) body: Vec<u8>,
    /// TTL or hop limit.
    pub(super) hops: u8,
    /// Whether Sluice made its IP header.
    pub(super) ours: bool,
}

/// The errors of rows, as types and codes of each version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Too big.
    TooBig,
    /// Time exceeded.
    Expired,
    /// Port unreachable.
    PortUnreachable,
    /// An echo request.
    Echo,
    /// An echo reply.
    EchoReply,
}

impl Kind {
    /// Type and code.
    pub(super) fn of(self, version: Version) -> (u8, u8) {
        match (self, version) {
            (Self::TooBig, Version::V4) => (3, 4),
            (Self::TooBig, Version::V6) => (2, 0),
            (Self::Expired, Version::V4) => (11, 0),
            (Self::Expired, Version::V6) => (3, 0),
            (Self::PortUnreachable, Version::V4) => (3, 3),
            (Self::PortUnreachable, Version::V6) => (1, 4),
            (Self::Echo, Version::V4) => (8, 0),
            (Self::Echo, Version::V6) => (128, 0),
            (Self::EchoReply, Version::V4) => (0, 0),
            (Self::EchoReply, Version::V6) => (129, 0),
        }
    }
}

impl Message {
    /// From the router to the uplink.
    pub(super) fn new(kind: Kind, ends: [IpAddr; 2], rest: [u8; 4], body: &[u8]) -> Self {
        Self {
            ingress: UPLINK,
            link: [ROUTER, UPLINK.mac],
            ends,
            kind: kind.of(version(ends[0])),
            rest,
            body: body.to_vec(),
            hops: 64,
            ours: false,
        }
    }

    /// With this type and code.
    pub(super) fn kind(mut self, kind: u8, code: u8) -> Self {
        self.kind = (kind, code);
        self
    }

    /// With other ends.
    pub(super) fn ends(mut self, source: IpAddr, destination: IpAddr) -> Self {
        self.ends = [source, destination];
        self
    }

    /// Into `interface`, from `source`.
    pub(super) fn arrives(mut self, source: Mac, interface: Interface) -> Self {
        (self.ingress, self.link) = (interface, [source, interface.mac]);
        self
    }

    /// From one MAC address to another.
    pub(super) fn link(mut self, source: Mac, destination: Mac) -> Self {
        self.link = [source, destination];
        self
    }

    /// With another body.
    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// With this TTL or hop limit.
    pub(super) fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// One hop on.
    pub(super) fn hop(mut self) -> Self {
        self.hops -= 1;
        self
    }

    /// With an IP header that Sluice made.
    pub(super) fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    /// Length of the IP packet.
    pub(super) fn ip_length(&self) -> usize {
        version(self.ends[0]).header() + 8 + self.body.len()
    }

    /// The frame's bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let [source, destination] = self.ends;
        let (type_u8, code_u8) = self.kind;
        let bytes5to8 = self.rest;
        let (number, header) = match (source, destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                let kind = Icmpv4Type::Unknown {
                    type_u8,
                    code_u8,
                    bytes5to8,
                };
                let header = Icmpv4Header::with_checksum(kind, &self.body);
                (IpNumber::ICMP, header.to_bytes().to_vec())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let kind = Icmpv6Type::Unknown {
                    type_u8,
                    code_u8,
                    bytes5to8,
                };
                let (source, destination) = (source.octets(), destination.octets());
                let header = Icmpv6Header::with_checksum(kind, source, destination, &self.body);
                let header = header.expect("bodies here are short");
                (IpNumber::IPV6_ICMP, header.to_bytes().to_vec())
            }
            _ => panic!("{source} and {destination} are of two families"),
        };
        let message = [header, self.body.clone()].concat();
        let ip = header_of(self.ends, number, self.hops, message.len(), self.ours);
        framed(self.link, self.ends, &[ip.bytes(), message].concat())
    }
}

/// A TCP reset that Sluice makes: the frame's bytes.
pub(crate) fn reset(link: [Mac; 2], ends: [SocketAddr; 2], numbers: (u32, Option<u32>)) -> Vec<u8> {
    let [source, destination] = ends;
    let mut tcp = TcpHeader::new(source.port(), destination.port(), numbers.0, 0);
    tcp.rst = true;
    if let Some(acknowledgement) = numbers.1 {
        (tcp.ack, tcp.acknowledgment_number) = (true, acknowledgement);
    }
    let ends = [source.ip(), destination.ip()];
    let ip = header_of(ends, IpNumber::TCP, 64, 20, true);
    tcp.checksum = match &ip {
        IpHeader::V4(ip) => tcp.calc_checksum_ipv4(ip, &[]),
        IpHeader::V6(ip) => tcp.calc_checksum_ipv6(ip, &[]),
    }
    .expect("no payload");
    framed(link, ends, &[&ip.bytes()[..], &tcp.to_bytes()].concat())
}

/// The IP packet in a frame, its first `length` bytes.
pub(super) fn quote(frame: &[u8], length: usize) -> Vec<u8> {
    frame[IP..].iter().copied().take(length).collect()
}

fn version(address: IpAddr) -> Version {
    match address {
        IpAddr::V4(_) => Version::V4,
        IpAddr::V6(_) => Version::V6,
    }
}

fn header_of(ends: [IpAddr; 2], number: IpNumber, hops: u8, length: usize, ours: bool) -> IpHeader {
    let mut ip = ip_header(ends[0], ends[1], number, 0, hops, length);
    match &mut ip {
        IpHeader::V4(ip) if ours => (ip.identification, ip.dont_fragment) = (0, true),
        IpHeader::V6(ip) if ours => ip.flow_label = Ipv6FlowLabel::ZERO,
        IpHeader::V4(_) | IpHeader::V6(_) => {}
    }
    ip
}

fn framed(link: [Mac; 2], ends: [IpAddr; 2], packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if ends[0].is_ipv4() {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    [&link[1][..], &link[0], &ethertype, packet].concat()
}
