//! Token buckets: how many frames may be made here, for all and for each prefix of addresses that
//! cause them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::Address;

/// Frames that may be made here, each kind a second. What was not used is kept for one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// ICMP errors, on one CPU.
    pub errors: u32,
    /// ICMP errors towards one prefix.
    pub errors_per_source: u32,
    /// TCP resets, on one CPU.
    pub resets: u32,
    /// TCP resets towards one prefix.
    pub resets_per_source: u32,
}

/// What is made here at a limited rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Limited {
    /// An ICMP error.
    Error = 0,
    /// A TCP reset.
    Reset = 1,
}

impl Limited {
    /// How many kinds there are.
    pub const COUNT: u32 = 2;
}

/// Whom a bucket is for: a prefix of addresses, and what is made. Addresses of one /24 or /64 are
/// one source, as one holder has them all.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
)]
#[repr(C)]
pub struct BucketKey {
    prefix: u64,
    version: u32,
    kind: u32,
}

impl BucketKey {
    /// The key of the bucket for what is made towards `source`.
    #[inline(always)]
    pub fn new<A: Address>(source: A, kind: Limited) -> Self {
        let bits = if A::VERSION == 4 { 24 } else { 64 };
        Self {
            prefix: source.prefix(bits).words().0,
            version: A::VERSION.into(),
            kind: kind as u32,
        }
    }
}

/// A bucket of tokens. One that was never used is full.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Bucket {
    /// When tokens were last put in, jiffies.
    since: u32,
    /// Tokens that were taken and not put back yet.
    taken: u32,
}

impl Bucket {
    /// Takes a token, of which `rate` come in a second and no more than that fit; `false` if it is
    /// empty.
    #[inline(always)]
    pub fn take(&mut self, rate: u32, now: u32, hertz: u32) -> bool {
        let passed = u64::from(now.wrapping_sub(self.since));
        let earned = passed * u64::from(rate) / u64::from(hertz.max(1));
        if self.taken == 0 || earned > 0 {
            self.taken = self
                .taken
                .saturating_sub(earned.min(u32::MAX.into()) as u32);
            self.since = now;
        }
        if self.taken >= rate {
            return false;
        }
        self.taken += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Ipv4Address, Ipv6Address};

    #[test]
    fn a_bucket_gives_its_rate_and_fills_again() {
        let mut bucket = Bucket::default();
        let mut take = |now: u32| bucket.take(10, now, 250);
        let start = u32::MAX - 100;
        assert_eq!((0..20).filter(|_| take(start)).count(), 10);
        assert!(!take(start.wrapping_add(24)));
        assert!(take(start.wrapping_add(25)));
        assert!(!take(start.wrapping_add(26)));
        assert_eq!(
            (0..20).filter(|_| take(start.wrapping_add(900))).count(),
            10
        );
    }

    #[test]
    fn a_slow_bucket_fills_though_it_is_asked_all_the_time() {
        let mut bucket = Bucket::default();
        let given = (0..2500).filter(|now| bucket.take(2, *now, 250)).count();
        assert_eq!(given, 2 + 19);
    }

    #[test]
    fn a_rate_of_nothing_gives_nothing() {
        assert!(!Bucket::default().take(0, 5, 250));
    }

    #[test]
    fn neighbours_share_a_bucket() {
        let v4 = |bytes| BucketKey::new(Ipv4Address::from_bytes(bytes), Limited::Error);
        assert_eq!(v4([192, 0, 2, 1]), v4([192, 0, 2, 255]));
        assert_ne!(v4([192, 0, 2, 1]), v4([192, 0, 3, 1]));
        let reset = BucketKey::new(Ipv4Address::from_bytes([192, 0, 2, 1]), Limited::Reset);
        assert_ne!(v4([192, 0, 2, 1]), reset);
        let v6 = |byte: usize| {
            let mut bytes = [0x20; 16];
            bytes[byte] = 1;
            BucketKey::new(Ipv6Address::from_bytes(bytes), Limited::Error)
        };
        assert_eq!(v6(8), v6(15));
        assert_ne!(v6(7), v6(15));
    }
}
