//! Messages of ICMP and ICMPv6: what is read of them, byte by byte; who decides on them; and the frames
//! that carry one. RFC 792, RFC 4443.

use std::net::IpAddr;

use lb_common::datapath::PassReason;

use super::{
    headers::{ETHERNET, Headers, Piece, complement, framed, long, pseudo, short, sum},
    model::{End, Leaving, Model},
    packet::Arrival,
};
use crate::cases::places::Mac;

/// Length of a message's header.
pub(super) const HEADER: usize = 8;

/// Number of ICMP.
const V4: u8 = 1;
/// Number of ICMPv6.
const V6: u8 = 58;

/// A message, in a plain packet that is as long as it says.
pub(super) struct Message {
    /// Its packet's header.
    pub(super) ip: Headers,
    /// Its type.
    pub(super) kind: u8,
    /// Its code.
    pub(super) code: u8,
    /// What is behind its checksum.
    pub(super) rest: u32,
}

impl Message {
    /// The message of a frame.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let ip = plain(frame.get(ETHERNET..)?)?;
        let whole = frame.get(..ETHERNET + ip.length)?;
        let message = whole.get(ETHERNET + ip.before..)?;
        if ip.protocol != number(ip.source) || message.len() < HEADER {
            return None;
        }
        let (kind, code) = (message[0], message[1]);
        let rest = long(message, 4)?;
        Some(Self {
            ip,
            kind,
            code,
            rest,
        })
    }

    /// Where it starts in its frame.
    pub(super) fn start(&self) -> usize {
        ETHERNET + self.ip.before
    }

    /// Where it ends.
    pub(super) fn end(&self) -> usize {
        ETHERNET + self.ip.length
    }
}

impl Model {
    /// What becomes of a frame of ICMP: an echo request for a service's address is answered, an error goes
    /// to whom it concerns, all others pass.
    pub(super) fn message(&mut self, arrival: Arrival<'_>) -> Result<Leaving, End> {
        let message = Message::of(arrival.frame).ok_or(End::Pass(PassReason::Icmp))?;
        match (message.ip.protocol, message.kind, message.code) {
            (V4, 8, 0) | (V6, 128, 0) => Err(self.echo(arrival, &message)),
            // Destination unreachable, time exceeded, parameter problem; of IPv6, too big.
            (V4, 3 | 11 | 12, _) | (V6, 1..=4, _) => self.error(arrival, &message),
            _ => Err(End::Pass(PassReason::Icmp)),
        }
    }
}

/// The IP header that bytes start with, of a packet that is no fragment; none with IPv4 options. Its ports
/// are not read.
pub(super) fn plain(ip: &[u8]) -> Option<Headers> {
    let v4 = ip.first()? >> 4 == 4;
    let before = if v4 { 20 } else { 40 };
    let header = ip.get(..before)?;
    let plain = match v4 {
        true => header[0] == 0x45 && short(header, 6)? & 0x3fff == 0,
        false => header[0] >> 4 == 6,
    };
    let (addresses, length, protocol, hops, class) = if v4 {
        let length = usize::from(short(header, 2)?);
        (12, length, header[9], header[8], header[1])
    } else {
        let length = 40 + usize::from(short(header, 4)?);
        let class = header[0] << 4 | header[1] >> 4;
        (8, length, header[6], header[7], class)
    };
    let (source, destination) = header[addresses..].split_at((before - addresses) / 2);
    plain.then_some(Headers {
        source: address(source)?,
        destination: address(destination)?,
        protocol,
        ports: [0; 2],
        length,
        before,
        hops,
        class,
        piece: Piece::Whole,
        id: 0,
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

/// The number of an address' family's control messages.
pub(super) fn number(address: IpAddr) -> u8 {
    if address.is_ipv4() { V4 } else { V6 }
}

/// The frame of a message between these addresses, behind this IP header: type, code and rest of its own
/// header, and what it carries.
pub(super) fn frame(
    link: [Mac; 2],
    [source, destination]: [IpAddr; 2],
    ip: &[u8],
    (kind, code, rest): (u8, u8, u32),
    body: &[u8],
) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], &rest.to_be_bytes()[..], body].concat();
    let before = match source {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => pseudo(source, destination, V6, message.len()),
    };
    let check = complement(before + sum(&message));
    message[2..4].copy_from_slice(&check.to_be_bytes());
    framed(link, &[ip, &message].concat())
}
