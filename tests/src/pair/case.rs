//! What is lost, when, and how large a run is.

use std::{fmt, time::Duration};

use crate::live::Mode;

/// How the gateway that has the address is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The host: its links go down, and its agent is killed.
    Host,
    /// The agent alone (SIGKILL): its program goes on forwarding what still comes to it.
    Agent,
}

/// What slots are doing meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// All are settled.
    Settled,
    /// Some move: a backend was added a while ago, and connections have opened since.
    Moving,
}

/// A run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// How packets reach the backends.
    pub mode: Mode,
    /// What is lost.
    pub loss: Loss,
    /// What slots are doing.
    pub when: When,
}

impl Case {
    /// In modes whose flows the hash determines, everything; in the others, which have no slots that move, each loss.
    pub fn of_mode(mode: Mode) -> Vec<Self> {
        let whens: &[When] = if mode.tracked {
            &[When::Settled]
        } else {
            &[When::Settled, When::Moving]
        };
        let losses = [Loss::Host, Loss::Agent].into_iter();
        let cases = losses.flat_map(|loss| whens.iter().map(move |when| (loss, *when)));
        cases
            .map(|(loss, when)| Self { mode, loss, when })
            .collect()
    }

    /// Whether no connection may break: nothing but the hash has to be known of any.
    pub fn keeps_all(self) -> bool {
        !self.mode.tracked && self.when == When::Settled
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = match self.loss {
            Loss::Host => "host lost",
            Loss::Agent => "agent killed",
        };
        let when = match self.when {
            When::Settled => "",
            When::Moving => " while slots move",
        };
        write!(f, "{}, {loss}{when}", self.mode)
    }
}

/// How large a run is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections, of which a quarter open while slots move, where they do.
    pub connections: u32,
    /// How many of them open in a second.
    pub opening: u32,
    /// How long connections live on after the loss, and again after the return.
    pub tail: Duration,
}

impl Size {
    /// Connections as the issue of failover has them.
    pub const FULL: Self = Self {
        connections: 1000,
        opening: 250,
        tail: Duration::from_secs(6),
    };

    /// The same smaller, for CI.
    pub const BRIEF: Self = Self {
        connections: 120,
        opening: 120,
        tail: Duration::from_secs(3),
    };

    /// How long a run takes, about.
    pub fn length(self) -> Duration {
        const AROUND: Duration = Duration::from_secs(20);
        AROUND + Duration::from_secs(1) * self.connections / self.opening + 2 * self.tail
    }
}
