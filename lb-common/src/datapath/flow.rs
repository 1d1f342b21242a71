//! Recorded flows: packets of services that need a port per flow (`full-nat`), and the replies.
//!
//! Both directions of a flow have an entry of one shape, a ready-made rewrite, so client and
//! backend share one path. How a new flow is recorded is `open`'s business.

use crate::{
    abi::{Direction, FlowEntry, FlowKey, FlowState, HopWord, Service, ServiceKind, Traffic},
    net::{EthernetHeader, Family, Packet, TcpFlags},
};

use super::{
    forward, open,
    outcome::{DropReason, Egress, PassReason, Stop},
    parse::{self, Facts, Parsed},
    rewrite::{self, Translation},
    tables::{FamilyTables, HeldFlow, Leaving, Scratch},
};

/// A packet of a flow that is recorded, or will be: a client's to a service that records its
/// flows, or a backend's to one of our source addresses.
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
        let found = find::<F, P, T>(packet, tables, ingress, target, parsed.facts, scratch)?;
        let mut flow = Tracked {
            packet,
            tables,
            ingress,
            facts: parsed.facts,
            scratch,
            found,
        };
        established::<F, P, T>(&mut flow)
    };
    tables
        .with_scratch(work)
        .unwrap_or(Err(DropReason::Inconsistent.into()))
}

/// A packet's entry, its TCP flags, and whether the entry was made just now.
struct Found<H> {
    held: H,
    flags: TcpFlags,
    opens: bool,
}

/// A packet of a recorded flow.
struct Tracked<'a, P, T, A, H> {
    packet: &'a mut P,
    tables: &'a T,
    ingress: HopWord,
    facts: Facts,
    scratch: &'a mut Scratch<A>,
    found: Found<H>,
}

/// The entry of a packet's flow, recorded now if a client may open one; a copy is in
/// `scratch.entry`.
#[inline(always)]
fn find<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &P,
    tables: &T,
    ingress: HopWord,
    target: &Service<F::Address>,
    facts: Facts,
    scratch: &mut Scratch<F::Address>,
) -> Result<Found<T::Flow>, Stop> {
    let from_backend = target.kind() == ServiceKind::Source;
    if from_backend && !tables.source_ports().contain(scratch.key.destination_port) {
        return Err(PassReason::NoFlow.into());
    }
    let found = tables.flow(&scratch.key);
    if from_backend && found.is_none() {
        return Err(PassReason::NoFlow.into());
    }
    let flags = parse::sound::<F, P>(packet, facts)?;
    let opens = found.is_none();
    if let Some(held) = found {
        held.read(&mut scratch.entry);
        if !orphaned::<F, T>(tables, scratch) {
            return Ok(Found { held, flags, opens });
        }
        tables.remove_flow(&scratch.key);
    }
    if flags.resets() {
        return Err(DropReason::ResetWithoutFlow.into());
    }
    let came_from = packet
        .header::<EthernetHeader>(0)
        .ok_or(DropReason::Inconsistent)?;
    let first = open::First {
        back: HopWord::new(came_from.source, ingress.device()),
        length: facts.length,
    };
    open::record::<F, T>(tables, scratch, target, &first)?;
    let held = tables.flow(&scratch.key).ok_or(DropReason::FlowEvicted)?;
    held.read(&mut scratch.entry);
    Ok(Found { held, flags, opens })
}

/// Whether a client's entry, in `scratch.entry`, has lost that of its replies: the table's full, and
/// the kernel evicts one by one. Its source port may be another flow's by now, so it must not be
/// used. Looked after once a second, which also keeps the replies' entry from being the oldest.
#[inline(always)]
fn orphaned<F: Family, T: FamilyTables<F>>(tables: &T, scratch: &mut Scratch<F::Address>) -> bool {
    let recent = tables.now().wrapping_sub(scratch.entry.last_seen) < tables.hertz();
    if recent || scratch.entry.direction() == Direction::Out {
        return false;
    }
    scratch.answers = scratch.entry.rewrite().answer(scratch.key.protocol);
    let twin = lookup::<F, T>(tables, &scratch.answers, &mut scratch.found);
    twin.is_none() || scratch.found.rewrite() != scratch.key.reply()
}

/// A packet of a recorded flow, in either direction. A function of its own in the kernel too, for
/// the sake of its small stack.
#[inline(never)]
fn established<F: Family, P: Packet, T: FamilyTables<F>>(
    flow: &mut Tracked<'_, P, T, F::Address, T::Flow>,
) -> Result<Egress, Stop> {
    let Tracked {
        packet,
        tables,
        ingress,
        facts,
        scratch,
        found,
    } = flow;
    let (tables, facts, Found { held, flags, opens }) = (*tables, *facts, found);
    let entry = &scratch.entry;
    if entry.fingerprint != scratch.key.fingerprint() {
        return Err(DropReason::FlowEvicted.into());
    }
    let now = tables.now();
    let leaving = Leaving {
        protocol: facts.protocol,
        traffic_class: facts.traffic_class,
        // It fits: an IPv4 length has 16 bits, and no frame takes a longer IPv6 packet.
        length: facts.length as u16,
    };
    let next = forward::next_hop::<F, T>(tables, held, entry, leaving, now)?;
    let translation = Translation::of(entry);
    rewrite::translate::<F, P, T>(*packet, tables, facts, &translation, next)?;
    let egress = forward::send(tables, *ingress, next.hop.device())?;
    held.set_last_seen(now);
    let reopens = flags.opens() && entry.state() == FlowState::Closing;
    let traffic = Traffic {
        direction: entry.direction(),
        bytes: facts.length as u64,
        opens: *opens || reopens,
    };
    tables.count_service(entry.service, traffic);
    tables.count_backend(entry.backend, traffic);
    if flags.closes() {
        mark::<F, T>(tables, held, scratch, FlowState::Closing);
    } else if reopens {
        mark::<F, T>(tables, held, scratch, FlowState::Open);
    }
    Ok(egress)
}

/// Sets the state of both of a flow's entries.
#[inline(always)]
fn mark<F: Family, T: FamilyTables<F>>(
    tables: &T,
    held: &T::Flow,
    scratch: &mut Scratch<F::Address>,
    state: FlowState,
) {
    held.set_state(state);
    scratch.answers = scratch.entry.rewrite().answer(scratch.key.protocol);
    if let Some(twin) = lookup::<F, T>(tables, &scratch.answers, &mut scratch.found) {
        twin.set_state(state);
    }
}

/// The entry of a key, copied to `entry`, unless it was recycled for another flow since it was
/// found.
#[inline(always)]
pub(super) fn lookup<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    entry: &mut FlowEntry<F::Address>,
) -> Option<T::Flow> {
    let held = tables.flow(key)?;
    held.read(entry);
    (entry.fingerprint == key.fingerprint()).then_some(held)
}
