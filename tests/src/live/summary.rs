//! What a run found, for a reader.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{mode::Mode, script::Change, verdict::Verdict};

/// A change that was made.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// When, since the first connection opened.
    pub(super) at: Duration,
    /// What.
    pub(super) change: Change,
    /// How long until the agent showed it.
    pub(super) took: Duration,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Summary {
    pub(super) mode: Mode,
    /// What broke.
    pub verdict: Verdict,
    pub(super) changes: usize,
    pub(super) events: Vec<Event>,
    /// The most exceptions that the agent counted; nothing if it counts none.
    pub exceptions: Option<f64>,
    /// Packets a second that a flood sent, if there was one.
    pub flood: Option<f64>,
    /// What the agent dropped or left to the kernel on the gateway's interfaces, by reason.
    pub(super) reasons: BTreeMap<String, f64>,
    pub(super) log: String,
}

impl Summary {
    /// Whether nothing broke.
    pub fn is_good(&self) -> bool {
        self.verdict.is_good()
    }

    /// Whether the service recorded every flow.
    pub fn is_tracked(&self) -> bool {
        self.mode.tracked
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, verdict, .. } = self;
        let Verdict {
            counted,
            lost,
            answers,
            ..
        } = verdict;
        writeln!(
            f,
            "{mode}: {counted} connections, {answers} answers, {} changes",
            self.changes
        )?;
        writeln!(
            f,
            "  resets {}, wrong backends {}, twice or lost {}, never open {}, ended {}, stalled {}",
            verdict.resets,
            verdict.strays,
            verdict.misnumbered,
            verdict.unopened,
            verdict.ended,
            verdict.stalled
        )?;
        writeln!(
            f,
            "  longest wait {}, 99 in 100 at most {}; beside Sluice {}; limit {}",
            wait(verdict.longest),
            millis(verdict.percentile99),
            wait(verdict.control),
            millis(verdict.limit)
        )?;
        if let Some(rate) = self.flood {
            let (late, broken) = verdict.late;
            writeln!(
                f,
                "  flood of {:.0},000 packets a second; {late} connections more began in it, {broken} broke",
                rate / 1000.0
            )?;
        }
        match self.exceptions {
            Some(most) => writeln!(f, "  exceptions at most {most}")?,
            None => writeln!(f, "  exceptions not counted by this agent")?,
        }
        if *lost > 0 {
            writeln!(f, "  {lost} connections more were of killed backends")?;
        }
        let shares = verdict.shares.iter();
        let shares: Vec<_> = shares
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(f, "  connections by backend: {}", shares.join(", "))?;
        for Event { at, change, took } in &self.events {
            let at = at.as_secs_f64();
            writeln!(f, "  {at:6.1} s  {change}, shown after {}", millis(*took))?;
        }
        if self.is_good() {
            return writeln!(f, "  no flow broke");
        }
        writeln!(f, "  THIS IS WRONG:")?;
        for problem in verdict.problems().iter().chain(&verdict.told) {
            writeln!(f, "    {problem}")?;
        }
        writeln!(f, "    dropped or passed: {:?}", self.reasons)?;
        writeln!(f, "  the end of sluice's log:\n{}", self.log)
    }
}

/// How long, and from when on.
fn wait((took, since): (Duration, Duration)) -> String {
    format!("{} (from {:.1} s on)", millis(took), since.as_secs_f64())
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
