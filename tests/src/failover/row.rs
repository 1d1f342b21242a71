//! What many runs of an event come to, and whether that is good. Pure.

use std::{fmt, time::Duration};

use super::{event::Kind, interval::Interval, outcome::Outcome, router::Product};

/// The runs of an event, or of its end.
#[derive(Clone, Debug)]
pub struct Row {
    /// What has happened.
    pub name: &'static str,
    pub(super) kind: Kind,
    pub(super) interval: Interval,
    /// What moved the address.
    pub product: Product,
    /// What became of it, each time.
    pub outcomes: Vec<Outcome>,
}

impl Row {
    /// Whether it is as good as it is to be. Nothing is asked of others than ours.
    pub fn is_good(&self) -> bool {
        let goal = self.goal();
        match self.product {
            Product::Keepalived => true,
            Product::Sluice => match goal {
                None => self.is_sound(),
                Some(goal) => self.served().median <= Time::Took(goal) && self.loses_no_more(),
            },
        }
    }

    /// Whether the right host served in the end, each time, and nothing was lost that may not be, however long it took.
    pub fn is_sound(&self) -> bool {
        let mut outcomes = self.outcomes.iter();
        outcomes.all(|outcome| outcome.served.is_some()) && self.loses_no_more()
    }

    /// Whether no more datagrams to the service were lost than may be.
    fn loses_no_more(&self) -> bool {
        !(self.kind.loses_none() && self.missing() > Some(0))
    }

    /// The most datagrams to the service that were missing.
    fn missing(&self) -> Option<usize> {
        let missing = self.outcomes.iter().map(|outcome| outcome.missing);
        missing.max().flatten()
    }

    fn goal(&self) -> Option<Duration> {
        self.kind.goal(self.interval)
    }

    fn served(&self) -> Spread<Time> {
        Spread::of(self.outcomes.iter().map(|outcome| Time::of(outcome.served)))
    }

    /// Runs that were not as good as the goal is.
    fn missed(&self, goal: Duration) -> usize {
        let served = self.outcomes.iter().map(|outcome| Time::of(outcome.served));
        served.filter(|served| *served > Time::Took(goal)).count()
    }
}

/// A time that may never have come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Time {
    Took(Duration),
    Never,
}

impl Time {
    fn of(took: Option<Duration>) -> Self {
        took.map_or(Self::Never, Self::Took)
    }
}

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spread<T> {
    min: T,
    median: T,
    p90: T,
    max: T,
}

impl<T: Copy + Ord> Spread<T> {
    /// Of one value or more.
    fn of(values: impl Iterator<Item = T>) -> Self {
        let mut values: Vec<T> = values.collect();
        values.sort_unstable();
        // The smallest of which so many of a hundred are no larger.
        let percentile = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values[rank.saturating_sub(1)]
        };
        Self {
            min: percentile(0),
            median: percentile(50),
            p90: percentile(90),
            max: percentile(100),
        }
    }
}

/// The heading of rows.
pub fn heading() -> String {
    format!(
        "{:10} {:8} {:10} {:>4}  {:>35}  {:>6} {:>6}  {:>13} {:>13} {:>15} {:>6} {:>15}\n{:36}{:>36}  {:>6} {:>6}  {:>13} \
         {:>13} {:>15} {:>6} {:>15}\n",
        "event",
        "interval",
        "product",
        "runs",
        "first packet from the other, ms",
        "goal",
        "missed",
        "packets lost",
        "ipip, lost",
        "longest gap, ms",
        "strays",
        "two owners, ms",
        "",
        "min   median      p90      max",
        "ms",
        "runs",
        "median    max",
        "median    max",
        "median     max",
        "max",
        "median     max"
    )
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            interval,
            product,
            outcomes,
            ..
        } = self;
        let served = self.served();
        write!(
            f,
            "{name:10} {interval:8} {product:10} {:>4} ",
            outcomes.len()
        )?;
        for time in [served.min, served.median, served.p90, served.max] {
            write!(f, " {time:>8}")?;
        }
        match self.goal() {
            Some(goal) => write!(f, "  {:>6} {:>6}", Time::Took(goal), self.missed(goal))?,
            None => write!(f, "  {:>6} {:>6}", "–", "–")?,
        }
        let lost = Spread::of(outcomes.iter().map(|outcome| outcome.lost));
        let missing = outcomes.iter().map(|outcome| outcome.missing);
        let gap = Spread::of(outcomes.iter().map(|outcome| Time::Took(outcome.gap)));
        let strays = Spread::of(outcomes.iter().map(|outcome| outcome.strays));
        let both = outcomes.iter().map(|outcome| outcome.both.map(Time::Took));
        write!(f, "  {:>6} {:>6}", lost.median, lost.max)?;
        match missing.collect::<Option<Vec<_>>>() {
            Some(missing) => {
                let missing = Spread::of(missing.into_iter());
                write!(f, "  {:>6} {:>6}", missing.median, missing.max)?;
            }
            None => write!(f, "  {:>6} {:>6}", "–", "–")?,
        }
        write!(f, " {:>7} {:>7} {:>6}", gap.median, gap.max, strays.max)?;
        match both.collect::<Option<Vec<_>>>() {
            Some(both) => {
                let both = Spread::of(both.into_iter());
                writeln!(f, " {:>7} {:>7}", both.median, both.max)
            }
            None => writeln!(f, " {:>7} {:>7}", "–", "–"),
        }
    }
}

/// In milliseconds, to a tenth.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Took(took) => format!("{:.1}", took.as_secs_f64() * 1e3),
            Self::Never => "never".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, interval: &str, served: &[u64]) -> Row {
        let outcome = |&served: &u64| Outcome {
            served: (served < 9999).then_some(Duration::from_millis(served)),
            lost: 7,
            missing: Some(0),
            gap: Duration::from_millis(served),
            strays: 0,
            both: None,
        };
        Row {
            name: "killed",
            kind,
            interval: interval.parse().unwrap(),
            product: Product::Sluice,
            outcomes: served.iter().map(outcome).collect(),
        }
    }

    #[test]
    fn spreads_are_of_values_that_there_are() {
        let spread = Spread::of((1..=30).rev());
        assert_eq!(
            spread,
            Spread {
                min: 1,
                median: 15,
                p90: 27,
                max: 30
            }
        );
        assert_eq!(
            Spread::of([4].into_iter()),
            Spread {
                min: 4,
                median: 4,
                p90: 4,
                max: 4
            }
        );
    }

    #[test]
    fn medians_are_judged() {
        let is_good = |kind, interval, served: &[u64]| row(kind, interval, served).is_good();
        assert!(is_good(Kind::Failure, "10ms", &[40, 59, 9999]));
        assert!(!is_good(Kind::Failure, "10ms", &[40, 61, 61]));
        assert!(!is_good(Kind::Failure, "10ms", &[40, 9999, 9999]));
        assert!(is_good(Kind::Failure, "100ms", &[380]));
        assert!(!is_good(Kind::Failure, "100ms", &[381]));
        assert!(!is_good(Kind::Handover, "1s", &[21]));
        // Where there is no goal, it has to come to an end.
        assert!(is_good(Kind::Failure, "1s", &[5000]));
        assert!(!is_good(Kind::Return, "1s", &[1, 2, 9999]));
    }

    #[test]
    fn a_handover_that_loses_a_datagram_is_not_good() {
        let mut row = row(Kind::Handover, "1s", &[10, 10]);
        assert!(row.is_good() && row.is_sound());
        row.outcomes[1].missing = Some(1);
        assert!(!row.is_good() && !row.is_sound());
        row.kind = Kind::Failure;
        assert!(row.is_good() && row.is_sound());
    }

    #[test]
    fn what_takes_too_long_is_sound_and_what_never_ends_is_not() {
        assert!(row(Kind::Handover, "1s", &[21, 5000]).is_sound());
        assert!(!row(Kind::Handover, "1s", &[9, 9, 9999]).is_sound());
    }

    #[test]
    fn rows_say_what_missed_the_goal() {
        let text = row(Kind::Failure, "10ms", &[40, 61, 9999]).to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        let expected = "killed 10 ms sluice 3 40.0 61.0 never never 60.0 2 7 7";
        assert_eq!(words[..13].join(" "), expected);
    }
}
