//! What is known of all backends' health, to read: plain data, shared without copies. It says who is
//! up and what the agents want, which is what the tables need, and why, which is what people ask.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    advice::Advice,
    history::Entry,
    machine::Status,
    member::{self, State},
    outcome::Outcome,
    pool::Mode,
};
use crate::model::{Family, Weight};

/// All pools, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Those that there are.
    pub pools: BTreeMap<String, Arc<PoolView>>,
}

/// A pool's health.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolView {
    /// How it is taken, for services of each family.
    pub modes: BTreeMap<Family, Mode>,
    /// Its backends, by name and by the family of the address.
    pub members: BTreeMap<(String, Family), Arc<MemberView>>,
}

/// The health of a backend at one address.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// What it is.
    pub state: State,
    /// Since when.
    pub since: SystemTime,
    /// What its agent wants.
    pub advice: Advice,
    /// Which tenth of its slow start it is in, if it is.
    pub slow_start: Option<u32>,
    /// What is asked of it.
    pub checks: Vec<CheckView>,
    /// What its clients' connections say of it, if that counts.
    pub passive: Option<PassiveView>,
    /// What happened lately, the oldest first.
    pub history: Vec<Entry>,
}

/// What clients' connections say of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassiveView {
    /// Nothing against it.
    Up,
    /// It fails.
    Down {
        /// Why.
        cause: String,
        /// For how long it is down at least,
        hold: Duration,
        /// which is until then.
        until: SystemTime,
    },
}

/// A check of a backend.
#[derive(Clone, Debug)]
pub struct CheckView {
    /// What is asked: `http GET /healthz`.
    pub probe: String,
    /// Whom.
    pub target: String,
    /// Up or down.
    pub status: Status,
    /// Why it last changed.
    pub cause: Option<String>,
    /// What its runs came to, live.
    pub counts: Arc<Counts>,
}

/// Counts go on by themselves: two views are one if all else is.
impl PartialEq for CheckView {
    fn eq(&self, other: &Self) -> bool {
        let of = |view: &Self| (view.probe.clone(), view.target.clone(), view.status);
        of(self) == of(other) && self.cause == other.cause
    }
}

impl MemberView {
    /// Its weight now, if it is configured with this one.
    pub fn weight_of(&self, configured: Weight) -> Weight {
        member::weight(configured, self.advice, self.slow_start)
    }
}

/// What the runs of a check came to.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Counted>);

/// The same at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Successes.
    pub passed: u64,
    /// Failures by reason.
    pub failed: BTreeMap<&'static str, u64>,
    /// Runs that said nothing, by reason.
    pub unknown: BTreeMap<&'static str, u64>,
    /// How long the last run took.
    pub last: Duration,
}

impl Counts {
    /// What they are now.
    pub fn read(&self) -> Counted {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn add(&self, outcome: &Outcome, took: Duration) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.last = took;
        match outcome {
            Outcome::Passed(_) => counted.passed += 1,
            Outcome::Failed(why) => *counted.failed.entry(why.reason()).or_default() += 1,
            Outcome::Unknown(why) => *counted.unknown.entry(why.reason()).or_default() += 1,
        }
    }
}
