//! How a slot table begins that is not kept yet: as the data plane has it, as its log tells, or anew.

use std::{collections::BTreeMap, io, path::Path};

use lb_common::abi::{Slot, TableId};
use tracing::warn;

use super::{
    files::LogFile,
    fold::Absence,
    log::{Clock, Log},
    runner::{Assigner, Kept, Shape, Wanted},
    sweep::Tally,
    table::Table,
};
use crate::model::Family;

/// A table that was not kept yet: as the data plane has it or, if it has none, as its log says it was, if
/// there is one; and then as it is wanted. Whether its log can be read and written is no matter for that.
pub(super) fn start(
    folder: &Path,
    wanted: Wanted,
    clock: Clock,
    left: &mut BTreeMap<TableId, Vec<Slot>>,
) -> (Kept, io::Result<()>) {
    let family = match wanted.family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    let file = LogFile::of(folder, &format!("{}-{family}", wanted.pool));
    let left = Left::of(&wanted, left);
    let absence = match left {
        Some(_) => Absence::Forwarding,
        None => Absence::Interrupted,
    };
    let assigner = Assigner(&wanted);
    let new = || Table::new(assigner.inputs(), &assigner);
    let folded = told(&file).and_then(|log| {
        let table = Table::fold(&log, &assigner, clock, absence);
        let table = table.inspect_err(|error| warn!("{}: {error}", file.path().display()));
        Some((table.ok()?, log))
    });
    let (table, log) = folded.unzip();
    let mut table = table.unwrap_or_else(new);
    if let Some(left) = left {
        table = left.table(table, wanted.prefix, clock);
    }
    // While a table replaces another, the log goes on that began before.
    let log = match (table.base(&assigner, clock), log) {
        (None, Some(log)) => log,
        (base, _) => Log {
            base: base.unwrap_or_else(|| new().new_base(&assigner, clock)),
            entries: Vec::new(),
        },
    };
    let written = log.text().map_err(io::Error::from);
    let written = written.and_then(|text| file.replace(&text));
    let mut kept = Kept {
        table,
        log,
        file,
        wanted,
        tally: Tally::default(),
    };
    let changed = kept.change(clock);
    (kept, written.and(changed))
}

/// What the data plane has of a table: its own words, and those of the table that it replaces. Of one that it
/// was not given whole, those of the one to be replaced alone: nothing led to the new one yet.
struct Left {
    words: Vec<Slot>,
    old: Option<Vec<Slot>>,
}

impl Left {
    fn of(wanted: &Wanted, left: &mut BTreeMap<TableId, Vec<Slot>>) -> Option<Self> {
        let words = left.remove(&wanted.id);
        let old = wanted.old.and_then(|old| left.remove(&old));
        let is_whole = |words: &Vec<Slot>| old.is_none() || !words.contains(&Slot::EMPTY);
        match words.filter(is_whole) {
            Some(words) => Some(Self { words, old }),
            None => old.map(|words| Self { words, old: None }),
        }
    }

    /// The table that has them; `folded` is what its log tells of it, and `prefix` the prefix if that is nothing.
    fn table(self, folded: Table<Shape>, prefix: u8, clock: Clock) -> Table<Shape> {
        let older = folded.old_shape().copied();
        let newer = folded.inputs().shape;
        let shape = |words: &Vec<Slot>, known: [Option<Shape>; 2]| {
            let slots = words.len() as u32;
            let mut known = known.into_iter().flatten();
            let shape = known.find(|shape| shape.slots == slots);
            shape.unwrap_or(Shape { slots, prefix })
        };
        match self.old {
            Some(old) => {
                let old_shape = shape(&old, [older, Some(newer)]);
                let own_shape = shape(&self.words, [Some(newer), older]);
                let own = (self.words, own_shape);
                folded.left(own, Some((old, old_shape)), clock.now)
            }
            None => {
                let own_shape = shape(&self.words, [older, Some(newer)]);
                folded.left((self.words, own_shape), None, clock.now)
            }
        }
    }
}

/// What a log tells, as far as it can be read.
fn told(file: &LogFile) -> Option<Log<Shape>> {
    let text = file.read().unwrap_or_else(|error| {
        warn!("{}: {error}", file.path().display());
        None
    });
    let read = Log::read(&text?);
    if let Some(damage) = read.damage {
        warn!("{}: {damage}; the rest is not used", file.path().display());
    }
    read.log
}
