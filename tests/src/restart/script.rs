//! What happens to the agent, and when: all of a run's mishaps, shuffled, at random moments.

use std::{fmt, time::Duration};

use crate::{
    live::{Backend, Change},
    slots::trace::Dice,
};

use super::{flaw::Flaw, size::Size};

/// Something that happens while packets go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The agent is killed (SIGKILL) and started again at once.
    Kill,
    /// The same, whatever it is just doing: starting, or reading another configuration.
    KillEarly,
    /// It is killed, gives up its next start since the configuration is wrong, and is started again
    /// with the right one.
    KillAndMislead(Flaw),
    /// It is stopped (SIGTERM) and started again at once.
    Stop,
    /// It is stopped and started again at once, as the build of the other layout.
    Upgrade,
    /// The same with tables of other sizes.
    Resize,
    /// It is told to read another configuration.
    Reload(Change),
    /// It is told to read a configuration that is wrong, and then the right one again.
    Mislead(Flaw),
    /// A backend hears nothing any more, which the agent does not know. No script has this: packets are
    /// lost, which the judgement has to notice.
    Cut(Backend),
}

impl Mishap {
    /// Whether it waits until the agent is ready.
    pub(super) fn has_patience(self) -> bool {
        match self {
            Self::KillEarly => false,
            Self::Kill
            | Self::KillAndMislead(_)
            | Self::Stop
            | Self::Upgrade
            | Self::Resize
            | Self::Reload(_)
            | Self::Mislead(_)
            | Self::Cut(_) => true,
        }
    }

    /// Whether another process is the agent after it.
    pub(super) fn restarts(self) -> bool {
        match self {
            Self::Kill
            | Self::KillEarly
            | Self::KillAndMislead(_)
            | Self::Stop
            | Self::Upgrade
            | Self::Resize => true,
            Self::Reload(_) | Self::Mislead(_) | Self::Cut(_) => false,
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("killed"),
            Self::KillEarly => f.write_str("killed early"),
            Self::KillAndMislead(flaw) => write!(f, "killed, then started with {flaw}"),
            Self::Stop => f.write_str("stopped"),
            Self::Upgrade => f.write_str("upgraded"),
            Self::Resize => f.write_str("tables resized"),
            Self::Reload(change) => write!(f, "reload: {change}"),
            Self::Mislead(flaw) => write!(f, "reload with {flaw}"),
            Self::Cut(backend) => write!(f, "{backend} is cut off"),
        }
    }
}

/// A mishap, and how long after the one before it; from when the agent was ready, if it waits for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Time since then.
    pub after: Duration,
    /// What happens.
    pub mishap: Mishap,
}

/// Backends of a run, the last of which is not in the pool at first.
pub(super) const BACKENDS: usize = 4;

/// The longest pause before a mishap that waits until the agent is ready.
const PAUSE: u32 = 500;
/// The longest before one that does not. A start may take that long or a hundredth of it: as
/// many pauses are drawn from this as from a half, a quarter, … of it.
const EARLY: u32 = 4000;

/// All mishaps of a run.
pub(super) fn script(size: &Size) -> Vec<Step> {
    let mut dice = Dice::new(size.seed);
    let mut mishaps: Vec<_> = (0..size.kills).map(|n| kill(n, &mut dice)).collect();
    mishaps.extend((0..size.stops).map(|_| Mishap::Stop));
    mishaps.extend((0..size.upgrades).map(upgrade));
    mishaps.extend((0..size.reloads).map(|_| Mishap::Reload(change(&mut dice))));
    mishaps.extend((0..size.refusals).map(|_| Mishap::Mislead(flaw(&mut dice))));
    shuffle(&mut mishaps, &mut dice);
    let steps = mishaps.into_iter().map(|mishap| {
        let longest = match mishap.has_patience() {
            true => PAUSE,
            false => EARLY >> dice.below(7),
        };
        let after = Duration::from_millis(dice.below(longest).into());
        Step { after, mishap }
    });
    steps.collect()
}

fn kill(n: u32, dice: &mut Dice) -> Mishap {
    match n % 4 {
        0 | 2 => Mishap::Kill,
        1 => Mishap::KillEarly,
        _ => Mishap::KillAndMislead(flaw(dice)),
    }
}

fn upgrade(n: u32) -> Mishap {
    match n % 3 {
        2 => Mishap::Resize,
        _ => Mishap::Upgrade,
    }
}

/// A backend joins, weighs something else, or is drained; never the first, so that some are left. None
/// leaves the pool: that would end its connections.
fn change(dice: &mut Dice) -> Change {
    let backend = Backend(1 + dice.below(BACKENDS as u32 - 1) as usize);
    let weight = match dice.below(4) {
        0 => 0,
        _ => 10 + dice.below(400) as u16,
    };
    Change::Weigh(backend, weight)
}

fn flaw(dice: &mut Dice) -> Flaw {
    Flaw::ALL[dice.below(Flaw::ALL.len() as u32) as usize]
}

/// Fisher and Yates.
fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for last in (1..list.len()).rev() {
        list.swap(last, dice.below(last as u32 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(script: &[Step], of: impl Fn(Mishap) -> bool) -> usize {
        script.iter().filter(|step| of(step.mishap)).count()
    }

    #[test]
    fn a_script_has_what_its_size_says() {
        let script = Size::full(7).script();
        let stops = count(&script, |mishap| mishap == Mishap::Stop);
        let restarts = count(&script, Mishap::restarts);
        assert_eq!((stops, restarts), (20, 150));
        let resizes = count(&script, |mishap| mishap == Mishap::Resize);
        let upgrades = count(&script, |mishap| mishap == Mishap::Upgrade);
        assert_eq!((upgrades, resizes), (20, 10));
        let reloads = count(&script, |mishap| matches!(mishap, Mishap::Reload(_)));
        let refusals = count(&script, |mishap| matches!(mishap, Mishap::Mislead(_)));
        assert_eq!((reloads, refusals), (60, 20));
        let early = count(&script, |mishap| mishap == Mishap::KillEarly);
        assert_eq!(early, 25);
        assert_eq!(
            count(&Size::brief().without_ends().script(), Mishap::restarts),
            0
        );
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(Size::full(7).script(), Size::full(7).script());
        assert_ne!(Size::full(7).script(), Size::full(8).script());
    }

    #[test]
    fn the_first_backend_is_never_drained() {
        let changed = |step: &Step| match step.mishap {
            Mishap::Reload(Change::Weigh(backend, _)) => Some(backend),
            _ => None,
        };
        let script = Size::full(7).script();
        assert!(script.iter().filter_map(changed).all(|b| b != Backend(0)));
        let joins = script
            .iter()
            .filter_map(changed)
            .filter(|b| *b == Backend(3));
        assert!(joins.count() > 0);
    }
}
