//! What one event comes to: from what was sent and answered, and from when which host had the address. Pure.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    owners::Change,
    probe::{Answer, Log},
};

/// What a client notices of an event, and how long two hosts had the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From the event to the first answer of the host that serves then; `None`: it did not serve as long as it was waited.
    pub served: Option<Duration>,
    /// Datagrams that nobody has answered.
    pub lost: usize,
    /// The longest time without an answer.
    pub gap: Duration,
    /// Datagrams that the other host answered though they were sent after the first one that this one has answered.
    pub strays: usize,
    /// Datagrams to the service that have not come to its backend, if there is one.
    pub missing: Option<usize>,
    /// How long both hosts had the address, where one of them was to give it up.
    pub both: Option<Duration>,
}

impl Outcome {
    /// Of what was noted of an event, after which `server` serves, up to now.
    pub(super) fn of(event: Instant, now: Instant, server: u8, log: &Log) -> Self {
        let first = log
            .answers
            .iter()
            .find(|a| a.host == server && a.at >= event);
        let is_stray = |answer: &&Answer| {
            answer.host != server && first.is_some_and(|first| answer.number > first.number)
        };
        Self {
            served: first.map(|first| first.at - event),
            lost: lost(
                event,
                now,
                log,
                log.answers.iter().map(|answer| answer.number),
            ),
            missing: log
                .arrived
                .as_ref()
                .map(|arrived| lost(event, now, log, arrived.iter().copied())),
            gap: gap(event, now, &log.answers),
            strays: log.answers.iter().filter(is_stray).count(),
            both: None,
        }
    }

    /// The same with how long both had the address. `changes` reach back to when nobody had it.
    pub(super) fn with_owners(self, event: Instant, now: Instant, changes: &[Change]) -> Self {
        Self {
            both: Some(both(event, now, changes)),
            ..self
        }
    }
}

/// How long a datagram and its answer may be on their way: this machine may do something else meanwhile.
const LAG: Duration = Duration::from_millis(250);

/// How many of the datagrams that were sent since the event are not among these, which those of the last moments may still
/// be.
fn lost(event: Instant, now: Instant, log: &Log, came: impl Iterator<Item = u64>) -> usize {
    let came: BTreeSet<u64> = came.collect();
    let sent = (log.first..).zip(&log.sent);
    let late = sent.filter(|(_, at)| **at >= event && **at + LAG < now);
    late.filter(|(number, _)| !came.contains(number)).count()
}

/// The longest time without an answer that ends after the event.
fn gap(event: Instant, now: Instant, answers: &[Answer]) -> Duration {
    let came = answers.iter().map(|answer| answer.at).chain([now]);
    let mut before = None;
    let mut longest = Duration::ZERO;
    for at in came {
        if at >= event {
            longest = longest.max(at - before.unwrap_or(event));
        }
        before = Some(at);
    }
    longest
}

/// How long after the event more than one host had the address.
fn both(event: Instant, now: Instant, changes: &[Change]) -> Duration {
    let mut owners = BTreeSet::new();
    let mut since = event;
    let mut both = Duration::ZERO;
    for change in changes {
        if owners.len() > 1 && change.at > since {
            both += change.at - since;
        }
        since = since.max(change.at);
        match change.has {
            true => owners.insert(change.host),
            false => owners.remove(&change.host),
        };
    }
    if owners.len() > 1 {
        both += now.saturating_duration_since(since);
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A datagram a millisecond from 1000 to 2000, numbered from 500. Answered by host 1 until 1300, by host 2 from 1450, one
    /// millisecond later each; the event is at 1200.
    fn log(start: Instant) -> Log {
        let at = |ms: u64| start + millis(ms);
        let answer = |ms: u64, host| Answer {
            number: 500 + ms - 1000,
            host,
            at: at(ms + 1),
        };
        let first = (1000..1300).map(|ms| answer(ms, 1));
        let second = (1450..2000).map(|ms| answer(ms, 2));
        Log {
            first: 500,
            sent: (1000..2000).map(at).collect(),
            answers: first.chain(second).collect(),
            arrived: Some((500..1500).filter(|number| number % 100 != 1).collect()),
        }
    }

    #[test]
    fn what_a_client_notices() {
        let start = Instant::now();
        let at = |ms: u64| start + millis(ms);
        let changes = [(1, true, 100), (2, true, 1440), (1, false, 1460)];
        let changes = changes.map(|(host, has, ms)| Change {
            host,
            has,
            at: at(ms),
        });
        let outcome = Outcome::of(at(1200), at(2002), 2, &log(start)).with_owners(
            at(1200),
            at(2002),
            &changes,
        );
        let expected = Outcome {
            served: Some(millis(251)),
            lost: 150,
            // 701, 801 and so on, up to 1201.
            missing: Some(6),
            gap: millis(151),
            strays: 0,
            both: Some(millis(20)),
        };
        assert_eq!(outcome, expected);
        // Of another host it is a failure that never ends.
        let outcome = Outcome::of(at(1200), at(2002), 3, &log(start));
        assert_eq!(outcome.served, None);
    }

    #[test]
    fn answers_of_the_other_host_are_strays_once_the_new_one_serves() {
        let start = Instant::now();
        let mut log = log(start);
        for answer in log.answers.iter_mut().rev().take(7) {
            answer.host = 1;
        }
        let outcome = Outcome::of(start + millis(1200), start + millis(2002), 2, &log);
        assert_eq!((outcome.strays, outcome.served), (7, Some(millis(251))));
    }

    #[test]
    fn a_gap_may_begin_before_the_event_and_last_until_now() {
        let start = Instant::now();
        let log = log(start);
        let gap = |event, now| gap(start + millis(event), start + millis(now), &log.answers);
        assert_eq!(gap(1400, 2000), millis(151));
        assert_eq!(gap(1500, 2600), millis(600));
        assert_eq!(gap(1500, 2001), millis(1));
    }

    #[test]
    fn two_owners_count_from_the_event_on() {
        let start = Instant::now();
        let at = |ms: u64| start + millis(ms);
        let changes = [
            (1, true, 100),
            (2, true, 200),
            (2, false, 700),
            (2, true, 800),
        ];
        let changes = changes.map(|(host, has, ms)| Change {
            host,
            has,
            at: at(ms),
        });
        assert_eq!(both(at(500), at(1000), &changes), millis(400));
        assert_eq!(both(at(500), at(1000), &changes[..3]), millis(200));
        assert_eq!(both(at(500), at(1000), &changes[..1]), millis(0));
    }
}
