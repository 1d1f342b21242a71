//! The history of one slot table as text, one JSON object a line: a [`Base`], then what happened
//! since. With it a restarted agent makes the same words again ([`Table::fold`]).
//!
//! ```text
//! {"version":1,"last_epoch":6,"inputs":{…},"starts":[…],"moving":[…],"mixed":[…]}
//! {"event":"changed","epoch":7,"time":1767225600,"inputs":{…}}
//! {"event":"mixed","epoch":6}
//! ```
//!
//! An entry is written, and is on the disk, before the words that follow from it are stored where
//! the data plane reads them; so what a crash cuts off has not happened. Backends go by name:
//! their indices may be others after a restart.
//!
//! What was settled is not logged, for it is known by sweeps and not by the inputs. So settled
//! slots may come back as MIXED, which gives every packet the same answer and lasts until the next
//! sweep. Epochs that are over drop out with the next base.
//!
//! [`Table::fold`]: super::Table::fold

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the text.
const VERSION: u32 = 1;

/// An epoch that seems to have begun before this was not logged by a clock that was right.
const PLAUSIBLE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time on the wall, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The one that goes on evenly.
    pub now: Instant,
    /// The one that restarts do not set back.
    pub unix: UnixTime,
}

/// Backends by name.
pub type Backends = BTreeMap<String, Health>;

/// All that the owners of a table's slots are made from. `S` is the table's shape: what makes all
/// its slots others if it changes (size, seed, scheduler, prefix).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs<S> {
    /// The shape.
    pub shape: S,
    /// The backends of the configuration, and those that still live without being in it.
    pub backends: Backends,
}

/// What owners depend on of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its share of new flows.
    pub weight: u16,
    /// Whether it can take new flows now.
    pub available: bool,
    /// Whether its flows are still its own.
    pub alive: bool,
}

/// What happened to a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Entry<S> {
    /// The inputs became these. With another shape, the table was replaced.
    Changed {
        /// The epoch that this began, if any slot took it.
        epoch: Option<u16>,
        /// When.
        time: Option<UnixTime>,
        /// What owners are made from now.
        inputs: Inputs<S>,
    },
    /// The MOVING slots of an epoch became MIXED.
    Mixed {
        /// The epoch.
        epoch: u16,
    },
}

/// A table at one time. The current owners follow from the inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base<S> {
    /// [`Base::VERSION`].
    pub version: u32,
    /// The number that was given to an epoch last.
    pub last_epoch: u16,
    /// What owners are made from.
    pub inputs: Inputs<S>,
    /// The epochs of slots that are not settled.
    pub starts: Vec<Started>,
    /// Slots that are MOVING.
    pub moving: Vec<MovingSlots>,
    /// Slots that are MIXED.
    pub mixed: Vec<MixedSlots>,
}

/// An epoch's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its number.
    pub epoch: u16,
    /// When it began, if known.
    pub time: Option<UnixTime>,
}

/// Slots that move from the same backend in the same epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovingSlots {
    /// The epoch.
    pub epoch: u16,
    /// The former owner's name.
    pub previous: String,
    /// Their numbers.
    pub slots: Vec<u32>,
}

/// Slots that became MIXED in the same epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MixedSlots {
    /// The epoch.
    pub epoch: u16,
    /// Their numbers.
    pub slots: Vec<u32>,
}

/// A base and what happened since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log<S> {
    /// The first line.
    pub base: Base<S>,
    /// The others.
    pub entries: Vec<Entry<S>>,
}

/// What could be read of a log.
#[derive(Debug)]
pub struct Read<S> {
    /// Everything before the damage; `None` if there was not even a base.
    pub log: Option<Log<S>>,
    /// The first line that can't be read. What follows it is not used.
    pub damage: Option<Error>,
}

/// Why a log can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line is no entry.
    #[error(
        "line {line} of the slot history can't be read: {source}; it and what follows is ignored"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Another version of Sluice wrote it.
    #[error("the slot history has version {found}, this agent reads {VERSION}; it is ignored")]
    Version {
        /// The version.
        found: u32,
    },
    /// There is no line.
    #[error("the slot history is empty; all slots count as settled")]
    Empty,
}

impl<S> Base<S> {
    /// The version that is written and read.
    pub const VERSION: u32 = VERSION;
}

impl<S: Serialize> Base<S> {
    /// The line that stands for it, with its end. A shape that JSON can't say is an error.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        line(self)
    }
}

impl<S: Serialize> Entry<S> {
    /// The line that stands for it, with its end. A shape that JSON can't say is an error.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        line(self)
    }
}

impl<S: Serialize> Log<S> {
    /// The whole text.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        let mut text = self.base.line()?;
        for entry in &self.entries {
            text += &entry.line()?;
        }
        Ok(text)
    }
}

impl<S: DeserializeOwned> Log<S> {
    /// Reads a text as far as it is whole.
    pub fn read(text: &str) -> Read<S> {
        let mut lines = (1..).zip(text.lines());
        let base = match read_base(lines.next()) {
            Ok(base) => base,
            Err(damage) => {
                return Read {
                    log: None,
                    damage: Some(damage),
                };
            }
        };
        let mut log = Self {
            base,
            entries: Vec::new(),
        };
        let mut damage = None;
        for (line, text) in lines {
            match serde_json::from_str(text) {
                Ok(entry) => log.entries.push(entry),
                Err(source) => {
                    damage = Some(Error::Line { line, source });
                    break;
                }
            }
        }
        Read {
            log: Some(log),
            damage,
        }
    }
}

impl Clock {
    /// When that was. Unknown times, ones to come and ones too long ago are now: to wait longer
    /// breaks nothing.
    pub fn instant(self, time: Option<UnixTime>) -> Instant {
        let elapsed = time.and_then(|time| self.unix.0.checked_sub(time.0));
        elapsed
            .map(Duration::from_secs)
            .filter(|elapsed| *elapsed <= PLAUSIBLE)
            .and_then(|elapsed| self.now.checked_sub(elapsed))
            .unwrap_or(self.now)
    }

    /// The time on the wall then.
    pub fn unix(self, then: Instant) -> UnixTime {
        let elapsed = self.now.saturating_duration_since(then);
        UnixTime(self.unix.0.saturating_sub(elapsed.as_secs()))
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn read_base<S: DeserializeOwned>(first: Option<(usize, &str)>) -> Result<Base<S>, Error> {
    let (line, text) = first.ok_or(Error::Empty)?;
    let damaged = |source| Error::Line { line, source };
    let Version { version: found } = serde_json::from_str(text).map_err(damaged)?;
    if found != VERSION {
        return Err(Error::Version { found });
    }
    serde_json::from_str(text).map_err(damaged)
}

fn line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value).map(|text| text + "\n")
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
