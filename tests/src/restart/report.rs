//! What a run found, for a reader.

use std::{fmt, ops::Range, time::Duration};

use anyhow::{Result, ensure};

use crate::live::{Mode, Verdict};

use super::{script::Mishap, tally::Tally};

/// How many gaps are told of one by one.
const TOLD: usize = 10;

/// What happened, and when.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Since the first datagram of its phase.
    pub(super) at: Duration,
    /// The datagram that was sent next.
    pub(super) number: u64,
    /// What.
    pub(super) mishap: Mishap,
}

/// What became of datagrams and connections in a phase.
#[derive(Clone, Debug)]
pub struct Phase {
    /// How long it took.
    pub(super) length: Duration,
    /// The first datagram's number.
    pub(super) first: u64,
    /// Frames of any kind that devices lost on the way.
    pub(super) devices: u64,
    /// The datagrams.
    pub tally: Tally,
    /// The connections.
    pub verdict: Verdict,
}

impl Phase {
    /// All that is wrong.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.tally.problems();
        problems.extend(self.verdict.problems());
        problems
    }

    /// An error if something was lost though nothing happened: then nothing can be said about what is
    /// lost when something does.
    pub(super) fn expect_clean(&self, rate: u32) -> Result<()> {
        let problems = self.problems().join(", ");
        ensure!(
            problems.is_empty(),
            "without any mishap {problems}: {rate} datagrams a second are too many here, or something else \
             is wrong; a run with mishaps would say nothing"
        );
        Ok(())
    }

    /// Datagrams a second.
    fn rate(&self) -> f64 {
        self.tally.sent as f64 / self.length.as_secs_f64().max(f64::EPSILON)
    }

    /// How long so many datagrams took.
    fn time(&self, datagrams: u64) -> Duration {
        Duration::from_secs_f64(datagrams as f64 / self.rate().max(1.0))
    }
}

/// One line of datagrams, two of connections.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            length,
            devices,
            tally,
            verdict,
            ..
        } = self;
        writeln!(
            f,
            "    {} datagrams in {:.1} s, {:.0} a second: {} received, {} missing, {} twice, {} foreign, longest \
             gap {} ms",
            tally.sent,
            length.as_secs_f64(),
            self.rate(),
            tally.sent - tally.lost(),
            tally.lost(),
            tally.again,
            tally.foreign,
            self.time(tally.longest()).as_millis()
        )?;
        writeln!(
            f,
            "    {} connections, {} answers: {} resets, {} at wrong backends, {} with answers twice or lost, {} \
             never open, {} ended, {} stalled",
            verdict.counted,
            verdict.answers,
            verdict.resets,
            verdict.strays,
            verdict.misnumbered,
            verdict.unopened,
            verdict.ended,
            verdict.stalled
        )?;
        writeln!(
            f,
            "    longest wait {} ms, beside Sluice {} ms; {devices} frames lost by devices",
            verdict.longest.0.as_millis(),
            verdict.control.0.as_millis()
        )
    }
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) mode: Mode,
    pub(super) seed: u64,
    /// What became of packets while nothing happened; nothing is wrong with it.
    pub calm: Phase,
    /// What became of them while something did.
    pub upset: Phase,
    pub(super) events: Vec<Event>,
    pub(super) log: String,
}

impl Report {
    /// Whether no packet was lost and no connection broke.
    pub fn is_good(&self) -> bool {
        self.upset.problems().is_empty()
    }

    /// How often another process was the agent.
    pub fn restarts(&self) -> usize {
        self.count(Mishap::restarts)
    }

    /// How often the agent was told to read a configuration, right or wrong.
    pub fn reloads(&self) -> usize {
        self.count(|mishap| matches!(mishap, Mishap::Reload(_) | Mishap::Mislead(_)))
    }

    fn count(&self, of: impl Fn(Mishap) -> bool) -> usize {
        self.events.iter().filter(|event| of(event.mishap)).count()
    }

    /// A gap, and what had happened how many datagrams before.
    fn gap(&self, gap: &Range<u64>) -> String {
        let count = gap.end - gap.start;
        let mut before = self.events.iter().rev();
        let cause = before.find(|event| event.number <= gap.start);
        let (since, what) = match cause {
            None => (self.upset.first, "the first".to_owned()),
            Some(Event { at, number, mishap }) => {
                (*number, format!("{mishap} at {:.3} s", at.as_secs_f64()))
            }
        };
        format!(
            "{count} datagrams ({} ms) from {} on, {} after {what}",
            self.upset.time(count).as_millis(),
            gap.start,
            gap.start - since
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (restarts, reloads) = (self.restarts(), self.reloads());
        let Self {
            mode,
            seed,
            calm,
            upset,
            ..
        } = self;
        writeln!(f, "{mode}, --seed {seed}")?;
        write!(f, "  no mishaps\n{calm}")?;
        write!(f, "  {restarts} restarts, {reloads} reloads\n{upset}")?;
        if self.is_good() {
            return writeln!(f, "  no packet was lost, no connection broke");
        }
        writeln!(f, "  THIS IS WRONG:")?;
        let told = upset.verdict.told.iter();
        for problem in upset.problems().iter().chain(told) {
            writeln!(f, "    {problem}")?;
        }
        for gap in upset.tally.missing.iter().take(TOLD) {
            writeln!(f, "    {}", self.gap(gap))?;
        }
        writeln!(f, "  the end of sluice's log:\n{}", self.log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(missing: Option<Range<u64>>) -> Phase {
        Phase {
            length: Duration::from_secs(10),
            first: 1000,
            devices: 0,
            tally: Tally {
                sent: 10_000,
                missing: missing.into_iter().collect(),
                ..Tally::default()
            },
            verdict: Verdict {
                answers: 5,
                ..Verdict::default()
            },
        }
    }

    fn report(missing: Option<Range<u64>>) -> Report {
        let event = |at, mishap| Event {
            at: Duration::from_secs(at),
            number: 1000 + at * 1000,
            mishap,
        };
        Report {
            mode: Mode::ALL[0],
            seed: 7,
            calm: phase(None),
            upset: phase(missing),
            events: vec![event(1, Mishap::Kill), event(3, Mishap::Stop)],
            log: String::new(),
        }
    }

    #[test]
    fn a_loss_is_told_with_what_was_before_it() {
        let lost = report(Some(2500..2600));
        assert!(!lost.is_good());
        let told = lost.to_string();
        assert!(
            told.contains("100 datagrams (100 ms) from 2500 on, 500 after killed at 1.000 s"),
            "{told}"
        );
        assert!(report(None).is_good());
    }

    #[test]
    fn a_loss_without_mishaps_is_an_error_that_says_so() {
        assert!(phase(None).expect_clean(4000).is_ok());
        let error = phase(Some(1000..1001)).expect_clean(4000).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(
                "without any mishap 1 of 10000 datagrams are missing: 4000 datagrams a second"
            ),
            "{told}"
        );
    }
}
