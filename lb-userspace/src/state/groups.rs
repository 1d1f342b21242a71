//! Groups: what an address or prefix answers at where that is more than single ports, as disjoint
//! ranges. What a group has not is that of the prefixes around it, the longest first: so one
//! look-up, of the mark or of the longest prefix, finds all that there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::abi::{
    Address, Ipv4Address, Ipv6Address, PortKey, PrefixKey, Service, ServiceKey, ServiceSpec,
    listening_scope, numbered_position, port_blocks,
};

use crate::{
    model::{Config, Family, Listen, Network, Protocol, ServiceIndex, lies_in, whole},
    plan::Tables,
};

use super::{
    desired::{Inputs, Specs},
    place::Placement,
};

/// Ports of a group, first and last, that are one service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub protocol: Protocol,
    pub first: u16,
    pub last: u16,
    pub service: ServiceIndex,
}

impl Span {
    /// Its ports as blocks: the first, and how many bits they have in common.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u16, u8)> {
        port_blocks(self.first, self.last)
    }
}

/// The addresses and prefixes that groups are for.
pub(super) fn networks(config: &Config) -> BTreeSet<Network> {
    let listens = config.services.iter().flat_map(|service| &service.listen);
    let grouped = listens.filter(|listen| !listen.is_exact());
    grouped.map(Listen::network).collect()
}

/// Whether it is one address.
pub(super) fn is_address((ip, length): Network) -> bool {
    length == whole(ip)
}

/// Fills the part of the tables that is for groups alone, and marks their addresses.
pub(super) fn fill(inputs: Inputs<'_>, specs: &Specs<'_>, tables: &mut Tables) {
    for (network, spans) in spans(inputs.config) {
        let Some(&group) = inputs.ids.groups.get(&network) else {
            continue;
        };
        let family = Family::of(network.0);
        for span in spans {
            if let Some(spec) = specs.of(span.service, family, span.protocol) {
                number(family, span.protocol, spec, tables);
                ports(group, span, spec.id, tables);
            }
        }
        let (at, positions) = ((network, group), &inputs.ids.positions);
        let (listening, services) = (&mut tables.listening, &mut tables.services);
        match network.0 {
            IpAddr::V4(ip) => {
                let ip = Ipv4Address::from(ip);
                lead_to(ip, at, &positions.ipv4, listening, &mut services.ipv4);
            }
            IpAddr::V6(ip) => {
                let ip = Ipv6Address::from(ip);
                lead_to(ip, at, &positions.ipv6, listening, &mut services.ipv6);
            }
        }
    }
}

/// Writes a service where its number says.
fn number(family: Family, protocol: Protocol, spec: ServiceSpec, tables: &mut Tables) {
    let position = numbered_position(spec.id, protocol.number());
    let numbered = &mut tables.numbered;
    match family {
        Family::Ipv4 => drop(numbered.ipv4.insert(position, Service::numbered(spec))),
        Family::Ipv6 => drop(numbered.ipv6.insert(position, Service::numbered(spec))),
    }
}

/// Has ports of a group lead to the service of a number.
fn ports(group: u32, span: Span, id: u32, tables: &mut Tables) {
    for (port, bits) in span.blocks() {
        let block = PortKey::new(group, span.protocol.number(), port.to_be_bytes(), bits);
        tables.ports.insert(block, id);
    }
}

/// Has an address's mark, or a prefix, lead to its group.
fn lead_to<A: Address>(
    ip: A,
    (network, group): (Network, u32),
    positions: &Placement<A>,
    listening: &mut BTreeMap<PrefixKey, Option<u32>>,
    services: &mut BTreeMap<u32, Service<A>>,
) {
    if !is_address(network) {
        let prefix = PrefixKey::new(listening_scope::<A>(), ip, network.1);
        listening.insert(prefix, Some(group));
    } else if let Some(&at) = positions.get(&ServiceKey::mark(ip)) {
        services.insert(at, Service::group(ip, group));
    }
}

/// What each of them answers at.
pub(super) fn spans(config: &Config) -> BTreeMap<Network, Vec<Span>> {
    let mut own: BTreeMap<Network, Vec<(&Listen, ServiceIndex)>> = BTreeMap::new();
    for (index, service) in config.services.iter().enumerate() {
        for listen in &service.listen {
            own.entry(listen.network())
                .or_default()
                .push((listen, index));
        }
    }
    // A single port comes before the range that it is in.
    for listens in own.values_mut() {
        listens.sort_by_key(|(listen, _)| !listen.is_single_port());
    }
    let groups = networks(config).into_iter();
    groups
        .map(|network| {
            let mut around: Vec<&Network> = own
                .keys()
                .filter(|other| other.1 <= network.1 && lies_in(network.0, **other))
                .collect();
            around.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
            let mut spans = Vec::new();
            for (listen, service) in around.into_iter().flat_map(|network| &own[network]) {
                add(&mut spans, listen, *service);
            }
            (network, spans)
        })
        .collect()
}

/// Adds the ports of `listen` that are nobody's yet.
fn add(spans: &mut Vec<Span>, listen: &Listen, service: ServiceIndex) {
    let protocol = listen.protocol;
    let mut taken: Vec<(u32, u32)> = spans
        .iter()
        .filter(|span| span.protocol == protocol)
        .map(|span| (span.first.into(), span.last.into()))
        .collect();
    taken.sort_unstable();
    let (mut next, end) = (
        u32::from(listen.address.port()),
        u32::from(listen.last_port) + 1,
    );
    taken.push((end, end));
    for (first, last) in taken {
        let until = first.min(end);
        if next < until {
            spans.push(Span {
                protocol,
                first: next as u16,
                last: (until - 1) as u16,
                service,
            });
        }
        next = next.max(last + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, *};

    fn answered(listens: &[&[&str]], network: &str, length: u8) -> Vec<(u16, u16, usize)> {
        let mut config = config();
        let services = listens.iter().map(|listens| service("s", 0, listens));
        config.services = services.collect();
        let mut spans: Vec<_> = spans(&config)[&(ip(network), length)]
            .iter()
            .map(|span| (span.first, span.last, span.service))
            .collect();
        spans.sort_unstable();
        spans
    }

    #[test]
    fn a_single_port_splits_a_range() {
        let listens: [&[&str]; 2] = [&["198.18.0.1:*/tcp"], &["198.18.0.1:80/tcp"]];
        let spans = answered(&listens, "198.18.0.1", 32);
        assert_eq!(spans, [(0, 79, 0), (80, 80, 1), (81, 65_535, 0)]);
    }

    #[test]
    fn what_an_address_has_not_is_its_prefixes() {
        let listens: [&[&str]; 3] = [
            &["198.18.0.0/16:*/tcp"],
            &["198.18.4.0/24:100-300/tcp"],
            &["198.18.4.1:200-400/tcp"],
        ];
        let spans = answered(&listens, "198.18.4.1", 32);
        let expected = [(0, 99, 0), (100, 199, 1), (200, 400, 2), (401, 65_535, 0)];
        assert_eq!(spans, expected);
        assert_eq!(
            answered(&listens, "198.18.4.0", 24),
            [(0, 99, 0), (100, 300, 1), (301, 65_535, 0)]
        );
        assert_eq!(answered(&listens, "198.18.0.0", 16), [(0, 65_535, 0)]);
    }

    #[test]
    fn single_addresses_and_ports_need_no_group() {
        assert!(networks(&config()).is_empty());
    }
}
