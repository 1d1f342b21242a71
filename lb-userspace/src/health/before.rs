//! What backends were when they were last seen, so that an agent that starts anew sends nothing to those
//! that were down, and takes none away that was up, before it knows better.

use std::{collections::BTreeMap, time::Instant};

use serde::{Deserialize, Serialize};

use super::{machine::Machine, member::State, snapshot::Snapshot, targets::MemberId};
use crate::model::{Initial, Pace};

/// The states of backends, to keep and to begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before(Vec<(MemberId, State)>);

impl Before {
    /// What they are now.
    pub fn of(snapshot: &Snapshot) -> Self {
        let pools = snapshot.pools.iter();
        let states = pools.flat_map(|(pool, view)| {
            view.members.iter().map(|((backend, family), member)| {
                let id = MemberId {
                    pool: pool.clone(),
                    backend: backend.clone(),
                    family: *family,
                };
                (id, member.state)
            })
        });
        Self(states.collect())
    }

    /// By name.
    pub(super) fn states(&self) -> BTreeMap<&MemberId, State> {
        self.0.iter().map(|(id, state)| (id, *state)).collect()
    }
}

/// A check of a backend that was this, or is new: what was known needs as many results as ever to change.
pub(super) fn machine(was: Option<State>, pace: Pace, seed: u64, now: Instant) -> Machine {
    let initial = match was {
        None => pace.initial,
        Some(State::Up) => Initial::FullyUp,
        Some(State::Down | State::Held) => Initial::FullyDown,
    };
    Machine::new(Pace { initial, ..pace }, seed, now)
}
