//! Where a frame goes next: a MAC address and a device, in one word, so that the agent can change
//! it under readers (values of several words tear).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::vlan::Tags;

/// An Ethernet address.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Whether it is that of a group: multicast or broadcast.
    #[inline(always)]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The address in the low 48 bits of a word, in memory order.
    #[inline(always)]
    pub fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from(u32::from_le_bytes([a, b, c, d])) | u64::from(u16::from_le_bytes([e, f])) << 32
    }
}

/// A MAC address and the index of one of our devices (0: none), in one word.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct HopWord(u64);

impl HopWord {
    /// No device.
    pub const NONE: Self = Self(0);

    /// `mac` through the device of index `device`.
    #[inline(always)]
    pub fn new(mac: MacAddress, device: u16) -> Self {
        Self(mac.word() | u64::from(device) << 48)
    }

    /// The MAC address.
    #[inline(always)]
    pub fn mac(self) -> MacAddress {
        let [a, b, c, d, e, f, ..] = self.0.to_le_bytes();
        MacAddress([a, b, c, d, e, f])
    }

    /// Index of the device, 0 for none.
    #[inline(always)]
    pub fn device(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Whether `mac` is the one in this word.
    #[inline(always)]
    pub fn has_mac(self, mac: MacAddress) -> bool {
        self.0 << 16 == mac.word() << 16
    }
}

/// A next hop that the agent resolved. The MTU is a word of its own: a reader that meets the new
/// one beside the old hop forwards or drops one packet by the other's limit, no more.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct NextHop {
    /// Where to.
    pub hop: HopWord,
    /// Largest IP packet that goes there, bytes.
    pub mtu: u64,
}

/// One of our devices, as a sender.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Device {
    /// Its MAC address and its own index.
    pub hop: HopWord,
    /// The tags that frames leave with; none but through a VLAN device.
    pub tags: Tags,
    /// The kernel's number for it.
    pub ifindex: u32,
    padding: u32,
}

impl Device {
    /// The device of this MAC address, index and number, frames through which get these tags.
    pub fn new(hop: HopWord, ifindex: u32, tags: Tags) -> Self {
        let padding = 0;
        Self {
            hop,
            tags,
            ifindex,
            padding,
        }
    }
}
