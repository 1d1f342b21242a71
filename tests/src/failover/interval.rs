//! How often a master says that it is one, and what follows from that.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, Result, ensure};

/// An interval: a number of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u32);

impl Interval {
    /// Those of a full run.
    pub const ALL: [Self; 3] = [Self(1000), Self::MIDDLE, Self(10)];
    /// The one of a brief run.
    pub const MIDDLE: Self = Self(100);

    /// As a time.
    pub fn time(self) -> Duration {
        Duration::from_millis(self.0.into())
    }

    /// How long a master may be silent before a router of a priority takes over (RFC 9568, section 6.1).
    pub(super) fn down(self, priority: u8) -> Duration {
        3 * self.time() + self.time() * (256 - u32::from(priority)) / 256
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self.0 {
            whole if whole.is_multiple_of(1000) => format!("{} s", whole / 1000),
            millis => format!("{millis} ms"),
        })
    }
}

impl FromStr for Interval {
    type Err = anyhow::Error;

    /// `1s` or `100ms`.
    fn from_str(text: &str) -> Result<Self> {
        let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => (number, 1),
            (None, Some(number)) => (number, 1000),
            (None, None) => (text, 0),
        };
        let number: u32 = number
            .parse()
            .with_context(|| format!("{text:?} is no interval, such as 1s or 100ms"))?;
        let millis = number.saturating_mul(unit);
        ensure!(
            (10..=40_950).contains(&millis) && millis.is_multiple_of(10),
            "{text:?}: an interval is a number of hundredths of a second, up to 40.95 s"
        );
        Ok(Self(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_they_are_written() {
        for (text, millis, shown) in [
            ("1s", 1000, "1 s"),
            ("100ms", 100, "100 ms"),
            ("10ms", 10, "10 ms"),
        ] {
            let interval: Interval = text.parse().unwrap();
            assert_eq!((interval.0, interval.to_string().as_str()), (millis, shown));
        }
        for wrong in ["", "s", "5ms", "15ms", "100", "50s", "-1s"] {
            assert!(wrong.parse::<Interval>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_backup_waits_for_three_intervals_and_its_skew() {
        assert_eq!(Interval(100).down(100), Duration::from_nanos(360_937_500));
    }
}
