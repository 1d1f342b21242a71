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
    exceptions::{self, Answer, Choices, Exceptions, Kind, Sighting, WriteOrder},
    outcome::{DropReason, Stop},
    tables::{FamilyTables, HeldException, InsertError, Tables},
};

/// Index of the backend of a packet whose slot is not settled; 0: none. A function of its own in
/// the kernel, so that settled slots do not pay for its stack.
#[inline(never)]
pub(super) fn owner<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    service: &Service<F::Address>,
    slot: Slot,
    sighting: &Sighting,
) -> Result<u32, Stop> {
    let choices = Choices {
        phase: slot.phase(),
        current: reference(tables, slot.current()),
        miss: reference(tables, miss(tables, key, service, slot)),
        resets: service.traits().has(ServiceTraits::RESETS),
    };
    if tables.asks_older() && tables.exception(key).is_none() {
        return beside_older(tables, service.id(), choices, sighting);
    }
    let service = service.id();
    let now = sighting.now;
    let flow = Flow::<F, T> {
        tables,
        key,
        service,
        now,
    };
    match exceptions::decide(choices, *sighting, &flow) {
        Answer::Backend(backend) => Ok(backend.index()),
        Answer::Reset => Err(DropReason::BackendGone.into()),
        Answer::Drop => Err(Stop::Ended),
    }
}

/// Index of the backend of a packet of a flow that has no exception here, but may have one in the tables before
/// these. That is asked there, and of flows that open, none is recorded: they go where those go that have none.
#[inline(always)]
fn beside_older<T: Tables>(
    tables: &T,
    service: u32,
    choices: Choices,
    sighting: &Sighting,
) -> Result<u32, Stop> {
    if sighting.kind != Kind::Open {
        return Err(Stop::Older);
    }
    match choices.phase {
        Phase::Moving => {
            tables.note_unrecorded(service, Recorded::Open, sighting.now);
            Ok(choices.miss.index())
        }
        Phase::Mixed | Phase::Settled => Ok(choices.current.index()),
    }
}

/// Whose the flows of a slot are that have no exception.
#[inline(always)]
fn miss<A: Address, T: Tables>(
    tables: &T,
    key: &FlowKey<A>,
    service: &Service<A>,
    slot: Slot,
) -> u32 {
    match slot.miss() {
        Miss::Backend(index) => index,
        Miss::OldTable => old_miss(tables, key, service).unwrap_or(0),
    }
}

/// What the flow's slot in the table before this one says. That table is older than any that it
/// could refer to: a second change waits until the first is over.
#[inline(always)]
fn old_miss<A: Address, T: Tables>(
    tables: &T,
    key: &FlowKey<A>,
    service: &Service<A>,
) -> Option<u32> {
    let old = tables.old_table(service.table())?;
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
