//! What may be wrong with a frame.

use std::net::IpAddr;

use super::headers::ETHERNET;
use crate::cases::{
    frame::ACK,
    places::{BACK, CLOSED, FOREIGN, Interface, SIDE, UPLINK},
};

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Nothing.
    None,
    /// A byte is another one.
    Byte(u16, u8),
    /// It ends early.
    Cut(u16),
    /// It comes in through this interface.
    Through(u8),
    /// It is for another MAC address.
    OtherMac,
    /// It has this Ethernet type.
    EtherType(u16),
    /// It has a tag of this type and number.
    Tag(u16, u16),
    /// It has this number behind its IP header.
    Protocol(u8),
    /// Its first byte of the IP header is this one.
    Version(u8),
    /// It has bytes behind its datagram.
    Surplus,
    /// An option, or extension header, that leads elsewhere, or is malformed.
    Route,
    /// It comes from an IPv4-mapped address, if it is one of IPv6.
    Mapped,
    /// It comes from the address that it is for.
    Land,
    /// It comes from this address, which a service listens on, if that is of its family.
    Ours(IpAddr),
    /// Its TCP header says that it is 4 bytes long, or its UDP header that all is 3.
    Transport,
    /// It says that a group of stations sent it.
    Group,
}

impl Flaw {
    /// Spoils a frame; tells where it comes in.
    pub(super) fn strike(self, through: Interface, bytes: &mut Vec<u8>) -> Interface {
        match self {
            Self::None | Self::Surplus | Self::Route => {}
            Self::Mapped if bytes[12] == 8 => {}
            Self::Mapped => {
                bytes[22..32].fill(0);
                bytes[32..34].fill(0xff);
            }
            Self::Land if bytes[12] == 8 => bytes.copy_within(30..34, 26),
            Self::Land => bytes.copy_within(38..54, 22),
            Self::Ours(IpAddr::V4(address)) if bytes[12] == 8 => {
                bytes[26..30].copy_from_slice(&address.octets());
            }
            Self::Ours(IpAddr::V6(address)) if bytes[12] != 8 => {
                bytes[22..38].copy_from_slice(&address.octets());
            }
            Self::Ours(_) => {}
            Self::Byte(at, byte) => {
                let at = usize::from(at) % bytes.len().min(90);
                bytes[at] = byte;
            }
            Self::Cut(length) => bytes.truncate(usize::from(length) % (bytes.len() + 1)),
            Self::Through(number) => {
                let all = [UPLINK, BACK, SIDE, CLOSED, FOREIGN];
                let other = all[usize::from(number) % all.len()];
                bytes[..6].copy_from_slice(&other.mac);
                return other;
            }
            Self::Transport => {
                let (at, protocol) = if bytes[12] == 8 {
                    (ETHERNET + 20, bytes[23])
                } else {
                    (ETHERNET + 40, bytes[20])
                };
                let (at, field) = match protocol {
                    6 => (at + 12, [0x10, ACK]),
                    _ => (at + 4, [0, 3]),
                };
                if let Some(place) = bytes.get_mut(at..at + 2) {
                    place.copy_from_slice(&field);
                }
            }
            Self::Group => bytes[6] |= 1,
            Self::OtherMac => bytes[5] ^= 0x40,
            Self::Tag(kind, number) => {
                let tag = [kind, number].map(u16::to_be_bytes).concat();
                bytes.splice(12..12, tag);
            }
            Self::EtherType(number) => bytes[12..14].copy_from_slice(&number.to_be_bytes()),
            Self::Protocol(number) => {
                let at = if bytes[12] == 8 { 9 } else { 6 };
                bytes[ETHERNET + at] = number;
            }
            Self::Version(byte) => bytes[ETHERNET] = byte,
        }
        through
    }
}
