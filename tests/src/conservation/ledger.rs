//! The counts of a run, each by somebody else, and whether they agree.

use std::{collections::BTreeMap, fmt};

use crate::metrics::Metrics;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Frames that went to the gateway.
    pub sent: u64,
    /// Frames that the gateway's devices received.
    pub devices: u64,
    /// Frames that came out, at either end.
    pub came_out: u64,
    /// Frames that the gateway's kernel got.
    pub reached_kernel: u64,
    /// Frames that a device or a packet socket lost: then nothing can be said.
    pub lost: u64,
    /// What `/metrics` says.
    pub told: Told,
    /// What came out, by service, family and direction.
    pub kinds: BTreeMap<String, u64>,
    /// Frames that came out and should not have, as they did: the first few.
    pub unsound: Vec<String>,
}

/// The agent's own counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Received.
    pub received: u64,
    /// Forwarded.
    pub forwarded: u64,
    /// Answered by a frame made here.
    pub answered: u64,
    /// Passed to the kernel, by reason.
    pub passed: BTreeMap<String, u64>,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Told {
    /// Reads a scrape.
    pub(super) fn read(metrics: &Metrics) -> Self {
        let sum = |what: &str| {
            let name = format!("sluice_interface_{what}_packets_total");
            metrics.sum(&name, &[]).unwrap_or(0.0) as u64
        };
        let by_reason = |what: &str| {
            let mut reasons = BTreeMap::new();
            for sample in metrics.named(&format!("sluice_interface_{what}_packets_total")) {
                if let Some(reason) = sample.labels.get("reason") {
                    *reasons.entry(reason.clone()).or_default() += sample.value as u64;
                }
            }
            reasons
        };
        Self {
            received: sum("received"),
            forwarded: sum("forwarded"),
            answered: sum("answered"),
            passed: by_reason("passed"),
            dropped: by_reason("dropped"),
        }
    }

    /// What was counted since `earlier`.
    pub(super) fn since(mut self, earlier: &Self) -> Self {
        self.received -= earlier.received;
        self.forwarded -= earlier.forwarded;
        self.answered -= earlier.answered;
        for (now, before) in [
            (&mut self.passed, &earlier.passed),
            (&mut self.dropped, &earlier.dropped),
        ] {
            for (reason, count) in now.iter_mut() {
                *count -= before.get(reason).copied().unwrap_or(0);
            }
            now.retain(|_, count| *count > 0);
        }
        self
    }
}

impl Ledger {
    /// What doesn't agree.
    pub fn problems(&self) -> Vec<String> {
        let Told {
            received,
            forwarded,
            answered,
            passed,
            dropped,
        } = &self.told;
        let (passed, dropped): (u64, u64) = (passed.values().sum(), dropped.values().sum());
        let mut problems = Vec::new();
        let mut compare = |what: &str, counted: u64, told: u64| {
            if counted != told {
                problems.push(format!("{what}: {counted} counted outside, {told} told"));
            }
        };
        compare("lost by devices and sockets", self.lost, 0);
        compare("received by devices", self.devices, self.sent);
        compare("received", self.sent, *received);
        compare("forwarded or answered", self.came_out, forwarded + answered);
        compare("passed", self.reached_kernel, passed);
        let rest = self
            .sent
            .saturating_sub(self.came_out + self.reached_kernel);
        compare("dropped", rest, dropped);
        problems.extend(self.unsound.iter().cloned());
        problems
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            came_out,
            reached_kernel,
            told,
            ..
        } = self;
        writeln!(
            f,
            "{sent} sent, {came_out} came out, {reached_kernel} reached the kernel"
        )?;
        writeln!(
            f,
            "told: {} received, {} forwarded, {} answered",
            told.received, told.forwarded, told.answered
        )?;
        for (what, reasons) in [("passed", &told.passed), ("dropped", &told.dropped)] {
            for (reason, count) in reasons {
                writeln!(f, "  {what} {reason:26} {count:>9}")?;
            }
        }
        for (kind, count) in &self.kinds {
            writeln!(f, "  {kind:34} {count:>9}")?;
        }
        for problem in self.problems() {
            writeln!(f, "WRONG: {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_nobody_answers_for_is_found() {
        let balanced = Ledger {
            sent: 10,
            devices: 10,
            came_out: 5,
            reached_kernel: 3,
            told: Told {
                received: 10,
                forwarded: 4,
                answered: 1,
                passed: [("arp".to_owned(), 3)].into(),
                dropped: [("ttl_expired".to_owned(), 2)].into(),
            },
            ..Ledger::default()
        };
        assert!(balanced.problems().is_empty());
        type Break = fn(&mut Ledger);
        let breaks: [Break; 7] = [
            |ledger| ledger.devices -= 1,
            |ledger| ledger.came_out -= 1,
            |ledger| ledger.reached_kernel += 1,
            |ledger| ledger.lost += 1,
            |ledger| ledger.told.received += 1,
            |ledger| ledger.told.dropped.clear(),
            |ledger| ledger.unsound.push("odd".to_owned()),
        ];
        for broken in breaks {
            let mut ledger = balanced.clone();
            broken(&mut ledger);
            assert!(!ledger.problems().is_empty(), "{ledger}");
        }
    }
}
