//! What happens to the host that has the address.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Result, bail};

use super::{
    interval::Interval,
    router::{BACKUP, Product},
};

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// What moves its address is killed (SIGKILL), and started again afterwards.
    Killed,
    /// It is stopped half-way (SIGSTOP), and goes on afterwards.
    Suspended,
    /// The cable to its interface is cut, and repaired afterwards.
    Cut,
    /// It is stopped as a service manager does (SIGTERM), and started again afterwards.
    Stopped,
    /// The network falls into two parts, of which the client is in the other one.
    Split,
}

/// What is to be expected of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The other host finds out by itself.
    Failure,
    /// The other host is told.
    Handover,
    /// Two have the address, and one of them gives way.
    Return,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Killed,
        Self::Suspended,
        Self::Cut,
        Self::Stopped,
        Self::Split,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Suspended => "suspended",
            Self::Cut => "cut",
            Self::Stopped => "stopped",
            Self::Split => "split",
        }
    }

    /// What is measured when it happens.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Killed | Self::Suspended | Self::Cut | Self::Split => Kind::Failure,
            Self::Stopped => Kind::Handover,
        }
    }

    /// What its end is called, where that is of interest: the host believes that it still has the address.
    pub(super) fn end(self) -> Option<&'static str> {
        match self {
            Self::Suspended => Some("resumed"),
            Self::Split => Some("healed"),
            Self::Killed | Self::Cut | Self::Stopped => None,
        }
    }

    /// Whether the address goes from the host that it happens to.
    pub(super) fn releases(self) -> bool {
        match self {
            Self::Killed | Self::Suspended | Self::Split => false,
            Self::Cut | Self::Stopped => true,
        }
    }

    /// Whether a product has it.
    pub fn happens_to(self, product: Product) -> bool {
        match (self, product) {
            (
                Self::Killed | Self::Suspended | Self::Cut | Self::Stopped | Self::Split,
                Product::Sluice | Product::Keepalived,
            ) => true,
        }
    }
}

impl Kind {
    /// The longest time to the first packet from the other host that is good.
    pub(super) fn goal(self, interval: Interval) -> Option<Duration> {
        /// What the other host may take for what it does once it knows.
        const WORK: Duration = Duration::from_millis(20);
        match self {
            Self::Failure if interval.time() == Duration::from_millis(100) => {
                Some(interval.down(BACKUP) + WORK)
            }
            Self::Failure if interval.time() == Duration::from_millis(10) => {
                Some(Duration::from_millis(60))
            }
            Self::Handover => Some(Duration::from_millis(20)),
            Self::Failure | Self::Return => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Event {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut named = Self::ALL.into_iter().filter(|event| event.name() == text);
        match named.next() {
            Some(event) => Ok(event),
            None => bail!(
                "no event {text:?}: there are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        }
    }
}
