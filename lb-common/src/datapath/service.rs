//! Second stage: whose is this packet? A service's by its exact address, port and protocol; failing
//! that, by the mark of its address; failing that, and only where there is `nat` mode, by the
//! backend's port that it comes from.

use crate::{
    abi::{FlowKey, Service, ServiceKey},
    net::Family,
};

use super::{
    outcome::{PassReason, Stop},
    tables::FamilyTables,
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
    if let Some(mark) = probe::<F, T>(tables, &ServiceKey::mark(key.destination)) {
        return Ok(mark);
    }
    if tables.has_nat() {
        let from = ServiceKey::reverse(key.source, key.source_port, key.protocol);
        if let Some(reverse) = probe::<F, T>(tables, &from) {
            return Ok(reverse);
        }
    }
    Err(PassReason::NoService.into())
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
