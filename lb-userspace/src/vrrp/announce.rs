//! The frames that tell neighbours where an address is: gratuitous ARP (RFC 5227, section 3), and unsolicited neighbour
//! advertisements (RFC 4861, sections 4.4 and 7.2.6).
//!
//! ```text
//!   Ethernet to all | ARP request, who has ADDRESS? tell ADDRESS
//!   Ethernet to all | IPv6 ADDRESS to ff02::1, hop limit 255 | ICMPv6 136: override, ADDRESS, our MAC address
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::Mac;

const BROADCAST: Mac = [0xff; 6];

/// Where packets to all nodes go (RFC 2464, section 7).
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// The flag of neighbour advertisements that takes the place of what is known.
const OVERRIDE: u8 = 0x20;
/// The one of routers.
const ROUTER: u8 = 0x80;

/// Whether a host forwards packets of others, which neighbours are told over IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwards {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// The frame that says that a device of this MAC address has an address.
pub(super) fn announcement(address: IpAddr, mac: Mac, forwards: Forwards) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(address, mac),
        IpAddr::V6(address) => advertisement(address, mac, forwards),
    }
}

fn arp(address: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, 0x0806);
    // Ethernet and IPv4, their lengths, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

fn advertisement(address: Ipv6Addr, mac: Mac, forwards: Forwards) -> Vec<u8> {
    let flags = match forwards {
        Forwards::Yes => OVERRIDE | ROUTER,
        Forwards::No => OVERRIDE,
    };
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    // The target's link-layer address, in units of 8 octets.
    message.extend([2, 1]);
    message.extend(mac);
    let sum = checksum(address, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = ethernet(ALL_NODES_MAC, mac, 0x86dd);
    let [high, low] = (message.len() as u16).to_be_bytes();
    frame.extend([0x60, 0, 0, 0, high, low, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes()].concat()
}

/// The checksum of a message to all nodes (RFC 4443, section 2.3).
fn checksum(from: Ipv6Addr, message: &[u8]) -> u16 {
    let from = from.octets();
    let parts = [&from[..], &ALL_NODES.octets(), message];
    let octets = parts.concat();
    let words = octets.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = sum + message.len() as u32 + u32::from(ICMPV6);
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_arp_request_asks_for_its_own_address() {
        let frame = announcement("198.18.0.10".parse().unwrap(), MAC, Forwards::No);
        let expected = "ffffffffffff 020000000007 0806 0001 0800 06 04 0001 \
                        020000000007 c612000a 000000000000 c612000a";
        assert_eq!(frame, bytes(expected));
    }

    #[test]
    fn a_neighbour_advertisement_overrides() {
        let frame = announcement("fd00:18::10".parse().unwrap(), MAC, Forwards::Yes);
        let expected = "333300000001 020000000007 86dd 60000000 0020 3a ff \
                        fd000018000000000000000000000010 ff020000000000000000000000000001 \
                        8800 da46 a0000000 fd000018000000000000000000000010 02 01 020000000007";
        assert_eq!(frame, bytes(expected));
    }

    fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }
}
