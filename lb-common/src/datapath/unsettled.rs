//! Third stage, where a slot's owner is changing: the exceptions of a packet's flow, out of the
//! tables and back into them. What they mean is decided by `exceptions`.

use crate::{
    abi::{
        Address, BackendRef, Exception, Fate, FlowKey, Miss, Phase, RecordBudget, Recorded, Seed,
        Service, ServiceTraits, Slot, TableId, TableSize,
    },
    net::Family,
};

use super::{
    choose,
    exceptions::{self, Answer, Choices, Exceptions, Kind, Proof, Sighting, WriteOrder},
    outcome::{DropReason, Stop},
    tables::{FamilyTables, HeldException, InsertError, Tables},
};

/// A packet whose slot is not settled, beside the key of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// Its slot.
    pub slot: Slot,
    /// The table of that.
    pub table: TableId,
    /// The number of its service.
    pub service: u32,
    /// Whether a flow whose backend is gone is reset where the backend says nothing else.
    pub resets: bool,
    /// What matters of it.
    pub sighting: Sighting,
}

impl Unsettled {
    #[inline(always)]
    pub(super) fn new<A: Address>(service: &Service<A>, slot: Slot, sighting: Sighting) -> Self {
        Self {
            slot,
            table: service.table(),
            service: service.id(),
            resets: service.traits().has(ServiceTraits::RESETS),
            sighting,
        }
    }

    /// The same of a packet that only speaks of its flow.
    #[inline(always)]
    pub fn peeks(self) -> Self {
        let sighting = Sighting {
            kind: Kind::Peek,
            ..self.sighting
        };
        Self { sighting, ..self }
    }

    /// All of it as numbers.
    #[inline(always)]
    pub fn numbers(self) -> [u64; 4] {
        let Sighting {
            kind,
            proof,
            sequence,
            now,
        } = self.sighting;
        let how = kind as u64 | (proof as u64) << 2 | u64::from(self.resets) << 4;
        let both = |low: u32, high: u64| u64::from(low) | high << u32::BITS;
        [
            self.slot.word(),
            both(self.table.index, self.table.size as u64),
            both(self.service, how),
            both(sequence, now.into()),
        ]
    }

    /// What [`Unsettled::numbers`] gave.
    #[inline(always)]
    pub fn of_numbers([slot, table, service, times]: [u64; 4]) -> Self {
        let high = |word: u64| (word >> u32::BITS) as u32;
        let how = high(service);
        let sighting = Sighting {
            kind: match how & 3 {
                0 => Kind::Open,
                1 => Kind::Data,
                2 => Kind::Close,
                _ => Kind::Peek,
            },
            proof: match how >> 2 & 3 {
                0 => Proof::Sequence,
                1 => Proof::Handshake,
                _ => Proof::None,
            },
            sequence: times as u32,
            now: high(times),
        };
        Self {
            slot: Slot::of_word(slot),
            table: TableId {
                size: TableSize::from_class(high(table) as u8),
                index: table as u32,
            },
            service: service as u32,
            resets: how >> 4 != 0,
            sighting,
        }
    }
}

/// Who gets a packet whose slot is not settled, or what becomes of it else; as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub u64);

impl Owner {
    /// The tables contradict each other.
    pub const NOBODY: Self = Self(Self::INCONSISTENT);

    const RESET: u64 = 1 << u32::BITS;
    const ENDED: u64 = 2 << u32::BITS;
    const OLDER: u64 = 3 << u32::BITS;
    const INCONSISTENT: u64 = 4 << u32::BITS;

    /// Index of the backend; 0: there is none.
    #[inline(always)]
    pub(super) fn index(self) -> Result<u32, Stop> {
        match self.0 >> u32::BITS << u32::BITS {
            0 => Ok(self.0 as u32),
            Self::RESET => Err(DropReason::BackendGone.into()),
            Self::ENDED => Err(Stop::Ended),
            Self::OLDER => Err(Stop::Older),
            _ => Err(DropReason::Inconsistent.into()),
        }
    }

    #[inline(always)]
    fn is(backend: BackendRef) -> Self {
        Self(backend.index().into())
    }
}

/// Who gets a packet whose slot is not settled.
#[inline(always)]
pub fn owner<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    packet: Unsettled,
) -> Owner {
    let Unsettled {
        slot,
        table,
        service,
        resets,
        sighting,
    } = packet;
    let choices = Choices {
        phase: slot.phase(),
        current: reference(tables, slot.current()),
        miss: reference(tables, miss(tables, key, table, slot)),
        resets,
    };
    if tables.asks_older() && tables.exception(key).is_none() {
        return beside_older(tables, service, choices, sighting);
    }
    let now = sighting.now;
    let flow = Flow::<F, T> {
        tables,
        key,
        service,
        now,
    };
    match exceptions::decide(choices, sighting, &flow) {
        Answer::Backend(backend) => Owner::is(backend),
        Answer::Reset => Owner(Owner::RESET),
        Answer::Drop => Owner(Owner::ENDED),
    }
}

/// Who gets a packet of a flow that has no exception here, but may have one in the tables before
/// these. That is asked there, and of flows that open, none is recorded: they go where those go that have none.
#[inline(always)]
fn beside_older<T: Tables>(
    tables: &T,
    service: u32,
    choices: Choices,
    sighting: Sighting,
) -> Owner {
    if sighting.kind != Kind::Open {
        return Owner(Owner::OLDER);
    }
    match choices.phase {
        Phase::Moving => {
            tables.note_unrecorded(service, Recorded::Open, sighting.now);
            Owner::is(choices.miss)
        }
        Phase::Mixed | Phase::Settled => Owner::is(choices.current),
    }
}

/// Whose the flows of a slot are that have no exception.
#[inline(always)]
fn miss<A: Address, T: Tables>(tables: &T, key: &FlowKey<A>, table: TableId, slot: Slot) -> u32 {
    match slot.miss() {
        Miss::Backend(index) => index,
        Miss::OldTable => old_miss(tables, key, table).unwrap_or(0),
    }
}

/// What the flow's slot in the table before this one says. That table is older than any that it
/// could refer to: a second change waits until the first is over.
#[inline(always)]
fn old_miss<A: Address, T: Tables>(tables: &T, key: &FlowKey<A>, table: TableId) -> Option<u32> {
    let old = tables.old_table(table)?;
    if old.present == 0 {
        return None;
    }
    let [k0, k1] = old.seed;
    let hash = key.slot_hash(Seed { k0, k1 }, old.prefix);
    let size = TableSize::from_class(old.size);
    let index = old.index;
    let slot = tables.slot(TableId { size, index }, hash.below(size.slots()))?;
    match slot.miss() {
        Miss::Backend(index) => Some(index),
        Miss::OldTable => None,
    }
}

/// The backend that has this index now.
#[inline(always)]
fn reference<T: Tables>(tables: &T, index: u32) -> BackendRef {
    match tables.backend(index) {
        Some(backend) if index != 0 => BackendRef::new(index, backend.generation()),
        _ => BackendRef::NONE,
    }
}

/// One flow's exceptions in the tables.
struct Flow<'a, F: Family, T> {
    tables: &'a T,
    key: &'a FlowKey<F::Address>,
    service: u32,
    now: u32,
}

impl<F: Family, T: FamilyTables<F>> Exceptions for Flow<'_, F, T> {
    type Held = T::Exception;

    #[inline(always)]
    fn find(&self, into: &mut Exception) -> Option<Self::Held> {
        let held = self.tables.exception(self.key)?;
        held.read(into);
        (into.fingerprint == self.key.fingerprint()).then_some(held)
    }

    #[inline(always)]
    fn write(&self, held: &Self::Held, entry: &Exception, order: WriteOrder) {
        held.set_seen(entry.seen);
        match order {
            WriteOrder::Seen => {}
            WriteOrder::MarkFirst => {
                held.set_mark(entry.mark);
                held.set_owners(entry.owners);
            }
            WriteOrder::OwnersFirst => {
                held.set_owners(entry.owners);
                held.set_mark(entry.mark);
            }
        }
    }

    #[inline(always)]
    fn insert(&self, entry: &mut Exception, kind: Recorded) -> Result<(), InsertError> {
        let used = self.tables.exception_occupancy().used();
        let (limits, hertz) = (self.tables.record_limits(), self.tables.hertz());
        let take = |budget: &mut RecordBudget| budget.take(kind, used, limits, self.now, hertz);
        if self.tables.with_record_budget(take) != Some(true) {
            return Err(InsertError::Full);
        }
        entry.fingerprint = self.key.fingerprint();
        entry.service = self.service;
        self.tables.insert_exception(self.key, entry)
    }

    #[inline(always)]
    fn unrecorded(&self, kind: Recorded) {
        self.tables.note_unrecorded(self.service, kind, self.now);
    }

    #[inline(always)]
    fn usable(&self, backend: BackendRef) -> bool {
        let current = self.tables.backend(backend.index());
        current.is_some_and(|now| now.is_alive() && now.generation() == backend.generation())
    }

    #[inline(always)]
    fn fate(&self, backend: BackendRef) -> Fate {
        choose::fate(self.tables, backend)
    }
}
