//! Which backend does a new flow of a tracked service get? By hash, by turns or by load; but a
//! client that keeps to a backend gets that one, and none gets more flows than it may have.

use crate::{
    abi::{
        Affinity, Backend, BackendRef, Choosing, Fate, FlowHash, FlowKey, Scheduler, Service,
        ServiceTraits,
    },
    net::Family,
};

use super::{
    decide,
    outcome::{DropReason, Stop},
    probe,
    tables::{FamilyTables, Scratch, Tables},
};

/// Slots that are looked at until one has a backend with room; with `least-connections`, two of them.
const TRIES: u32 = 8;

/// Chooses the backend of the new flow of `scratch.key`: `scratch.chosen`. A function of its own in the
/// kernel, which needs much stack.
#[inline(never)]
pub(super) fn choose<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
) -> Result<(), Stop> {
    if T::PROBES {
        scratch.chosen = probe::backend(tables, &scratch.key)?.word();
        return Ok(());
    }
    let affine = service.traits().has(ServiceTraits::AFFINITY);
    let client = scratch.key.affinity(service.id(), service.prefix());
    let kept = affine.then(|| kept::<F, T>(tables, service.id(), &client));
    let chosen = match kept.flatten() {
        Some(kept) => kept,
        None => scheduled::<F, T>(tables, &scratch.key, service)?,
    };
    if affine {
        tables.set_affinity(&client, Affinity::new(chosen, tables.now()));
    }
    scratch.chosen = chosen.word();
    Ok(())
}

/// The backend that the service's scheduler chooses.
#[inline(always)]
fn scheduled<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    service: &Service<F::Address>,
) -> Result<BackendRef, Stop> {
    let hash = service.hash(key, tables.seed());
    let mut search = Search::default();
    for _ in 0..TRIES {
        search = tables.look(service.choosing(), service.id(), hash, search);
        if search.is_over() {
            break;
        }
    }
    let index = search.index();
    if index == 0 {
        return Err(search.none().into());
    }
    let backend = decide::backend(tables, index)?;
    Ok(BackendRef::new(index, backend.generation()))
}

/// How far the search for a new flow's backend has come; as one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search(pub u64);

impl Search {
    const LOOKED_SHIFT: u32 = u32::BITS;
    /// A backend that lives has as many flows as it may have.
    const FULL: u64 = 1 << 61;
    /// The tables contradict each other.
    const INCONSISTENT: u64 = 1 << 62;
    /// No more slots are to be looked at.
    const OVER: u64 = 1 << 63;

    /// Index of the backend that it has found; 0: none.
    #[inline(always)]
    fn index(self) -> u32 {
        self.0 as u32
    }

    /// How many slots it has looked at.
    #[inline(always)]
    fn looked(self) -> u32 {
        (self.0 >> Self::LOOKED_SHIFT) as u32 & 0xff
    }

    #[inline(always)]
    fn is_over(self) -> bool {
        self.0 & Self::OVER != 0
    }

    /// Why it has found none.
    #[inline(always)]
    fn none(self) -> DropReason {
        if self.0 & Self::INCONSISTENT != 0 {
            DropReason::Inconsistent
        } else if self.0 & Self::FULL != 0 {
            DropReason::MaxFlows
        } else {
            DropReason::NoBackend
        }
    }

    /// It has looked at one more.
    #[inline(always)]
    fn on(self) -> Self {
        Self(self.0 + (1 << Self::LOOKED_SHIFT))
    }

    #[inline(always)]
    fn with(self, flags: u64) -> Self {
        Self(self.0 | flags)
    }

    #[inline(always)]
    fn found(self, index: u32) -> Self {
        Self(self.0 >> u32::BITS << u32::BITS | u64::from(index))
    }
}

/// Looks at one slot more: the next one in turn, or one out of the flow's hash. The first backend
/// that takes flows is chosen, or, with `least-connections`, the less loaded of the first two such
/// (Mitzenmacher, The Power of Two Choices, 2001).
#[inline(always)]
pub fn look<T: Tables>(
    tables: &T,
    choosing: Choosing,
    service: u32,
    hash: FlowHash,
    search: Search,
) -> Search {
    let (table, scheduler) = (choosing.table(), choosing.scheduler());
    let slots = table.size.slots();
    let position = match scheduler {
        Scheduler::RoundRobin => tables.turn(service) % slots,
        Scheduler::Hash | Scheduler::LeastConnections if search.looked() == 0 => hash.below(slots),
        Scheduler::Hash | Scheduler::LeastConnections => {
            hash.candidate(search.looked()).below(slots)
        }
    };
    let search = search.on();
    let Some(slot) = tables.slot(table, position) else {
        return search.with(Search::INCONSISTENT | Search::OVER);
    };
    let index = slot.current();
    if index == 0 {
        return search.with(Search::OVER);
    }
    let Some(backend) = tables.backend(index).filter(|b| b.forward().is_some()) else {
        return search.with(Search::INCONSISTENT | Search::OVER);
    };
    if index == search.index() || !backend.is_alive() {
        return search;
    }
    if !has_room(tables, index) {
        return search.with(Search::FULL);
    }
    if search.index() != 0 {
        let less = less_loaded(tables, search.index(), index);
        return search.found(less).with(Search::OVER);
    }
    let search = search.found(index);
    match scheduler {
        Scheduler::LeastConnections => search,
        Scheduler::Hash | Scheduler::RoundRobin => search.with(Search::OVER),
    }
}

/// Whom the client keeps to, if it was seen within the service's time and its backend still takes
/// flows.
#[inline(always)]
fn kept<F: Family, T: FamilyTables<F>>(
    tables: &T,
    service: u32,
    client: &FlowKey<F::Address>,
) -> Option<BackendRef> {
    let affinity = tables.affinity(client)?;
    let timeouts = tables.timeouts(service)?;
    if tables.now().wrapping_sub(affinity.last_seen) >= timeouts.affinity {
        return None;
    }
    let kept = affinity.backend();
    usable(tables, kept)?;
    let load = tables.load(kept.index())?;
    (load.weight > 0 && has_room(tables, kept.index())).then_some(kept)
}

/// The backend that this is, if it lives and is still the same.
#[inline(always)]
pub(super) fn usable<T: Tables>(tables: &T, backend: BackendRef) -> Option<&Backend> {
    let now = tables.backend(backend.index())?;
    (now.is_alive() && now.generation() == backend.generation()).then_some(now)
}

/// Whether a flow of a service goes on with this backend.
#[inline(always)]
pub(super) fn goes_on<T: Tables>(tables: &T, backend: BackendRef, traits: ServiceTraits) -> bool {
    !traits.has(ServiceTraits::ENDED) && usable(tables, backend).is_some()
}

/// Why a packet stops here whose flow does not go on with its backend; `None`: its flow goes to another.
#[inline(always)]
pub(super) fn ended<T: Tables>(
    tables: &T,
    backend: BackendRef,
    traits: ServiceTraits,
) -> Option<Stop> {
    let resets = traits.has(ServiceTraits::RESETS);
    match fate(tables, backend) {
        Fate::Service if !resets => None,
        Fate::Service | Fate::Reset => Some(DropReason::BackendGone.into()),
        Fate::Drop => Some(Stop::Ended),
    }
}

/// What becomes of the flows of a backend that is not usable.
#[inline(always)]
pub(super) fn fate<T: Tables>(tables: &T, backend: BackendRef) -> Fate {
    match tables.backend(backend.index()) {
        Some(now) if now.generation() == backend.generation() => now.fate(),
        _ => Fate::Service,
    }
}

/// Whichever has fewer flows for its weight.
#[inline(always)]
fn less_loaded<T: Tables>(tables: &T, a: u32, b: u32) -> u32 {
    let weight = |index| tables.load(index).map_or(0, |load| u64::from(load.weight));
    // Crosswise: no division.
    let (load_a, load_b) = (
        (tables.active(a) + 1) * weight(b),
        (tables.active(b) + 1) * weight(a),
    );
    if load_a <= load_b { a } else { b }
}

/// Whether a backend may have one flow more.
#[inline(always)]
fn has_room<T: Tables>(tables: &T, index: u32) -> bool {
    let limit = tables.load(index).map_or(0, |load| load.max_flows);
    limit == 0 || tables.active(index) < u64::from(limit)
}
