//! Third stage: which backend? By the flow's hash: it names a slot, and the slot a backend, unless
//! its owner is changing (see `unsettled`). Services that record their flows ask here only for new
//! ones (see `flow`).

use crate::{
    abi::{
        Address, Backend, Direction, FlowKey, Forward, HopWord, Service, ServiceTraits, Slot,
        Traffic,
    },
    net::{Family, Packet},
};

use super::{
    forward,
    outcome::{DropReason, Egress, Stop},
    parse::{self, Parsed},
    rewrite,
    tables::{FamilyTables, Tables},
    unsettled,
};

/// A packet of a service that records no flows.
#[inline(always)]
pub(super) fn hashed<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
    parsed: &Parsed<F::Address>,
    service: &Service<F::Address>,
) -> Result<Egress, Stop> {
    let flags = parse::sound::<F, P>(packet, parsed.facts)?;
    let slot = slot_of(tables, service, &parsed.key)?;
    let traits = service.traits();
    let index = if slot.is_settled() || traits.has(ServiceTraits::ONE_PACKET) {
        slot.current()
    } else {
        let quic = traits.has(ServiceTraits::QUIC);
        let sighting = parse::sighting::<F, P>(packet, parsed.facts, quic, tables.now());
        unsettled::owner::<F, T>(tables, &parsed.key, service, slot, &sighting)?
    };
    let backend = backend(tables, index)?;
    match backend.forward() {
        Some(Forward::Ipip) => {}
        // full-nat needs a port per flow, so its services are tracked.
        Some(Forward::FullNat) | None => return Err(DropReason::Inconsistent.into()),
    }
    let next = forward::to_backend(tables, backend.next_hop())?;
    rewrite::encapsulate::<F, P, T>(packet, tables, parsed.facts, backend, next)?;
    let egress = forward::send(tables, ingress, next.hop.device())?;
    let traffic = Traffic {
        direction: Direction::In,
        bytes: parsed.facts.length as u64,
        opens: flags.opens(),
    };
    tables.count_service(service.id(), traffic);
    tables.count_backend(index, traffic);
    Ok(egress)
}

/// The slot of a flow.
#[inline(always)]
pub(super) fn slot_of<A: Address, T: Tables>(
    tables: &T,
    service: &Service<A>,
    key: &FlowKey<A>,
) -> Result<Slot, Stop> {
    let (table, hash) = (service.table(), service.hash(key, tables.seed()));
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
