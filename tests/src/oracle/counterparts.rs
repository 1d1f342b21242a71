//! ICMP errors about flows whose other end is of the other family: what they are there. From RFC 7915,
//! sections 4.2 and 5.2, table by table.

use std::net::IpAddr;

use super::{
    across::LONGER,
    headers::{ETHERNET, complement, framed, mend, octets, pseudo, sum},
    icmp::{HEADER, Message, number},
    model::Flow,
    quoted::{Quote, with_quoted_ports},
};
use crate::cases::places::Mac;

/// Type and code in one family and in the other.
type Pair = ((u8, u8), (u8, u8));

/// Type and code of errors of IPv4 and of those of IPv6 that say the same; what is behind the checksum is 0.
const TO_IPV6: [Pair; 13] = [
    ((3, 0), (1, 0)),
    ((3, 1), (1, 0)),
    ((3, 3), (1, 4)),
    ((3, 5), (1, 0)),
    ((3, 6), (1, 0)),
    ((3, 7), (1, 0)),
    ((3, 8), (1, 0)),
    ((3, 9), (1, 1)),
    ((3, 10), (1, 1)),
    ((3, 11), (1, 0)),
    ((3, 12), (1, 0)),
    ((3, 13), (1, 1)),
    ((3, 15), (1, 1)),
];

/// The same the other way round.
const TO_IPV4: [Pair; 6] = [
    ((1, 0), (3, 1)),
    ((1, 1), (3, 10)),
    ((1, 2), (3, 1)),
    ((1, 3), (3, 1)),
    ((1, 4), (3, 3)),
    ((4, 1), (3, 2)),
];

/// Bytes of IPv4's header, and those of IPv6's that say the same (figure 3).
const POINTERS_TO_IPV6: [(u32, u32); 14] = [
    (0, 0),
    (1, 1),
    (2, 4),
    (3, 4),
    (8, 7),
    (9, 6),
    (12, 8),
    (13, 8),
    (14, 8),
    (15, 8),
    (16, 24),
    (17, 24),
    (18, 24),
    (19, 24),
];

/// Likely MTUs (RFC 1191, section 7.1).
const PLATEAUS: [usize; 11] = [
    65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68,
];

impl Message {
    /// How long it is towards this end: both its header and the quoted one are of that family there.
    pub(super) fn length_to(&self, end: IpAddr) -> usize {
        match (self.ip.source, end) {
            (IpAddr::V4(_), IpAddr::V6(_)) => self.ip.length + 2 * LONGER,
            (IpAddr::V6(_), IpAddr::V4(_)) => self.ip.length.saturating_sub(2 * LONGER),
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => self.ip.length,
        }
    }

    /// Whether it is of another family towards this end.
    pub(super) fn goes_across(&self, end: IpAddr) -> bool {
        self.ip.source.is_ipv4() != end.is_ipv4()
    }
}

/// Type, code and the rest of what an error says in the other family, about a packet of this length.
pub(super) fn counterpart(message: &Message, length: usize) -> Option<(u8, u8, u32)> {
    let kind = (message.kind, message.code);
    let find = |table: &[Pair]| {
        let row = table.iter().find(|(from, _)| *from == kind)?;
        Some((row.1.0, row.1.1, 0))
    };
    if message.ip.source.is_ipv4() {
        match kind {
            (3, 2) => Some((4, 1, 6)),
            (3, 4) => {
                let said = (message.rest & 0xffff) as usize;
                let likely = PLATEAUS.into_iter().find(|plateau| *plateau < length);
                let mtu = if said == 0 { likely.unwrap_or(0) } else { said };
                Some((2, 0, (mtu + LONGER).max(1280) as u32))
            }
            (12, 0 | 2) => {
                let at = message.rest >> 24;
                let row = POINTERS_TO_IPV6.iter().find(|(from, _)| *from == at)?;
                Some((4, 0, row.1))
            }
            (11, code) => Some((3, code, 0)),
            _ => find(&TO_IPV6),
        }
    } else {
        match kind {
            (2, _) => {
                let mtu = message.rest.min(0xffff).saturating_sub(LONGER as u32);
                Some((3, 4, mtu.max(68)))
            }
            // Figure 6: addresses point to where they start.
            (4, 0) => {
                let to = match message.rest {
                    0 | 1 => message.rest,
                    4 | 5 => 2,
                    6 => 9,
                    7 => 8,
                    at if (8..24).contains(&at) => 12,
                    at if (24..40).contains(&at) => 16,
                    _ => return None,
                };
                Some((12, 0, to << 24))
            }
            (3, code) => Some((11, code, 0)),
            _ => find(&TO_IPV4),
        }
    }
}

/// The frame of an error that goes where answers go that have these ends then, in their family, where it
/// says `said`.
pub(super) fn across(
    frame: &[u8],
    message: &Message,
    quote: &Quote<'_>,
    (link, ends, said): ([Mac; 2], Flow, (u8, u8, u32)),
) -> Vec<u8> {
    let there = ends.back();
    let (from, to) = (ends.source.ip(), ends.destination.ip());
    let quoted_length = quote.ip.length.wrapping_sub(quote.ip.before) as u16;
    let inner = header(
        [there.source.ip(), there.destination.ip()],
        quote.ip.protocol,
        (quote.ip.class, quote.ip.hops),
        quoted_length,
    );
    let length = message.length_to(to) - inner.len();
    let outer = header(
        [from, to],
        number(from),
        (message.ip.class, message.ip.hops - 1),
        length as u16,
    );
    let check = &frame[message.start() + 2..message.start() + 4];
    let (kind, code, rest) = said;
    let own = [&[kind, code], check, &rest.to_be_bytes()].concat();
    let transport = quote.start() + quote.ip.before;
    let rest = &frame[transport..];
    let made = framed(link, &[&outer, &own, &inner, rest].concat());
    let start = ETHERNET + outer.len();
    let mut made = with_quoted_ports(made, start + HEADER + inner.len(), quote, there);
    let covers = |frame: &[u8], [from, to]: [IpAddr; 2], (start, end): (usize, usize)| {
        let around = match from {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => pseudo(from, to, number(from), end - start),
        };
        around + sum(&frame[start..end])
    };
    let old = [message.ip.source, message.ip.destination];
    let before = covers(frame, old, (message.start(), message.end()));
    let after = covers(&made, [from, to], (start, start + length));
    mend(&mut made, start + 2, before, after);
    made
}

/// A header that is made here, byte by byte, since the packet behind it need not be as long as it says.
fn header(
    [source, destination]: [IpAddr; 2],
    protocol: u8,
    (class, hops): (u8, u8),
    length: u16,
) -> Vec<u8> {
    let ends = [octets(source), octets(destination)].concat();
    if source.is_ipv6() {
        let [a, b] = length.to_be_bytes();
        let first = [0x60 | class >> 4, class << 4, 0, 0, a, b, protocol, hops];
        return [&first[..], &ends].concat();
    }
    let [a, b] = length.wrapping_add(20).to_be_bytes();
    let first = [0x45, class, a, b, 0, 0, 0x40, 0, hops, protocol, 0, 0];
    let mut header = [&first[..], &ends].concat();
    let check = complement(sum(&header));
    header[10..12].copy_from_slice(&check.to_be_bytes());
    header
}

/// What errors across may do.
pub(super) fn kinds() -> impl Iterator<Item = String> {
    [(4, 6), (6, 4)].into_iter().map(|(from, to)| met(from, to))
}

/// The word for an error that went across.
pub(super) fn met(from: u8, to: u8) -> String {
    format!("error across, {from} to {to}")
}
