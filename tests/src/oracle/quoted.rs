//! A packet that an ICMP error quotes: what is read of it, and the error with another one in its place.

use std::net::{IpAddr, SocketAddr};

use super::{
    headers::{ETHERNET, Headers, long, mend, octets, readdressed, short, sum, with_ports},
    icmp::{HEADER, Message, plain},
    model::Flow,
};
use crate::cases::frame::ACK;

/// The bytes of a transport header that every quote has to have (RFC 792).
pub(super) const LEAST: usize = 8;

/// A packet that an error quotes.
pub(super) struct Quote<'a> {
    /// Its IP header, with the ports behind it if it is of TCP or UDP.
    pub(super) ip: Headers,
    /// Where it starts in the frame.
    at: usize,
    /// As much of it as is quoted.
    pub(super) bytes: &'a [u8],
}

impl<'a> Quote<'a> {
    /// The packet that an error quotes, if the error is for its sender.
    pub(super) fn of(frame: &'a [u8], message: &Message) -> Option<Self> {
        let at = message.start() + HEADER;
        let bytes = &frame[at..message.end()];
        let ip = plain(bytes)?;
        let whole = bytes.len() >= ip.before + LEAST;
        let family = ip.source.is_ipv4() == message.ip.source.is_ipv4();
        if !whole || !family || ip.source != message.ip.destination {
            return None;
        }
        let ip = match ip.protocol {
            4 | 41 => ip,
            _ => read(bytes)?,
        };
        Some(Self { ip, at, bytes })
    }

    /// The packets that answer it, of TCP or UDP.
    pub(super) fn answer(&self) -> Option<Flow> {
        self.ip.flow().map(Flow::back)
    }

    /// Where it starts in the frame.
    pub(super) fn start(&self) -> usize {
        self.at
    }

    /// Its number, of TCP.
    pub(super) fn sequence(&self) -> u32 {
        long(self.bytes, self.ip.before + 4).unwrap_or(0)
    }

    /// Whether its header is quoted whole, of TCP.
    fn is_whole(&self) -> bool {
        self.bytes.len() >= self.ip.before + 20
    }

    /// What it acknowledges, if it does and that is quoted.
    pub(super) fn acknowledged(&self) -> Option<u32> {
        let header = &self.bytes[self.ip.before..];
        let tcp = self.ip.protocol == 6 && self.is_whole();
        let acknowledges = tcp && header[13] & ACK != 0;
        acknowledges.then(|| long(header, 8)).flatten()
    }
}

/// The IP header that bytes start with, and the ports behind it; none but of TCP and UDP.
pub(super) fn read(ip: &[u8]) -> Option<Headers> {
    let header = plain(ip)?;
    let ports = [short(ip, header.before)?, short(ip, header.before + 2)?];
    matches!(header.protocol, 6 | 17).then_some(Headers { ports, ..header })
}

/// The frame of an error that goes where answers go that have these ends then: it quotes the packet as it
/// was there. Who sent the error is named as long as the other end of the flow is.
pub(super) fn requoted(
    frame: Vec<u8>,
    message: &Message,
    quote: &Quote<'_>,
    ends: Flow,
) -> Vec<u8> {
    let there = ends.back();
    let hidden = quote.ip.destination != ends.source.ip();
    let from = if hidden {
        ends.source.ip()
    } else {
        message.ip.source
    };
    let to = [from, ends.destination.ip()];
    let (start, end) = (message.start(), message.end());
    // Over IPv6, the checksum covers the addresses.
    let covered = |frame: &[u8], addresses: [IpAddr; 2]| {
        let addresses = match from {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => addresses.map(|address| sum(&octets(address))).iter().sum(),
        };
        addresses + sum(&frame[start..end])
    };
    let before = covered(&frame, [message.ip.source, message.ip.destination]);
    let frame = readdressed(frame, ETHERNET, &message.ip, to);
    let addresses = [there.source.ip(), there.destination.ip()];
    let frame = readdressed(frame, quote.at, &quote.ip, addresses);
    let mut frame = with_quoted_ports(frame, quote.at + quote.ip.before, quote, there);
    let after = covered(&frame, to);
    mend(&mut frame, start + 2, before, after);
    frame
}

/// The frame with the ports of these ends in the quoted packet, whose transport header is at `transport`;
/// its checksum is mended if it is quoted.
pub(super) fn with_quoted_ports(
    mut frame: Vec<u8>,
    transport: usize,
    quote: &Quote<'_>,
    there: Flow,
) -> Vec<u8> {
    if quote.ip.protocol != 6 || quote.is_whole() {
        return with_ports(frame, transport, &quote.ip, there);
    }
    let ports = [there.source, there.destination].map(|end: SocketAddr| end.port().to_be_bytes());
    frame[transport..transport + 4].copy_from_slice(&ports.concat());
    frame
}
