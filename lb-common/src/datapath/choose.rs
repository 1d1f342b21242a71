//! Which backend does a new flow of a tracked service get? By hash, by turns or by load; but a
//! client that keeps to a backend gets that one, and none gets more flows than it may have.

use crate::{
    abi::{
        Address, Affinity, Backend, BackendRef, Fate, FlowHash, FlowKey, Scheduler, Service,
        ServiceTraits,
    },
    net::Family,
};

use super::{
    decide,
    outcome::{DropReason, Stop},
    probe,
    tables::{Choice, FamilyTables, Scratch, Tables},
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
        None => scheduled::<F, T>(tables, scratch, service)?,
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
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
) -> Result<BackendRef, Stop> {
    scratch.choice = Choice {
        hash: service.hash(&scratch.key, tables.seed()).0,
        index: 0,
        none: NONE,
    };
    for n in 0..TRIES {
        if is_last(tables, service, &mut scratch.choice, n) {
            break;
        }
    }
    let Choice { index, none, .. } = scratch.choice;
    if index == 0 {
        return Err(match none {
            NONE => DropReason::NoBackend,
            FULL => DropReason::MaxFlows,
            _ => DropReason::Inconsistent,
        }
        .into());
    }
    let backend = decide::backend(tables, index)?;
    Ok(BackendRef::new(index, backend.generation()))
}

/// No backend lives.
const NONE: u32 = 0;
/// Those that live have as many flows as they may have.
const FULL: u32 = 1;
/// The tables contradict each other.
const INCONSISTENT: u32 = 2;

/// Looks at the `n`-th slot: the next one in turn, or one out of the flow's hash. The first backend
/// that takes flows is chosen, or, with `least-connections`, the less loaded of the first two such
/// (Mitzenmacher, The Power of Two Choices, 2001). A function of its own whose result lies in memory:
/// so the verifier forgets how it came about, and walks each `n` once.
#[inline(never)]
fn is_last<A: Address, T: Tables>(
    tables: &T,
    service: &Service<A>,
    choice: &mut Choice,
    n: u32,
) -> bool {
    let (table, hash) = (service.table(), FlowHash(choice.hash));
    let slots = table.size.slots();
    let position = match service.scheduler() {
        Scheduler::RoundRobin => tables.turn(service.id()) % slots,
        Scheduler::Hash | Scheduler::LeastConnections if n == 0 => hash.below(slots),
        Scheduler::Hash | Scheduler::LeastConnections => hash.candidate(n).below(slots),
    };
    let Some(slot) = tables.slot(table, position) else {
        choice.none = INCONSISTENT;
        return true;
    };
    let index = slot.current();
    if index == 0 {
        return true;
    }
    let Some(backend) = tables.backend(index).filter(|b| b.forward().is_some()) else {
        choice.none = INCONSISTENT;
        return true;
    };
    if index == choice.index || !backend.is_alive() {
        return false;
    }
    if !has_room(tables, index) {
        choice.none = FULL;
        return false;
    }
    let first = choice.index == 0;
    choice.index = if first {
        index
    } else {
        less_loaded(tables, choice.index, index)
    };
    !first || service.scheduler() != Scheduler::LeastConnections
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
