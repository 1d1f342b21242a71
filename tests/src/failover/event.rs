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
    /// What it tracks fails: the only backend of a pool for ours, a script for keepalived.
    Tracked,
    /// All of what moves its address stands still but the thread that adverts come from, and goes on afterwards.
    Hung,
    /// An operator has it give everything up and take nothing, for a while.
    Maintenance,
    /// An operator has it give its address up. Afterwards the other one does.
    Resigned,
}

/// What is to be expected of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The other host finds out by itself.
    Failure,
    /// The other host is told.
    Handover,
    /// The host has to find out by itself that it is not well, and tells the other one then.
    Noticed,
    /// Two have the address, and one of them gives way.
    Return,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Killed,
        Self::Suspended,
        Self::Cut,
        Self::Stopped,
        Self::Maintenance,
        Self::Resigned,
        Self::Tracked,
        Self::Hung,
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
            Self::Tracked => "tracked",
            Self::Hung => "hung",
            Self::Maintenance => "maintained",
            Self::Resigned => "resigned",
        }
    }

    /// What is measured when it happens.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Killed | Self::Suspended | Self::Cut | Self::Split => Kind::Failure,
            Self::Stopped | Self::Maintenance | Self::Resigned => Kind::Handover,
            Self::Tracked | Self::Hung => Kind::Noticed,
        }
    }

    /// What its end is called, where that is of interest: the host believes that it still has the address.
    pub(super) fn end(self) -> Option<&'static str> {
        match self {
            Self::Suspended => Some("resumed"),
            Self::Split => Some("healed"),
            Self::Killed
            | Self::Cut
            | Self::Stopped
            | Self::Tracked
            | Self::Hung
            | Self::Maintenance
            | Self::Resigned => None,
        }
    }

    /// How long all has to have been well before it happens. Where two hosts have the address for a while it matters who
    /// tells neighbours so next: keepalived does once more five seconds after it has taken it.
    pub(super) fn calm(self) -> Duration {
        match self.end() {
            None => Duration::from_millis(100),
            Some(_) => Duration::from_millis(5500),
        }
    }

    /// How long it may take the host to notice.
    pub(super) fn unnoticed(self) -> Duration {
        match self {
            Self::Hung => Duration::from_secs(10),
            Self::Tracked => Duration::from_secs(1),
            Self::Killed
            | Self::Suspended
            | Self::Cut
            | Self::Stopped
            | Self::Split
            | Self::Maintenance
            | Self::Resigned => Duration::ZERO,
        }
    }

    /// Whether the address goes from the host that it happens to.
    pub(super) fn releases(self) -> bool {
        match self {
            Self::Killed | Self::Suspended | Self::Split => false,
            Self::Cut
            | Self::Stopped
            | Self::Tracked
            | Self::Hung
            | Self::Maintenance
            | Self::Resigned => true,
        }
    }

    /// Whether a product has it.
    pub fn happens_to(self, product: Product) -> bool {
        match self {
            Self::Killed
            | Self::Suspended
            | Self::Cut
            | Self::Stopped
            | Self::Split
            | Self::Tracked => true,
            Self::Maintenance | Self::Resigned | Self::Hung => product == Product::Sluice,
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
            Self::Failure | Self::Noticed | Self::Return => None,
        }
    }

    /// Whether no datagram to the service may be lost.
    pub(super) fn loses_none(self) -> bool {
        match self {
            Self::Handover => true,
            Self::Failure | Self::Noticed | Self::Return => false,
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
