//! The tables of services that listen on ranges and prefixes. What an address or a prefix answers at is
//! a group, which has in it what wider prefixes have at other ports; its ports are blocks of those that
//! begin with the same bits.

use lb_common::abi::{self, PortKey, ServiceSpec, numbered_position};

use super::{
    listening::{Listens, first_bits},
    site::{Service, Site, version},
    tables::number,
};
use crate::cases::{
    places::{Protocol, Version},
    world::World,
};

/// Ports, the first and the last one, of the service of a number.
type Ports = (u16, u16, u32);

impl Site {
    /// Has the group of a service, which listens on more than a port, be found, and what is in it.
    pub(super) fn add_group(&self, world: &mut World, service: &Service) {
        let group = service.id;
        let address = service.end.ip();
        let bits = match service.listens {
            Listens::Port => return,
            Listens::Range(..) => {
                let v4 = |address| abi::Service::group(address, group);
                let v6 = |address| abi::Service::group(address, group);
                world.mark(address, v4, v6);
                None
            }
            Listens::Prefix(bits, ..) => {
                world.add_prefix(first_bits(address, bits), bits, group);
                Some(bits)
            }
        };
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let ports = self.ports_in(service, bits, protocol);
            for (start, bits, id) in blocks(&ports, 0, 0) {
                let key = PortKey::new(group, number(protocol), start.to_be_bytes(), bits);
                world.ports.insert(key, id);
            }
        }
    }

    /// What is in a group: its own ports, then those of wider prefixes, the longest one first.
    fn ports_in(&self, service: &Service, bits: Option<u8>, protocol: Protocol) -> Vec<Ports> {
        let address = service.end.ip();
        let mut found: Vec<(u8, Ports)> = Vec::new();
        for other in self.services.iter().filter(|s| s.protocol == protocol) {
            let end = other.end.ip();
            match other.listens {
                Listens::Range(first, last) if bits.is_none() && end == address => {
                    found.push((u8::MAX, (first, last, other.id)));
                }
                Listens::Prefix(length, first, last)
                    if version(end) == version(address)
                        && bits.is_none_or(|bits| length <= bits)
                        && first_bits(end, length) == first_bits(address, length) =>
                {
                    found.push((length, (first, last, other.id)));
                }
                Listens::Port | Listens::Range(..) | Listens::Prefix(..) => {}
            }
        }
        found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        found.into_iter().map(|(_, ports)| ports).collect()
    }
}

/// Puts a service where ranges lead to.
pub(super) fn place(world: &mut World, service: &Service, spec: ServiceSpec) {
    let position = numbered_position(service.id, number(service.protocol));
    match version(service.end.ip()) {
        Version::V4 => {
            let entry = abi::Service::numbered(spec);
            world.services_v4.insert(position, entry);
        }
        Version::V6 => {
            let entry = abi::Service::numbered(spec);
            world.services_v6.insert(position, entry);
        }
    }
}

/// The blocks of ports whose first `bits` bits are those of `start`, each all one service's: the first
/// of `ports` that has it.
fn blocks(ports: &[Ports], start: u16, bits: u8) -> Vec<(u16, u8, u32)> {
    let end = start | u16::MAX.checked_shr(bits.into()).unwrap_or(0);
    let within = |(first, last, _): &Ports| *first <= start && end <= *last;
    let outside = |(first, last, _): &Ports| end < *first || *last < start;
    if ports.iter().all(|range| within(range) || outside(range)) {
        let owner = ports.iter().find(|range| within(range));
        return owner
            .map(|(.., id)| (start, bits, *id))
            .into_iter()
            .collect();
    }
    let middle = start | 1 << (15 - bits);
    [start, middle]
        .into_iter()
        .flat_map(|start| blocks(ports, start, bits + 1))
        .collect()
}
