//! Checks as they run, and what is kept of them when another configuration comes. Bookkeeping of the
//! runner, which does the rest.

use std::{collections::HashMap, mem, sync::Arc, time::Instant};

use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::{
    advice::Advice,
    backends::Place,
    machine::{Machine, Status},
    member::Opinion,
    outcome::{Outcome, Unknown},
    probing::Progress,
    snapshot::{CheckView, Counts},
    targets::{Run, Target},
};
use crate::model::Probe;

/// One check of one target.
pub(super) struct Check<P> {
    pub(super) run: Run,
    pub(super) prepared: Arc<P>,
    pub(super) machine: Machine,
    /// The backends that it is about.
    pub(super) users: Vec<Place>,
    /// How many runs have begun.
    pub(super) number: u64,
    pub(super) under_way: Option<UnderWay>,
    pub(super) progress: Arc<Progress>,
    pub(super) counts: Arc<Counts>,
    pub(super) cause: Option<String>,
    /// Whether the last run could not be made; told once.
    pub(super) unable: bool,
}

/// What there was before another configuration.
pub(super) struct Known<P> {
    pub(super) same: HashMap<Run, (u64, Check<P>)>,
    /// What those that ask the same of the same target found, whatever their pace.
    pub(super) alike: HashMap<(Arc<Probe>, Target), (Status, Advice)>,
    /// Probes are prepared anew even where they are the same: files that they name may have changed.
    pub(super) prepared: HashMap<Arc<Probe>, Arc<P>>,
}

impl<P> Known<P> {
    pub(super) fn of(checks: HashMap<u64, Check<P>>) -> Self {
        let mut known = Self {
            same: HashMap::new(),
            alike: HashMap::new(),
            prepared: HashMap::new(),
        };
        for (id, mut check) in checks {
            check.users.clear();
            let run = check.run.clone();
            let found = (check.machine.status(), check.machine.advice());
            known
                .alike
                .insert((Arc::clone(&run.probe), run.target), found);
            known.same.insert(run, (id, check));
        }
        known
    }
}

impl<P> Check<P> {
    pub(super) fn new(run: Run, prepared: Arc<P>, machine: Machine) -> Self {
        Self {
            run,
            prepared,
            machine,
            users: Vec::new(),
            number: 0,
            under_way: None,
            progress: Arc::default(),
            counts: Arc::default(),
            cause: None,
            unable: false,
        }
    }

    /// The next run's progress; what an ended one may still say goes nowhere.
    pub(super) fn begin(&mut self) -> Arc<Progress> {
        self.number += 1;
        self.progress = Arc::default();
        Arc::clone(&self.progress)
    }

    /// Says once that runs can't be made, and once that they can again.
    pub(super) fn tell_unable(&mut self, outcome: &Outcome) {
        let (probe, target) = (&self.run.probe, self.run.target);
        match outcome {
            Outcome::Unknown(Unknown::Local(words)) => {
                if !mem::replace(&mut self.unable, true) {
                    warn!("the {probe} check of {target} can't be run: {words}");
                }
            }
            Outcome::Passed(_)
            | Outcome::Failed(_)
            | Outcome::Unknown(Unknown::NoWay | Unknown::NoAgent(_)) => {
                if mem::replace(&mut self.unable, false) {
                    info!("the {probe} check of {target} can be run again");
                }
            }
        }
    }

    pub(super) fn view(&self) -> CheckView {
        CheckView {
            probe: self.run.probe.to_string(),
            target: self.run.target.to_string(),
            status: self.machine.status(),
            cause: self.cause.clone(),
            counts: Arc::clone(&self.counts),
        }
    }
}

/// What a check says of its backends.
pub(super) fn opinion<P>(checks: &HashMap<u64, Check<P>>, id: u64) -> Opinion {
    let machine = checks.get(&id).map(|check| &check.machine);
    Opinion {
        status: machine.map_or(Status::Up, Machine::status),
        advice: machine.map(Machine::advice).unwrap_or_default(),
    }
}

/// A run under way, which ends with its check.
pub(super) struct UnderWay {
    pub(super) task: AbortHandle,
    pub(super) began: Instant,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
