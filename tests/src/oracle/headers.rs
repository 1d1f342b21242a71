//! What a frame says, read byte by byte, and the frames that are made of it. Sums are made over whole
//! fields, in wide numbers. Decides nothing but what can't be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{IpNumber, Ipv6FlowLabel};
use lb_common::datapath::PassReason;

use super::model::Flow;
use crate::cases::{
    headers::{IpHeader, ip_header},
    places::{Interface, Mac, Protocol},
};

/// Length of an Ethernet header.
pub(super) const ETHERNET: usize = 14;

/// Hops of what is made here.
pub(super) const HOPS: u8 = 64;

/// What of an IP packet is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// All.
    Whole,
    /// Its first fragment.
    First,
    /// Another fragment.
    Later,
}

/// What a frame's headers say.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    /// Source address.
    pub(super) source: IpAddr,
    /// Destination address.
    pub(super) destination: IpAddr,
    /// Number of what is behind the IP headers.
    pub(super) protocol: u8,
    /// Source and destination port; zeros in later fragments.
    pub(super) ports: [u16; 2],
    /// Length of the IP packet.
    pub(super) length: usize,
    /// Length of the IP headers, options and extension headers included.
    pub(super) before: usize,
    /// TTL or hop limit.
    pub(super) hops: u8,
    /// ToS or traffic class.
    pub(super) class: u8,
    /// What of the packet is there.
    pub(super) piece: Piece,
    /// The number that its fragments have in common.
    pub(super) id: u32,
}

impl Headers {
    /// Whether the transport header is where it usually is.
    pub(super) fn is_plain(&self) -> bool {
        self.piece == Piece::Whole && self.before == if self.source.is_ipv4() { 20 } else { 40 }
    }

    /// The flow that a packet of TCP or UDP is of.
    pub(super) fn flow(&self) -> Option<Flow> {
        let protocol = match self.protocol {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return None,
        };
        let [source, destination] = self.ports;
        Some(Flow {
            source: SocketAddr::new(self.source, source),
            destination: SocketAddr::new(self.destination, destination),
            protocol,
        })
    }
}

/// 16 bits, network order.
pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([field[0], field[1]]))
}

/// 32 bits, network order.
pub(super) fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(short(bytes, at)?) << 16 | u32::from(short(bytes, at + 2)?))
}

/// Reads a frame of IPv4.
pub(super) fn read_v4(frame: &[u8]) -> Result<Headers, PassReason> {
    let ip = frame.get(ETHERNET..).unwrap_or_default();
    if ip.len() < 20 {
        return Err(PassReason::Truncated);
    }
    if ip[0] >> 4 != 4 {
        return Err(PassReason::BadVersion);
    }
    let before = usize::from(ip[0] & 15) * 4;
    if before < 20 {
        return Err(PassReason::BadHeaderLength);
    }
    match ip[9] {
        6 | 17 => {}
        1 => return Err(PassReason::Icmp),
        _ => return Err(PassReason::OtherProtocol),
    }
    options(ip, before)?;
    let fragment = short(ip, 6).unwrap_or(0);
    let piece = match (fragment & 0x1fff, fragment & 0x2000) {
        (0, 0) => Piece::Whole,
        (0, _) => Piece::First,
        _ => Piece::Later,
    };
    let address = |at| IpAddr::V4(Ipv4Addr::from_bits(long(ip, at).unwrap_or(0)));
    Ok(Headers {
        source: address(12),
        destination: address(16),
        protocol: ip[9],
        ports: ports(ip, before, piece)?,
        length: short(ip, 2).unwrap_or(0).into(),
        before,
        hops: ip[8],
        class: ip[1],
        piece,
        id: short(ip, 4).unwrap_or(0).into(),
    })
}

/// Source routes lead elsewhere; every option that is not one byte long says how long it is.
fn options(ip: &[u8], end: usize) -> Result<(), PassReason> {
    let mut at = 20;
    while at < end {
        let (Some(kind), Some(length)) = (ip.get(at), ip.get(at + 1)) else {
            return Err(PassReason::Truncated);
        };
        at += match kind {
            0 => break,
            1 => 1,
            131 | 137 => return Err(PassReason::IpOptions),
            _ if *length < 2 => return Err(PassReason::IpOptions),
            _ => usize::from(*length),
        };
        if at > end {
            return Err(PassReason::IpOptions);
        }
    }
    Ok(())
}

/// Reads a frame of IPv6. Up to eight extension headers are read, and up to 128 bytes of them.
pub(super) fn read_v6(frame: &[u8]) -> Result<Headers, PassReason> {
    let ip = frame.get(ETHERNET..).unwrap_or_default();
    if ip.len() < 40 {
        return Err(PassReason::Truncated);
    }
    if ip[0] >> 4 != 6 {
        return Err(PassReason::BadVersion);
    }
    let (mut protocol, mut before, mut piece, mut id) = (ip[6], 40, Piece::Whole, 0);
    let mut count = 0;
    while piece != Piece::Later && !matches!(protocol, 6 | 17) {
        match protocol {
            58 => return Err(PassReason::Icmp),
            0 if count > 0 => return Err(PassReason::ExtensionHeader),
            0 | 43 | 60 => {
                let header = ip.get(before..before + 4).ok_or(PassReason::Truncated)?;
                if protocol == 43 && header[3] != 0 {
                    return Err(PassReason::ExtensionHeader);
                }
                protocol = header[0];
                before += 8 + 8 * usize::from(header[1]);
            }
            44 => {
                let header = ip.get(before..before + 8).ok_or(PassReason::Truncated)?;
                let offset = short(header, 2).unwrap_or(0);
                protocol = header[0];
                id = long(header, 4).unwrap_or(0);
                piece = match (offset >> 3, offset & 1) {
                    (0, 0) => piece,
                    (0, _) => Piece::First,
                    _ => Piece::Later,
                };
                before += 8;
            }
            50 | 51 | 59 | 135 | 139 | 140 => return Err(PassReason::ExtensionHeader),
            _ => return Err(PassReason::OtherProtocol),
        }
        count += 1;
        if piece != Piece::Later && (before > 40 + 128 || count == 9) {
            return Err(PassReason::ExtensionHeader);
        }
    }
    let address = |at: usize| {
        let octets: [u8; 16] = ip[at..at + 16].try_into().expect("16 bytes");
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    Ok(Headers {
        source: address(8),
        destination: address(24),
        protocol,
        ports: ports(ip, before, piece)?,
        length: 40 + usize::from(short(ip, 4).unwrap_or(0)),
        before,
        hops: ip[7],
        class: ip[0] << 4 | ip[1] >> 4,
        piece,
        id,
    })
}

fn ports(ip: &[u8], at: usize, piece: Piece) -> Result<[u16; 2], PassReason> {
    if piece == Piece::Later {
        return Ok([0; 2]);
    }
    match (short(ip, at), short(ip, at + 2)) {
        (Some(source), Some(destination)) => Ok([source, destination]),
        _ => Err(PassReason::Truncated),
    }
}

/// The frame with one hop less, from one MAC address to another.
pub(super) fn hopped(frame: &[u8], from: Interface, to: Mac) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from.mac);
    if frame[ETHERNET] >> 4 == 4 {
        frame[ETHERNET + 8] -= 1;
        // TTL is the upper half of its field.
        mend(&mut frame, ETHERNET + 10, 0x0100, 0);
    } else {
        frame[ETHERNET + 7] -= 1;
    }
    frame
}

/// The frame with these ends, of the same family.
pub(super) fn translated(frame: Vec<u8>, headers: &Headers, ends: Flow) -> Vec<u8> {
    let addresses = [ends.source.ip(), ends.destination.ip()];
    let frame = readdressed(frame, ETHERNET, headers, addresses);
    if headers.piece == Piece::Later {
        return frame;
    }
    with_ports(frame, ETHERNET + headers.before, headers, ends)
}

/// The frame with these addresses, of the same family, in the IP header that it has at `at`.
pub(super) fn readdressed(
    mut frame: Vec<u8>,
    at: usize,
    headers: &Headers,
    addresses: [IpAddr; 2],
) -> Vec<u8> {
    let both = addresses.map(octets).concat();
    if headers.source.is_ipv4() {
        frame[at + 12..at + 20].copy_from_slice(&both);
        let before = sum(&octets(headers.source)) + sum(&octets(headers.destination));
        mend(&mut frame, at + 10, before, sum(&both));
    } else {
        frame[at + 8..at + 40].copy_from_slice(&both);
    }
    frame
}

/// The frame with the ports of these ends in its transport header, which is there, and a checksum that
/// is about these ends. Of addresses it takes in no more than their sum.
pub(super) fn with_ports(
    mut frame: Vec<u8>,
    transport: usize,
    headers: &Headers,
    ends: Flow,
) -> Vec<u8> {
    let (source, destination) = (ends.source, ends.destination);
    let ports = headers.ports.map(u64::from);
    let before = sum(&octets(headers.source)) + sum(&octets(headers.destination));
    let before = before + ports[0] + ports[1];
    let after = sum(&octets(source.ip())) + sum(&octets(destination.ip()));
    let after = after + u64::from(source.port()) + u64::from(destination.port());
    frame[transport..transport + 2].copy_from_slice(&source.port().to_be_bytes());
    frame[transport + 2..transport + 4].copy_from_slice(&destination.port().to_be_bytes());
    if headers.protocol == 6 {
        mend(&mut frame, transport + 16, before, after);
    } else if frame[transport + 6..transport + 8] != [0, 0] {
        mend(&mut frame, transport + 6, before, after);
        if frame[transport + 6..transport + 8] == [0, 0] {
            frame[transport + 6..transport + 8].fill(0xff);
        }
    }
    frame
}

/// Puts a checksum in place that is as right, or as wrong, as the one before, once what it covers no
/// longer sums up to `before` but to `after`.
pub(super) fn mend(frame: &mut [u8], at: usize, before: u64, after: u64) {
    let check = u64::from(short(frame, at).unwrap_or(0));
    let negative = 0xffff - after % 0xffff;
    let mended = (check + before + negative) % 0xffff;
    frame[at..at + 2].copy_from_slice(&(mended as u16).to_be_bytes());
}

/// What the pseudo-header of a message adds to the sum of its fields.
pub(super) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u64 {
    sum(&octets(source)) + sum(&octets(destination)) + u64::from(protocol) + length as u64
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The sum of fields of 16 bits; a last odd byte is the upper half of one.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let fields = bytes.chunks(2);
    fields
        .map(|field| u64::from(field[0]) << 8 | field.get(1).map_or(0, |low| u64::from(*low)))
        .sum()
}

/// The checksum of fields of this sum.
pub(super) fn complement(sum: u64) -> u16 {
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    !(folded as u16)
}

/// An IP header that is made here: not to be fragmented, so without a number, and without a flow label.
pub(super) fn anew(
    [source, destination]: [IpAddr; 2],
    protocol: IpNumber,
    (class, hops): (u8, u8),
    length: usize,
) -> Vec<u8> {
    let mut ip = ip_header(source, destination, protocol, class, hops, length);
    match &mut ip {
        IpHeader::V4(ip) => (ip.identification, ip.dont_fragment) = (0, true),
        IpHeader::V6(ip) => ip.flow_label = Ipv6FlowLabel::ZERO,
    }
    ip.bytes()
}

/// A frame of an IP packet, from one MAC address to another.
pub(super) fn framed([from, to]: [Mac; 2], packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] = if packet[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    [&to[..], &from, &ethertype, packet].concat()
}

/// From which MAC address a frame comes, and to which it goes.
pub(super) fn link(frame: &[u8]) -> [Mac; 2] {
    let mac = |at: usize| frame[at..at + 6].try_into().expect("six bytes");
    [mac(6), mac(0)]
}
