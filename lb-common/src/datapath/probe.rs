//! Probes that take clients' way: the port that one comes from names the backend, in place of the service's scheduler.
//! The agent has a device for them that only its own packets come from; the program there runs the stages of all
//! packets but for `admit`, with tables of which [`Tables::PROBES`] says so.
//!
//! ```text
//! probe ──► service ──► backend of its port ──► decide or flow ──► rewrite ──► backend
//!   ▲                                                                             │
//!   └── the device ◄── [`answered`], in modes whose backends answer themselves ◄──┤
//!   └── the device ◄── as any client is answered: `nat`, `full-nat` ◄─────────────┘
//! ```

use crate::{
    abi::{Address, BackendRef, FlowKey, Forward, HopWord, Service, ServiceKind},
    net::{Family, Packet},
};

use super::{
    choose, decide, flow, forward,
    outcome::{DropReason, Egress, PassReason, Stop},
    parse::{self, Parsed},
    rewrite,
    tables::{FamilyTables, Tables},
};

/// Decides on a probe. It goes as its backend's pool has it, whichever pool answers for the service now.
#[inline(always)]
pub(super) fn judge<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
    parsed: &Parsed<F::Address>,
    service: &Service<F::Address>,
) -> Result<Egress, Stop> {
    if service.kind() != ServiceKind::Service {
        return Err(PassReason::NoService.into());
    }
    let index = backend(tables, &parsed.key)?.index();
    let is_recorded = match decide::backend(tables, index)?.forward() {
        Some(Forward::FullNat) => true,
        Some(Forward::Nat) => service.tracked(),
        Some(Forward::Ipip | Forward::Gue | Forward::Dsr) => false,
        None => return Err(DropReason::Inconsistent.into()),
    };
    match is_recorded {
        true => flow::tracked::<F, P, T>(packet, tables, ingress, parsed, service),
        false => decide::steered::<F, P, T>(packet, tables, ingress, parsed, service),
    }
}

/// The backend that a probe is for: in the tables only as long as there is a way to it.
#[inline(always)]
pub(super) fn backend<A: Address, T: Tables>(
    tables: &T,
    key: &FlowKey<A>,
) -> Result<BackendRef, Stop> {
    let named = tables.probed(key.source_port);
    if named.index() == 0 {
        return Err(DropReason::Inconsistent.into());
    }
    match choose::usable(tables, named) {
        Some(_) => Ok(named),
        None => Err(DropReason::NoNextHop.into()),
    }
}

/// Whether a probe is for this backend.
#[inline(always)]
pub(super) fn is_of<A: Address, T: Tables>(
    tables: &T,
    key: &FlowKey<A>,
    backend: BackendRef,
) -> bool {
    tables.probed(key.source_port) == backend
}

/// What a backend itself answers to a probe, by the mark of the address that the probe came from: it goes to the
/// device of probes as it is.
#[inline(always)]
pub(super) fn answered<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    parsed: &Parsed<F::Address>,
    mark: &Service<F::Address>,
) -> Result<Egress, Stop> {
    parse::sound::<F, P>(packet, parsed.facts)?;
    let next = forward::to_backend(tables, mark.next_hop())?;
    rewrite::pass_on::<F, P, T>(packet, tables, parsed.facts, next)?;
    forward::send(tables, tables.ingress(), next.hop.device())
}
