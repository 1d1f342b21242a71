//! Decides what one backend at one address is, from the checks of it and what its clients' connections say: up if
//! nothing speaks against it, held down for a while if it keeps going down, and with which weight: less than its own
//! while it starts slowly, or as its agent wants it. Statuses and `now` in; events and the next deadline out.
//!
//! Slow start goes in steps: each one moves slots, so there are few of them.

use std::{
    collections::VecDeque,
    fmt,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{advice::Advice, machine::Status};
use crate::model::{FlapDamping, Health, Weight};

/// Steps of a slow start, equal in time and in weight.
pub(super) const STEPS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// One backend at one address, over time.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// What its checks make of it.
    checked: Status,
    /// When it went down, as far back as damping looks.
    downs: VecDeque<Instant>,
    held_until: Option<Instant>,
    /// Since when it starts slowly.
    rising: Option<Instant>,
    advice: Advice,
    state: State,
}

/// What a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All that is known of it says so.
    Up,
    /// A check is down at least, or its clients' connections speak against it.
    Down,
    /// All are up, but it went down too often: it has to stay up for a while first.
    Held,
}

/// What a check says of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opinion {
    /// Up or down.
    pub status: Status,
    /// What its agent wants.
    pub advice: Advice,
}

/// What happened to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It went up.
    Up,
    /// It went down.
    Down,
    /// It went down, and is held there: it did so this often lately.
    Flapping(usize),
    /// It would be up, were it not held.
    Held,
    /// It was held for long enough.
    Released,
    /// Its agent wants something else.
    Advised(Advice),
}

impl Member {
    /// A backend, by what its checks make of it so far. Without any it is up.
    pub(super) fn new(opinions: &[Opinion]) -> Self {
        let checked = all(opinions);
        Self {
            checked,
            downs: VecDeque::new(),
            held_until: None,
            rising: None,
            advice: advice(opinions),
            state: match checked {
                Status::Up => State::Up,
                Status::Down => State::Down,
            },
        }
    }

    /// What it is.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// What its agents want.
    pub(super) fn advice(&self) -> Advice {
        self.advice
    }

    /// Until when it is held down, if it is.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Takes note of what its checks say now, and of the time.
    pub(super) fn judge(
        &mut self,
        opinions: &[Opinion],
        settings: &Health,
        now: Instant,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let wanted = advice(opinions);
        if wanted != self.advice {
            self.advice = wanted;
            events.push(Event::Advised(wanted));
        }
        let was = std::mem::replace(&mut self.checked, all(opinions));
        if was == Status::Up && self.checked == Status::Down {
            self.remember_down(settings.flap_damping, now);
        }
        if settings.flap_damping.is_none() || self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        events.extend(self.turn(settings, now));
        if self.slow_start_is_over(settings, now) {
            self.rising = None;
        }
        events
    }

    /// The state that follows, and what is to be said of it.
    fn turn(&mut self, settings: &Health, now: Instant) -> Option<Event> {
        let next = match (self.checked, self.held_until) {
            (Status::Down, _) => State::Down,
            (Status::Up, Some(_)) => State::Held,
            (Status::Up, None) => State::Up,
        };
        let last = std::mem::replace(&mut self.state, next);
        if last != State::Up && next == State::Up {
            self.rising = settings.slow_start.map(|_| now);
        }
        match (last, next) {
            (State::Up, State::Up) | (State::Down, State::Down) | (State::Held, State::Held) => {
                None
            }
            (State::Up | State::Held, State::Down) => Some(match self.held_until {
                Some(_) => Event::Flapping(self.downs.len()),
                None => Event::Down,
            }),
            (State::Up | State::Down, State::Held) => Some(Event::Held),
            (State::Down, State::Up) => Some(Event::Up),
            (State::Held, State::Up) => Some(Event::Released),
        }
    }

    fn remember_down(&mut self, damping: Option<FlapDamping>, now: Instant) {
        let Some(FlapDamping {
            downs,
            within,
            hold,
        }) = damping
        else {
            return self.downs.clear();
        };
        self.downs.push_back(now);
        let is_old = |down: &Instant| now.saturating_duration_since(*down) > within;
        while self.downs.front().is_some_and(is_old) {
            self.downs.pop_front();
        }
        if self.downs.len() >= downs.get().into() {
            self.held_until = Some(now + hold);
        }
    }

    fn slow_start_is_over(&self, settings: &Health, now: Instant) -> bool {
        let passed = self
            .rising
            .map(|since| now.saturating_duration_since(since));
        passed.is_some_and(|passed| settings.slow_start.is_none_or(|time| passed >= time))
    }

    /// Which step of its slow start it has come to, from 1; `None` if it has its whole weight.
    pub(super) fn step(&self, settings: &Health, now: Instant) -> Option<u32> {
        let (since, time) = (self.rising?, settings.slow_start?);
        let step = now.saturating_duration_since(since).as_nanos() * u128::from(STEPS.get())
            / time.as_nanos().max(1);
        let step = u32::try_from(step).ok()? + 1;
        (step <= STEPS.get()).then_some(step)
    }

    /// When to judge it again though nothing happens.
    pub(super) fn deadline(&self, settings: &Health, now: Instant) -> Option<Instant> {
        let held = self.held_until.filter(|_| self.state == State::Held);
        let step = self.next_step(settings, now);
        held.into_iter().chain(step).min()
    }

    fn next_step(&self, settings: &Health, now: Instant) -> Option<Instant> {
        let (since, time) = (self.rising?, settings.slow_start?);
        let step = self.step(settings, now)?;
        Some(since + time / STEPS.get() * step + ROUNDING)
    }
}

/// The weight of a backend that is configured with this one and has come to this step of its slow start; what
/// availability makes of it is the pool's.
pub(super) fn weight(configured: Weight, advice: Advice, step: Option<u32>) -> Weight {
    let whole = advice.of(configured);
    step.map_or(whole, |step| whole.share(step, STEPS))
}

/// More than a tenth of a time is rounded down by.
const ROUNDING: Duration = Duration::from_nanos(STEPS.get() as u64);

fn all(opinions: &[Opinion]) -> Status {
    match opinions.iter().all(|opinion| opinion.status == Status::Up) {
        true => Status::Up,
        false => Status::Down,
    }
}

/// What several agents want together: a drain if one does, else the first that names a weight.
fn advice(opinions: &[Opinion]) -> Advice {
    let each = || opinions.iter().map(|opinion| opinion.advice);
    Advice {
        weight: each().find_map(|advice| advice.weight),
        drain: each().any(|advice| advice.drain),
        up: false,
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Held => "held",
        })
    }
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod tests;
