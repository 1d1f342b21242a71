//! What is shown of backends' health: a part of the snapshot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    health::{State, Status},
    model::Family,
};

/// How the health of a pool's backends is taken, by services of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolHealthView {
    /// The family.
    pub family: Family,
    /// How it is taken.
    pub mode: HealthMode,
    /// How many of the backends that count are up, in all modes but `normal`,
    pub up: Option<usize>,
    /// and how many count.
    pub of: Option<usize>,
}

/// How the health of a pool's backends is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthMode {
    /// Those that are up are used.
    Normal,
    /// Too few are up: health is disregarded.
    Panic,
    /// Fewer are up than there must be: none is used.
    BelowMinimum,
}

/// The health of a backend at one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// What it is: up, down, or held down since it went down too often.
    pub state: State,
    /// Since when, in seconds since 1970.
    pub since_unix_seconds: u64,
    /// Whether it is used: it is up, or health is disregarded; and not fewer are up than must be.
    pub used: bool,
    /// The weight that its agents and its slow start leave it.
    pub weight: u16,
    /// What its agents want: `drain`, `weight: 50`, `75%`; none if it has none, or they want nothing.
    pub advice: Option<String>,
    /// Which tenth of its slow start it is in, if it is.
    pub slow_start: Option<u32>,
    /// What is asked of it.
    pub checks: Vec<CheckView>,
    /// What its clients' connections say of it; none where that does not count.
    #[serde(default)]
    pub passive: Option<PassiveView>,
    /// What happened lately, the oldest first.
    pub history: Vec<HistoryView>,
}

/// What clients' connections say of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassiveView {
    /// Up or down.
    pub status: Status,
    /// Why it is down, if it is.
    pub cause: Option<String>,
    /// For how long it is down at least, if it is.
    pub hold_seconds: Option<u64>,
    /// When that is over, in seconds since 1970.
    pub until_unix_seconds: Option<u64>,
}

/// A check of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// What is asked: `http GET /healthz`; with ` #2` behind it where a second check asks the same of the same target.
    pub check: String,
    /// Whom.
    pub target: String,
    /// Up or down.
    pub status: Status,
    /// Why it last changed.
    pub cause: Option<String>,
    /// Runs that were a success.
    pub passed: u64,
    /// Runs that failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Runs that said nothing of the target, by reason.
    pub unknown: BTreeMap<String, u64>,
    /// How long the last one took.
    pub last_microseconds: u64,
}

/// Something that happened to a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// When, in seconds since 1970.
    pub at_unix_seconds: u64,
    /// What it was afterwards: `up`, `down` or `held`.
    pub state: String,
    /// What happened, and why.
    pub text: String,
}

impl HealthView {
    /// Why it is down, in the words of the first check that is, else of what its clients' connections came to.
    pub fn cause(&self) -> Option<&str> {
        let mut checks = self.checks.iter();
        let down = checks.find(|check| check.status == Status::Down);
        match down {
            Some(check) => check.cause.as_deref(),
            None => self.passive.as_ref()?.cause.as_deref(),
        }
    }
}
