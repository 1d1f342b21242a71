//! Decides who of a pool's backends is used, from what each of them is: those that are up, unless too few
//! are. Then, while fewer are up than the pool needs at least, none is; else, while a smaller share is up
//! than its panic threshold, all are, since the few would be run over and checks may be wrong.
//!
//! Those who count are the backends that have a weight and whose agents don't drain them. With tiers
//! (`priority`) there is panic only if every tier is below the threshold: while a standby tier is well,
//! the first one may be as ill as it is.

use std::{collections::BTreeMap, fmt};

use super::member::State;
use crate::model::{Health, Weight};

/// A backend, as its pool looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What it is.
    pub state: State,
    /// Its weight now, in full: without regard to slow start, with regard to its agent.
    pub weight: Weight,
    /// Its tier.
    pub priority: u8,
}

/// How a pool's health is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those that are up are used.
    Normal,
    /// Too few are up: all are used.
    Panic(Tally),
    /// Fewer are up than there must be: none is used.
    BelowMinimum(Tally),
}

/// How many of those that count are up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// So many,
    pub up: usize,
    /// of so many.
    pub of: usize,
}

/// How the health of these backends is taken.
pub(super) fn mode(candidates: &[Candidate], settings: &Health) -> Mode {
    let mut tiers: BTreeMap<u8, Tally> = BTreeMap::new();
    let counted = candidates.iter().filter(|c| c.weight.value() > 0);
    for candidate in counted {
        let tier = tiers.entry(candidate.priority).or_default();
        tier.of += 1;
        tier.up += usize::from(candidate.state == State::Up);
    }
    let all = tiers.values().fold(Tally::default(), |sum, tier| Tally {
        up: sum.up + tier.up,
        of: sum.of + tier.of,
    });
    let least = usize::try_from(settings.min_healthy).unwrap_or(usize::MAX);
    if all.up < least {
        return Mode::BelowMinimum(all);
    }
    let below = |tier: &Tally| tier.up * 100 < tier.of * usize::from(settings.panic_threshold);
    match !tiers.is_empty() && tiers.values().all(below) {
        true => Mode::Panic(all),
        false => Mode::Normal,
    }
}

impl Mode {
    /// Whether a backend of this state takes new flows.
    pub fn uses(self, state: State) -> bool {
        match self {
            Self::Normal => state == State::Up,
            Self::Panic(_) => true,
            Self::BelowMinimum(_) => false,
        }
    }

    /// Whether the flows of a backend of this state stay with it.
    pub fn keeps(self, state: State) -> bool {
        match self {
            Self::Normal | Self::BelowMinimum(_) => state == State::Up,
            Self::Panic(_) => true,
        }
    }

    /// Whether it is another than this one, whatever the numbers.
    pub fn differs(self, other: Self) -> bool {
        std::mem::discriminant(&self) != std::mem::discriminant(&other)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Panic(Tally { up, of }) => write!(f, "panic ({up} of {of} up)"),
            Self::BelowMinimum(Tally { up, of }) => write!(f, "below minimum ({up} of {of} up)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tier(priority: u8, up: usize, of: usize) -> Vec<Candidate> {
        let candidate = |n| Candidate {
            state: if n < up { State::Up } else { State::Down },
            weight: Weight::DEFAULT,
            priority,
        };
        (0..of).map(candidate).collect()
    }

    fn settings(panic_threshold: u8, min_healthy: u32) -> Health {
        Health {
            panic_threshold,
            min_healthy,
            ..Health::default()
        }
    }

    #[test]
    fn too_few_healthy_ones_make_all_used_or_none() {
        let panic = |up, of| Mode::Panic(Tally { up, of });
        let below = |up, of| Mode::BelowMinimum(Tally { up, of });
        // (up, of), threshold, minimum: what follows.
        for ((up, of), threshold, minimum, expected) in [
            ((4, 4), 50, 0, Mode::Normal),
            ((2, 4), 50, 0, Mode::Normal),
            ((1, 4), 50, 0, panic(1, 4)),
            ((0, 4), 50, 0, panic(0, 4)),
            ((0, 4), 0, 0, Mode::Normal),
            ((3, 4), 100, 0, panic(3, 4)),
            ((1, 4), 0, 1, Mode::Normal),
            ((0, 4), 0, 1, below(0, 4)),
            ((1, 4), 50, 2, below(1, 4)),
            ((2, 5), 50, 2, panic(2, 5)),
            ((0, 0), 50, 0, Mode::Normal),
        ] {
            let found = mode(&tier(0, up, of), &settings(threshold, minimum));
            assert_eq!(found, expected, "{up} of {of}, {threshold}%, {minimum}");
        }
    }

    #[test]
    fn a_healthy_standby_tier_is_no_reason_to_panic() {
        let both = |first, second| [tier(0, first, 3), tier(1, second, 3)].concat();
        let settings = settings(50, 0);
        assert_eq!(mode(&both(0, 3), &settings), Mode::Normal);
        assert_eq!(mode(&both(1, 2), &settings), Mode::Normal);
        let panic = Mode::Panic(Tally { up: 2, of: 6 });
        assert_eq!(mode(&both(1, 1), &settings), panic);
    }

    #[test]
    fn who_takes_no_flows_does_not_count() {
        let mut candidates = tier(0, 1, 4);
        candidates[1..]
            .iter_mut()
            .for_each(|c| c.weight = Weight::ZERO);
        assert_eq!(mode(&candidates, &settings(50, 1)), Mode::Normal);
        candidates[0].weight = Weight::ZERO;
        assert_eq!(mode(&candidates, &settings(50, 0)), Mode::Normal);
    }

    #[test]
    fn held_ones_are_not_up() {
        let held = tier(0, 4, 4).into_iter().map(|c| Candidate {
            state: State::Held,
            ..c
        });
        let held: Vec<_> = held.collect();
        let mode = mode(&held, &settings(50, 0));
        assert!(matches!(mode, Mode::Panic(_)) && mode.uses(State::Held));
        assert!(!Mode::Normal.uses(State::Held));
    }

    proptest! {
        /// One more that is up never takes backends away, short of ending a panic.
        #[test]
        fn recovery_never_loses_a_minimum(
            up in 0..20usize, down in 0..20usize, threshold in 0..=100u8, minimum in 0..20u32,
        ) {
            let settings = settings(threshold, minimum);
            let before = mode(&tier(0, up, up + down), &settings);
            let after = mode(&tier(0, (up + 1).min(up + down), up + down), &settings);
            let is_below = |mode| matches!(mode, Mode::BelowMinimum(_));
            prop_assert!(is_below(before) || !is_below(after));
            prop_assert!(before != Mode::Normal || after == Mode::Normal);
        }
    }
}
