//! Second stage: whose is this packet? A service's by its exact address, port and protocol; failing
//! that, by the mark of its address, which may lead to ranges of ports; failing that, and only where
//! there are any, by the longest prefix that services listen on; failing that, and only where there
//! is `nat` mode, by the backend's port that it comes from, or by the backend: a client's address may
//! lie in such a prefix. An address that probes are sent from is such a client's, but where no backend's port
//! says more, its mark says where the packet goes.

use crate::{
    abi::{
        Address, FlowKey, PortKey, PrefixKey, Service, ServiceKey, ServiceKind, listening_scope,
        numbered_position,
    },
    net::Family,
};

use super::{
    outcome::{PassReason, Stop},
    tables::{FamilyTables, Tables},
};

/// The entry that says whose a packet with these ends is.
#[inline(always)]
pub(super) fn find<'t, F: Family, T: FamilyTables<F>>(
    tables: &'t T,
    key: &FlowKey<F::Address>,
) -> Result<&'t Service<F::Address>, Stop> {
    let exact = ServiceKey::service(key.destination, key.destination_port, key.protocol);
    if let Some(service) = probe::<F, T>(tables, &exact) {
        return Ok(service);
    }
    let mark = probe::<F, T>(tables, &ServiceKey::mark(key.destination));
    let group = match mark {
        Some(mark) if mark.kind() == ServiceKind::Group => mark.group_index(),
        Some(mark) if tables.has_probes() => return Ok(behind::<F, T>(tables, key, mark)),
        Some(mark) => return Ok(mark),
        None if tables.has_prefixes() => group_of::<F, T>(tables, key),
        None => NO_GROUP,
    };
    if group != NO_GROUP {
        let position = in_group::<F, T>(tables, key, group);
        if let Some(service) = tables.service(position) {
            return Ok(service);
        }
        if mark.is_some() {
            return Err(PassReason::NoService.into());
        }
    }
    if tables.has_nat() {
        let from = ServiceKey::reverse(key.source, key.source_port, key.protocol);
        if let Some(reverse) = probe::<F, T>(tables, &from) {
            return Ok(reverse);
        }
    }
    if tables.has_nat_ranges() {
        let from = ServiceKey::reverse(key.source, ANY_PORT, key.protocol);
        if let Some(reverse) = probe::<F, T>(tables, &from) {
            return Ok(reverse);
        }
    }
    Err(PassReason::NoService.into())
}

/// What says more than a mark does: of an address that probes come from, the backend's port, in `nat` mode.
#[inline(always)]
fn behind<'t, F: Family, T: FamilyTables<F>>(
    tables: &'t T,
    key: &FlowKey<F::Address>,
    mark: &'t Service<F::Address>,
) -> &'t Service<F::Address> {
    if !is_probes(mark) {
        return mark;
    }
    if tables.has_nat() {
        let from = ServiceKey::reverse(key.source, key.source_port, key.protocol);
        if let Some(reverse) = probe::<F, T>(tables, &from) {
            return reverse;
        }
    }
    if tables.has_nat_ranges() {
        let from = ServiceKey::reverse(key.source, ANY_PORT, key.protocol);
        if let Some(reverse) = probe::<F, T>(tables, &from) {
            return reverse;
        }
    }
    mark
}

/// Whether packets of an entry that is no service's are told by it alone: what backends answer in `nat` mode where
/// nothing is recorded, and what they answer to probes themselves.
#[inline(always)]
pub(super) fn is_of_answers<A: Address, T: Tables>(tables: &T, entry: &Service<A>) -> bool {
    match entry.kind() {
        ServiceKind::Own => tables.has_probes() && entry.next_hop() != 0,
        ServiceKind::Reverse => !entry.tracked(),
        ServiceKind::Service | ServiceKind::Source | ServiceKind::Group | ServiceKind::Empty => {
            false
        }
    }
}

/// Whether a mark is that of an address that probes are sent from.
#[inline(always)]
pub(super) fn is_probes<A: Address>(mark: &Service<A>) -> bool {
    mark.kind() == ServiceKind::Own && mark.next_hop() != 0
}

/// Stands in the key of what answers from a backend's ports, whichever.
const ANY_PORT: [u8; 2] = [0; 2];

/// Number of no group.
const NO_GROUP: u32 = 0;

/// Behind the last position: nowhere.
const NOWHERE: u32 = u32::MAX;

/// The group that the packet's address has by its longest prefix. A function of its own in the kernel,
/// for the sake of its small stack.
#[inline(never)]
fn group_of<F: Family, T: FamilyTables<F>>(tables: &T, key: &FlowKey<F::Address>) -> u32 {
    let scope = listening_scope::<F::Address>();
    tables
        .listening(&PrefixKey::lookup(scope, key.destination))
        .unwrap_or(NO_GROUP)
}

/// Position of the service that a group has at the packet's port. A position and no service, so that
/// the verifier meets entries of one table only and walks what follows once. A function of its own, as
/// [`group_of`] is.
#[inline(never)]
fn in_group<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    group: u32,
) -> u32 {
    tables
        .at_port(&PortKey::lookup(group, key.protocol, key.destination_port))
        .map_or(NOWHERE, |id| numbered_position(id, key.protocol))
}

#[inline(always)]
pub(super) fn probe<'t, F: Family, T: FamilyTables<F>>(
    tables: &'t T,
    key: &ServiceKey<F::Address>,
) -> Option<&'t Service<F::Address>> {
    let [first, second] = key.positions(tables.salt());
    match tables.service(first) {
        Some(service) if service.is(key) => Some(service),
        _ => tables.service(second).filter(|service| service.is(key)),
    }
}
