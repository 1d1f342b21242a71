//! A table's way into its log and back: the base that a log begins with, and the fold of a log
//! into the same words. Live table and fold go the same way, so they come to the same words; only
//! what a sweep settled may come back as MIXED, and what was watched as SETTLED.
//!
//! The reason: in every row of `machine`'s table SETTLED and MIXED lead to the same current owner
//! and the same miss, and to MOVING in the same epoch. MOVING ends by a change or by an epoch's
//! becoming MIXED, and both are logged.
//!
//! A base names the slots that are not settled, one by one. The inputs of the last epoch before
//! all unsettled ones would not do: a slot that moved in an earlier epoch while a later one began
//! keeps the earlier one, and its miss. Once the earlier one is over, a fold that starts between
//! the two would move that slot in the later one, and from another backend.

use std::collections::BTreeMap;

use lb_common::abi::{Miss, Phase, Slot};

use super::{
    epochs::Epoch,
    log::{Base, Clock, Entry, Log, MixedSlots, MovingSlots, Started, UnixTime},
    machine::History,
    resize::Busy,
    table::{Assign, Table},
};

/// What became of packets while no agent ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The data plane went on with the same exceptions: epochs are as old as the log says.
    Forwarding,
    /// It did not, or the exceptions are lost (a reboot): flows must be recorded anew, so all
    /// epochs begin now.
    Interrupted,
}

/// Entries after which a new base is shorter than going on.
const ENTRIES: usize = 64;

/// Why a log does not fold: this agent has not written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A slot that the table has not.
    #[error("the slot history names slot {0}, which its table has not; remove the history")]
    NoSuchSlot(u32),
    /// A table is replaced while it still replaces another.
    #[error("the slot history replaces a table twice at once; remove the history")]
    Busy,
}

impl<S: Clone + PartialEq> Table<S> {
    /// The table as the base of a new log, in place of the one so far. `None` while it replaces
    /// another, whose words do not follow from these inputs: until that is over the log goes on.
    pub fn base(&self, assign: &impl Assign<S>, clock: Clock) -> Option<Base<S>> {
        if self.old.is_some() {
            return None;
        }
        Some(self.new_base(assign, clock))
    }

    /// The same of a table that replaces none.
    pub(super) fn new_base(&self, assign: &impl Assign<S>, clock: Clock) -> Base<S> {
        let started = |epoch: Epoch| Started {
            epoch: epoch.number,
            time: Some(clock.unix(epoch.start)),
        };
        let groups = Groups::of(&self.history, &self.names(assign));
        Base {
            version: Base::<S>::VERSION,
            last_epoch: self.history.epochs.last(),
            inputs: self.inputs.clone(),
            starts: self.history.epochs.starts().map(started).collect(),
            moving: groups.moving(),
            mixed: groups.mixed(),
        }
    }

    /// Whether a base would be worth its writing: an epoch that `log` tells of is over, or it has
    /// become long.
    pub fn outgrew(&self, log: &Log<S>) -> bool {
        let over = |number: u16| !self.history.epochs.starts().any(|e| e.number == number);
        let mut begun = log.entries.iter().filter_map(|entry| match entry {
            Entry::Changed { epoch, .. } => *epoch,
            Entry::Mixed { .. } => None,
        });
        let mut known = log.base.starts.iter().map(|started| started.epoch);
        let outgrown = log.entries.len() > ENTRIES || begun.any(over) || known.any(over);
        self.old.is_none() && outgrown
    }

    /// Makes a table again from its log.
    pub fn fold(
        log: &Log<S>,
        assign: &impl Assign<S>,
        clock: Clock,
        absence: Absence,
    ) -> Result<Self, Error> {
        let clock = match absence {
            Absence::Forwarding => clock,
            // Before all logged times, which thereby are not known.
            Absence::Interrupted => Clock {
                unix: UnixTime(0),
                ..clock
            },
        };
        let mut table = Self::restore(&log.base, assign, clock)?;
        for entry in &log.entries {
            table.replay(entry, assign, clock)?;
        }
        Ok(table)
    }

    fn restore(base: &Base<S>, assign: &impl Assign<S>, clock: Clock) -> Result<Self, Error> {
        let mut table = Self::new(base.inputs.clone(), assign);
        let history = &mut table.history;
        for group in &base.moving {
            // Who is no more is dead: the first row.
            let word = |current| match assign.index(&group.previous) {
                0 => Slot::mixed(current, group.epoch),
                m => Slot::moving(current, Miss::Backend(m), group.epoch),
            };
            set(history, &group.slots, word)?;
        }
        for group in &base.mixed {
            let word = |current| Slot::mixed(current, group.epoch);
            set(history, &group.slots, word)?;
        }
        for started in &base.starts {
            history.epochs.begin(Epoch {
                number: started.epoch,
                start: clock.instant(started.time),
            });
        }
        history.epochs.count_from(base.last_epoch);
        history.finish(None);
        Ok(table)
    }

    fn replay(
        &mut self,
        entry: &Entry<S>,
        assign: &impl Assign<S>,
        clock: Clock,
    ) -> Result<(), Error> {
        match entry {
            Entry::Changed {
                epoch,
                time,
                inputs,
            } => {
                let next = self.history.epochs.next(clock.instant(*time));
                let number = epoch.unwrap_or(next.number);
                let changed = self.apply(inputs, assign, Epoch { number, ..next });
                changed.map_err(|Busy| Error::Busy)?;
            }
            Entry::Mixed { epoch } => {
                self.history.mix(*epoch);
                self.forget_old();
            }
        }
        Ok(())
    }

    /// Names of the backends that the inputs know, by index.
    fn names(&self, assign: &impl Assign<S>) -> BTreeMap<u32, &str> {
        let names = self.inputs.backends.keys();
        names
            .map(|name| (assign.index(name), name.as_str()))
            .filter(|&(index, _)| index != 0)
            .collect()
    }
}

/// Unsettled slots by what they have in common.
#[derive(Default)]
struct Groups<'a> {
    moving: BTreeMap<(u16, &'a str), Vec<u32>>,
    mixed: BTreeMap<u16, Vec<u32>>,
}

impl<'a> Groups<'a> {
    fn of(history: &History, names: &BTreeMap<u32, &'a str>) -> Self {
        let mut groups = Self::default();
        for (n, slot) in (0..).zip(history.slots()) {
            let epoch = slot.epoch();
            let previous = match slot.miss() {
                Miss::Backend(miss) => names.get(&miss),
                Miss::OldTable => None,
            };
            match (slot.phase(), previous) {
                (Phase::Settled, _) => {}
                (Phase::Moving, Some(name)) => {
                    groups.moving.entry((epoch, *name)).or_default().push(n);
                }
                // Without a name it is none that lives (I3): the first row.
                (Phase::Moving, None) | (Phase::Mixed, _) => {
                    groups.mixed.entry(epoch).or_default().push(n);
                }
            }
        }
        groups
    }

    fn moving(&self) -> Vec<MovingSlots> {
        let group = |(&(epoch, previous), slots): (&(u16, &str), &Vec<u32>)| MovingSlots {
            epoch,
            previous: previous.to_owned(),
            slots: slots.clone(),
        };
        self.moving.iter().map(group).collect()
    }

    fn mixed(&self) -> Vec<MixedSlots> {
        let group = |(&epoch, slots): (&u16, &Vec<u32>)| MixedSlots {
            epoch,
            slots: slots.clone(),
        };
        self.mixed.iter().map(group).collect()
    }
}

/// Replaces settled words by what `word` makes of their current owners.
fn set(history: &mut History, slots: &[u32], word: impl Fn(u32) -> Slot) -> Result<(), Error> {
    for &n in slots {
        let slot = history
            .slots
            .get_mut(n as usize)
            .ok_or(Error::NoSuchSlot(n))?;
        *slot = word(slot.current());
        history.grace.stored(n as usize, *slot);
    }
    Ok(())
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
