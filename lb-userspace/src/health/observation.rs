//! What was counted of backends at one moment, for whoever judges them by it.

use std::{collections::BTreeMap, time::Instant};

use lb_common::abi::{BackendRef, Handshakes};

use super::{passive::Sample, targets::MemberId};

/// How connections to backends began, up to a moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When.
    pub at: Instant,
    /// Of each backend at each address: its entry in the tables, and what is counted there.
    pub backends: BTreeMap<MemberId, (BackendRef, Handshakes)>,
}

impl Observation {
    /// That nothing was counted yet.
    pub(super) fn none(at: Instant) -> Self {
        Self {
            at,
            backends: BTreeMap::new(),
        }
    }

    /// What was counted of a backend.
    pub(super) fn of(&self, id: &MemberId) -> Option<Sample> {
        let &(backend, handshakes) = self.backends.get(id)?;
        Some(Sample {
            at: self.at,
            backend,
            handshakes,
        })
    }
}
