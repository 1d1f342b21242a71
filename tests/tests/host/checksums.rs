//! Reads frames with etherparse, which refuses wrong lengths, and computes every checksum anew.

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use sluice_tests::cases::places::GUE_PORT;

/// Asserts that a frame is a sound packet; a packet inside it too, if there is one.
pub(crate) fn assert_sound(frame: &[u8]) {
    let packet = PacketHeaders::from_ethernet_slice(frame).expect("a frame with sound lengths");
    let (header, protocol) = match packet.net.as_ref().expect("an IP header") {
        NetHeaders::Ipv4(ip, _) => (20, ip.protocol.0),
        NetHeaders::Ipv6(ip, _) => (40, ip.next_header.0),
        NetHeaders::Arp(_) => panic!("ARP is never sent"),
    };
    let outer = match (protocol, &packet.transport) {
        (4 | 41, _) => Some(header),
        (_, Some(TransportHeader::Udp(udp))) if udp.destination_port == GUE_PORT => {
            Some(header + 8)
        }
        _ => None,
    };
    assert_checksums(&packet);
    if let Some(length) = outer {
        let inner = &frame[14 + length..];
        let inner = PacketHeaders::from_ip_slice(inner).expect("a packet with sound lengths");
        assert!(inner.transport.is_some(), "something else inside");
        assert_checksums(&inner);
    }
}

fn assert_checksums(packet: &PacketHeaders<'_>) {
    let payload = packet.payload.slice();
    match packet.net.as_ref().expect("an IP header") {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(
                ip.header_checksum,
                ip.calc_header_checksum(),
                "IPv4 header checksum"
            );
            match &packet.transport {
                Some(TransportHeader::Tcp(tcp)) => {
                    assert_eq!(Ok(tcp.checksum), tcp.calc_checksum_ipv4(ip, payload));
                }
                Some(TransportHeader::Udp(udp)) if udp.checksum != 0 => {
                    assert_eq!(Ok(udp.checksum), udp.calc_checksum_ipv4(ip, payload));
                }
                _ => {}
            }
        }
        NetHeaders::Ipv6(ip, _) => match &packet.transport {
            Some(TransportHeader::Tcp(tcp)) => {
                assert_eq!(Ok(tcp.checksum), tcp.calc_checksum_ipv6(ip, payload));
            }
            Some(TransportHeader::Udp(udp)) if udp.checksum != 0 => {
                assert_eq!(Ok(udp.checksum), udp.calc_checksum_ipv6(ip, payload));
            }
            _ => {}
        },
        NetHeaders::Arp(_) => panic!("ARP is never sent"),
    }
}
