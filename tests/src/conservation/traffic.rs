//! What is sent: flows of every service with all that may follow a SYN, packets whose headers are not
//! where they usually are, ICMP, and then anything from a wrong field to noise.
//!
//! A packet that is sound carries [`MARK`]; one that was tampered with does not, so that whoever
//! finds the mark in what comes out may ask for right checksums.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

use crate::{
    addresses::{BACKENDS, Family, GATEWAY_FRONT, SOURCE, client},
    cases::frame::{ACK, FIN, Frame, PSH, RST, SYN},
    cases::places::Mac,
    slots::trace::Dice,
};

use super::site::{BACK_MAC, BACKEND_MAC, CLIENT_MAC, FRONT_MAC, MTU, PORT, SERVICES, address};

/// At the start of the payload of every sound packet that has one.
pub(super) const MARK: [u8; 8] = *b"unspoilt";
/// There in others.
const SPOILT: [u8; 8] = *b"tampered";
/// How many clients there are.
const CLIENTS: u32 = 400;
/// How many frames that came out are kept, for answers and to be quoted.
const KEPT: usize = 512;
/// The longest frame that the links take.
const LONGEST: usize = MTU as usize + 14;

/// A source of frames, the same for the same seed and the same frames that came out.
pub(super) struct Traffic {
    dice: Dice,
    /// Frames that came out at the backends.
    arrived: VecDeque<Vec<u8>>,
    /// Frames that came out at the clients.
    returned: VecDeque<Vec<u8>>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// At the gateway's eth0.
    Clients,
    /// At its eth1.
    Backends,
}

impl Side {
    fn link(self) -> [Mac; 2] {
        match self {
            Self::Clients => [CLIENT_MAC, FRONT_MAC],
            Self::Backends => [BACKEND_MAC, BACK_MAC],
        }
    }
}

impl Traffic {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            arrived: VecDeque::new(),
            returned: VecDeque::new(),
        }
    }

    /// Keeps a frame that came out at `side`.
    pub(super) fn learn(&mut self, side: Side, frame: &[u8]) {
        let kept = match side {
            Side::Clients => &mut self.returned,
            Side::Backends => &mut self.arrived,
        };
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(frame.to_vec());
    }

    /// The next frame from `side`, 14 bytes to a full-sized one.
    pub(super) fn next(&mut self, side: Side) -> Vec<u8> {
        let mut frame = match (self.dice.below(100), side) {
            (0..50, Side::Clients) => self.request().bytes(),
            (0..50, Side::Backends) => self.answer(),
            (50..59, _) => {
                let frame = self.either(side);
                self.unusual(frame).bytes()
            }
            (59, _) => {
                let frame = self.either(side);
                self.tagged(frame)
            }
            (60..70, _) => {
                let frame = self.either(side);
                self.wrong(frame)
            }
            (70..88, _) => {
                let frame = self.either(side).payload(&SPOILT).bytes();
                self.spoil(frame)
            }
            (88..95, _) => self.icmp(side),
            _ => self.noise(side),
        };
        frame.truncate(LONGEST);
        // The kernel drops a tag with less than a word behind it before any socket sees the frame.
        let tagged = matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
        let least = if tagged { 20 } else { 14 };
        frame.resize(frame.len().max(least), 0);
        frame
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.dice.below(100) < percent
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.dice.below(of.len() as u32) as usize]
    }

    fn family(&mut self) -> Family {
        self.one_of(&Family::ALL)
    }

    /// A packet from a client to a service.
    fn request(&mut self) -> Frame {
        let family = self.family();
        let number = self.dice.below(CLIENTS);
        let service = self.dice.below(SERVICES.len() as u32) as usize;
        let source = SocketAddr::new(client(family, number), 1024 + (number * 7 % 60_000) as u16);
        let (first, last) = SERVICES[service].ports;
        let port = first + self.dice.below(u32::from(last - first) + 1) as u16;
        let destination = SocketAddr::new(address(service).of(family), port);
        self.packet(source, destination).link_of(Side::Clients)
    }

    /// A packet from a backend or one of its neighbours to anything of the gateway's.
    fn stray(&mut self) -> Frame {
        let family = self.family();
        let ports = [PORT, 8080, 8081, 8082, 8083, 8085, 33_000, 40_000];
        let source = SocketAddr::new(self.one_of(&BACKENDS).of(family), self.one_of(&ports));
        let number = self.dice.below(CLIENTS);
        let to = [
            client(family, number),
            SOURCE.of(family),
            GATEWAY_FRONT.of(family),
            address(0).of(family),
        ];
        let destination = SocketAddr::new(self.one_of(&to), self.one_of(&ports));
        self.packet(source, destination).link_of(Side::Backends)
    }

    fn either(&mut self, side: Side) -> Frame {
        match side {
            Side::Clients => self.request(),
            Side::Backends => self.stray(),
        }
    }

    /// TCP of any kind, or UDP.
    fn packet(&mut self, source: SocketAddr, destination: SocketAddr) -> Frame {
        let class = self.one_of(&[0, 0, 0, 1, 2, 3, 0xb8]);
        let mut frame = if self.chance(70) {
            let kinds = [
                SYN,
                SYN,
                ACK,
                ACK,
                ACK | PSH,
                ACK | PSH,
                FIN | ACK,
                RST,
                RST | ACK,
                SYN | ACK,
            ];
            let near = self.dice.below(5000);
            let flags = self.one_of(&kinds);
            let frame = Frame::tcp(source, destination).flags(flags);
            let frame = frame.sequence(u32::from(source.port()) << 16 | near);
            if self.chance(20) {
                frame.tcp_options()
            } else {
                frame
            }
        } else {
            let frame = Frame::udp(source, destination);
            // A checksum is no choice over IPv6.
            if source.is_ipv4() && self.chance(20) {
                frame.unchecked()
            } else {
                frame
            }
        };
        if self.chance(50) {
            frame = frame.dont_fragment();
        }
        let length = self.length();
        frame.class(class).payload(&self.payload(length))
    }

    /// Mostly short, sometimes as long as a link can take, sometimes nothing.
    fn length(&mut self) -> usize {
        match self.dice.below(10) {
            0 => 0,
            1..8 => 8 + self.dice.below(100) as usize,
            8 => 8 + self.dice.below(1420) as usize,
            _ => 1420 - self.dice.below(40) as usize,
        }
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        let mut payload: Vec<u8> = (0..length).map(|_| self.dice.roll() as u8).collect();
        if let Some(start) = payload.first_chunk_mut() {
            *start = MARK;
        }
        payload
    }

    /// Sound, but with headers in other places, or in fragments.
    fn unusual(&mut self, frame: Frame) -> Frame {
        let ipv4 = frame.source().is_ipv4();
        let length = 64 + 8 * self.dice.below(20) as usize;
        let frame = frame.payload(&self.payload(length));
        match (self.dice.below(3), ipv4) {
            (0, true) => {
                let options: &[&[u8]] = &[
                    &[1, 1, 1, 0],
                    &[7, 7, 4, 0, 0, 0, 0, 0],
                    &[0x94, 4, 0, 0],
                    &[0x83, 7, 4, 1, 2, 3, 4, 0],
                ];
                frame.ip_options(self.one_of(options))
            }
            (0, false) => {
                let padding: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
                let lists: &[&[(u8, &[u8])]] = &[
                    &[(0, padding)],
                    &[(60, padding)],
                    &[(0, padding), (60, padding)],
                    &[(43, &[0, 4, 0, 0, 0, 0, 0])],
                    &[(43, &[0, 0, 1, 0, 0, 0, 0])],
                ];
                frame.extensions(self.one_of(lists))
            }
            _ => {
                // All behind the IP header, in three parts at the most.
                let whole = 8 * (frame.ip_length() / 8) - 64;
                let id = self.dice.below(50) as u16;
                match self.dice.below(3) {
                    0 => frame.fragment(0..32, id),
                    1 => frame.fragment(32..whole.max(40), id),
                    _ => frame.fragment(0..whole.max(40), id),
                }
            }
        }
    }

    /// Sound, but behind one VLAN tag or two.
    fn tagged(&mut self, frame: Frame) -> Vec<u8> {
        let mut frame = frame.bytes();
        for kind in [[0x81, 0x00], [0x88, 0xa8]] {
            let [high, low] = (self.dice.below(0x1000) as u16).to_be_bytes();
            frame.splice(12..12, [kind[0], kind[1], high, low]);
            if self.chance(70) {
                break;
            }
        }
        frame
    }

    /// One thing about it is wrong, and the checksums are right.
    fn wrong(&mut self, frame: Frame) -> Vec<u8> {
        let frame = frame.payload(&SPOILT);
        let other = SocketAddr::new(
            match frame.source() {
                SocketAddr::V4(_) => self.one_of(&HOSTILE_V4).into(),
                SocketAddr::V6(_) => self.one_of(&HOSTILE_V6).into(),
            },
            frame.source().port(),
        );
        let length = frame.ip_length();
        match self.dice.below(8) {
            0 => frame.hops(0),
            1 => frame.hops(1),
            2 => frame.says_ip_length(length + 1 + self.dice.below(200) as usize),
            3 => frame.says_ip_length(length - 1 - self.dice.below(15) as usize),
            4 => frame.padded(1 + self.dice.below(40) as usize),
            5 => frame.cut(14 + self.dice.below(60) as usize),
            6 => frame.surplus(&[1, 2, 3]),
            _ => {
                let to = frame.destination();
                let from = if self.chance(30) { to } else { other };
                frame.ends(from, to)
            }
        }
        .bytes()
    }

    /// Some bytes are others, some are missing, some are too many.
    fn spoil(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.dice.below(3) {
            // Beyond the MAC addresses, as a rule: a frame for another is seen by nobody.
            let from = if self.chance(10) { 0 } else { 12 };
            let at = (from + self.dice.below(frame.len().min(90) as u32 - from)) as usize;
            frame[at] = match self.dice.below(3) {
                0 => frame[at] ^ (1 << self.dice.below(8)),
                1 => 0xff,
                _ => self.dice.roll() as u8,
            };
        }
        match self.dice.below(6) {
            0 => frame.truncate(14 + self.dice.below(frame.len() as u32 - 14) as usize),
            1 => frame.resize(frame.len() + self.dice.below(300) as usize, 0),
            _ => {}
        }
        frame
    }

    /// Of any length, with a type that says there is something in it.
    fn noise(&mut self, side: Side) -> Vec<u8> {
        let length = 14 + self.dice.below(LONGEST as u32 - 13) as usize;
        let mut frame: Vec<u8> = (0..length).map(|_| self.dice.roll() as u8).collect();
        let [from, to] = side.link();
        if !self.chance(20) {
            frame[..6].copy_from_slice(&to);
        }
        frame[6..12].copy_from_slice(&from);
        let types = [
            [0x08, 0x00],
            [0x86, 0xdd],
            [0x08, 0x06],
            [0x81, 0x00],
            [0x88, 0xa8],
            [0x88, 0xcc],
        ];
        let kind = self.one_of(&types);
        frame[12..14].copy_from_slice(&kind);
        if let (Some(version), true) = (frame.get_mut(14), self.chance(80)) {
            *version = if kind == [0x86, 0xdd] { 0x60 } else { 0x45 };
        }
        frame
    }

    /// What a backend says to a packet that came out there in a mode whose answers come back.
    fn answer(&mut self) -> Vec<u8> {
        for _ in 0..8 {
            let Some(frame) = self.pick(Side::Backends) else {
                break;
            };
            let Some((source, destination, udp)) = ends(&frame) else {
                continue;
            };
            if !(8080..8090).contains(&destination.port()) {
                continue;
            }
            let length = self.length();
            let flags = self.one_of(&[SYN | ACK, ACK, ACK | PSH, FIN | ACK, RST | ACK]);
            let near = self.dice.below(5000);
            let answer = if udp {
                Frame::udp(destination, source)
            } else {
                Frame::tcp(destination, source).flags(flags).sequence(near)
            };
            let answer = answer.payload(&self.payload(length));
            return answer.link_of(Side::Backends).bytes();
        }
        self.stray().bytes()
    }

    fn pick(&mut self, side: Side) -> Option<Vec<u8>> {
        let kept = match side {
            Side::Clients => &self.returned,
            Side::Backends => &self.arrived,
        };
        if kept.is_empty() {
            return None;
        }
        kept.get(self.dice.below(kept.len() as u32) as usize)
            .cloned()
    }

    /// An echo request, or an error that quotes a packet which came out at this side.
    fn icmp(&mut self, side: Side) -> Vec<u8> {
        let family = self.family();
        let number = self.dice.below(CLIENTS);
        let service = address(self.dice.below(SERVICES.len() as u32) as usize);
        let [from, to] = side.link();
        let ethernet = PacketBuilder::ethernet2(from, to);
        let quote = self.pick(side).and_then(|frame| quote(&frame));
        let (source, destination, quote) = match quote.filter(|_| self.chance(70)) {
            Some((source, destination, quote)) => (destination, source, Some(quote)),
            None => (client(family, number), service.of(family), None),
        };
        let kind = match (source, quote.is_some()) {
            (IpAddr::V4(_), false) => (8, 0, [1, 2, 0, 1]),
            (IpAddr::V6(_), false) => (128, 0, [1, 2, 0, 1]),
            (IpAddr::V4(_), true) => self.one_of(&ERRORS_V4),
            (IpAddr::V6(_), true) => self.one_of(&ERRORS_V6),
        };
        let (kind, code, rest) = kind;
        let payload = quote.unwrap_or_else(|| self.payload(56));
        let mut frame = Vec::new();
        let written = match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let ip = ethernet.ipv4(from.octets(), to.octets(), 64);
                ip.icmpv4_raw(kind, code, rest).write(&mut frame, &payload)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ip = ethernet.ipv6(from.octets(), to.octets(), 64);
                ip.icmpv6_raw(kind, code, rest).write(&mut frame, &payload)
            }
            _ => Ok(()),
        };
        match written {
            Ok(()) => frame,
            Err(_) => self.noise(side),
        }
    }
}

/// Addresses that no packet from outside may come from.
const HOSTILE_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::BROADCAST,
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(240, 0, 0, 1),
    GATEWAY_FRONT.v4,
];
/// The same.
const HOSTILE_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::LOCALHOST,
    Ipv6Addr::UNSPECIFIED,
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
    GATEWAY_FRONT.v6,
];

/// Type, code and the word behind the checksum of errors: unreachable (host, too big), time exceeded,
/// a bad header.
const ERRORS_V4: [(u8, u8, [u8; 4]); 4] = [
    (3, 1, [0; 4]),
    (3, 4, [0, 0, 5, 0x78]),
    (11, 0, [0; 4]),
    (12, 0, [0; 4]),
];
/// The same.
const ERRORS_V6: [(u8, u8, [u8; 4]); 4] = [
    (1, 4, [0; 4]),
    (2, 0, [0, 0, 5, 0x78]),
    (3, 0, [0; 4]),
    (4, 0, [0; 4]),
];

/// A frame that travels from one side to the gateway.
trait Link {
    fn link_of(self, side: Side) -> Self;
}

impl Link for Frame {
    fn link_of(self, side: Side) -> Self {
        let [from, to] = side.link();
        self.link(from, to)
    }
}

/// Both ends of a packet, and whether it is UDP.
fn ends(frame: &[u8]) -> Option<(SocketAddr, SocketAddr, bool)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (source, destination) = addresses(frame)?;
    let (from, to, udp) = match packet.transport? {
        TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port(), false),
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port(), true),
        _ => return None,
    };
    Some((
        SocketAddr::new(source, from),
        SocketAddr::new(destination, to),
        udp,
    ))
}

/// Both addresses of a frame's IP packet.
fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match SlicedPacket::from_ethernet(frame).ok()?.net? {
        etherparse::NetSlice::Ipv4(ip) => Some((
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        )),
        etherparse::NetSlice::Ipv6(ip) => Some((
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        )),
        etherparse::NetSlice::Arp(_) => None,
    }
}

/// What an error about a frame quotes: its addresses, and the start of its IP packet.
fn quote(frame: &[u8]) -> Option<(IpAddr, IpAddr, Vec<u8>)> {
    let (source, destination) = addresses(frame)?;
    let packet = frame.get(14..)?;
    Some((
        source,
        destination,
        packet[..packet.len().min(128)].to_vec(),
    ))
}
