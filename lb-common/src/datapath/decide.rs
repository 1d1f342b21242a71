//! Third stage: which backend? By the flow's hash alone: it names a slot, the slot a backend.
//! Services that record their flows ask here only for new ones (see `flow`).

use crate::{
    abi::{Backend, Direction, FlowHash, Forward, HopWord, Service, Traffic},
    net::{Family, Packet},
};

use super::{
    forward,
    outcome::{DropReason, Egress, Stop},
    parse::{self, Parsed},
    rewrite,
    tables::{FamilyTables, Tables},
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
    let (index, backend) = choose(tables, service, parsed.key.hash(tables.seed()))?;
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

/// The backend, and its index, that new flows of this hash get.
#[inline(always)]
pub(super) fn choose<'t, A: crate::abi::Address, T: Tables>(
    tables: &'t T,
    service: &Service<A>,
    hash: FlowHash,
) -> Result<(u32, &'t Backend), Stop> {
    let table = service.table();
    let Some(slot) = tables.slot(table, hash.below(table.size.slots())) else {
        return Err(DropReason::Inconsistent.into());
    };
    let index = slot.current();
    if index == 0 {
        return Err(DropReason::NoBackend.into());
    }
    let backend = tables.backend(index).ok_or(DropReason::Inconsistent)?;
    Ok((index, backend))
}
