//! Decides, for one backend at one address, whether clients' connections speak against it: their SYNs go unanswered, or
//! are answered by resets. Counts and the time in; a status, its cause and how long it holds out.
//!
//! ```text
//!       ┌── LEAST SYNs, none of them answered within PATIENCE ──┐
//!       │   LEAST answers, half of them resets at least         ▼
//!      up                                                     down, for a HOLD
//!       ▲                                                       │ twice as long each time that it fails again,
//!       └── the hold is over, and its checks (if any) have ◄────┘ until it has been up and answered for as long
//!           passed since
//! ```
//!
//! Whom nobody asks for a connection, nothing speaks against; nor against who answers, unless resets are half of that.
//! A backend that is down gets no new flows, so only time and other checks can say that it may be well again. Where it
//! is used all the same (panic), what its connections come to then counts at the end of the hold.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use humantime::format_duration;
use lb_common::abi::{BackendRef, Handshakes};

use super::machine::Status;

/// How long a SYN may go without an answer: time enough for a second one, which comes after a second (RFC 6298, section
/// 2), and for its answer. Not a whole number of looks, so that none is too early by a hair.
pub(super) const PATIENCE: Duration = Duration::from_millis(2_500);

/// How far back answers count, and SYNs beyond the patience that they have.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Connections that must have failed: few are chance, or one client's.
pub(super) const LEAST: u64 = 5;

/// How long one that fails is down at least.
pub(super) const HOLD: Duration = Duration::from_secs(10);

/// The same for one that fails again and again.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(300);

/// What was counted of a backend up to a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// When.
    pub at: Instant,
    /// Which entry in the tables it is: another one's counts are not to be compared.
    pub backend: BackendRef,
    /// The counts.
    pub handshakes: Handshakes,
}

/// What speaks against a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// So many SYNs, and not one answered, within this time.
    Unanswered(u64, Duration),
    /// So many resets, of so many answers, within this time.
    Refused(u64, u64, Duration),
}

/// That a backend is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// Why.
    pub cause: String,
    /// For so long at least,
    pub length: Duration,
    /// which is until then.
    pub until: Instant,
}

/// One backend at one address, by what its clients' connections come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Passive {
    /// Of one entry in the tables, the oldest first.
    samples: VecDeque<Sample>,
    hold: Option<Hold>,
    returned: Option<Returned>,
}

/// What is remembered of a hold that is over.
#[derive(Clone, Copy, Debug)]
struct Returned {
    at: Instant,
    length: Duration,
    /// Whether it has answered since.
    answered: bool,
}

impl Passive {
    /// One that was down when it was last seen.
    pub(super) fn resumed(hold: Hold) -> Self {
        Self {
            hold: Some(hold),
            ..Self::default()
        }
    }

    /// What it is.
    pub(super) fn status(&self) -> Status {
        match self.hold {
            Some(_) => Status::Down,
            None => Status::Up,
        }
    }

    /// That it is down, if it is.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// How long it was down, if it has come back.
    pub(super) fn came_back_after(&self) -> Option<Duration> {
        self.returned.map(|returned| returned.length)
    }

    /// Takes note of what was counted; `passed`: whether its checks have passed since it went down. Whether anything
    /// is otherwise than before.
    pub(super) fn look(&mut self, sample: Sample, passed: bool) -> bool {
        self.remember(sample);
        let now = sample.at;
        match &self.hold {
            Some(hold) if now < hold.until || !passed => {
                // What was under way when it went down says nothing new.
                if now + hold.length < hold.until + PATIENCE {
                    self.begin_anew();
                }
                false
            }
            Some(hold) => {
                self.returned = Some(Returned {
                    at: now,
                    length: hold.length,
                    answered: false,
                });
                self.hold = None;
                if !self.judge(now) {
                    self.begin_anew();
                }
                true
            }
            None => self.judge(now),
        }
    }

    /// Begins a hold if there is evidence; whether there is.
    fn judge(&mut self, now: Instant) -> bool {
        let Some(evidence) = self.evidence(now) else {
            return false;
        };
        let length = self.next_hold(now);
        self.hold = Some(Hold {
            cause: evidence.to_string(),
            length,
            until: now + length,
        });
        // What comes of it while it is down is judged by itself.
        self.begin_anew();
        true
    }

    /// Forgets what was counted before the last sample.
    fn begin_anew(&mut self) {
        let last = self.samples.len().saturating_sub(1);
        self.samples.drain(..last);
    }

    fn next_hold(&self, now: Instant) -> Duration {
        let Some(returned) = self.returned else {
            return HOLD;
        };
        let up = now.saturating_duration_since(returned.at);
        match returned.answered && up >= returned.length {
            true => HOLD,
            false => (2 * returned.length).min(LONGEST_HOLD),
        }
    }

    fn remember(&mut self, sample: Sample) {
        let last = self.samples.back().copied();
        if last.is_some_and(|last| last.backend != sample.backend || last.at > sample.at) {
            self.samples.clear();
        }
        let answered = |last: Sample| sample.handshakes.answered > last.handshakes.answered;
        if let Some(returned) = &mut self.returned {
            returned.answered |= last.is_some_and(answered);
        }
        self.samples.push_back(sample);
        let old = |old: &Sample| old.at + WINDOW + PATIENCE < sample.at;
        while self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
    }

    /// What speaks against it.
    fn evidence(&self, now: Instant) -> Option<Evidence> {
        self.refused(now).or_else(|| self.unanswered(now))
    }

    /// SYNs since its last answer that have had time enough for one.
    fn unanswered(&self, now: Instant) -> Option<Evidence> {
        let latest = self.samples.back()?.handshakes;
        let mut samples = self.samples.iter();
        let base = samples.find(|sample| sample.handshakes.answered == latest.answered)?;
        let mut due = samples.rev();
        let due = due.find(|sample| now.saturating_duration_since(sample.at) >= PATIENCE)?;
        let asked = due.handshakes.syns.saturating_sub(base.handshakes.syns);
        let refused = latest.refused.saturating_sub(base.handshakes.refused);
        let count = asked.saturating_sub(refused);
        let time = now.saturating_duration_since(base.at);
        (count >= LEAST).then_some(Evidence::Unanswered(count, time))
    }

    /// Answers of late, over the longest time in which resets are half of them at least.
    fn refused(&self, now: Instant) -> Option<Evidence> {
        let latest = self.samples.back()?.handshakes;
        self.samples.iter().find_map(|base| {
            let time = now.saturating_duration_since(base.at);
            let refused = latest.refused.saturating_sub(base.handshakes.refused);
            let answered = latest.answered.saturating_sub(base.handshakes.answered);
            let all = refused + answered;
            let counts = time <= WINDOW && all >= LEAST && 2 * refused >= all;
            counts.then_some(Evidence::Refused(refused, all, time))
        })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |time: Duration| {
            format_duration(Duration::from_secs(
                (time.as_millis().div_ceil(1000)) as u64,
            ))
        };
        match self {
            Self::Unanswered(count, time) => {
                write!(
                    f,
                    "{count} SYNs of clients unanswered within {}",
                    whole(*time)
                )
            }
            Self::Refused(refused, of, time) => write!(
                f,
                "{refused} of {of} SYNs of clients refused by reset within {}",
                whole(*time)
            ),
        }
    }
}

#[cfg(test)]
#[path = "passive_tests.rs"]
mod tests;
