//! Who may use services, as the tables have it: access lists, limits, and which addresses are our
//! own.

use std::net::IpAddr;

use lb_common::abi::{
    Address, Ipv4Address, Ipv6Address, Limits, PrefixKey, Rate, ServiceTraits, Verdict,
    global_list, own_bit, own_scope, service_list,
};

use crate::{
    model::{Access, Config, FlowRate, NewFlows, Service},
    plan::Tables,
};

/// The traits that a service has by these rules.
pub(super) fn traits(config: &Config, service: &Service) -> ServiceTraits {
    let mut traits = ServiceTraits::NONE;
    if config.access.is_some() {
        traits = traits.and(ServiceTraits::ALL_LISTED);
    }
    if service.access.is_some() {
        traits = traits.and(ServiceTraits::LISTED);
    }
    if service.new_flows.is_some() {
        traits = traits.and(ServiceTraits::LIMITED);
    }
    traits
}

/// Fills the tables; `ids` are the numbers of the services.
pub(super) fn fill(config: &Config, ids: &[u32], tables: &mut Tables) {
    let listens = config.services.iter().flat_map(|service| &service.listen);
    for listen in listens.filter(|listen| !listen.is_prefix()) {
        match listen.address.ip() {
            IpAddr::V4(ip) => own(Ipv4Address::from(ip), listen.length, tables),
            IpAddr::V6(ip) => own(Ipv6Address::from(ip), listen.length, tables),
        }
    }
    if let Some(access) = &config.access {
        let lists = (global_list::<Ipv4Address>(), global_list::<Ipv6Address>());
        list(access, lists, tables);
    }
    for (service, &id) in config.services.iter().zip(ids) {
        if let Some(access) = &service.access {
            let lists = (
                service_list::<Ipv4Address>(id),
                service_list::<Ipv6Address>(id),
            );
            list(access, lists, tables);
        }
        if let Some(new_flows) = &service.new_flows {
            tables.limits.insert(id, limits(new_flows));
        }
    }
}

fn own<A: Address>(address: A, length: u8, tables: &mut Tables) {
    let (word, bit) = own_bit(address);
    *tables.own.entry(word).or_default() |= bit;
    let key = PrefixKey::new(own_scope::<A>(), address, length);
    tables.listening.insert(key, Some(0));
}

/// Writes a list, of IPv4 and of IPv6. A prefix that is both allowed and denied is denied.
fn list(access: &Access, (v4, v6): (u32, u32), tables: &mut Tables) {
    let mut add = |(ip, bits): (IpAddr, u8), verdict: Verdict| {
        let key = match ip {
            IpAddr::V4(ip) => PrefixKey::new(v4, Ipv4Address::from(ip), bits),
            IpAddr::V6(ip) => PrefixKey::new(v6, Ipv6Address::from(ip), bits),
        };
        tables.access.insert(key, verdict.number());
    };
    if !access.allow.is_empty() {
        add((IpAddr::from([0; 4]), 0), Verdict::Deny);
        add((IpAddr::from([0; 16]), 0), Verdict::Deny);
    }
    access.allow.iter().for_each(|p| add(*p, Verdict::Allow));
    access.deny.iter().for_each(|p| add(*p, Verdict::Deny));
}

fn limits(new_flows: &NewFlows) -> Limits {
    let rate = |rate: Option<FlowRate>| {
        rate.map_or(Rate::default(), |rate| Rate {
            per_second: rate.per_second,
            burst: rate.burst,
        })
    };
    Limits {
        source: rate(new_flows.per_source),
        total: rate(new_flows.total),
        ipv4_bits: new_flows.ipv4_bits.into(),
        ipv6_bits: new_flows.ipv6_bits.into(),
    }
}
