//! Internet checksums, changed incrementally (RFC 1624): HC' = ~(~HC + ~m + m').
//!
//! One's complement sums don't depend on byte order, so all words are taken as they lie in memory.

use crate::abi::Address;

/// What a change of some fields adds to a checksum: the sum of ~m + m' over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u64);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// The change that [`Delta::folded`] gave.
    #[inline(always)]
    pub fn from_folded(folded: u16) -> Self {
        Self(u64::from(folded))
    }

    /// Also changes a 16-bit field.
    #[inline(always)]
    pub fn field(self, old: [u8; 2], new: [u8; 2]) -> Self {
        let (old, new) = (u16::from_ne_bytes(old), u16::from_ne_bytes(new));
        Self(self.0 + u64::from(!old) + u64::from(new))
    }

    /// Also changes an address.
    #[inline(always)]
    pub fn address<A: Address>(self, old: A, new: A) -> Self {
        let ((a, b), (c, d)) = (old.words(), new.words());
        Self(self.0 + quarters(!a) + quarters(!b) + quarters(c) + quarters(d))
    }

    /// Both changes.
    #[inline(always)]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Also takes in bytes that were not there before, a whole number of fields.
    #[inline(always)]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (fields, _) = bytes.as_chunks();
        let sum = |delta: Self, field: &[u8; 2]| delta.field([0; 2], *field);
        fields.iter().fold(self, sum)
    }

    /// The change that takes this one back.
    #[inline(always)]
    pub fn undone(self) -> Self {
        Self(u64::from(!self.folded()))
    }

    /// The change as a 16-bit number, congruent modulo 0xffff.
    #[inline(always)]
    pub fn folded(self) -> u16 {
        // Sums of fewer than 2¹⁶ fields need two folds.
        let sum = (self.0 & 0xffff) + (self.0 >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }

    /// The checksum `check` after the change.
    #[inline(always)]
    pub fn apply(self, check: [u8; 2]) -> [u8; 2] {
        let sum = Self(self.0 + u64::from(!u16::from_ne_bytes(check)));
        (!sum.folded()).to_ne_bytes()
    }

    /// The checksum of a header that was all zeros before the change.
    #[inline(always)]
    pub fn complete(self) -> [u8; 2] {
        (!self.folded()).to_ne_bytes()
    }
}

/// The sum of a word's four 16-bit fields.
#[inline(always)]
fn quarters(word: u64) -> u64 {
    (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::Ipv6Address;

    /// RFC 1071, over whole 16-bit fields.
    fn checksum(bytes: &[u8]) -> u16 {
        let sum: u64 = bytes
            .chunks(2)
            .map(|c| u64::from(u16::from_be_bytes([c[0], c[1]])))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        !(((sum & 0xffff) + (sum >> 16)) as u16)
    }

    proptest! {
        #[test]
        fn bytes_come_and_go(mut bytes: [u8; 40], new: [u8; 20]) {
            let before = checksum(&bytes).to_be_bytes();
            let gone = Delta::NONE.bytes(&bytes[..20]).undone();
            bytes[..20].copy_from_slice(&new);
            let after = u16::from_be_bytes(gone.bytes(&new).apply(before));
            prop_assert_eq!(after % 0xffff, checksum(&bytes) % 0xffff);
        }

        #[test]
        fn incremental_equals_recomputed(
            mut bytes: [u8; 32], field: [u8; 2], old: [u8; 16], new: [u8; 16],
        ) {
            bytes[16..].copy_from_slice(&old);
            let before = checksum(&bytes).to_be_bytes();
            let delta = Delta::NONE
                .field([bytes[4], bytes[5]], field)
                .address(Ipv6Address::from_bytes(old), Ipv6Address::from_bytes(new));
            bytes[4..6].copy_from_slice(&field);
            bytes[16..].copy_from_slice(&new);
            let after = u16::from_be_bytes(delta.apply(before));
            let folded = u16::from_be_bytes(Delta::from_folded(delta.folded()).apply(before));
            // 0 and 0xffff are one number in one's complement; only an all-zero message has 0xffff.
            let expected = checksum(&bytes) % 0xffff;
            prop_assert_eq!(after % 0xffff, expected);
            prop_assert_eq!(folded % 0xffff, expected);
        }
    }
}
