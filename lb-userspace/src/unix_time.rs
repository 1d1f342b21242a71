//! Times as metrics, JSON and files of the state folder have them.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time, in seconds since 1970.
pub(crate) fn unix_seconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The time now, likewise.
pub(crate) fn unix_now() -> u64 {
    unix_seconds(SystemTime::now())
}

/// The same in milliseconds.
pub(crate) fn unix_now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
