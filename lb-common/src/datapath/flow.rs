//! Recorded flows whose packets are rewritten: those of services that need a port per flow
//! (`full-nat`) or whose answers tell nothing of themselves (`nat`, tracked), and the replies.
//!
//! Both directions of a flow have an entry of one shape, a ready-made rewrite, so client and
//! backend share one path. How a new flow is recorded is `open`'s business, what a packet makes of
//! its flow `state`'s; `steer` has the flows whose packets are not rewritten.

use crate::{
    abi::{FlowEntry, FlowKey, FlowState, FlowTable, HopWord, Service, ServiceKind, Traffic},
    net::{EthernetHeader, Family, Ipv4, Packet, Piece},
};

use super::{
    admit, choose, clamp, forward, open,
    outcome::{DropReason, Egress, PassReason, Stop},
    parse::{self, Facts, Parsed},
    probe,
    rewrite::{self, Translation},
    state::{self, Change},
    tables::{FamilyTables, HeldFlow, Leaving, Scratch, Tables},
};

/// A packet of a flow that is recorded, or will be: a client's to a service that records its
/// flows, or a backend's to one of our source addresses or, in `nat` mode, from a service's port.
#[inline(always)]
pub(super) fn tracked<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
    parsed: &Parsed<F::Address>,
    target: &Service<F::Address>,
) -> Result<Egress, Stop> {
    let work = |scratch: &mut Scratch<F::Address>| {
        scratch.key = parsed.key;
        let held = find::<F, P, T>(packet, tables, ingress, target, parsed.facts, scratch)?;
        established::<F, P, T>(packet, tables, &parsed.facts, scratch, &held)
    };
    tables
        .with_scratch(work)
        .unwrap_or(Err(DropReason::Inconsistent.into()))
}

/// The entry of a packet's flow, recorded now if a client may open one; a copy, and what else is known
/// of the packet, is in `scratch`.
#[inline(always)]
fn find<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
    target: &Service<F::Address>,
    facts: Facts,
    scratch: &mut Scratch<F::Address>,
) -> Result<T::Flow, Stop> {
    let from_backend = target.kind() != ServiceKind::Service;
    let ours = || tables.source_ports().contain(scratch.key.destination_port);
    if target.kind() == ServiceKind::Source && !ours() {
        return Err(PassReason::NoFlow.into());
    }
    let crosses = !F::ACROSS && tables.has_crossing() && target.crosses();
    if crosses && !is_unmapped::<F, T>(tables, target, &scratch.key) {
        // What the program for these could not read comes here, and may be malformed.
        if !P::PLAIN {
            parse::sound::<F, P>(packet, facts)?;
        }
        return Err(Stop::Crossing);
    }
    let found = either(tables, &scratch.key);
    scratch.opens = u32::from(found.is_none());
    match (target.kind(), &found) {
        (ServiceKind::Service, _) | (_, Some(_)) => {}
        (_, None) if tables.asks_older() => return Err(Stop::Older),
        // The kernel would reset a connection that its client's next packet may save.
        (ServiceKind::Source, None) => return Err(DropReason::UnknownFlow.into()),
        (_, None) => return Err(PassReason::NoFlow.into()),
    }
    let flags = parse::sound::<F, P>(packet, facts)?;
    if !from_backend {
        clamp::segments::<F, P, T>(packet, tables, target.id(), flags)?;
    }
    let came_from = packet
        .header::<EthernetHeader>(0)
        .ok_or(DropReason::Inconsistent)?;
    scratch.back = HopWord::new(came_from.source, ingress.device());
    scratch.length = facts.length as u32;
    scratch.segment = parse::segment::<F, P>(packet, facts);
    if let Some((held, table)) = found {
        held.read(&mut scratch.entry);
        scratch.young = u32::from(table == FlowTable::Young);
        if from_backend {
            clamp::segments::<F, P, T>(packet, tables, scratch.entry.service, flags)?;
        }
        if from_backend || keeps::<F, T>(tables, scratch, target)? {
            return Ok(held);
        }
    }
    if tables.asks_older() && scratch.opens != 0 && !flags.opens() {
        return Err(Stop::Older);
    }
    if crosses {
        // What was recorded before is no more: it begins anew as flows do now.
        return Err(Stop::Crossing);
    }
    if target.is_removed() {
        return Err(PassReason::NoService.into());
    }
    if packet.piece() == Piece::Later {
        return Err(DropReason::FlowEvicted.into());
    }
    if flags.resets() {
        return Err(DropReason::ResetWithoutFlow.into());
    }
    if !T::PROBES {
        admit::recorded::<F, T>(tables, &scratch.key, target)?;
    }
    choose::choose::<F, T>(tables, scratch, target)?;
    open::record::<F, T>(tables, scratch, target)?;
    let (held, table) = either(tables, &scratch.key).ok_or(DropReason::FlowEvicted)?;
    held.read(&mut scratch.entry);
    scratch.young = u32::from(table == FlowTable::Young);
    Ok(held)
}

/// Whether a packet is of a flow of IPv4 that was recorded before flows like it crossed families: it goes
/// on as it began.
#[inline(always)]
pub(super) fn is_unmapped<F: Family, T: FamilyTables<F>>(
    tables: &T,
    target: &Service<F::Address>,
    key: &FlowKey<F::Address>,
) -> bool {
    F::VERSION == Ipv4::VERSION && target.has_unmapped() && holds::<F, T>(tables, key)
}

/// Whether a client's flow goes on as its entry, in `scratch.entry`, says. If not, both entries are
/// removed, and the flow is recorded anew. One that has lost the entry of its replies does not (the
/// table's full, and the kernel evicts one by one): its source port may be another flow's by now. That
/// is looked after when a second has passed, which also keeps the replies' entry from being the oldest,
/// and always while the flow is young, since floods evict those. Nor does one whose entry is of another
/// service's replies, or of a probe of another backend from the same port.
#[inline(always)]
fn keeps<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
) -> Result<bool, Stop> {
    let probes_another = T::PROBES && !probe::is_of(tables, &scratch.key, scratch.entry.backend());
    if probes_another || !scratch.entry.is_for(service.id()) {
        forget::<F, T>(tables, &scratch.key);
        scratch.opens = 1;
        return Ok(false);
    }
    let backend = scratch.entry.backend();
    let lives = choose::goes_on(tables, backend, service.traits());
    if !lives && let Some(stop) = choose::ended(tables, backend, service.traits()) {
        return Err(stop);
    }
    let recent = tables.now().wrapping_sub(scratch.entry.last_seen) < tables.hertz();
    if lives && recent && scratch.young == 0 {
        return Ok(true);
    }
    scratch.answers = scratch.entry.rewrite().answer(scratch.key.protocol);
    let twin = lookup::<F, T>(tables, &scratch.answers, &mut scratch.found);
    let whole = twin.is_some() && scratch.found.rewrite() == scratch.key.reply();
    if lives && whole {
        return Ok(true);
    }
    if whole {
        forget::<F, T>(tables, &scratch.answers);
    }
    forget::<F, T>(tables, &scratch.key);
    Ok(false)
}

/// A packet of a recorded flow, in either direction. A function of its own in the kernel too, for
/// the sake of its small stack.
#[inline(never)]
fn established<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    scratch: &mut Scratch<F::Address>,
    held: &T::Flow,
) -> Result<Egress, Stop> {
    let entry = &scratch.entry;
    if entry.fingerprint != scratch.key.fingerprint() {
        return Err(DropReason::FlowEvicted.into());
    }
    let now = tables.now();
    let leaving = Leaving {
        protocol: facts.protocol,
        traffic_class: facts.traffic_class,
        // It fits: an IPv4 length has 16 bits, and no frame takes a longer IPv6 packet.
        length: F::on_wire(facts.length, entry.rewrite().destination) as u16,
    };
    let next = forward::next_hop::<F, T>(tables, held, entry, leaving, now)?;
    let translation = Translation::of(entry);
    rewrite::translate::<F, P, T>(packet, tables, *facts, &translation, next)?;
    let egress = forward::send(tables, scratch.back, next.hop.device())?;
    let change = note::<F, P, T>(packet, held, scratch, now, false);
    let reopens = change == Change::Reopen && !entry.state().is_active();
    let traffic = Traffic {
        direction: entry.direction(),
        bytes: F::on_wire(facts.length, scratch.key.source) as u64,
        opens: scratch.opens != 0 || reopens,
    };
    tables.count_service(entry.service, traffic);
    tables.count_backend(entry.backend().index(), traffic);
    if scratch.opens != 0 || change != Change::None {
        apply::<F, T>(tables, held, scratch, change);
    }
    Ok(egress)
}

/// Notes a packet in the entry of its flow; tells what it makes of that. `one_way`: answers do not
/// pass here. A later fragment only looks: it has no numbers, and proves nothing.
#[inline(always)]
pub(super) fn note<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &P,
    held: &T::Flow,
    scratch: &Scratch<F::Address>,
    now: u32,
    one_way: bool,
) -> Change {
    if packet.piece() == Piece::Later {
        return Change::None;
    }
    held.set_seen(now, scratch.segment.sequence);
    state::change(&scratch.entry, &scratch.segment, one_way)
}

/// Counts a packet that opens its flow or changes what it is, and brings both of the flow's entries to that. A
/// function of its own in the kernel: few packets do either.
#[inline(never)]
fn apply<F: Family, T: FamilyTables<F>>(
    tables: &T,
    held: &T::Flow,
    scratch: &mut Scratch<F::Address>,
    change: Change,
) {
    let opens = scratch.opens != 0;
    if let Some(step) = state::handshake(&scratch.entry, &scratch.segment, change, opens) {
        tables.count_handshake(scratch.entry.backend().index(), step);
    }
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
    scratch.answers = scratch.entry.rewrite().answer(scratch.key.protocol);
    let Some((twin, _)) = either(tables, &scratch.answers) else {
        return;
    };
    twin.read(&mut scratch.found);
    // Recycled, or of a flow that took the port since.
    let other = scratch.found.rewrite() != scratch.key.reply();
    if other || scratch.found.fingerprint != scratch.answers.fingerprint() {
        return;
    }
    twin.set_state(state);
    if change == Change::To(FlowState::Answered) {
        twin.set_peer_isn(scratch.segment.initial());
    }
    if change == Change::Commit && scratch.young != 0 {
        scratch.found.set_state(state);
        scratch.entry.set_state(state);
        // The copy is from before this packet.
        scratch.entry.last_seen = tables.now();
        scratch.entry.last_seq = scratch.segment.sequence;
        commit::<F, T>(tables, scratch);
    }
}

/// Moves both entries of a flow, as they are in `scratch`, from the young flows to the committed
/// ones: the answers' first, as when they were recorded. One that can't be moved stays.
#[inline(always)]
fn commit<F: Family, T: FamilyTables<F>>(tables: &T, scratch: &Scratch<F::Address>) {
    let (young, committed) = (FlowTable::Young, FlowTable::Committed);
    let moved = tables.insert_flow(committed, &scratch.answers, &scratch.found);
    if moved.is_ok() {
        tables.remove_flow(young, &scratch.answers);
    }
    if tables
        .insert_flow(committed, &scratch.key, &scratch.entry)
        .is_ok()
    {
        tables.remove_flow(young, &scratch.key);
    }
}

/// Counts a flow that begins or ends to be one of its backend's.
#[inline(always)]
pub(super) fn count_active<A: crate::abi::Address, T: Tables>(
    tables: &T,
    entry: &FlowEntry<A>,
    state: FlowState,
) {
    let index = entry.backend().index();
    match (entry.state().is_active(), state.is_active()) {
        (true, false) => tables.add_active(index, -1),
        (false, true) => tables.add_active(index, 1),
        (true, true) | (false, false) => {}
    }
}

/// Copies the entry of a key to `entry` and tells which table it is in, unless it was recycled for
/// another flow since it was found. A function of its own in the kernel, where the verifier walks all
/// that follows for each table.
#[inline(never)]
pub(super) fn lookup<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    entry: &mut FlowEntry<F::Address>,
) -> Option<FlowTable> {
    let (held, table) = either(tables, key)?;
    held.read(entry);
    (entry.fingerprint == key.fingerprint()).then_some(table)
}

/// Whether a key has an entry. A function of its own, as [`lookup`] is.
#[inline(never)]
pub(super) fn holds<F: Family, T: FamilyTables<F>>(tables: &T, key: &FlowKey<F::Address>) -> bool {
    either(tables, key).is_some()
}

/// The entry of a key in either table. A flow is put in the one before it leaves the other: one that
/// another CPU commits meanwhile is found where it was missed at first.
#[inline(always)]
pub(super) fn either<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
) -> Option<(T::Flow, FlowTable)> {
    let (young, committed) = (FlowTable::Young, FlowTable::Committed);
    let find = |table| Some((tables.flow(table, key)?, table));
    find(committed)
        .or_else(|| find(young))
        .or_else(|| find(committed))
}

/// Forgets a flow's entry.
#[inline(always)]
pub(super) fn forget<F: Family, T: FamilyTables<F>>(tables: &T, key: &FlowKey<F::Address>) {
    tables.remove_flow(FlowTable::Young, key);
    tables.remove_flow(FlowTable::Committed, key);
}
