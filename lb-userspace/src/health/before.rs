//! What backends were when they were last seen, so that an agent that starts anew sends nothing to those
//! that were down, and takes none away that was up, before it knows better.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{
    machine::{Machine, Status},
    member::State,
    passive::{Hold, Passive},
    snapshot::{MemberView, PassiveView, Snapshot},
    targets::MemberId,
};
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passive: Option<SeenPassive>,
}

/// That clients' connections spoke against a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SeenPassive {
    cause: String,
    hold_seconds: u64,
    until_unix_seconds: u64,
    /// What its checks said meanwhile: they may be other pools' as well.
    checked: Status,
}

/// What is known of one backend from before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past<'a> {
    seen: &'a Seen,
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
                passive: SeenPassive::of(member),
            })
        });
        Self(seen.collect())
    }

    /// By name.
    pub(super) fn pasts(&self) -> BTreeMap<&MemberId, Past<'_>> {
        let seen = self.0.iter();
        seen.map(|seen| (&seen.id, Past { seen })).collect()
    }
}

impl Past<'_> {
    /// What it was.
    pub(super) fn state(self) -> State {
        self.seen.state
    }

    /// Since when.
    pub(super) fn since(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.seen.since_unix_seconds)
    }

    /// What its checks said.
    pub(super) fn checked(self) -> State {
        match self.seen.passive.as_ref().map(|passive| passive.checked) {
            Some(Status::Up) => State::Up,
            Some(Status::Down) => State::Down,
            None => self.seen.state,
        }
    }

    /// What its clients' connections said: what is left of its hold goes on.
    pub(super) fn passive(self, now: Instant, wall: SystemTime) -> Passive {
        let Some(seen) = &self.seen.passive else {
            return Passive::default();
        };
        let length = Duration::from_secs(seen.hold_seconds);
        let until = UNIX_EPOCH + Duration::from_secs(seen.until_unix_seconds);
        // Not for longer than ever, whatever the clock was.
        let left = until.duration_since(wall).unwrap_or_default().min(length);
        Passive::resumed(Hold {
            cause: seen.cause.clone(),
            length,
            until: now + left,
        })
    }
}

impl SeenPassive {
    fn of(member: &MemberView) -> Option<Self> {
        let Some(PassiveView::Down { cause, hold, until }) = &member.passive else {
            return None;
        };
        let is_down = member
            .checks
            .iter()
            .any(|check| check.status == Status::Down);
        Some(Self {
            cause: cause.clone(),
            hold_seconds: hold.as_secs(),
            until_unix_seconds: unix_seconds(*until),
            checked: if is_down { Status::Down } else { Status::Up },
        })
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
