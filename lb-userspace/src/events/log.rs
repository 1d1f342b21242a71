//! Decides which events are kept, and what somebody has missed who comes for those after a number. Pure.

use std::collections::VecDeque;

use super::event::{Event, What};

/// Events that are kept.
const KEPT: usize = 1024;

/// The newest events.
#[derive(Debug, Default)]
pub(super) struct Log {
    kept: VecDeque<Event>,
    newest: u64,
}

/// Events, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many before these are kept no more.
    pub missed: u64,
    /// Those that are.
    pub events: Vec<Event>,
}

impl Log {
    /// Adds what happened, and numbers it.
    pub(super) fn record(&mut self, unix_ms: u64, what: What) -> u64 {
        self.newest += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Event {
            sequence: self.newest,
            unix_ms,
            what,
        });
        self.newest
    }

    /// The number that a reader has come to: the newest event's if it names none. One that no event has had yet is another
    /// agent's, and means that nothing has been read.
    pub(super) fn known(&self, since: Option<u64>) -> u64 {
        match since {
            Some(since) if since > self.newest => 0,
            Some(since) => since,
            None => self.newest,
        }
    }

    /// The first `most` events after that number.
    pub(super) fn since(&self, since: u64, most: usize) -> Batch {
        let since = self.known(Some(since));
        let Some(oldest) = self.kept.front().map(|event| event.sequence) else {
            return Batch::default();
        };
        let after = self.kept.iter().filter(|event| event.sequence > since);
        Batch {
            missed: (oldest - 1).saturating_sub(since),
            events: after.take(most).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ReloadEvent;

    fn log(events: u64) -> Log {
        let mut log = Log::default();
        for generation in 1..=events {
            let by = "reload".into();
            log.record(generation, What::Reload(ReloadEvent { by, generation }));
        }
        log
    }

    /// What is missed, and the numbers of the first and the last event.
    fn since(log: &Log, since: u64, most: usize) -> (u64, Option<(u64, u64)>) {
        let Batch { missed, events } = log.since(since, most);
        let ends = events.first().zip(events.last());
        (missed, ends.map(|(a, b)| (a.sequence, b.sequence)))
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let log = log(1030);
        assert_eq!(since(&log, 0, usize::MAX), (6, Some((7, 1030))));
        assert_eq!(since(&log, 4, 10), (2, Some((7, 16))));
        assert_eq!(since(&log, 6, 10), (0, Some((7, 16))));
        assert_eq!(since(&log, 1029, 10), (0, Some((1030, 1030))));
        assert_eq!(since(&log, 1030, 10), (0, None));
    }

    #[test]
    fn a_number_of_another_agent_is_none() {
        assert_eq!(since(&log(3), 4, 10), (0, Some((1, 3))));
        assert_eq!(since(&log(0), 4, 10), (0, None));
    }
}
