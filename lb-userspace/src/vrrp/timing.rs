//! How long routers wait for each other, exactly: durations, never wire units.

use std::time::Duration;

use super::packet::Version;

/// A second, the unit that version 2 counts its skew in.
const SECOND: Duration = Duration::from_secs(1);

/// The shortest interval that version 3 has: a hundredth of a second.
const SHORTEST: Duration = Duration::from_millis(10);

/// How many parts a priority divides an interval into.
const PARTS: u32 = 256;

/// How long after the others a router of this priority takes over: of the master's `interval` in version 3 (RFC 9568, section
/// 6.1, Skew_Time), of a second in version 2 (RFC 3768, section 6.1). The higher the priority, the sooner.
pub(super) fn skew(version: Version, priority: u8, interval: Duration) -> Duration {
    let of = match version {
        Version::V2 => SECOND,
        Version::V3 => interval,
    };
    of * (PARTS - u32::from(priority)) / PARTS
}

/// How long after a master's resignation a router of this priority takes over: in order of priority, as the RFC has it, but
/// never later than at the shortest interval that there is, since nobody has the addresses meanwhile. Whoever hears the better
/// one too late gives way to it at once.
pub(super) fn handover(version: Version, priority: u8, interval: Duration) -> Duration {
    let least = skew(Version::V3, priority, SHORTEST);
    skew(version, priority, interval).min(least)
}

/// How long a master may be silent before a router of this priority takes over (RFC 9568, section 6.1, Active_Down_Interval).
pub(super) fn down(version: Version, priority: u8, interval: Duration) -> Duration {
    3 * interval + skew(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skew_is_right_to_the_microsecond() {
        let micros = |priority, interval_ms| {
            let interval = Duration::from_millis(interval_ms);
            skew(Version::V3, priority, interval).as_nanos()
        };
        // 100 ms * 106 / 256
        assert_eq!(micros(150, 100), 41_406_250);
        // 10 ms / 256
        assert_eq!(micros(255, 10), 39_062);
        // 40.95 s * 255 / 256
        assert_eq!(micros(1, 40_950), 40_790_039_062);
        assert_eq!(
            skew(Version::V2, 100, Duration::from_secs(5)).as_nanos(),
            609_375_000
        );
    }

    #[test]
    fn who_resigns_is_followed_within_a_hundredth_of_a_second() {
        let nanos = |version, priority, millis| {
            handover(version, priority, Duration::from_millis(millis)).as_nanos()
        };
        // 10 ms * 156 / 256, whatever the interval is
        for (version, millis) in [
            (Version::V3, 10),
            (Version::V3, 100),
            (Version::V3, 40_950),
            (Version::V2, 1000),
        ] {
            assert_eq!(nanos(version, 100, millis), 6_093_750);
        }
        assert!(nanos(Version::V3, 101, 1000) < nanos(Version::V3, 100, 1000));
    }

    #[test]
    fn a_master_is_missed_after_three_intervals_and_the_skew() {
        let second = Duration::from_secs(1);
        let after = |version, priority| down(version, priority, second).as_nanos();
        assert_eq!(after(Version::V3, 100), 3_609_375_000);
        assert_eq!(after(Version::V2, 254), 3_007_812_500);
    }
}
