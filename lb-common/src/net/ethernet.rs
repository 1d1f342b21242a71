//! The Ethernet header (IEEE 802.3, Ethernet II framing).
//!
//! ```text
//!  0                   6                   12        14
//! +-------------------+-------------------+---------+
//! |    destination    |      source       |  type   |
//! +-------------------+-------------------+---------+
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::abi::MacAddress;

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
