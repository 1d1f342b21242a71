//! The changes of a run, and when each happens.

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr, time::Duration};

use crate::addresses::Dual;

/// A backend, by its place among the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend(pub usize);

impl Backend {
    /// The weight that it starts with.
    pub const WEIGHT: u16 = 100;

    /// Its addresses in the back network.
    pub(crate) fn address(self) -> Dual {
        let host = 11 + self.0 as u16;
        Dual {
            v4: Ipv4Addr::new(198, 18, 1, host as u8),
            v6: Ipv6Addr::new(0xfd00, 0x181, 0, 0, 0, 0, 0, host),
        }
    }
}

/// Its name in the pool, and in its answers.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backend{}", self.0 + 1)
    }
}

/// What happens to one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It joins the pool.
    Add(Backend),
    /// It has another weight; 0 drains it.
    Weigh(Backend, u16),
    /// Its link goes down and its process is killed; the pool's file stays as it is.
    Kill(Backend),
    /// It leaves the pool.
    Remove(Backend),
}

impl Change {
    /// Whether the pool's file is written for it.
    pub fn is_configured(self) -> bool {
        match self {
            Self::Add(_) | Self::Weigh(..) | Self::Remove(_) => true,
            Self::Kill(_) => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(backend) => write!(f, "add {backend}"),
            Self::Weigh(backend, 0) => write!(f, "drain {backend}"),
            Self::Weigh(backend, weight) => write!(f, "{backend} weighs {weight}"),
            Self::Kill(backend) => write!(f, "kill {backend}"),
            Self::Remove(backend) => write!(f, "remove {backend}"),
        }
    }
}

/// A change, and how long after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Time since the change before.
    pub after: Duration,
    /// What happens then.
    pub change: Change,
}

/// Between the two halves of a flip, and between a change and a death in its motion.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Twenty changes of the configuration and two deaths, for six backends of eight. `pause` lies
/// between changes that have nothing to do with each other.
pub(super) fn full(pause: Duration) -> Vec<Step> {
    let [b1, b2, b3, b4, b5, b6, b7, b8] = [0, 1, 2, 3, 4, 5, 6, 7].map(Backend);
    steps([
        (pause, Change::Add(b7)),
        (pause, Change::Weigh(b1, 300)),
        (pause, Change::Weigh(b2, 0)),
        // Slots go from b3 to others, and back before anything has settled.
        (pause, Change::Weigh(b3, 0)),
        (AT_ONCE, Change::Weigh(b3, 100)),
        (pause, Change::Add(b8)),
        (pause, Change::Weigh(b2, 100)),
        // b5 dies while b4's slots move, some of them to it.
        (pause, Change::Weigh(b4, 0)),
        (AT_ONCE, Change::Kill(b5)),
        (AT_ONCE, Change::Remove(b5)),
        (pause, Change::Weigh(b1, 50)),
        (pause, Change::Weigh(b6, 400)),
        // There and back and there and back.
        (pause, Change::Weigh(b7, 0)),
        (AT_ONCE, Change::Weigh(b7, 100)),
        (AT_ONCE, Change::Weigh(b7, 0)),
        (AT_ONCE, Change::Weigh(b7, 100)),
        (pause, Change::Weigh(b4, 100)),
        (pause, Change::Weigh(b1, 200)),
        // b8 dies just after it was given more.
        (pause, Change::Weigh(b8, 200)),
        (AT_ONCE, Change::Kill(b8)),
        (AT_ONCE, Change::Remove(b8)),
        (pause, Change::Weigh(b6, 100)),
    ])
}

/// One of each kind, for three backends of four.
pub(super) fn brief(pause: Duration) -> Vec<Step> {
    let [b1, b2, b3, b4] = [0, 1, 2, 3].map(Backend);
    steps([
        (pause, Change::Add(b4)),
        (pause, Change::Weigh(b1, 0)),
        (AT_ONCE, Change::Weigh(b1, 100)),
        (pause, Change::Weigh(b2, 300)),
        (AT_ONCE, Change::Kill(b3)),
        (AT_ONCE, Change::Remove(b3)),
    ])
}

fn steps<const N: usize>(list: [(Duration, Change); N]) -> Vec<Step> {
    list.map(|(after, change)| Step { after, change }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(steps: &[Step]) -> usize {
        steps.iter().filter(|s| s.change.is_configured()).count()
    }

    #[test]
    fn the_numbers_of_changes_are_as_promised() {
        assert_eq!(configured(&full(Duration::ZERO)), 20);
        assert_eq!(configured(&brief(Duration::ZERO)), 5);
    }

    #[test]
    fn who_was_killed_is_removed_and_never_comes_back() {
        for steps in [full(Duration::ZERO), brief(Duration::ZERO)] {
            for (at, step) in steps.iter().enumerate() {
                let Change::Kill(dead) = step.change else {
                    continue;
                };
                let rest: Vec<_> = steps[at + 1..].iter().map(|s| s.change).collect();
                assert_eq!(rest[0], Change::Remove(dead));
                let later = |change: &Change| match *change {
                    Change::Add(b) | Change::Weigh(b, _) | Change::Kill(b) | Change::Remove(b) => {
                        b == dead
                    }
                };
                assert!(!rest[1..].iter().any(later), "{dead}");
            }
        }
    }
}
