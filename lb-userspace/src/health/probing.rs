//! What the runner asks of whoever runs single checks: the seam where tests put stubs.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use super::{
    outcome::{Outcome, Phase},
    targets::Target,
};
use crate::model::Probe;

/// Does what one run of a check asks for.
pub trait Probing: Send + Sync + 'static {
    /// What a probe needs that can be had before it runs.
    type Prepared: Send + Sync + 'static;

    /// Prepares a probe. Is not to wait for anything.
    fn prepare(&self, probe: &Probe) -> Self::Prepared;

    /// Runs it once. Dropped if it takes too long; `progress` says how far it was then.
    fn run(
        &self,
        prepared: Arc<Self::Prepared>,
        target: Target,
        progress: Arc<Progress>,
    ) -> impl Future<Output = Outcome> + Send + 'static;
}

/// How far a run is, for whoever ends it.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

impl Progress {
    /// It has come to this phase.
    pub fn reached(&self, phase: Phase) {
        let number = match phase {
            Phase::Connecting => 0,
            Phase::Handshake => 1,
            Phase::Waiting => 2,
            Phase::Running => 3,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Connecting,
            1 => Phase::Handshake,
            3 => Phase::Running,
            _ => Phase::Waiting,
        }
    }
}
