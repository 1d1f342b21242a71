//! Whether a frame is sound, as etherparse has it, which refuses wrong lengths; every checksum is
//! computed anew.

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};

use crate::cases::places::GUE_PORT;

/// Whether a frame is a sound packet of TCP or UDP, or a sound fragment.
pub(super) fn is_sound(frame: &[u8]) -> bool {
    PacketHeaders::from_ethernet_slice(frame).is_ok_and(|packet| has_checksums(&packet))
}

/// Whether a frame is one, and so is what it has inside, if it has.
pub(super) fn is_sound_within(frame: &[u8]) -> bool {
    let Ok(packet) = PacketHeaders::from_ethernet_slice(frame) else {
        return false;
    };
    let (header, protocol) = match &packet.net {
        Some(NetHeaders::Ipv4(ip, _)) => (20, ip.protocol.0),
        Some(NetHeaders::Ipv6(ip, _)) => (40, ip.next_header.0),
        Some(NetHeaders::Arp(_)) | None => return false,
    };
    let inner = match (protocol, &packet.transport) {
        (4 | 41, _) => Some(header),
        (_, Some(TransportHeader::Udp(udp))) if udp.destination_port == GUE_PORT => {
            Some(header + 8)
        }
        _ => None,
    };
    let inside = inner.is_none_or(|length| {
        let inner = PacketHeaders::from_ip_slice(&frame[14 + length..]);
        inner.is_ok_and(|packet| has_checksums(&packet))
    });
    inside && has_checksums(&packet)
}

fn has_checksums(packet: &PacketHeaders<'_>) -> bool {
    let payload = packet.payload.slice();
    let transport = packet.transport.as_ref();
    // A fragment's payload is not parsed any further.
    match packet.net.as_ref() {
        Some(NetHeaders::Ipv4(ip, _)) => {
            let header = ip.header_checksum == ip.calc_header_checksum();
            header
                && match transport {
                    Some(TransportHeader::Tcp(tcp)) => {
                        tcp.calc_checksum_ipv4(ip, payload) == Ok(tcp.checksum)
                    }
                    Some(TransportHeader::Udp(udp)) if udp.checksum != 0 => {
                        udp.calc_checksum_ipv4(ip, payload) == Ok(udp.checksum)
                    }
                    _ => true,
                }
        }
        Some(NetHeaders::Ipv6(ip, _)) => match transport {
            Some(TransportHeader::Tcp(tcp)) => {
                tcp.calc_checksum_ipv6(ip, payload) == Ok(tcp.checksum)
            }
            Some(TransportHeader::Udp(udp)) if udp.checksum != 0 => {
                udp.calc_checksum_ipv6(ip, payload) == Ok(udp.checksum)
            }
            _ => true,
        },
        Some(NetHeaders::Arp(_)) | None => false,
    }
}
