//! Whom connection ids name (QUIC-LB): the backends of services that say so, those that answer and those
//! of the fallback, whatever share of new flows they have.

use lb_common::abi::{Ipv4Address, Ipv6Address, PrefixKey, ServiceTraits, server_scope};

use crate::{
    model::{Config, Family, Protocol, ServerId, ServerIds, Service, ServiceIndex},
    plan::Tables,
};

use super::{contenders::reached_at, desired::Inputs};

/// Fills the part of the tables that is for such services alone.
pub(super) fn fill(inputs: Inputs<'_>, tables: &mut Tables) {
    let services = inputs.config.services.iter().zip(inputs.config.tracked());
    for (n, (service, tracked)) in services.enumerate() {
        // Recorded flows are found by their ends.
        if let (Some(ids), None) = (service.server_ids, tracked) {
            for family in Family::ALL {
                name(inputs, (n, ids), family, tables);
            }
        }
    }
}

/// The traits of a service whose connection ids name backends.
pub(super) fn traits(service: &Service, protocol: Protocol) -> ServiceTraits {
    match (protocol, service.server_ids) {
        (Protocol::Udp, Some(_)) => ServiceTraits::SERVER_IDS,
        (Protocol::Udp, None) | (Protocol::Tcp, _) => ServiceTraits::NONE,
    }
}

/// How many names there are at most.
pub(super) fn count(config: &Config) -> usize {
    let named = config
        .services
        .iter()
        .filter(|service| service.server_ids.is_some());
    let pools = named.flat_map(Service::pools);
    let backends = pools.map(|pool| config.pools[pool].backends.len());
    backends.sum::<usize>() * Family::ALL.len()
}

/// Names the backends that packets of a family reach.
fn name(
    inputs: Inputs<'_>,
    (n, ids): (ServiceIndex, ServerIds),
    family: Family,
    tables: &mut Tables,
) {
    for pool in inputs.config.services[n].pools() {
        let settings = &inputs.config.pools[pool];
        for (place, backend) in settings.backends.iter().enumerate() {
            let reached = reached_at(pool, place, settings, family);
            let number = reached.and_then(|reached| inputs.ids.backends.get(&reached));
            if let (Some(number), Some(id)) = (number, backend.server_id) {
                let key = key(inputs.ids.services[n], family, ids, id);
                tables.servers.insert(key, number.word());
            }
        }
    }
}

/// How connection ids begin that name a server.
fn key(service: u32, family: Family, ids: ServerIds, id: ServerId) -> PrefixKey {
    let scope = match family {
        Family::Ipv4 => server_scope::<Ipv4Address>(service),
        Family::Ipv6 => server_scope::<Ipv6Address>(service),
    };
    let mut octets = [ids.configuration << 5; PrefixKey::BYTES];
    let [_, behind @ ..] = &mut octets;
    behind.copy_from_slice(id.octets());
    PrefixKey::server(scope, &octets, id.len() + 1)
}
