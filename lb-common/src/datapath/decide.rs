//! Third stage: which backend? By the flow's hash: it names a slot, and the slot a backend, unless
//! its owner is changing (see `unsettled`). A connection id may name a backend first (see
//! `server_id`). Services that record their flows ask here only for new
//! ones (see `flow`).

use crate::{
    abi::{
        Address, Backend, Direction, FlowHash, Forward, Handshake, HopWord, Service, ServiceTraits,
        Slot, Traffic,
    },
    net::{Family, Packet},
};

use super::{
    admit, clamp, forward,
    outcome::{DropReason, Egress, Stop},
    parse::{self, Parsed},
    probe,
    rewrite::{self, Towards, Tunnel},
    server_id, steer,
    tables::{FamilyTables, Tables},
    unsettled::Unsettled,
};

/// A packet of a service whose packets go on as they are, or within others, or whose answers need no
/// record.
#[inline(always)]
pub(super) fn steered<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
    parsed: &Parsed<F::Address>,
    service: &Service<F::Address>,
) -> Result<Egress, Stop> {
    let flags = parse::sound::<F, P>(packet, parsed.facts)?;
    clamp::segments::<F, P, T>(packet, tables, service.id(), flags)?;
    let hash = service.hash(&parsed.key, tables.seed());
    let facts = parsed.facts;
    let (index, opens) = if T::PROBES {
        (probe::backend(tables, &parsed.key)?.index(), flags.opens())
    } else if service.tracked() {
        let steered = steer::owner::<F, P, T>(packet, tables, parsed, service)?;
        (steered.index, steered.opens)
    } else {
        let index = match named::<F, P, T>(packet, tables, service, facts.length)? {
            0 => hashed::<F, P, T>(packet, tables, parsed, service, hash)?,
            index => index,
        };
        (index, flags.opens())
    };
    let backend = backend(tables, index)?;
    let mode = backend.forward().ok_or(DropReason::Inconsistent)?;
    let next = forward::to_backend(tables, backend.next_hop())?;
    // What is spread by the flow tells flows apart that share a slot by their client's prefix, too.
    let spreads = mode == Forward::Gue || mode == Forward::Ipip && backend.spreads_sources();
    let hash = match service.prefix() {
        1.. if spreads => parsed.key.hash(tables.seed()),
        _ => hash,
    };
    let tunnel = |udp| Tunnel { backend, hash, udp };
    match mode {
        Forward::Ipip => {
            rewrite::encapsulate::<F, P, T>(packet, tables, facts, tunnel(false), next)?;
        }
        Forward::Gue => {
            rewrite::encapsulate_udp::<F, P, T>(packet, tables, &facts, &tunnel(true), &next)?;
        }
        Forward::Dsr => rewrite::pass_on::<F, P, T>(packet, tables, facts, next)?,
        Forward::Nat => {
            let to = Towards { backend, next };
            rewrite::redirect::<F, P, T>(packet, tables, parsed, &to)?;
        }
        // full-nat needs a port per flow, so its services are tracked.
        Forward::FullNat => return Err(DropReason::Inconsistent.into()),
    }
    let egress = forward::send(tables, ingress, next.hop.device())?;
    let traffic = Traffic {
        direction: Direction::In,
        bytes: parsed.facts.length as u64,
        opens,
    };
    tables.count_service(service.id(), traffic);
    tables.count_backend(index, traffic);
    if opens && mode == Forward::Nat {
        tables.count_handshake(index, Handshake::Asked);
    }
    Ok(egress)
}

/// Index of the backend that a packet's connection id names; 0: none. That is looked at by the program
/// for packets that are not plain: to the verifier, another way to a backend is as many instructions
/// again in the packet program.
#[inline(always)]
fn named<F: Family, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    service: &Service<F::Address>,
    length: usize,
) -> Result<u32, Stop> {
    if !service.traits().has(ServiceTraits::SERVER_IDS) {
        return Ok(0);
    }
    if P::PLAIN {
        return Err(Stop::Uncommon);
    }
    Ok(server_id::named::<F, P, T>(
        packet,
        tables,
        service.id(),
        length,
    ))
}

/// Whose a packet is by its flow's hash.
#[inline(always)]
fn hashed<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &P,
    tables: &T,
    parsed: &Parsed<F::Address>,
    service: &Service<F::Address>,
    hash: FlowHash,
) -> Result<u32, Stop> {
    let traits = service.traits();
    if traits.has(ServiceTraits::LIMITED) {
        admit::opening::<F, P, T>(packet, tables, parsed, service)?;
    }
    let slot = slot_of(tables, service, hash)?;
    if slot.is_settled() || traits.has(ServiceTraits::ONE_PACKET) {
        return Ok(slot.current());
    }
    let quic = traits.has(ServiceTraits::QUIC);
    let sighting = parse::sighting::<F, P>(packet, parsed.facts, quic, tables.now());
    let packet = Unsettled::new(service, slot, sighting);
    tables.owner(&parsed.key, packet).index()
}

/// The slot that flows of this hash have.
#[inline(always)]
pub(super) fn slot_of<A: Address, T: Tables>(
    tables: &T,
    service: &Service<A>,
    hash: FlowHash,
) -> Result<Slot, Stop> {
    let table = service.table();
    let slot = tables.slot(table, hash.below(table.size.slots()));
    slot.ok_or(DropReason::Inconsistent.into())
}

/// The backend of this index, unless that is 0: nobody's.
#[inline(always)]
pub(super) fn backend<T: Tables>(tables: &T, index: u32) -> Result<&Backend, Stop> {
    if index == 0 {
        return Err(DropReason::NoBackend.into());
    }
    tables.backend(index).ok_or(DropReason::Inconsistent.into())
}
