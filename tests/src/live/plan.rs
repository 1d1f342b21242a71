//! Sizes, times and changes of a run.

use std::time::Duration;

use super::script::{self, Step};

/// A run's size.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Connections that are open before the first change.
    pub connections: u32,
    /// Connections that open evenly while changes happen.
    pub late: u32,
    /// Connections beside Sluice.
    pub controls: u32,
    /// How many connections open in a second before the first change.
    pub opening: u32,
    /// Backends with a namespace and a process.
    pub backends: usize,
    /// How many of them are in the pool at first.
    pub members: usize,
    /// The service's settle time: short, so that slots go through all of their phases in a run.
    pub settle: Duration,
    /// What happens.
    pub script: Vec<Step>,
    /// How long connections live on after the last change.
    pub tail: Duration,
    /// Whether others' SYNs and ACKs come all the while, as fast as one CPU can make them.
    pub flood: bool,
}

impl Plan {
    /// 10,000 connections and twenty changes.
    pub fn full() -> Self {
        Self {
            connections: 10_000,
            late: 2000,
            controls: 100,
            opening: 1000,
            backends: 8,
            members: 6,
            settle: Duration::from_secs(10),
            script: script::full(Duration::from_millis(2500)),
            tail: Duration::from_secs(15),
            flood: false,
        }
    }

    /// The same smaller, for CI: some ten seconds.
    pub fn brief() -> Self {
        Self {
            connections: 300,
            late: 60,
            controls: 20,
            opening: 300,
            backends: 4,
            members: 3,
            settle: Duration::from_secs(3),
            script: script::brief(Duration::from_secs(1)),
            tail: Duration::from_secs(4),
            flood: false,
        }
    }

    /// 3,000 connections and the changes of a brief run.
    pub fn middling() -> Self {
        Self {
            connections: 3000,
            late: 1000,
            opening: 1000,
            script: script::brief(Duration::from_secs(3)),
            settle: Duration::from_secs(5),
            tail: Duration::from_secs(8),
            ..Self::brief()
        }
    }

    /// The same with a flood.
    pub fn flooded(self) -> Self {
        Self {
            flood: true,
            ..self
        }
    }

    /// Nothing happens.
    pub fn without_changes(self) -> Self {
        Self {
            script: Vec::new(),
            ..self
        }
    }

    /// How long opening takes.
    fn opening_time(&self) -> Duration {
        Duration::from_secs(1) * self.connections / self.opening
    }

    /// How long the changes take, if the agent follows at once.
    pub(super) fn changing_time(&self) -> Duration {
        self.script.iter().map(|step| step.after).sum()
    }

    /// How long a run takes, about, with set-up and clean-up.
    pub fn length(&self) -> Duration {
        const AROUND: Duration = Duration::from_secs(8);
        AROUND + self.opening_time() + self.changing_time() + self.tail
    }
}
