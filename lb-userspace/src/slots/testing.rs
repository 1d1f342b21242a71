//! What the tests of this folder share: backends a, b, c … with the indices 1, 2, 3 …, and tables
//! that are small and spread by a simple hash.

use std::time::{Duration, Instant};

use super::{Assign, Backends, Clock, Health, Inputs, UnixTime, Waits};

/// Number of slots, and what spreads the backends over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Shape {
    pub(super) slots: u32,
    pub(super) salt: u64,
}

/// Backends of one letter each.
pub(super) struct Letters;

impl Assign<Shape> for Letters {
    fn owners(&self, shape: &Shape, backends: &Backends) -> Vec<u32> {
        let best = |slot: u32| {
            let available = backends
                .iter()
                .filter(|(_, health)| health.available && health.weight > 0);
            let name = available.max_by_key(|(name, health)| {
                let mixed = (u64::from(slot) + 1) * (u64::from(self.index(name)) + 7);
                let hash = (mixed ^ shape.salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (hash >> 40) * u64::from(health.weight)
            });
            name.map_or(0, |(name, _)| self.index(name))
        };
        (0..shape.slots).map(best).collect()
    }

    fn index(&self, name: &str) -> u32 {
        name.bytes()
            .next()
            .map_or(0, |letter| u32::from(letter - b'a') + 1)
    }
}

pub(super) const UP: Health = Health {
    weight: 100,
    available: true,
    alive: true,
};

pub(super) const DRAINED: Health = Health {
    weight: 0,
    available: false,
    alive: true,
};

pub(super) const DEAD: Health = Health {
    weight: 100,
    available: false,
    alive: false,
};

pub(super) fn inputs(slots: u32, salt: u64, backends: &[(&str, Health)]) -> Inputs<Shape> {
    let named = |&(name, health): &(&str, Health)| (name.to_owned(), health);
    Inputs {
        shape: Shape { slots, salt },
        backends: backends.iter().map(named).collect(),
    }
}

/// Both clocks, so many seconds after they began to go.
pub(super) fn at(start: Instant, seconds: u64) -> Clock {
    Clock {
        now: start + Duration::from_secs(seconds),
        unix: UnixTime(1_767_225_600 + seconds),
    }
}

/// Nothing but a settle time to wait for.
pub(super) fn settle(seconds: u64) -> Waits {
    Waits {
        settle: Duration::from_secs(seconds),
        unrecorded_data: None,
        unrecorded_open: None,
    }
}
