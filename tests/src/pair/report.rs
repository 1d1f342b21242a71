//! What a run found, and what it should.

use std::{fmt, time::Duration};

use crate::live::Verdict;

use super::case::Case;

/// Three intervals, the skew of priority 100 (RFC 9568, section 6.1), and a bit: in which time the other gateway serves.
const GOAL: Duration = Duration::from_millis(300 + 61 + 20);
/// What Linux waits first for an answer before it retransmits, at least (`TCP_RTO_MIN`); then twice as long, and so on.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// What the machine may take beside.
const SLACK: Duration = Duration::from_millis(100);

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of what.
    pub case: Case,
    /// After which time the first question was answered that had to wait; `None` if none had to.
    pub served_again: Option<Duration>,
    /// What became of connections. Its times count from the loss.
    pub verdict: Verdict,
    /// How long the first gateway was away.
    pub lasted: Duration,
    /// How many connections broke before it came back.
    pub broken_before: usize,
    /// The ends of both logs.
    pub logs: [String; 2],
}

impl Report {
    /// How many connections broke, of all.
    pub fn broken(&self) -> (usize, usize) {
        let Verdict {
            resets,
            strays,
            misnumbered,
            unopened,
            ended,
            ..
        } = &self.verdict;
        let broken = resets + strays + misnumbered + unopened + ended;
        (broken, self.verdict.counted)
    }

    /// What a connection may wait, for how long it took until it could be served again: until the next time that it tries.
    pub fn longest_due(&self) -> Duration {
        let served = self.served_again.unwrap_or(GOAL).max(GOAL);
        let mut tries = RETRANSMISSION;
        while tries < served {
            tries = 2 * tries + RETRANSMISSION;
        }
        tries + SLACK
    }

    /// Whether the measure itself held, and nothing broke that should not.
    pub fn is_sound(&self) -> bool {
        let (broken, of) = self.broken();
        let measured = self.verdict.controls_broken == 0 && self.verdict.answers > 0 && of > 0;
        measured && (broken == 0 || !self.case.keeps_all())
    }

    /// The same, and no connection waited for longer than it had to.
    pub fn is_good(&self) -> bool {
        let in_time = self.verdict.longest.0 <= self.longest_due();
        self.is_sound() && (in_time || !self.case.keeps_all())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (broken, of) = self.broken();
        let Verdict {
            answers,
            resets,
            strays,
            ended,
            longest,
            percentile99,
            control,
            ..
        } = &self.verdict;
        let millis = |time: &Duration| time.as_millis();
        writeln!(
            f,
            "{}: {of} connections, {answers} answers; {broken} broke, {} before the return (reset {resets}, by another backend {strays}, ended {ended})",
            self.case, self.broken_before
        )?;
        let served = self.served_again.as_ref().map_or_else(
            || "none had to wait for the address".to_owned(),
            |served| format!("served again after {} ms", millis(served)),
        );
        writeln!(
            f,
            "  {served}; longest wait {} ms (due: {}), 99 in 100 at most {}; beside Sluice {}; away for {:.1} s",
            millis(&longest.0),
            millis(&self.longest_due()),
            millis(percentile99),
            millis(&control.0),
            self.lasted.as_secs_f64()
        )?;
        if self.is_good() {
            return Ok(());
        }
        writeln!(f, "  THIS IS WRONG:")?;
        for told in self.verdict.problems().iter().chain(&self.verdict.told) {
            writeln!(f, "    {told}")?;
        }
        let [first, second] = &self.logs;
        writeln!(f, "  the ends of the logs:\n{first}\n\n{second}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{Loss, When};

    #[test]
    fn a_wait_is_due_until_the_next_try() {
        let report = |served: u64| Report {
            case: Case {
                mode: "ipip".parse().unwrap(),
                loss: Loss::Host,
                when: When::Settled,
            },
            served_again: Some(Duration::from_millis(served)),
            verdict: Verdict::default(),
            lasted: Duration::ZERO,
            broken_before: 0,
            logs: Default::default(),
        };
        // Tries after 0.2, 0.6 and 1.4 s.
        assert_eq!(report(1).longest_due().as_millis(), 700);
        assert_eq!(report(590).longest_due().as_millis(), 700);
        assert_eq!(report(610).longest_due().as_millis(), 1500);
        assert!(!report(1).is_sound());
    }
}
