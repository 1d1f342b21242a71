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

use crate::abi::{HopWord, MacAddress, Tags};

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

    /// What the frame carries, network order.
    #[inline(always)]
    pub fn ethertype(&self) -> [u8; 2] {
        self.ethertype
    }

    /// Writes the whole header: with the addresses of another one.
    #[inline(always)]
    pub fn set_as(&mut self, (first, second): (u64, u32), ethertype: [u8; 2]) {
        (self.first, self.second) = (U64::new(first), U32::new(second));
        self.ethertype = ethertype;
    }
}

/// The start of a frame with one tag, in such words.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OneTag {
    first: U64,
    second: U32,
    tag: U32,
    ethertype: [u8; 2],
}

/// The start of a frame with two tags, in such words.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TwoTags {
    first: U64,
    second: U32,
    tags: U64,
    ethertype: [u8; 2],
}

/// What the start of a frame with tags says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaggedHeader {
    /// Both addresses, as [`EthernetWords::addresses`] has them.
    pub addresses: (u64, u32),
    /// The tags.
    pub tags: Tags,
    /// What the frame carries behind them, network order.
    pub ethertype: [u8; 2],
}

impl From<OneTag> for TaggedHeader {
    #[inline(always)]
    fn from(header: OneTag) -> Self {
        Self {
            addresses: (header.first.get(), header.second.get()),
            tags: Tags::from_word(header.tag.get().into()),
            ethertype: header.ethertype,
        }
    }
}

impl From<TwoTags> for TaggedHeader {
    #[inline(always)]
    fn from(header: TwoTags) -> Self {
        Self {
            addresses: (header.first.get(), header.second.get()),
            tags: Tags::from_word(header.tags.get()),
            ethertype: header.ethertype,
        }
    }
}

impl From<TaggedHeader> for OneTag {
    /// The first of the tags alone.
    #[inline(always)]
    fn from(header: TaggedHeader) -> Self {
        Self {
            first: U64::new(header.addresses.0),
            second: U32::new(header.addresses.1),
            tag: U32::new(header.tags.word() as u32),
            ethertype: header.ethertype,
        }
    }
}

impl From<TaggedHeader> for TwoTags {
    #[inline(always)]
    fn from(header: TaggedHeader) -> Self {
        Self {
            first: U64::new(header.addresses.0),
            second: U32::new(header.addresses.1),
            tags: U64::new(header.tags.word()),
            ethertype: header.ethertype,
        }
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

impl EtherType {
    /// What these bytes of a header say.
    #[inline(always)]
    pub fn of(bytes: [u8; 2]) -> Self {
        match u16::from_be_bytes(bytes) {
            0x0800 => Self::Ipv4,
            0x86dd => Self::Ipv6,
            0x0806 => Self::Arp,
            0x8100 | 0x88a8 | 0x9100 => Self::Vlan,
            _ => Self::Other,
        }
    }
}

impl EthernetHeader {
    /// Length in bytes.
    pub const LEN: usize = 14;

    /// What the frame carries.
    #[inline(always)]
    pub fn ethertype(&self) -> EtherType {
        EtherType::of(self.ethertype)
    }
}
