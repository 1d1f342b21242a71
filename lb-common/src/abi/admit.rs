//! Who may use a service: access lists, limits on new flows, and the filter that tells most sources
//! from our own addresses.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::address::Address;

/// What an access list says of the addresses of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They may come in.
    Allow,
    /// They may not.
    Deny,
}

impl Verdict {
    /// The number that stands for it in the map.
    pub const fn number(self) -> u32 {
        match self {
            Self::Allow => 1,
            Self::Deny => 2,
        }
    }

    /// Whether this number, of the longest prefix, keeps an address out.
    #[inline(always)]
    pub const fn denies(number: u32) -> bool {
        number == Self::Deny.number()
    }
}

/// The list of all services.
#[inline(always)]
pub fn global_list<A: Address>() -> u32 {
    u32::from(A::VERSION == 6)
}

/// The list of the service of this number.
#[inline(always)]
pub fn service_list<A: Address>(service: u32) -> u32 {
    2 * (service + 1) + u32::from(A::VERSION == 6)
}

/// New flows that are let in: so many a second, and so many at once. A rate of 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Rate {
    /// Flows in a second.
    pub per_second: u32,
    /// Flows at once.
    pub burst: u32,
}

/// The limits of a service. Whole words, each written at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Limits {
    /// Of each source prefix.
    pub source: Rate,
    /// Of all together.
    pub total: Rate,
    /// Bits of an IPv4 source address that count.
    pub ipv4_bits: u32,
    /// Bits of an IPv6 source address that count.
    pub ipv6_bits: u32,
}

impl Limits {
    /// Bits of a source address that count; of a mapped one, those in front of the IPv4 address as well.
    #[inline(always)]
    pub fn source_bits<A: Address>(&self, source: A) -> u8 {
        let bits = if A::VERSION == 4 {
            self.ipv4_bits
        } else if source.is_mapped() {
            96 + self.ipv4_bits
        } else {
            self.ipv6_bits
        };
        bits as u8
    }
}

/// Whose bucket it is: a service's for a source prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlowBucketKey {
    service: u64,
    low: u64,
    high: u64,
}

impl FlowBucketKey {
    /// The bucket of a source at a service.
    #[inline(always)]
    pub fn new<A: Address>(service: u32, source: A, bits: u8) -> Self {
        let (low, high) = source.prefix(bits).words();
        Self {
            service: u64::from(service) << 8 | u64::from(A::VERSION),
            low,
            high,
        }
    }
}

/// A token bucket in one word: the time at which it will be full again (the generic cell rate
/// algorithm, ITU-T I.371, as virtual scheduling); 0 if no token was ever taken. Times are jiffies,
/// with 32 bits behind the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowBucket(pub u64);

impl FlowBucket {
    /// Takes a token at the time `now`, jiffies; the bucket afterwards, or `None` if there is no
    /// token. The clock's tick is the unit: as many flows as come in one are let in beside the
    /// burst.
    #[inline(always)]
    pub fn take(self, rate: Rate, now: u32, hertz: u32) -> Option<Self> {
        const TICK: u64 = 1 << 32;
        let now = u64::from(now) << 32;
        let interval = (u64::from(hertz) << 32) / u64::from(rate.per_second.max(1));
        let room = interval * u64::from(rate.burst.saturating_sub(1)) + TICK;
        // Modulo all times: a bucket that is full has been so for less than half of them, or looks
        // emptier than any can be.
        let ahead = self.0.wrapping_sub(now) as i64;
        let ahead = if self.0 == 0 || ahead < 0 || ahead as u64 > room + interval {
            0
        } else {
            ahead as u64
        };
        let full = now.wrapping_add(ahead).wrapping_add(interval);
        // 0 is a time as well, once in 2^32 ticks, but stands for none.
        (ahead < room).then_some(Self(full.max(1)))
    }
}

/// Words of the filter of our own addresses, of 64 bits each.
pub const OWN_WORDS: u32 = 1 << 10;

/// Where the filter has the bit of an address: which word, and its mask.
#[inline(always)]
pub fn own_bit<A: Address>(address: A) -> (u32, u64) {
    let (low, high) = address.words();
    let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (mixed >> 54) as u32 & (OWN_WORDS - 1);
    (word, 1 << ((mixed >> 48) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERTZ: u32 = 250;

    /// How many of `tries` at one time get through.
    fn taken(bucket: &mut FlowBucket, rate: Rate, now: u32, tries: u32) -> u32 {
        (0..tries)
            .map(|_| match bucket.take(rate, now, HERTZ) {
                Some(next) => {
                    *bucket = next;
                    1
                }
                None => 0,
            })
            .sum()
    }

    const RATE: Rate = Rate {
        per_second: 100,
        burst: 20,
    };

    #[test]
    fn a_burst_then_the_rate() {
        for start in [0, 7, u32::MAX - 100] {
            let mut bucket = FlowBucket::default();
            let first = taken(&mut bucket, RATE, start, 1000);
            assert!((20..=21).contains(&first), "{first} at {start}");
            let later: u32 = (1..=10 * HERTZ)
                .map(|tick| taken(&mut bucket, RATE, start.wrapping_add(tick), 10))
                .sum();
            assert!((999..=1001).contains(&later), "{later} from {start}");
        }
    }

    #[test]
    fn what_was_idle_is_full() {
        let mut bucket = FlowBucket::default();
        for idle in [HERTZ, 1 << 20, 1 << 31] {
            let now = 17u32.wrapping_add(idle);
            let first = taken(&mut bucket, RATE, now, 1000);
            assert!((20..=21).contains(&first), "{first} after {idle}");
            bucket = FlowBucket::default();
            taken(&mut bucket, RATE, 17, 1000);
        }
    }

    #[test]
    fn one_that_is_full_at_time_0_is_not_new() {
        let rate = Rate {
            per_second: 1,
            burst: 3,
        };
        let start = 0u32.wrapping_sub(3 * HERTZ);
        let mut bucket = FlowBucket::default();
        assert_eq!(taken(&mut bucket, rate, start, 10), 3);
    }

    #[test]
    fn high_rates_are_not_rounded() {
        let rate = Rate {
            per_second: 3_000_000,
            burst: 1,
        };
        let mut bucket = FlowBucket::default();
        let got: u32 = (0..HERTZ)
            .map(|tick| taken(&mut bucket, rate, tick, 100_000))
            .sum();
        assert!(got.abs_diff(3_000_000) < 15_000, "{got}");
    }

    #[test]
    fn the_longest_bursts_do_not_overflow() {
        let rate = Rate {
            per_second: 1,
            burst: 1_000_000,
        };
        assert!(FlowBucket::default().take(rate, 5, 1000).is_some());
    }
}
