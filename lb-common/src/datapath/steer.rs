//! Recorded flows whose packets are not rewritten (`ipip`, `gue`, `dsr`): what is recorded is whose
//! they are. Only clients' packets pass here, so a flow has one entry.

use crate::{
    abi::{BackendRef, Direction, FlowSpec, FlowState, FlowTable, HopWord, Service},
    net::{Family, Packet, Piece},
};

use super::{
    admit, choose,
    flow::{count_active, either, forget, lookup, note},
    outcome::{DropReason, PassReason, Stop},
    parse::{self, Parsed},
    state::Change,
    tables::{FamilyTables, HeldFlow, InsertError, Scratch},
};

/// Whose a packet is, and whether its flow is a new one.
pub(super) struct Steered {
    /// Index of the backend.
    pub(super) index: u32,
    /// Whether it was recorded now.
    pub(super) opens: bool,
}

/// Whose a client's packet is; its flow is recorded if it is a new one. A function of its own in the
/// kernel, so that flows that are not recorded do not pay for its stack.
#[inline(never)]
pub(super) fn owner<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &P,
    tables: &T,
    parsed: &Parsed<F::Address>,
    service: &Service<F::Address>,
) -> Result<Steered, Stop> {
    let work = |scratch: &mut Scratch<F::Address>| {
        scratch.key = parsed.key;
        scratch.segment = parse::segment::<F, P>(packet, parsed.facts);
        match known::<F, P, T>(packet, tables, scratch, service)? {
            Some(steered) => Ok(steered),
            None if service.is_removed() => Err(PassReason::NoService.into()),
            None if packet.piece() == Piece::Later => Err(DropReason::FlowEvicted.into()),
            None => record::<F, T>(tables, scratch, service),
        }
    };
    tables
        .with_scratch(work)
        .unwrap_or(Err(DropReason::Inconsistent.into()))
}

/// Whose a recorded flow's packet is, if its backend lives.
#[inline(always)]
fn known<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &P,
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
) -> Result<Option<Steered>, Stop> {
    let Some((held, table)) = either(tables, &scratch.key) else {
        return match tables.asks_older() && !scratch.segment.flags.opens() {
            true => Err(Stop::Older),
            false => Ok(None),
        };
    };
    held.read(&mut scratch.entry);
    if scratch.entry.fingerprint != scratch.key.fingerprint() {
        return Ok(None);
    }
    if !scratch.entry.is_for(service.id()) {
        forget::<F, T>(tables, &scratch.key);
        return Ok(None);
    }
    let backend = scratch.entry.backend();
    if !choose::goes_on(tables, backend, service.traits()) {
        if let Some(stop) = choose::ended(tables, backend, service.traits()) {
            return Err(stop);
        }
        forget::<F, T>(tables, &scratch.key);
        return Ok(None);
    }
    let change = note::<F, P, T>(packet, &held, scratch, tables.now(), true);
    let opens = change == Change::Reopen && !scratch.entry.state().is_active();
    apply::<F, T>(tables, &held, table, scratch, change);
    let index = backend.index();
    Ok(Some(Steered { index, opens }))
}

/// Brings a flow's entry to what a packet made of it.
#[inline(always)]
fn apply<F: Family, T: FamilyTables<F>>(
    tables: &T,
    held: &T::Flow,
    table: FlowTable,
    scratch: &mut Scratch<F::Address>,
    change: Change,
) {
    let state = match change {
        Change::None => return,
        Change::To(state) => state,
        Change::Commit => FlowState::Established,
        Change::Reopen => FlowState::Opening,
    };
    count_active(tables, &scratch.entry, state);
    held.set_state(state);
    if change == Change::Reopen {
        held.set_isn(scratch.segment.initial());
    }
    if change == Change::Commit && table == FlowTable::Young {
        scratch.entry.set_state(state);
        // The copy is from before this packet.
        scratch.entry.last_seen = tables.now();
        scratch.entry.last_seq = scratch.segment.sequence;
        let moved = tables.insert_flow(FlowTable::Committed, &scratch.key, &scratch.entry);
        if moved.is_ok() {
            tables.remove_flow(FlowTable::Young, &scratch.key);
        }
    }
}

/// Records a flow.
#[inline(always)]
fn record<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
) -> Result<Steered, Stop> {
    if scratch.segment.flags.resets() {
        return Err(DropReason::ResetWithoutFlow.into());
    }
    admit::recorded::<F, T>(tables, &scratch.key, service)?;
    choose::choose::<F, T>(tables, scratch, service)?;
    insert::<F, T>(tables, scratch, service.id())
}

/// Records a flow with the backend that was chosen for it. One that another CPU recorded meanwhile is
/// that one's. A function of its own in the kernel, for the sake of `owner`'s small stack.
#[inline(never)]
fn insert<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: u32,
) -> Result<Steered, Stop> {
    let chosen = BackendRef::from_word(scratch.chosen);
    let spec = FlowSpec {
        key: &scratch.key,
        ends: scratch.key.ends(),
        direction: Direction::In,
        service,
        backend: chosen,
        route: HopWord::NONE,
        sequence: scratch.segment.initial(),
    };
    let now = tables.now();
    scratch.entry.fill(spec, now, now);
    scratch.entry.last_seq = scratch.segment.sequence;
    let index = chosen.index();
    match tables.insert_flow(FlowTable::Young, &scratch.key, &scratch.entry) {
        Ok(()) => {
            tables.add_active(index, 1);
            Ok(Steered { index, opens: true })
        }
        Err(InsertError::Exists) => {
            let winner = lookup::<F, T>(tables, &scratch.key, &mut scratch.found);
            winner.ok_or(DropReason::FlowEvicted)?;
            let index = scratch.found.backend().index();
            let opens = false;
            Ok(Steered { index, opens })
        }
        Err(InsertError::Full) => Err(DropReason::FlowTableFull.into()),
    }
}
