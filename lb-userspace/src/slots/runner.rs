//! All slot tables of an agent: gives them their inputs, writes their logs, moves their phases on,
//! and sweeps the exceptions. I/O and nothing else: what follows from what is decided by `table`,
//! `sweep` and their kin.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use lb_common::abi::{BackendRef, OldTable, Slot, TableId, TableSize, Unrecorded};
use serde::{Deserialize, Serialize};
use tracing::error;

use super::{
    Assign, Backends, Clock, Dumped, EpochStatus, Inputs, Jiffies, Log, Sweep, Table, Tally, Waits,
    begin::start, files::LogFile, sweep,
};
use crate::{
    kernel::{self, ExceptionKey, ExceptionTables},
    model::Family,
    scheduling::{self, Candidate},
};

/// What makes all slots of a table others if it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How many slots there are.
    pub slots: u32,
    /// How many bits of a client's address choose its slot; 0: the whole flow does.
    #[serde(default)]
    pub prefix: u8,
}

impl Shape {
    /// The size that has so many slots.
    fn size(self) -> TableSize {
        let of_slots = |size: &TableSize| size.slots() == self.slots;
        TableSize::ALL
            .into_iter()
            .find(of_slots)
            .unwrap_or_default()
    }
}

/// A table as the configuration wants it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The pool's name.
    pub pool: String,
    /// Of which addresses.
    pub family: Family,
    /// Where it is in the kernel.
    pub id: TableId,
    /// The prefix that its services hash.
    pub prefix: u8,
    /// The table that it replaces, where that is still needed.
    pub old: Option<TableId>,
    /// Its backends by name.
    pub backends: Backends,
    /// Their indices.
    pub indices: BTreeMap<String, u32>,
    /// How long a flow may be silent and still be kept: the longest of its services' times.
    pub settle: Duration,
    /// The numbers of its services.
    pub services: Vec<u32>,
}

/// A table's state, for `status`.
#[derive(Clone, Debug)]
pub struct TableStatus {
    /// How many slots are in each phase: settled, moving, mixed.
    pub phases: [u32; 3],
    /// The changes that they are in.
    pub epochs: Vec<EpochStatus>,
}

/// All slot tables of an agent.
#[derive(Debug)]
pub struct Runner {
    folder: PathBuf,
    tables: BTreeMap<TableId, Kept>,
    unrecorded: BTreeMap<u32, Stamps>,
    /// What the data plane has from before, until a table follows from it.
    left: BTreeMap<TableId, Vec<Slot>>,
}

/// Slots that are watched, and their words since then.
#[derive(Debug)]
pub struct Watch {
    slots: BTreeMap<TableId, BTreeSet<u32>>,
    words: Vec<Option<Slot>>,
}

/// A table, its log, and what it was last asked for.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) table: Table<Shape>,
    pub(super) log: Log<Shape>,
    pub(super) file: LogFile,
    pub(super) wanted: Wanted,
    pub(super) tally: Tally,
}

/// When packets of a service last went unrecorded, as far as seen.
#[derive(Clone, Copy, Debug, Default)]
struct Stamps {
    seen: Unrecorded,
    data: Option<Instant>,
    open: Option<Instant>,
}

impl Runner {
    /// Keeps its logs in a folder. The data plane has these tables from before, if it went on meanwhile.
    pub fn new(folder: PathBuf, left: BTreeMap<TableId, Vec<Slot>>) -> Self {
        Self {
            folder,
            tables: BTreeMap::new(),
            unrecorded: BTreeMap::new(),
            left,
        }
    }

    /// Brings the tables to what is wanted. What must be known of a change before it is made is on
    /// disk when this returns; a disk that takes nothing is no reason to serve nobody.
    pub fn change(&mut self, wanted: Vec<Wanted>, clock: Clock) {
        let kept: BTreeSet<TableId> = wanted.iter().map(|wanted| wanted.id).collect();
        for wanted in wanted {
            if let Err(error) = self.change_one(wanted, clock) {
                error!("writing the history of slots: {error}");
            }
        }
        self.tables.retain(|id, kept_table| {
            let stays = kept.contains(id);
            if !stays {
                let _ = kept_table.file.remove();
            }
            stays
        });
        // Tables that nobody wanted by now are no more.
        self.left.clear();
    }

    fn change_one(&mut self, wanted: Wanted, clock: Clock) -> io::Result<()> {
        let before = match wanted.old.and_then(|old| self.tables.remove(&old)) {
            Some(kept) => Some(kept),
            None => self.tables.remove(&wanted.id),
        };
        let id = wanted.id;
        let (kept, result) = match before {
            None => start(&self.folder, wanted, clock, &mut self.left),
            Some(mut kept) => {
                kept.wanted = wanted;
                let result = kept.change(clock);
                (kept, result)
            }
        };
        self.tables.insert(id, kept);
        result
    }

    /// Notes what went unrecorded, and brings changes that are over to the next phase; whether
    /// any word differs now.
    pub fn advance(
        &mut self,
        now: Instant,
        unrecorded: impl Fn(u32) -> Result<Unrecorded, kernel::Error>,
    ) -> Result<bool, kernel::Error> {
        let services: BTreeSet<u32> = self
            .tables
            .values()
            .flat_map(|kept| kept.wanted.services.iter().copied())
            .collect();
        for service in services {
            let stamps = self.unrecorded.entry(service).or_default();
            stamps.note(unrecorded(service)?, now);
        }
        let mut advanced = false;
        for kept in self.tables.values_mut() {
            let waits = waits(&self.unrecorded, &kept.wanted);
            let entries = kept.table.advance(now, &waits);
            advanced |= !entries.is_empty();
            for entry in entries {
                kept.write(entry).unwrap_or_else(|error| {
                    error!("writing the history of slots: {error}");
                });
            }
        }
        Ok(advanced)
    }

    /// The words of all tables, those of old ones included.
    pub fn slots(&self) -> BTreeMap<TableId, Vec<Slot>> {
        let tables = self.tables.iter().flat_map(|(id, kept)| {
            let history = kept.table.history();
            let old = kept.wanted.old.zip(history.old().map(<[Slot]>::to_vec));
            [Some((*id, history.words())), old].into_iter().flatten()
        });
        tables.collect()
    }

    /// The owner of each slot of a table now, by index.
    pub fn owners(&self, table: TableId) -> Option<Vec<u32>> {
        let slots = self.tables.get(&table)?.table.history().slots();
        Some(slots.iter().map(|slot| slot.current()).collect())
    }

    /// Has every flow of these slots recorded as it is seen, until [`Runner::unwatch`]. None moves by that.
    pub fn watch(&mut self, slots: BTreeMap<TableId, BTreeSet<u32>>, now: Instant) -> Watch {
        for (id, slots) in &slots {
            if let Some(kept) = self.tables.get_mut(id) {
                kept.table.watch(slots.iter().copied(), now);
            }
        }
        let words = self.words(&slots);
        Watch { slots, words }
    }

    /// Ends all watches.
    pub fn unwatch(&mut self) {
        self.tables
            .values_mut()
            .for_each(|kept| kept.table.unwatch());
    }

    /// Whether the slots of a watch are what they were when it began.
    pub fn holds(&self, watch: &Watch) -> bool {
        self.words(&watch.slots) == watch.words
    }

    /// The words of these slots.
    fn words(&self, slots: &BTreeMap<TableId, BTreeSet<u32>>) -> Vec<Option<Slot>> {
        let tables = slots.iter().flat_map(|(id, slots)| {
            let words = self
                .tables
                .get(id)
                .map_or_else(Vec::new, |kept| kept.table.history().words());
            slots.iter().map(move |&n| words.get(n as usize).copied())
        });
        tables.collect()
    }

    /// Which tables replace which.
    pub fn old_tables(&self, seed: [u64; 2]) -> BTreeMap<TableId, OldTable> {
        let replaced = self.tables.iter().filter_map(|(id, kept)| {
            kept.table.history().old()?;
            let old = kept.wanted.old?;
            let prefix = kept.table.old_shape()?.prefix;
            Some((*id, OldTable::new(old, seed, prefix)))
        });
        replaced.collect()
    }

    /// Tables that were replaced, and that no slot refers to any more.
    pub fn done_with(&self) -> Vec<TableId> {
        let done = self
            .tables
            .values()
            .filter_map(|kept| match kept.table.history().old() {
                Some(_) => None,
                None => kept.wanted.old,
            });
        done.collect()
    }

    /// Whether any slot is not settled.
    pub fn is_moving(&self) -> bool {
        let mut slots = self.tables.values().flat_map(|k| k.table.history().slots());
        slots.any(|slot| !slot.is_settled())
    }

    /// Every backend that a word names, by index.
    pub fn named(&self) -> BTreeSet<u32> {
        let tables = self.tables.values();
        tables
            .flat_map(|kept| kept.table.history().named())
            .collect()
    }

    /// How many exceptions the last sweep left each backend, by its index.
    pub fn recorded(&self) -> BTreeMap<u32, u64> {
        let mut recorded = BTreeMap::new();
        for (&index, &count) in self.tables.values().flat_map(|kept| &kept.tally.by_backend) {
            *recorded.entry(index).or_default() += u64::from(count);
        }
        recorded
    }

    /// Sweeps the exceptions. `store` writes the words, and waits until no packet in flight has seen
    /// older ones if it is told to; the words must be stored when this is called.
    pub fn sweep(
        &mut self,
        exceptions: &mut ExceptionTables,
        context: &SweepContext<'_>,
        mut grace: impl FnMut() -> Result<(), kernel::Error>,
    ) -> Result<Swept, kernel::Error> {
        let marks: Vec<_> = self
            .tables
            .iter_mut()
            .map(|(id, kept)| (*id, kept.table.begin_grace()))
            .collect();
        grace()?;
        for (id, mark) in marks {
            if let Some(kept) = self.tables.get_mut(&id) {
                kept.table.confirm_grace(mark);
            }
        }
        let dump = exceptions.dump()?;
        let entries = dump.len();
        let histories = self.tables.iter().map(|(id, k)| (*id, k.table.history()));
        let dumped = dump.into_iter().map(|(key, entry)| Dumped {
            slot: (context.slot_of)(&key, entry.service),
            timeout: (context.timeout)(entry.service),
            key,
            entry,
        });
        let found = sweep(&histories.collect(), dumped, context.clock, context.usable);
        for (id, slots) in &found.settled {
            if let Some(kept) = self.tables.get_mut(id) {
                kept.table.settle(slots);
            }
        }
        for (id, tally) in &found.tallies {
            if let Some(kept) = self.tables.get_mut(id) {
                kept.tally = tally.clone();
            }
        }
        Ok(Swept { found, entries })
    }

    /// Writes new logs for tables whose old ones have grown.
    pub fn shorten_logs(&mut self, clock: Clock) {
        for kept in self.tables.values_mut() {
            if kept.table.outgrew(&kept.log)
                && let Err(error) = kept.shorten(clock)
            {
                error!("writing the history of slots: {error}");
            }
        }
    }

    /// A table's state.
    pub fn status(&self, table: TableId, now: Instant) -> Option<TableStatus> {
        let kept = self.tables.get(&table)?;
        let history = kept.table.history();
        let mut phases = [0; 3];
        history
            .slots()
            .iter()
            .for_each(|slot| phases[slot.phase() as usize] += 1);
        let waits = waits(&self.unrecorded, &kept.wanted);
        let epochs = history.status(now, &waits);
        Some(TableStatus { phases, epochs })
    }
}

/// Finds the table and slot of a flow of a service, given the service's number.
pub type SlotOf<'a> = dyn Fn(&ExceptionKey, u32) -> Option<(TableId, u32)> + 'a;

/// What a sweep needs to know of the rest.
pub struct SweepContext<'a> {
    /// The kernel's clock now.
    pub clock: Jiffies,
    /// The slot of a flow of a service.
    pub slot_of: &'a SlotOf<'a>,
    /// How long a service keeps a silent flow.
    pub timeout: &'a dyn Fn(u32) -> Duration,
    /// Whether a backend lives and is still the same.
    pub usable: &'a dyn Fn(BackendRef) -> bool,
}

/// What a sweep found. Its words are settled already: they are to be stored, then [`Swept::finish`].
pub struct Swept {
    found: Sweep<ExceptionKey>,
    /// How many exceptions there were.
    pub entries: usize,
}

impl Swept {
    /// Whether any slot was settled.
    pub fn settled(&self) -> bool {
        !self.found.settled.is_empty()
    }

    /// Every backend that an exception names, by index.
    pub fn named(&self) -> &BTreeSet<u32> {
        &self.found.named
    }

    /// Corrects and deletes exceptions, once the words are stored.
    pub fn finish(&self, exceptions: &mut ExceptionTables) -> Result<usize, kernel::Error> {
        let found = &self.found;
        exceptions.correct(found.rewrites.iter().map(|r| (r.key, r.last_seen, r.owner)))?;
        exceptions.delete(found.deletions.iter().map(|d| (d.key, d.last_seen)))
    }
}

/// Waits for a table: the longest settle time, and the last stamps of all its services.
fn waits(unrecorded: &BTreeMap<u32, Stamps>, wanted: &Wanted) -> Waits {
    let stamps = || wanted.services.iter().filter_map(|id| unrecorded.get(id));
    Waits {
        settle: wanted.settle,
        unrecorded_data: stamps().filter_map(|stamps| stamps.data).max(),
        unrecorded_open: stamps().filter_map(|stamps| stamps.open).max(),
    }
}

impl Stamps {
    /// A stamp that changed was made since the last look: at the latest now.
    fn note(&mut self, seen: Unrecorded, now: Instant) {
        if seen.data != self.seen.data {
            self.data = Some(now);
        }
        if seen.open != self.seen.open {
            self.open = Some(now);
        }
        self.seen = seen;
    }
}

impl Kept {
    /// Takes what is wanted now.
    pub(super) fn change(&mut self, clock: Clock) -> io::Result<()> {
        let assigner = Assigner(&self.wanted);
        let inputs = assigner.inputs();
        let entry = match self.table.change(inputs, &assigner, clock) {
            Ok(entry) => entry,
            Err(busy) => return Err(io::Error::other(busy)),
        };
        entry.map_or(Ok(()), |entry| self.write(entry))
    }

    fn write(&mut self, entry: super::Entry<Shape>) -> io::Result<()> {
        self.file.append(&entry.line()?)?;
        self.log.entries.push(entry);
        Ok(())
    }

    fn shorten(&mut self, clock: Clock) -> io::Result<()> {
        let Some(base) = self.table.base(&Assigner(&self.wanted), clock) else {
            return Ok(());
        };
        let log = Log {
            base,
            entries: Vec::new(),
        };
        self.file.replace(&log.text()?)?;
        self.log = log;
        Ok(())
    }
}

/// Maglev over the backends that are wanted.
pub(super) struct Assigner<'a>(pub(super) &'a Wanted);

impl Assigner<'_> {
    pub(super) fn inputs(&self) -> Inputs<Shape> {
        Inputs {
            shape: Shape {
                slots: self.0.id.size.slots(),
                prefix: self.0.prefix,
            },
            backends: self.0.backends.clone(),
        }
    }
}

impl Assign<Shape> for Assigner<'_> {
    fn owners(&self, shape: &Shape, backends: &Backends) -> Vec<u32> {
        let (names, candidates): (Vec<_>, Vec<_>) = backends
            .iter()
            .map(|(name, health)| {
                let candidate = Candidate {
                    name,
                    weight: health.weight,
                    available: health.available,
                };
                (name, candidate)
            })
            .unzip();
        let indices: Vec<u32> = names.into_iter().map(|name| self.index(name)).collect();
        let owners = scheduling::assign(shape.size(), &candidates);
        let index = |owner: Option<usize>| owner.map_or(0, |n| indices[n]);
        owners.into_iter().map(index).collect()
    }

    fn index(&self, name: &str) -> u32 {
        self.0.indices.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
