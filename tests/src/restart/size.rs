//! How large a run is, and how long it takes.

use std::time::Duration;

use super::script::{self, Step};

/// A run's size.
#[derive(Clone, Debug)]
pub struct Size {
    /// How often the agent is killed.
    pub kills: u32,
    /// How often it is stopped as a service manager would.
    pub stops: u32,
    /// How often another build takes its place, or its tables get other sizes.
    pub upgrades: u32,
    /// How often it is given another configuration.
    pub reloads: u32,
    /// How often it is given one that it has to refuse.
    pub refusals: u32,
    /// Where random moments and contents come from: the same number gives the same.
    pub seed: u64,
    /// Datagrams a second. Without mishaps none of them may be lost.
    pub rate: u32,
    /// How long the run without mishaps is.
    pub calm: Duration,
    /// Connections that are open before the first mishap.
    pub connections: u32,
    /// Connections beside Sluice.
    pub controls: u32,
}

impl Size {
    /// Connections that open in a second while mishaps happen.
    pub(super) const LATE: u32 = 4;

    /// A hundred kills.
    pub fn full(seed: u64) -> Self {
        Self {
            kills: 100,
            stops: 20,
            upgrades: 30,
            reloads: 60,
            refusals: 20,
            seed,
            rate: 4000,
            calm: Duration::from_secs(30),
            connections: 200,
            controls: 20,
        }
    }

    /// Some of each, for CI.
    pub fn brief() -> Self {
        Self {
            kills: 6,
            stops: 2,
            upgrades: 3,
            reloads: 4,
            refusals: 2,
            calm: Duration::from_secs(4),
            connections: 50,
            controls: 10,
            ..Self::full(1)
        }
    }

    /// The same, but the agent stays.
    pub fn without_ends(self) -> Self {
        Self {
            kills: 0,
            stops: 0,
            upgrades: 0,
            ..self
        }
    }

    /// What happens in such a run.
    pub fn script(&self) -> Vec<Step> {
        script::script(self)
    }

    /// How long a run takes, about, with set-up and clean-up.
    pub fn length(&self) -> Duration {
        const AROUND: Duration = Duration::from_secs(20);
        const START: Duration = Duration::from_millis(1000);
        const RELOAD: Duration = Duration::from_millis(500);
        let starts = START * (self.kills + self.stops + 2 * self.upgrades);
        AROUND + self.calm + starts + RELOAD * (self.reloads + self.refusals)
    }
}
