//! Decides whether a router's role changes more often than hosts fail. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// So many changes: three times there and back.
const MANY: usize = 6;

/// In so long.
const WINDOW: Duration = Duration::from_secs(300);

/// The last changes.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<Instant>);

impl Changes {
    /// Takes note of one, and tells whether it flaps since.
    pub(super) fn note(&mut self, now: Instant) -> bool {
        let before = self.is_flapping(now);
        self.0.push_back(now);
        if self.0.len() > MANY {
            self.0.pop_front();
        }
        !before && self.is_flapping(now)
    }

    /// Whether there were many of late.
    pub(super) fn is_flapping(&self, now: Instant) -> bool {
        let first = self.0.front().filter(|_| self.0.len() == MANY);
        first.is_some_and(|first| now.saturating_duration_since(*first) <= WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_there_and_back_is_flapping_until_it_is_long_ago() {
        let (mut changes, start) = (Changes::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..5 {
            assert!(!changes.note(at(second * 60)));
        }
        assert!(changes.note(at(290)), "the sixth");
        assert!(!changes.note(at(291)), "it is said once");
        assert!(changes.is_flapping(at(360)));
        assert!(
            !changes.is_flapping(at(361)),
            "the second is five minutes ago"
        );
        assert!(!changes.note(at(800)));
    }
}
