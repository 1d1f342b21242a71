//! Whether a frame is sound: etherparse reads it, which refuses wrong lengths; every checksum is computed
//! anew over the bytes as they lie in the frame. (etherparse's own headers leave reserved bits out.)

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TcpSlice, TransportSlice, UdpSlice};

use crate::cases::places::GUE_PORT;

/// Whether a frame is a sound packet of TCP, UDP or ICMP, or a sound fragment.
pub(super) fn is_sound(frame: &[u8]) -> bool {
    SlicedPacket::from_ethernet(frame).is_ok_and(|packet| has_checksums(&packet))
}

/// Whether a frame is one, and so is what it has inside, if it has.
pub(super) fn is_sound_within(frame: &[u8]) -> bool {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return false;
    };
    let (header, protocol) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => (20, ip.header().protocol().0),
        Some(NetSlice::Ipv6(ip)) => (40, ip.header().next_header().0),
        Some(NetSlice::Arp(_)) | None => return false,
    };
    let inner = match (protocol, &packet.transport) {
        (4 | 41, _) => Some(header),
        (_, Some(TransportSlice::Udp(udp))) if udp.destination_port() == GUE_PORT => {
            Some(header + 8)
        }
        _ => None,
    };
    let inside = inner.is_none_or(|length| {
        let inner = SlicedPacket::from_ip(&frame[14 + length..]);
        inner.is_ok_and(|packet| has_checksums(&packet))
    });
    inside && has_checksums(&packet)
}

fn has_checksums(packet: &SlicedPacket<'_>) -> bool {
    let (header, ends): (_, [IpAddr; 2]) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let ends = [header.source_addr(), header.destination_addr()];
            (adds_up(header.slice()), ends.map(IpAddr::V4))
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let ends = [header.source_addr(), header.destination_addr()];
            (true, ends.map(IpAddr::V6))
        }
        Some(NetSlice::Arp(_)) | None => return false,
    };
    // A fragment's payload is not parsed any further.
    header
        && match &packet.transport {
            Some(TransportSlice::Tcp(tcp)) => has_tcp_checksum(tcp, ends),
            Some(TransportSlice::Udp(udp)) => udp.checksum() == 0 || has_udp_checksum(udp, ends),
            Some(TransportSlice::Icmpv4(icmp)) => adds_up(icmp.slice()),
            Some(TransportSlice::Icmpv6(icmp)) => match ends {
                [IpAddr::V6(from), IpAddr::V6(to)] => {
                    icmp.is_checksum_valid(from.octets(), to.octets())
                }
                _ => false,
            },
            Some(TransportSlice::Igmp(_)) | None => true,
        }
}

/// A right checksum makes the sum of all fields the largest there is (RFC 1071).
fn adds_up(message: &[u8]) -> bool {
    let fields = message.chunks(2);
    let fields = fields.map(|field| {
        let low = field.get(1).copied().unwrap_or(0);
        u32::from(field[0]) << 8 | u32::from(low)
    });
    fields.sum::<u32>() % 0xffff == 0
}

fn has_tcp_checksum(tcp: &TcpSlice<'_>, ends: [IpAddr; 2]) -> bool {
    let right = match ends {
        [IpAddr::V4(from), IpAddr::V4(to)] => tcp.calc_checksum_ipv4(from.octets(), to.octets()),
        [IpAddr::V6(from), IpAddr::V6(to)] => tcp.calc_checksum_ipv6(from.octets(), to.octets()),
        _ => return false,
    };
    right == Ok(tcp.checksum())
}

fn has_udp_checksum(udp: &UdpSlice<'_>, ends: [IpAddr; 2]) -> bool {
    let (header, payload) = (udp.to_header(), udp.payload());
    let right = match ends {
        [IpAddr::V4(from), IpAddr::V4(to)] => {
            header.calc_checksum_ipv4_raw(from.octets(), to.octets(), payload)
        }
        [IpAddr::V6(from), IpAddr::V6(to)] => {
            header.calc_checksum_ipv6_raw(from.octets(), to.octets(), payload)
        }
        _ => return false,
    };
    right == Ok(udp.checksum())
}

#[cfg(test)]
mod tests {
    use super::{is_sound, is_sound_within};
    use crate::cases::places::{Flavour, Pool};

    #[test]
    fn every_bit_of_a_segment_counts() {
        for flavour in Flavour::ALL {
            let frame = flavour.request(Pool::Dsr).payload(&[7; 9]);
            let whole = frame.bytes();
            assert!(is_sound(&whole) && is_sound_within(&whole), "{flavour}");
            let start = if whole[12] == 8 {
                14
            } else {
                frame.transport()
            };
            for (at, bit) in (start..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                // A checksum of 0 is none.
                assert!(!is_sound(&damaged), "{flavour}: bit {bit} of byte {at}");
            }
        }
    }
}
