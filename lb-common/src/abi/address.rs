//! IP addresses as words in memory order: what keys and map values hold, compared and hashed
//! without a loop. (Byte arrays would be copied and compared through the stack in BPF.)

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::hash::SipHash13;

/// An address of one family.
pub trait Address:
    Copy
    + Eq
    + core::hash::Hash
    + core::fmt::Debug
    + FromBytes
    + IntoBytes
    + KnownLayout
    + Immutable
    + 'static
{
    /// 4 or 6.
    const VERSION: u8;

    /// 0.0.0.0 or ::.
    const ZERO: Self;

    /// The address as two words in memory order, the second 0 for IPv4.
    fn words(self) -> (u64, u64);

    /// The address of these [`Address::words`].
    fn from_words(low: u64, high: u64) -> Self;

    /// The first `bits` bits of the address (1 to its length), zeros behind them.
    fn prefix(self, bits: u8) -> Self;

    /// The address with its last `bits` bits (1 to 32) out of `entropy`.
    fn with_entropy(self, bits: u8, entropy: u32) -> Self;

    /// Whether no packet of a client can come from here: unspecified, loopback, link-local,
    /// multicast, broadcast or reserved.
    fn is_martian(self) -> bool;

    /// Whether it stands for an IPv4 address.
    fn is_mapped(self) -> bool;

    /// Takes both addresses of a flow key into the hash, in memory order.
    fn absorb(hash: SipHash13, source: Self, destination: Self) -> SipHash13;

    /// The address in a field that can hold either family.
    fn from_wide(wide: [u8; 16]) -> Self;

    /// The address in a field that can hold either family: one of IPv4 as the mapped one, so that it can
    /// be read as either.
    fn to_wide(self) -> [u8; 16];
}

/// An IPv4 address.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Ipv4Address(u32);

/// An IPv6 address.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Ipv6Address(u64, u64);

impl Ipv4Address {
    /// The address of these bytes, network order.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    /// Its bytes, network order.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }
}

impl Ipv6Address {
    /// The address of these bytes, network order.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        Self((whole as u64).to_le(), ((whole >> 64) as u64).to_le())
    }

    /// The IPv4-mapped address of an IPv4 address (RFC 4291, section 2.5.5.2), which no packet on a
    /// wire has.
    #[inline(always)]
    pub const fn mapped(address: Ipv4Address) -> Self {
        let [a, b, c, d] = address.to_bytes();
        Self(0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d]))
    }

    /// The IPv4 address that this is the mapped address of.
    #[inline(always)]
    pub const fn unmapped(self) -> Option<Ipv4Address> {
        let [a, b, c, d, ..] = self.1.to_ne_bytes();
        let mapped = self.0 == 0 && u32::from_ne_bytes([a, b, c, d]) == MAPPED;
        if mapped { Some(self.tail()) } else { None }
    }

    /// The IPv4 address in the last four bytes.
    #[inline(always)]
    pub const fn tail(self) -> Ipv4Address {
        let [.., a, b, c, d] = self.1.to_ne_bytes();
        Ipv4Address::from_bytes([a, b, c, d])
    }

    /// Its bytes, network order.
    #[inline(always)]
    pub const fn to_bytes(self) -> [u8; 16] {
        (u64::from_le(self.0) as u128 | (u64::from_le(self.1) as u128) << 64).to_le_bytes()
    }
}

/// What is in front of the IPv4 address in the second half of a mapped one.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// The lowest `bits` bits (1 to 32) of a word.
#[inline(always)]
fn low(bits: u8) -> u32 {
    u32::MAX >> (32 - u32::from(bits)).min(31)
}

impl Address for Ipv4Address {
    const VERSION: u8 = 4;
    const ZERO: Self = Self(0);

    #[inline(always)]
    fn words(self) -> (u64, u64) {
        (u64::from(u32::from_le(self.0)), 0)
    }

    #[inline(always)]
    fn from_words(low: u64, _: u64) -> Self {
        Self((low as u32).to_le())
    }

    #[inline(always)]
    fn prefix(self, bits: u8) -> Self {
        let mask = u32::MAX << (32 - u32::from(bits)).min(31);
        Self(self.0 & mask.to_be())
    }

    #[inline(always)]
    fn with_entropy(self, bits: u8, entropy: u32) -> Self {
        let mask = low(bits).to_be();
        Self(self.0 & !mask | entropy & mask)
    }

    /// 0/8, 127/8, 169.254/16, 224/4 and 240/4: RFC 6890, section 2.2.2 (none may be forwarded, or
    /// is no source); RFC 1122, section 3.2.1.3.
    #[inline(always)]
    fn is_martian(self) -> bool {
        let number = u32::from_be(self.0);
        let first = number >> 24;
        first == 0 || first == 127 || first >= 224 || number >> 16 == 0xa9fe
    }

    #[inline(always)]
    fn is_mapped(self) -> bool {
        false
    }

    #[inline(always)]
    fn absorb(hash: SipHash13, source: Self, destination: Self) -> SipHash13 {
        hash.word(source.words().0 | destination.words().0 << 32)
    }

    #[inline(always)]
    fn from_wide(wide: [u8; 16]) -> Self {
        let [.., a, b, c, d] = wide;
        Self::from_bytes([a, b, c, d])
    }

    #[inline(always)]
    fn to_wide(self) -> [u8; 16] {
        Ipv6Address::mapped(self).to_wide()
    }
}

impl Address for Ipv6Address {
    const VERSION: u8 = 6;
    const ZERO: Self = Self(0, 0);

    #[inline(always)]
    fn words(self) -> (u64, u64) {
        (u64::from_le(self.0), u64::from_le(self.1))
    }

    #[inline(always)]
    fn from_words(low: u64, high: u64) -> Self {
        Self(low.to_le(), high.to_le())
    }

    #[inline(always)]
    fn prefix(self, bits: u8) -> Self {
        let bits = u32::from(bits);
        let half = |bits: u32| match bits {
            0 => 0,
            _ => (u64::MAX << (64 - bits)).to_be(),
        };
        Self(
            self.0 & half(bits.min(64)),
            self.1 & half(bits.saturating_sub(64).min(64)),
        )
    }

    #[inline(always)]
    fn with_entropy(self, bits: u8, entropy: u32) -> Self {
        let mask = u64::from(low(bits)).to_be();
        Self(self.0, self.1 & !mask | u64::from(entropy).to_be() & mask)
    }

    /// ::/64 (with ::, ::1 and what maps IPv4), fe80::/10 and ff00::/8: RFC 4291, sections 2.5 and
    /// 2.7.
    #[inline(always)]
    fn is_martian(self) -> bool {
        let high = u64::from_be(self.0);
        high == 0 || high >> 54 == 0xfe80 >> 6 || high >> 56 == 0xff
    }

    #[inline(always)]
    fn is_mapped(self) -> bool {
        self.unmapped().is_some()
    }

    #[inline(always)]
    fn absorb(hash: SipHash13, source: Self, destination: Self) -> SipHash13 {
        let ((a, b), (c, d)) = (source.words(), destination.words());
        hash.word(a).word(b).word(c).word(d)
    }

    #[inline(always)]
    fn from_wide(wide: [u8; 16]) -> Self {
        Self::from_bytes(wide)
    }

    #[inline(always)]
    fn to_wide(self) -> [u8; 16] {
        self.to_bytes()
    }
}

impl From<Ipv4Addr> for Ipv4Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_bytes(address.octets())
    }
}

impl From<Ipv6Addr> for Ipv6Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::from_bytes(address.octets())
    }
}

impl From<Ipv4Address> for IpAddr {
    fn from(address: Ipv4Address) -> Self {
        Self::V4(Ipv4Addr::from(address.to_bytes()))
    }
}

impl From<Ipv6Address> for IpAddr {
    fn from(address: Ipv6Address) -> Self {
        Self::V6(Ipv6Addr::from(address.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_ipv4_address_has_a_mapped_one_and_no_other_address_is_one(v4: [u8; 4], v6: [u8; 16]) {
            let address = Ipv4Address::from_bytes(v4);
            let mapped = Ipv6Address::mapped(address);
            prop_assert_eq!(mapped, Ipv4Addr::from(v4).to_ipv6_mapped().into());
            prop_assert_eq!(mapped.unmapped(), Some(address));
            prop_assert_eq!(Ipv6Address::from_wide(address.to_wide()), mapped);
            prop_assert_eq!(Ipv4Address::from_wide(mapped.to_wide()), address);
            let other = Ipv6Addr::from(v6);
            let unmapped = other.to_ipv4_mapped().map(Ipv4Address::from);
            prop_assert_eq!(Ipv6Address::from(other).unmapped(), unmapped);
        }
    }

    #[test]
    fn what_is_near_a_mapped_address_is_none() {
        for near in [
            "::",
            "::1",
            "::198.18.0.1",
            "::fffe:c612:1",
            "1::ffff:198.18.0.1",
            "64:ff9b::1",
        ] {
            let near: Ipv6Addr = near.parse().unwrap();
            assert_eq!(Ipv6Address::from(near).unmapped(), None, "{near}");
        }
    }
}
