//! Second stage: whose is this packet? A service by its exact address, port and protocol; failing
//! that, the mark of its address.

use crate::{
    abi::{FlowKey, Service, ServiceKey},
    net::Family,
};

use super::{
    outcome::{PassReason, Stop},
    tables::FamilyTables,
};

/// The entry that a packet with these ends is for: a service, or a source address of ours.
#[inline(always)]
pub(super) fn find<'t, F: Family, T: FamilyTables<F>>(
    tables: &'t T,
    key: &FlowKey<F::Address>,
) -> Result<&'t Service<F::Address>, Stop> {
    let exact = ServiceKey::service(key.destination, key.destination_port, key.protocol);
    if let Some(service) = probe::<F, T>(tables, &exact) {
        return Ok(service);
    }
    probe::<F, T>(tables, &ServiceKey::mark(key.destination)).ok_or(PassReason::NoService.into())
}

#[inline(always)]
fn probe<'t, F: Family, T: FamilyTables<F>>(
    tables: &'t T,
    key: &ServiceKey<F::Address>,
) -> Option<&'t Service<F::Address>> {
    let [first, second] = key.positions(tables.salt());
    match tables.service(first) {
        Some(service) if service.is(key) => Some(service),
        _ => tables.service(second).filter(|service| service.is(key)),
    }
}
