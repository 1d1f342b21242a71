//! What backends were when they were last seen, so that an agent that starts anew sends nothing to those
//! that were down, and takes none away that was up, before it knows better.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{machine::Machine, member::State, snapshot::Snapshot, targets::MemberId};
use crate::{
    model::{Initial, Pace},
    unix_time::unix_seconds,
};

/// What backends were, to keep and to begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before(Vec<Seen>);

/// What a backend was, and since when, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    #[serde(flatten)]
    id: MemberId,
    state: State,
    since_unix_seconds: u64,
}

impl Before {
    /// What they are now.
    pub fn of(snapshot: &Snapshot) -> Self {
        let pools = snapshot.pools.iter();
        let seen = pools.flat_map(|(pool, view)| {
            view.members.iter().map(|((backend, family), member)| Seen {
                id: MemberId {
                    pool: pool.clone(),
                    backend: backend.clone(),
                    family: *family,
                },
                state: member.state,
                since_unix_seconds: unix_seconds(member.since),
            })
        });
        Self(seen.collect())
    }

    /// By name: what it was, and since when.
    pub(super) fn states(&self) -> BTreeMap<&MemberId, (State, SystemTime)> {
        let since = |seen: &Seen| UNIX_EPOCH + Duration::from_secs(seen.since_unix_seconds);
        let states = self.0.iter();
        states
            .map(|seen| (&seen.id, (seen.state, since(seen))))
            .collect()
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
