//! Epochs: the changes that slots are in, each with its number and its beginning. Slots go from
//! MOVING to MIXED by epoch, once every flow without an exception that is not silent must have
//! been recorded: the settle time is over, and nothing went unrecorded for as long.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lb_common::abi::{Phase, Slot};

/// How long after an OPEN that was not recorded its flow may still be unknown: a client's attempts
/// at a connection end within this time, or have become DATA.
pub const OPEN_WAIT: Duration = Duration::from_secs(64);

/// What a change waits for. Several services may share a table: then the longest of their settle
/// times, and the last stamps of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// How long a flow may be silent and still be kept.
    pub settle: Duration,
    /// When a DATA packet last went unrecorded.
    pub unrecorded_data: Option<Instant>,
    /// When an OPEN packet last went unrecorded.
    pub unrecorded_open: Option<Instant>,
}

/// What an epoch waits for longest, and for how long yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldUp {
    /// The settle time since it began.
    SettleTime(Duration),
    /// The settle time since a DATA packet went unrecorded.
    UnrecordedData(Duration),
    /// [`OPEN_WAIT`] since an OPEN packet went unrecorded.
    UnrecordedOpens(Duration),
}

/// How far an epoch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStatus {
    /// Its number.
    pub number: u16,
    /// When it began.
    pub start: Instant,
    /// Its slots that are MOVING.
    pub moving: u32,
    /// Its slots that are MIXED.
    pub mixed: u32,
    /// Why those that are moving still do; `None` if none is, or nothing holds them up.
    pub hold_up: Option<HoldUp>,
}

/// A number, and when what it numbers began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) number: u16,
    pub(super) start: Instant,
}

/// The epochs that words name.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs {
    running: BTreeMap<u16, Running>,
    /// The number given last.
    last: u16,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    start: Instant,
    moving: u32,
    mixed: u32,
}

impl Waits {
    /// How long each thing is yet to be waited for, and what that is: the longest.
    fn hold_up(&self, start: Instant, now: Instant) -> Option<HoldUp> {
        let left =
            |wait: Duration, since| wait.saturating_sub(now.saturating_duration_since(since));
        let stamp = |wait, stamp: Option<Instant>| stamp.map_or(Duration::ZERO, |t| left(wait, t));
        let settle = left(self.settle, start);
        let data = stamp(self.settle, self.unrecorded_data);
        let open = stamp(OPEN_WAIT, self.unrecorded_open);
        let longest = settle.max(data).max(open);
        if longest.is_zero() {
            None
        } else if longest == settle {
            Some(HoldUp::SettleTime(settle))
        } else if longest == data {
            Some(HoldUp::UnrecordedData(data))
        } else {
            Some(HoldUp::UnrecordedOpens(open))
        }
    }
}

impl HoldUp {
    /// How long yet.
    pub fn remaining(self) -> Duration {
        match self {
            Self::SettleTime(left) | Self::UnrecordedData(left) | Self::UnrecordedOpens(left) => {
                left
            }
        }
    }
}

impl Epochs {
    /// The epoch that a change would begin now: the next number that no word names. If all are
    /// named, the last one, begun anew: its slots then move longer, which breaks nothing.
    pub(super) fn next(&self, now: Instant) -> Epoch {
        let free = (1..=Slot::EPOCHS)
            .map(|n| (self.last + n) % Slot::EPOCHS)
            .find(|number| !self.running.contains_key(number));
        Epoch {
            number: free.unwrap_or(self.last),
            start: now,
        }
    }

    /// A slot took this epoch.
    pub(super) fn begin(&mut self, epoch: Epoch) {
        self.last = epoch.number;
        let running = Running {
            start: epoch.start,
            moving: 0,
            mixed: 0,
        };
        self.running.insert(epoch.number, running);
    }

    /// These are running; those that were not known began now.
    pub(super) fn know(&mut self, numbers: impl Iterator<Item = u16>, now: Instant) {
        for number in numbers {
            let began = Running {
                start: now,
                moving: 0,
                mixed: 0,
            };
            self.running.entry(number).or_insert(began);
        }
    }

    /// The number given last, for the log.
    pub(super) fn last(&self) -> u16 {
        self.last
    }

    /// Goes on counting after this number.
    pub(super) fn count_from(&mut self, last: u16) {
        self.last = last % Slot::EPOCHS;
    }

    /// Counts the slots of each epoch, and forgets those that neither table names.
    pub(super) fn recount(&mut self, slots: &[Slot], old: &[Slot]) {
        if self.running.is_empty() {
            return;
        }
        // Words that name an epoch, by number: of the old table; MOVING and MIXED ones of this one.
        let mut counts = vec![[0_u32; 3]; Slot::EPOCHS.into()];
        let mut count = |slot: &Slot, column: usize| {
            if let Some(counts) = counts.get_mut(usize::from(slot.epoch())) {
                counts[column] += 1;
            }
        };
        for slot in slots {
            match slot.phase() {
                Phase::Settled => {}
                Phase::Moving => count(slot, 1),
                Phase::Mixed => count(slot, 2),
            }
        }
        for slot in old.iter().filter(|slot| !slot.is_settled()) {
            count(slot, 0);
        }
        self.running.retain(|&number, running| {
            let [old, moving, mixed] = counts[usize::from(number)];
            (running.moving, running.mixed) = (moving, mixed);
            old + moving + mixed > 0
        });
    }

    /// The epochs of moving slots that nothing holds up.
    pub(super) fn due(&self, now: Instant, waits: &Waits) -> Vec<u16> {
        let due = |running: &Running| waits.hold_up(running.start, now).is_none();
        self.moving()
            .filter(|(_, running)| due(running))
            .map(|(number, _)| number)
            .collect()
    }

    /// When the next one is due, if nothing else happens.
    pub(super) fn deadline(&self, now: Instant, waits: &Waits) -> Option<Instant> {
        let left = |running: &Running| {
            let hold_up = waits.hold_up(running.start, now);
            hold_up.map_or(Duration::ZERO, HoldUp::remaining)
        };
        let soonest = self.moving().map(|(_, running)| left(running)).min()?;
        now.checked_add(soonest)
    }

    /// Every epoch, and what holds it up.
    pub(super) fn status(&self, now: Instant, waits: &Waits) -> Vec<EpochStatus> {
        let status = |(&number, running): (&u16, &Running)| EpochStatus {
            number,
            start: running.start,
            moving: running.moving,
            mixed: running.mixed,
            hold_up: waits
                .hold_up(running.start, now)
                .filter(|_| running.moving > 0),
        };
        self.running.iter().map(status).collect()
    }

    /// Every epoch and its beginning.
    pub(super) fn starts(&self) -> impl Iterator<Item = Epoch> {
        self.running.iter().map(|(&number, running)| Epoch {
            number,
            start: running.start,
        })
    }

    fn moving(&self) -> impl Iterator<Item = (u16, &Running)> {
        let moving = self
            .running
            .iter()
            .filter(|(_, running)| running.moving > 0);
        moving.map(|(&number, running)| (number, running))
    }
}

#[cfg(test)]
#[path = "epochs_tests.rs"]
mod tests;
