//! Which numbers are missing, which came twice. Pure.

use std::ops::Range;

/// What sinks have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Receipts {
    /// Numbers that were new to the sink.
    pub(super) first: u64,
    /// Numbers that the sink had seen.
    pub(super) again: u64,
    /// Datagrams with a wrong checksum, or a number of nobody's.
    pub(super) foreign: u64,
}

impl Receipts {
    /// What was counted since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            first: self.first - earlier.first,
            again: self.again - earlier.again,
            foreign: self.foreign - earlier.foreign,
        }
    }
}

/// Which numbers a sink has seen: a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// The number of the first bit.
    pub(super) first: u64,
    /// The bits, the lowest first.
    pub(super) words: Vec<u64>,
}

impl Noted {
    fn has(&self, number: u64) -> bool {
        let at = number.checked_sub(self.first);
        let word = at.and_then(|at| self.words.get(usize::try_from(at / 64).ok()?));
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// What became of the datagrams of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were sent.
    pub sent: u64,
    /// Numbers that came nowhere, neighbours together.
    pub missing: Vec<Range<u64>>,
    /// Datagrams whose number had come before, at the same backend or at another one.
    pub again: u64,
    /// Datagrams with a wrong checksum, or a number of nobody's.
    pub foreign: u64,
}

impl Tally {
    /// Holds what was sent against what came. Numbers from the first bit's on are the first word's.
    pub(super) fn of(sent: Range<u64>, noted: &[Noted], receipts: Receipts) -> Self {
        let mut tally = Self {
            sent: sent.end - sent.start,
            again: receipts.again,
            foreign: receipts.foreign,
            ..Self::default()
        };
        for number in sent {
            match noted.iter().filter(|noted| noted.has(number)).count() as u64 {
                0 => tally.miss(number),
                times => tally.again += times - 1,
            }
        }
        tally
    }

    /// How many numbers are missing.
    pub fn lost(&self) -> u64 {
        self.missing.iter().map(|run| run.end - run.start).sum()
    }

    /// The most numbers in a row that are missing.
    pub fn longest(&self) -> u64 {
        let runs = self.missing.iter().map(|run| run.end - run.start);
        runs.max().unwrap_or(0)
    }

    /// All that is wrong.
    pub fn problems(&self) -> Vec<String> {
        let Self {
            sent,
            again,
            foreign,
            ..
        } = self;
        let counts = [
            (self.lost(), "are missing"),
            (*again, "came twice"),
            (*foreign, "have a wrong checksum or number"),
        ];
        let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut problems: Vec<_> = wrong
            .map(|(count, what)| format!("{count} of {sent} datagrams {what}"))
            .collect();
        if *sent == 0 {
            problems.push("no datagram was sent".to_owned());
        }
        problems
    }

    fn miss(&mut self, number: u64) {
        match self.missing.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => self.missing.push(number..number + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(first: u64, numbers: impl IntoIterator<Item = u64>) -> Noted {
        let mut words = vec![0; 4];
        for number in numbers {
            words[((number - first) / 64) as usize] |= 1 << (number % 64);
        }
        Noted { first, words }
    }

    #[test]
    fn all_that_came_once_is_well() {
        let sinks = [
            noted(64, (70..200).filter(|n| n % 3 == 0)),
            noted(64, (70..200).filter(|n| n % 3 != 0)),
        ];
        let tally = Tally::of(70..200, &sinks, Receipts::default());
        assert_eq!(tally.problems(), Vec::<String>::new());
        assert_eq!((tally.sent, tally.lost(), tally.longest()), (130, 0, 0));
    }

    #[test]
    fn what_is_missing_is_told_in_runs() {
        let came = (64..200).filter(|n| !(90..100).contains(n) && *n != 127 && *n != 128);
        let tally = Tally::of(64..201, &[noted(64, came)], Receipts::default());
        assert_eq!(tally.missing, [90..100, 127..129, 200..201]);
        assert_eq!((tally.lost(), tally.longest()), (13, 10));
        assert_eq!(tally.problems().len(), 1);
    }

    #[test]
    fn what_came_twice_is_told_wherever_it_came() {
        let sinks = [noted(0, 0..10), noted(0, [3, 4])];
        let receipts = Receipts {
            first: 12,
            again: 5,
            foreign: 1,
        };
        let tally = Tally::of(0..10, &sinks, receipts);
        assert_eq!((tally.again, tally.foreign, tally.lost()), (7, 1, 0));
        assert_eq!(tally.problems().len(), 2);
    }

    #[test]
    fn nothing_sent_says_nothing() {
        assert!(!Tally::default().problems().is_empty());
    }
}
