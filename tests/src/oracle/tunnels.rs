//! Packets within others (`ipip`, `gue`): the headers that go around one. From docs/modes.md.

use std::net::IpAddr;

use etherparse::IpNumber;

use super::headers::{ETHERNET, HOPS, Headers, anew, complement, framed, link, pseudo, short, sum};

/// What outer headers say.
pub(super) struct Outer {
    /// Their source.
    pub(super) source: IpAddr,
    /// Their destination.
    pub(super) destination: IpAddr,
    /// With UDP: the ports, and whether there are checksums over IPv6.
    pub(super) udp: Option<([u16; 2], bool)>,
}

/// The frame, which has a hop less already, behind other headers.
pub(super) fn wrapped(frame: &[u8], headers: &Headers, outer: &Outer) -> Vec<u8> {
    let inner = &frame[ETHERNET..];
    let udp = outer.udp.map(|(ports, checksum)| {
        let length = headers.length + 8;
        let fields = [ports[0], ports[1], length as u16, 0].map(u16::to_be_bytes);
        let mut udp = fields.concat();
        let checked = checksum && outer.source.is_ipv6();
        if checked && let Some(right) = repaired(inner, headers) {
            let pseudo = pseudo(outer.source, outer.destination, 17, length);
            let check = complement(pseudo + sum(&udp) + sum(&right[..headers.length]));
            udp[6..].copy_from_slice(&if check == 0 { 0xffff } else { check }.to_be_bytes());
        }
        udp
    });
    let protocol = match (&udp, headers.source) {
        (Some(_), _) => IpNumber::UDP,
        (None, IpAddr::V4(_)) => IpNumber::IPV4,
        (None, IpAddr::V6(_)) => IpNumber::IPV6,
    };
    let udp = udp.unwrap_or_default();
    let length = headers.length + udp.len();
    let ends = [outer.source, outer.destination];
    let ip = anew(ends, protocol, (headers.class, HOPS), length);
    let packet = [&ip[..], &udp, inner].concat();
    framed(link(frame), &packet)
}

/// An IP packet with the checksums that it should have; `None` if that can't be told without reading
/// all of it: a fragment, a datagram without a checksum or with bytes behind it.
fn repaired(ip: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    let mut ip = ip.to_vec();
    if !headers.is_plain() {
        return None;
    }
    if headers.source.is_ipv4() {
        ip[10..12].fill(0);
        let check = complement(sum(&ip[..20]));
        ip[10..12].copy_from_slice(&check.to_be_bytes());
    }
    let (start, end) = (headers.before, headers.length);
    let at = match headers.protocol {
        6 => start + 16,
        1 | 58 => start + 2,
        _ => {
            let whole = usize::from(short(&ip, start + 4)?) == end - start;
            if !whole || short(&ip, start + 6)? == 0 {
                return None;
            }
            start + 6
        }
    };
    ip[at..at + 2].fill(0);
    // ICMP has none.
    let pseudo = match headers.protocol {
        1 => 0,
        protocol => pseudo(headers.source, headers.destination, protocol, end - start),
    };
    let check = complement(pseudo + sum(&ip[start..end]));
    ip[at..at + 2].copy_from_slice(&check.to_be_bytes());
    Some(ip)
}

impl Outer {
    /// How long they are.
    pub(super) fn length(&self) -> usize {
        let ip = if self.source.is_ipv4() { 20 } else { 40 };
        ip + if self.udp.is_some() { 8 } else { 0 }
    }
}
