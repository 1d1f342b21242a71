//! The flow hash: SipHash-1-3 of a flow key under a secret seed.
//!
//! Secret, since who can compute it can aim at one backend. Written out in words rather than
//! taken from the `siphasher` crate, whose byte buffering costs the packet path loops; the tests
//! hold it to that crate's answers. (Aumasson, Bernstein: SipHash, 2012.)

/// Key of the flow hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// First half, little-endian, as SipHash names it.
    pub k0: u64,
    /// Second half.
    pub k1: u64,
}

impl From<[u8; 16]> for Seed {
    fn from(bytes: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        Self {
            k0: whole as u64,
            k1: (whole >> 64) as u64,
        }
    }
}

/// A flow's hash. The upper half chooses the slot; source ports come from the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowHash(pub u64);

impl FlowHash {
    /// A number below `count`, evenly (multiply and shift: Lemire, Fast Random Integer Generation
    /// in an Interval, 2019).
    #[inline(always)]
    pub fn below(self, count: u32) -> u32 {
        (((self.0 >> 32) * u64::from(count)) >> 32) as u32
    }

    /// The hash of the `n`-th candidate where one flow may try several places: the next value of
    /// SplitMix64 from here (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
    #[inline(always)]
    pub fn candidate(self, n: u32) -> Self {
        let mut z = self
            .0
            .wrapping_add((u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(z ^ (z >> 31))
    }
}

/// SipHash-1-3 in the making, a 64-bit word at a time.
#[derive(Clone, Copy)]
pub struct SipHash13 {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl SipHash13 {
    /// An empty message.
    #[inline(always)]
    pub fn new(seed: Seed) -> Self {
        Self {
            v0: seed.k0 ^ 0x736f_6d65_7073_6575,
            v1: seed.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: seed.k0 ^ 0x6c79_6765_6e65_7261,
            v3: seed.k1 ^ 0x7465_6462_7974_6573,
        }
    }

    /// Takes eight bytes (little-endian).
    #[inline(always)]
    pub fn word(mut self, word: u64) -> Self {
        self.v3 ^= word;
        self = self.round();
        self.v0 ^= word;
        self
    }

    /// The hash of a message of `length` bytes, whose last `length` modulo 8 bytes are `rest`
    /// (little-endian, zeros above).
    #[inline(always)]
    pub fn finish(self, rest: u64, length: usize) -> FlowHash {
        // The last word carries the message's length modulo 256.
        let mut end = self.word(rest | (length as u64) << 56);
        end.v2 ^= 0xff;
        end = end.round().round().round();
        FlowHash(end.v0 ^ end.v1 ^ end.v2 ^ end.v3)
    }

    #[inline(always)]
    fn round(mut self) -> Self {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
        self
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::*;
    use crate::abi::{Address, FlowKey, Ipv4Address, Ipv6Address};

    fn reference(key: &[u8; 16], bytes: &[u8]) -> u64 {
        SipHasher13::new_with_key(key).hash(bytes)
    }

    proptest! {
        #[test]
        fn flow_keys_hash_as_siphash_1_3_of_their_bytes(
            seed: [u8; 16], a: [u8; 16], b: [u8; 16], sport: [u8; 2], dport: [u8; 2], protocol: u8,
        ) {
            let tail = [&sport[..], &dport, &[protocol]].concat();
            let key = FlowKey::new(Ipv6Address::from_bytes(a), Ipv6Address::from_bytes(b), sport, dport, protocol);
            let bytes = [&a[..], &b, &tail].concat();
            prop_assert_eq!(key.hash(Seed::from(seed)).0, reference(&seed, &bytes));

            let (a, b) = (Ipv4Address::from_wide(a), Ipv4Address::from_wide(b));
            let key = FlowKey::new(a, b, sport, dport, protocol);
            let bytes = [&a.to_bytes()[..], &b.to_bytes(), &tail].concat();
            prop_assert_eq!(key.hash(Seed::from(seed)).0, reference(&seed, &bytes));
        }

        #[test]
        fn below_stays_below(hash: u64, count in 1u32..) {
            prop_assert!(FlowHash(hash).below(count) < count);
        }
    }
}
