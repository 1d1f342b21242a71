//! Decides, for one check of one target, when it runs and what its results make of it: up or down.
//! Results and `now` in; transitions and the next deadline out.
//!
//! ```text
//!             due                       ended, or overdue
//!  waiting ─────────► running ────────────────────────────► waiting
//!     ▲   (start it)     │ counts successes and failures in a row │
//!     └──────────────────┴────────────────────────────────────────┘
//! ```
//!
//! - Runs of one check never overlap. The next one is due an interval after the last one *began*, longer
//!   or shorter by the jitter.
//! - The first run comes soon, the second after a part of the interval at random: so targets that
//!   begin together do not stay together.
//! - What an agent says in so many words (`up`, `down`) counts at once; results count in a row.
//! - A run that says nothing of the target changes nothing; nor does one whose end was noticed late.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    advice::Advice,
    outcome::{Failure, Outcome, Unknown},
};
use crate::model::{Initial, Pace};

/// How soon the first run comes at the latest.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// What a check makes of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It answers as it should.
    Up,
    /// It does not.
    Down,
}

/// One check of one target.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pace: Pace,
    status: Status,
    /// Results in a row that speak against the status.
    against: u16,
    /// Results in a row that were alike.
    streak: u32,
    /// Whether the last result that counted was a success; `None` before the first.
    last: Option<bool>,
    advice: Advice,
    activity: Activity,
    random: Random,
    runs: u64,
    passes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Until the next run.
    Waiting { due: Instant },
    /// Since then.
    Running { since: Instant },
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Start a run: it is under way from now on.
    Start,
    /// The run under way has taken too long: end it, and say so to [`Machine::ended`].
    Overdue,
    /// The same, but it is so late that nobody can have looked after it: this host had no time.
    Missed,
}

/// The status changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    /// To what.
    pub to: Status,
    /// Why.
    pub cause: Cause,
}

/// Why a status changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// So many successes in a row.
    Successes(u32),
    /// So many failures in a row, of which this is the last.
    Failures(Failure, u32),
    /// The agent said so.
    SaidUp,
    /// The agent said so.
    SaidDown(Failure),
}

impl Machine {
    /// A check whose first run is due soon. `seed` makes its times its own.
    pub(super) fn new(pace: Pace, seed: u64, now: Instant) -> Self {
        let mut random = Random(seed);
        let due = now + random.below(SOON.min(pace.interval));
        let (status, against) = match pace.initial {
            Initial::Up => (Status::Up, pace.fall.get() - 1),
            Initial::FullyUp => (Status::Up, 0),
            Initial::Down => (Status::Down, pace.rise.get() - 1),
            Initial::FullyDown => (Status::Down, 0),
        };
        Self {
            pace,
            status,
            against,
            streak: 0,
            last: None,
            advice: Advice::NONE,
            activity: Activity::Waiting { due },
            random,
            runs: 0,
            passes: 0,
        }
    }

    /// A check that goes on at another pace with what is known already: its rises and falls are counted
    /// anew.
    pub(super) fn resumed(
        pace: Pace,
        status: Status,
        advice: Advice,
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            status,
            against: 0,
            advice,
            ..Self::new(pace, seed, now)
        }
    }

    /// What the target is.
    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// What its agent wants, as far as it has one.
    pub(super) fn advice(&self) -> Advice {
        self.advice
    }

    /// How many successes there have been.
    pub(super) fn passes(&self) -> u64 {
        self.passes
    }

    /// When to [`wake`](Self::wake) it next.
    pub(super) fn deadline(&self) -> Instant {
        match self.activity {
            Activity::Waiting { due } => due,
            Activity::Running { since } => since + self.pace.timeout,
        }
    }

    /// What is due.
    pub(super) fn wake(&mut self, now: Instant) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        match self.activity {
            Activity::Waiting { .. } => {
                self.activity = Activity::Running { since: now };
                Due::Start
            }
            // Its answer may lie here unread. A gateway under strain must not take its backends away.
            Activity::Running { .. } if now >= self.deadline() + self.pace.timeout / 2 => {
                Due::Missed
            }
            Activity::Running { .. } => Due::Overdue,
        }
    }

    /// Takes the result of the run under way. One that comes when none is counts for nothing.
    pub(super) fn ended(&mut self, outcome: &Outcome, now: Instant) -> Option<Transition> {
        let Activity::Running { since } = self.activity else {
            return None;
        };
        let due = (since + self.pause()).max(now);
        self.activity = Activity::Waiting { due };
        self.runs += 1;
        match outcome {
            Outcome::Passed(advice) => {
                self.advice = *advice;
                self.passed(advice.up)
            }
            Outcome::Failed(failure) => self.failed(failure),
            Outcome::Unknown(Unknown::Local(_) | Unknown::NoWay | Unknown::NoAgent(_)) => None,
        }
    }

    /// From the start of the last run to that of the next.
    fn pause(&mut self) -> Duration {
        let Pace {
            interval, jitter, ..
        } = self.pace;
        if self.runs == 0 {
            return self.random.below(interval);
        }
        interval - jitter + self.random.below(2 * jitter)
    }

    fn passed(&mut self, outright: bool) -> Option<Transition> {
        self.passes += 1;
        self.count(true);
        if self.status == Status::Up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let cause = if self.against >= self.pace.rise.get() {
            Cause::Successes(self.streak)
        } else if outright {
            Cause::SaidUp
        } else {
            return None;
        };
        Some(self.turn(Status::Up, cause))
    }

    fn failed(&mut self, failure: &Failure) -> Option<Transition> {
        self.count(false);
        if self.status == Status::Down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let cause = if failure.is_said() {
            Cause::SaidDown(failure.clone())
        } else if self.against >= self.pace.fall.get() {
            Cause::Failures(failure.clone(), self.streak)
        } else {
            return None;
        };
        Some(self.turn(Status::Down, cause))
    }

    fn count(&mut self, success: bool) {
        let again = self.last == Some(success);
        self.streak = if again {
            self.streak.saturating_add(1)
        } else {
            1
        };
        self.last = Some(success);
    }

    fn turn(&mut self, to: Status, cause: Cause) -> Transition {
        self.status = to;
        self.against = 0;
        Transition { to, cause }
    }
}

impl Cause {
    /// In words, with the target in them: "connect to 198.18.1.11:8080 refused, 3rd failure in a row".
    pub fn of(&self, target: &dyn fmt::Display) -> String {
        match self {
            Self::Successes(count) => {
                format!("{target} answers, {} in a row", nth(*count, "success"))
            }
            Self::Failures(failure, count) => {
                format!(
                    "{}, {} in a row",
                    failure.of(target),
                    nth(*count, "failure")
                )
            }
            Self::SaidUp => format!("the agent at {target} says `up`"),
            Self::SaidDown(failure) => failure.of(target).to_string(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// "3rd failure".
fn nth(count: u32, what: &str) -> String {
    let ending = match (count % 10, count % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{count}{ending} {what}")
}

/// Numbers that look random, from a seed (SplitMix64): enough to spread runs over time.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration below this one, or none if it is none.
    fn below(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let scaled = (u128::from(self.next()) * u128::from(nanos)) >> 64;
        // Below `nanos`, so it fits.
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(nanos))
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
