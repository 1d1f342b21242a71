//! Frames, built by etherparse: what goes in and what has to come out. Every checksum is computed
//! from the whole packet, by code that Sluice shares nothing with.
//!
//! A [`Frame`] is a description; a method changes one thing about it. So a row says how the output
//! differs from the input: `input.clone().ends(a, b).hop().link(c, d)`.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Options, Ipv6FlowLabel, Ipv6FragmentHeader, TcpHeader, TcpOptions,
    UdpHeader,
};

use super::{
    headers::{IpHeader, ip_header},
    places::{Interface, Mac, ROUTER, UPLINK},
};

/// TCP flags.
pub const FIN: u8 = 0x01;
/// TCP flags.
pub const SYN: u8 = 0x02;
/// TCP flags.
pub const RST: u8 = 0x04;
/// TCP flags.
pub const PSH: u8 = 0x08;
/// TCP flags.
pub const ACK: u8 = 0x10;

/// Length of an Ethernet header: where the IP header starts.
pub const IP: usize = 14;

/// An Ethernet frame with a TCP or UDP packet.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The interface that it comes in through.
    pub ingress: Interface,
    link: [Mac; 2],
    outer: Option<Outer>,
    source: SocketAddr,
    destination: SocketAddr,
    transport: Transport,
    tcp_options: Vec<u8>,
    sequence: u32,
    acknowledgement: u32,
    hops: u8,
    class: u8,
    dont_fragment: bool,
    anew: bool,
    extras: Vec<u8>,
    next_header: Option<u8>,
    fragment: Option<Fragment>,
    payload: Vec<u8>,
    surplus: Vec<u8>,
    patches: Vec<(usize, Vec<u8>)>,
    padding: usize,
    cut: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp { flags: u8 },
    Udp { checksum: bool },
}

/// A part of what is behind a packet's IP header.
#[derive(Clone, Debug)]
struct Fragment {
    range: Range<usize>,
    id: u16,
    next_header: Option<u8>,
}

/// The headers around a packet.
#[derive(Clone, Copy, Debug)]
struct Outer {
    source: IpAddr,
    destination: IpAddr,
    udp: Option<OuterUdp>,
}

#[derive(Clone, Copy, Debug)]
struct OuterUdp {
    source: u16,
    destination: u16,
    checksum: bool,
}

impl Frame {
    /// A TCP segment with an ACK and four bytes, from the router to the uplink.
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        let transport = Transport::Tcp { flags: ACK };
        Self::new(source, destination, transport)
    }

    /// A UDP datagram with a checksum and four bytes, from the router to the uplink.
    pub fn udp(source: SocketAddr, destination: SocketAddr) -> Self {
        Self::new(source, destination, Transport::Udp { checksum: true })
    }

    fn new(source: SocketAddr, destination: SocketAddr, transport: Transport) -> Self {
        Self {
            ingress: UPLINK,
            link: [ROUTER, UPLINK.mac],
            outer: None,
            source,
            destination,
            transport,
            tcp_options: Vec::new(),
            sequence: 0x0102_0304,
            acknowledgement: 0,
            hops: 64,
            class: 0,
            dont_fragment: false,
            anew: false,
            extras: Vec::new(),
            next_header: None,
            fragment: None,
            payload: b"ping".to_vec(),
            surplus: Vec::new(),
            patches: Vec::new(),
            padding: 0,
            cut: None,
        }
    }

    /// With these TCP flags. UDP has none, and stays as it is.
    pub fn flags(mut self, set: u8) -> Self {
        if let Transport::Tcp { flags } = &mut self.transport {
            *flags = set;
        }
        self
    }

    /// With this sequence number. UDP has none.
    pub fn sequence(mut self, sequence: u32) -> Self {
        self.sequence = sequence;
        self
    }

    /// With this acknowledgement number. UDP has none.
    pub fn acknowledgement(mut self, acknowledgement: u32) -> Self {
        self.acknowledgement = acknowledgement;
        self
    }

    /// With TCP options (no operation, window scale).
    pub fn tcp_options(self) -> Self {
        self.with_tcp_options(&[1, 3, 3, 7])
    }

    /// With these TCP options, a whole number of words. UDP has none.
    pub fn with_tcp_options(mut self, options: &[u8]) -> Self {
        if self.is_tcp() {
            self.tcp_options = options.to_vec();
        }
        self
    }

    /// UDP without a checksum.
    pub fn unchecked(mut self) -> Self {
        self.transport = Transport::Udp { checksum: false };
        self
    }

    /// Into `interface`, for its MAC address.
    pub fn arrives(mut self, interface: Interface) -> Self {
        self.ingress = interface;
        self.link[1] = interface.mac;
        self
    }

    /// From one MAC address to another.
    pub fn link(mut self, source: Mac, destination: Mac) -> Self {
        self.link = [source, destination];
        self
    }

    /// With other ends.
    pub fn ends(mut self, source: SocketAddr, destination: SocketAddr) -> Self {
        (self.source, self.destination) = (source, destination);
        self
    }

    /// With this TTL or hop limit.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// One hop on.
    pub fn hop(mut self) -> Self {
        self.hops -= 1;
        self
    }

    /// With this ToS or traffic class.
    pub fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }

    /// With DF set; IPv6 has no such bit.
    pub fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// With an IP header that was made here: not to be fragmented, and without a flow label.
    pub fn anew(mut self) -> Self {
        (self.anew, self.dont_fragment) = (true, true);
        self
    }

    /// With these IPv4 options, a whole number of words.
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.extras = options.to_vec();
        self
    }

    /// With these IPv6 extension headers: the number of the first and its bytes, of whose next header
    /// only that of the last is put in place. Each is a number, and a body behind the next header.
    pub fn extensions(mut self, headers: &[(u8, &[u8])]) -> Self {
        let numbers = headers.iter().map(|(number, _)| *number).skip(1);
        let numbers: Vec<_> = numbers.chain([self.protocol().0]).collect();
        self.extras = headers
            .iter()
            .zip(numbers)
            .flat_map(|((_, body), next)| [&[next], *body].concat())
            .collect();
        self.next_header = headers.first().map(|(number, _)| *number);
        self
    }

    /// Only these bytes of what is behind the IP header, as a fragment of a packet of this number.
    /// Not with options or extension headers.
    pub fn fragment(mut self, range: Range<usize>, id: u16) -> Self {
        let next_header = None;
        self.fragment = Some(Fragment {
            range,
            id,
            next_header,
        });
        self
    }

    /// With another next header in its fragment header.
    pub fn next_header_in_fragment(mut self, number: u8) -> Self {
        if let Some(fragment) = &mut self.fragment {
            fragment.next_header = Some(number);
        }
        self
    }

    /// With this payload.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// With bytes of the IP packet behind the UDP datagram, which neither its length nor its
    /// checksum knows of.
    pub fn surplus(mut self, bytes: &[u8]) -> Self {
        self.surplus = bytes.to_vec();
        self
    }

    /// With a payload that makes the IP packet `length` bytes long.
    pub fn sized(mut self, length: usize) -> Self {
        self.payload.clear();
        let payload = length - self.whole_length();
        self.payload = (0..payload).map(|n| n as u8).collect();
        self
    }

    /// Behind another IP header, of either family.
    pub fn inside(mut self, source: IpAddr, destination: IpAddr) -> Self {
        let udp = None;
        self.outer = Some(Outer {
            source,
            destination,
            udp,
        });
        self
    }

    /// Behind another IP header and a UDP header, with a checksum over IPv6, without over IPv4.
    pub fn inside_udp(self, source: SocketAddr, destination: SocketAddr) -> Self {
        let mut frame = self.inside(source.ip(), destination.ip());
        if let Some(outer) = &mut frame.outer {
            outer.udp = Some(OuterUdp {
                source: source.port(),
                destination: destination.port(),
                checksum: source.is_ipv6(),
            });
        }
        frame
    }

    /// Behind the same headers, but from another address.
    pub fn from_outside(mut self, source: IpAddr) -> Self {
        if let Some(outer) = &mut self.outer {
            outer.source = source;
        }
        self
    }

    /// Behind the same headers, but to another UDP port.
    pub fn to_outside(mut self, port: u16) -> Self {
        if let Some(udp) = self.outer.as_mut().and_then(|outer| outer.udp.as_mut()) {
            udp.destination = port;
        }
        self
    }

    /// Without a checksum in the UDP header around the packet.
    pub fn unchecked_outside(mut self) -> Self {
        if let Some(udp) = self.outer.as_mut().and_then(|outer| outer.udp.as_mut()) {
            udp.checksum = false;
        }
        self
    }

    /// With other bytes at `offset` of the frame, once all checksums are in place.
    pub fn patch(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.patches.push((offset, bytes.to_vec()));
        self
    }

    /// With an IP header that says the packet is `length` bytes long.
    pub fn says_ip_length(self, length: usize) -> Self {
        match self.source {
            SocketAddr::V4(_) => self.patch(IP + 2, &(length as u16).to_be_bytes()),
            SocketAddr::V6(_) => self.patch(IP + 4, &(length as u16 - 40).to_be_bytes()),
        }
    }

    /// With so many more bytes behind the packet.
    pub fn padded(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// Only the first `length` bytes of the frame.
    pub fn cut(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    /// Where the transport header starts.
    pub fn transport(&self) -> usize {
        IP + self.ip_header_length()
    }

    /// Length of the IP packet, without an outer header, as it should be.
    pub fn ip_length(&self) -> usize {
        match &self.fragment {
            None => self.whole_length(),
            Some(fragment) if self.source.is_ipv4() => 20 + fragment.range.len(),
            Some(fragment) => 40 + 8 + fragment.range.len(),
        }
    }

    fn whole_length(&self) -> usize {
        let transport = match self.transport {
            Transport::Tcp { .. } => 20 + self.tcp_options.len(),
            Transport::Udp { .. } => 8,
        };
        self.ip_header_length() + transport + self.payload.len() + self.surplus.len()
    }

    /// Whether it is a TCP segment that asks for a connection.
    pub fn asks(&self) -> bool {
        matches!(self.transport, Transport::Tcp { flags, .. }
            if flags & (SYN | ACK | RST | FIN) == SYN)
    }

    /// Whether it is a UDP datagram without a checksum.
    pub fn is_unchecked(&self) -> bool {
        matches!(self.transport, Transport::Udp { checksum: false })
    }

    /// Whether its transport header is where it usually is.
    pub fn is_plain(&self) -> bool {
        self.extras.is_empty() && self.fragment.is_none()
    }

    /// Whether it asks for a connection.
    pub fn is_syn(&self) -> bool {
        let asks = |flags: u8| flags & (SYN | ACK | RST | FIN) == SYN;
        matches!(self.transport, Transport::Tcp { flags } if asks(flags))
    }

    /// Whether it is TCP.
    pub fn is_tcp(&self) -> bool {
        matches!(self.transport, Transport::Tcp { .. })
    }

    /// Where it goes.
    pub fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// Its sequence number.
    pub fn sequence_number(&self) -> u32 {
        self.sequence
    }

    /// Where it comes from.
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    fn protocol(&self) -> IpNumber {
        match self.transport {
            Transport::Tcp { .. } => IpNumber::TCP,
            Transport::Udp { .. } => IpNumber::UDP,
        }
    }

    fn ip_header_length(&self) -> usize {
        let plain = if self.source.is_ipv4() { 20 } else { 40 };
        plain + self.extras.len()
    }

    /// The frame's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut ipv4 = self.source.is_ipv4();
        let mut packet = self.ip_packet();
        if let Some(fragment) = &self.fragment {
            packet = self.piece(fragment, &packet);
        }
        if let Some(outer) = self.outer {
            packet = self.wrapped(outer, packet);
            ipv4 = outer.source.is_ipv4();
        }
        let ethertype: [u8; 2] = if ipv4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        let mut frame = [&self.link[1][..], &self.link[0], &ethertype, &packet].concat();
        for (offset, bytes) in &self.patches {
            frame[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        frame.extend((0..self.padding).map(|n| 0xb0 | n as u8));
        frame.truncate(self.cut.unwrap_or(usize::MAX));
        frame
    }

    fn wrapped(&self, outer: Outer, packet: Vec<u8>) -> Vec<u8> {
        let (source, destination) = (outer.source, outer.destination);
        let (protocol, length) = match outer.udp {
            None if self.source.is_ipv4() => (IpNumber::IPV4, packet.len()),
            None => (IpNumber::IPV6, packet.len()),
            Some(_) => (IpNumber::UDP, packet.len() + 8),
        };
        let mut ip = ip_header(source, destination, protocol, self.class, 64, length);
        if let IpHeader::V4(header) = &mut ip {
            (header.identification, header.dont_fragment) = (0, true);
        }
        if let IpHeader::V6(header) = &mut ip {
            header.flow_label = Ipv6FlowLabel::ZERO;
        }
        let udp = outer.udp.map(|udp| {
            let header = udp_header(&ip, (udp.source, udp.destination), &packet);
            UdpHeader {
                checksum: if udp.checksum { header.checksum } else { 0 },
                ..header
            }
        });
        let udp = udp.map_or(Vec::new(), |udp| udp.to_bytes().to_vec());
        [ip.bytes(), udp, packet].concat()
    }

    fn ip_packet(&self) -> Vec<u8> {
        let protocol = self.protocol();
        let (source, destination) = (self.source.ip(), self.destination.ip());
        let length = self.whole_length() - self.ip_header_length();
        let mut ip = ip_header(source, destination, protocol, self.class, self.hops, length);
        if let IpHeader::V4(header) = &mut ip {
            header.dont_fragment = self.dont_fragment;
            if self.anew {
                header.identification = 0;
            }
            header.options = Ipv4Options::try_from(&self.extras[..]).expect("whole words");
            header.total_len += self.extras.len() as u16;
        }
        let transport = match self.transport {
            Transport::Tcp { flags } => self.tcp_header(&ip, flags),
            Transport::Udp { checksum } => {
                let ports = (self.source.port(), self.destination.port());
                let mut udp = udp_header(&ip, ports, &self.payload);
                if !checksum {
                    udp.checksum = 0;
                }
                udp.to_bytes().to_vec()
            }
        };
        if let IpHeader::V6(header) = &mut ip {
            if self.anew {
                header.flow_label = Ipv6FlowLabel::ZERO;
            }
            header.payload_length += self.extras.len() as u16;
            header.next_header = self.next_header.map_or(protocol, IpNumber);
        }
        let extensions = match ip {
            IpHeader::V4(_) => &[][..],
            IpHeader::V6(_) => &self.extras,
        };
        [
            &ip.bytes()[..],
            extensions,
            &transport,
            &self.payload,
            &self.surplus,
        ]
        .concat()
    }

    /// A fragment of `packet`.
    fn piece(&self, fragment: &Fragment, packet: &[u8]) -> Vec<u8> {
        let whole = &packet[self.ip_header_length()..];
        let data = &whole[fragment.range.clone()];
        let more = fragment.range.end < whole.len();
        let offset = IpFragOffset::try_new(fragment.range.start as u16 / 8).expect("13 bits");
        let protocol = self.protocol();
        let (source, destination) = (self.source.ip(), self.destination.ip());
        let (class, hops, length) = (self.class, self.hops, data.len());
        let mut ip = ip_header(source, destination, protocol, class, hops, length);
        let mut between = Vec::new();
        match &mut ip {
            IpHeader::V4(header) => {
                header.identification = fragment.id;
                (header.more_fragments, header.fragment_offset) = (more, offset);
            }
            IpHeader::V6(header) => {
                (header.next_header, header.payload_length) =
                    (IpNumber::IPV6_FRAGMENTATION_HEADER, length as u16 + 8);
                let next = fragment.next_header.map_or(protocol, IpNumber);
                let id = u32::from(fragment.id) << 16 | 0x0505;
                let fragment = Ipv6FragmentHeader::new(next, offset, more, id);
                between = fragment.to_bytes().to_vec();
            }
        }
        [&ip.bytes()[..], &between, data].concat()
    }

    fn tcp_header(&self, ip: &IpHeader, flags: u8) -> Vec<u8> {
        let mut tcp = TcpHeader::new(
            self.source.port(),
            self.destination.port(),
            self.sequence,
            4096,
        );
        tcp.acknowledgment_number = self.acknowledgement;
        (tcp.fin, tcp.syn, tcp.rst) = (flags & FIN != 0, flags & SYN != 0, flags & RST != 0);
        tcp.acknowledgment_number = self.acknowledgement;
        (tcp.psh, tcp.ack) = (flags & PSH != 0, flags & ACK != 0);
        tcp.options = TcpOptions::try_from_slice(&self.tcp_options).expect("40 bytes fit");
        tcp.checksum = match ip {
            IpHeader::V4(ip) => tcp.calc_checksum_ipv4(ip, &self.payload),
            IpHeader::V6(ip) => tcp.calc_checksum_ipv6(ip, &self.payload),
        }
        .expect("payloads here are short");
        tcp.to_bytes().to_vec()
    }
}

/// A header with the checksum over `payload`.
fn udp_header(ip: &IpHeader, ports: (u16, u16), payload: &[u8]) -> UdpHeader {
    match ip {
        IpHeader::V4(ip) => UdpHeader::with_ipv4_checksum(ports.0, ports.1, ip, payload),
        IpHeader::V6(ip) => UdpHeader::with_ipv6_checksum(ports.0, ports.1, ip, payload),
    }
    .expect("payloads here are short")
}
