//! Figures as people read them. JSON has them exactly.

use std::time::Duration;

/// A number of packets or flows: exact up to 99999, then rounded to three digits.
pub(super) fn count(value: u64) -> String {
    if value < 100_000 {
        value.to_string()
    } else {
        rounded(value)
    }
}

/// A number of bytes, in powers of 1000, to three digits.
pub(super) fn bytes(value: u64) -> String {
    if value < 1000 {
        value.to_string()
    } else {
        rounded(value)
    }
}

/// What may not be counted at all.
pub(super) fn maybe(value: Option<u64>, figure: fn(u64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), figure)
}

/// A share, 0 to 1.
pub(super) fn share(value: f64) -> String {
    format!("{:.1}%", 100.0 * value)
}

/// Seconds, in the two largest units.
pub(super) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let parts = UNITS.iter().map(|&(size, unit)| {
        let n = rest / size;
        rest %= size;
        (n, unit)
    });
    let shown: Vec<_> = parts
        .skip_while(|(n, unit)| *n == 0 && *unit != "s")
        .take(2)
        .filter(|(n, unit)| *n > 0 || (*unit == "s" && seconds == 0))
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect();
    shown.join(" ")
}

/// No less than a time.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A number of things: `1 service`, `2 services`.
pub(super) fn things(n: usize, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

fn rounded(value: u64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    let digits = match scaled {
        scaled if scaled < 9.995 => 2,
        scaled if scaled < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_figures_are_rounded() {
        for (value, expected) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (1_234_567, "1.23M"),
            (98_765_432_100, "98.8G"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(value), expected);
        }
        assert_eq!(bytes(999), "999");
        assert_eq!(bytes(1000), "1.00k");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_661, "1 h 1 min"),
            (86_400, "1 d"),
            (90_000, "1 d 1 h"),
            (86_400 + 59, "1 d"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }
}
