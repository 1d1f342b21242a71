//! The Ethernet header (IEEE 802.3, Ethernet II framing).
//!
//! ```text
//!  0                   6                   12        14
//! +-------------------+-------------------+---------+
//! |    destination    |      source       |  type   |
//! +-------------------+-------------------+---------+
//! ```

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::abi::{HopWord, MacAddress};

/// The header of every frame.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EthernetHeader {
    /// Whom the frame is for.
    pub destination: MacAddress,
    /// Who sent it.
    pub source: MacAddress,
    /// What it carries, network order.
    pub ethertype: [u8; 2],
}

/// The same header as the words that it is written in: six bytes would be six stores in BPF.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EthernetWords {
    first: U64,
    second: U32,
    ethertype: [u8; 2],
}

impl EthernetWords {
    /// Writes the whole header: from our device `source` to the next hop `destination`.
    #[inline(always)]
    pub fn set(&mut self, destination: HopWord, source: HopWord, ethertype: [u8; 2]) {
        let (destination, source) = (destination.mac().word(), source.mac().word());
        self.first = U64::new(destination | source << 48);
        self.second = U32::new((source >> 16) as u32);
        self.ethertype = ethertype;
    }

    /// Both addresses, as they lie in the frame.
    #[inline(always)]
    pub fn addresses(&self) -> (u64, u32) {
        (self.first.get(), self.second.get())
    }

    /// Writes the whole header: with the addresses of another one.
    #[inline(always)]
    pub fn set_as(&mut self, (first, second): (u64, u32), ethertype: [u8; 2]) {
        (self.first, self.second) = (U64::new(first), U32::new(second));
        self.ethertype = ethertype;
    }
}

/// What a frame carries, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// ARP.
    Arp,
    /// A VLAN tag (IEEE 802.1Q or 802.1ad), whatever follows.
    Vlan,
    /// Anything else.
    Other,
}

impl EthernetHeader {
    /// Length in bytes.
    pub const LEN: usize = 14;

    /// What the frame carries.
    #[inline(always)]
    pub fn ethertype(&self) -> EtherType {
        match u16::from_be_bytes(self.ethertype) {
            0x0800 => EtherType::Ipv4,
            0x86dd => EtherType::Ipv6,
            0x0806 => EtherType::Arp,
            0x8100 | 0x88a8 | 0x9100 => EtherType::Vlan,
            _ => EtherType::Other,
        }
    }
}
