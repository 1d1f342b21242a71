//! Changes to a [`World`]: services that listen on ranges of ports and on prefixes.

use std::net::IpAddr;

use lb_common::abi::{
    Ipv4Address, Ipv6Address, PortKey, PrefixKey, Service, ServiceKey, ServiceSpec, ServiceTraits,
    listening_scope, numbered_position,
};

use super::{
    edits::{place_at, spec},
    places::{Flavour, Pool, Version},
    world::World,
};

impl World {
    /// Marks an address as one whose services are those of `group`.
    pub fn add_group(&mut self, address: IpAddr, group: u32) {
        let salt = self.constants.salt;
        match address {
            IpAddr::V4(address) => {
                let [position, _] = ServiceKey::<Ipv4Address>::mark(address.into()).positions(salt);
                let mark = Service::group(address.into(), group);
                place_at(&mut self.services_v4, position, mark);
            }
            IpAddr::V6(address) => {
                let [position, _] = ServiceKey::<Ipv6Address>::mark(address.into()).positions(salt);
                let mark = Service::group(address.into(), group);
                place_at(&mut self.services_v6, position, mark);
            }
        }
    }

    /// Has the services of `group` be those of a prefix; the bits behind it are zeros.
    pub fn add_prefix(&mut self, address: IpAddr, bits: u8, group: u32) {
        let key = match address {
            IpAddr::V4(address) => PrefixKey::new::<Ipv4Address>(
                listening_scope::<Ipv4Address>(),
                address.into(),
                bits,
            ),
            IpAddr::V6(address) => PrefixKey::new::<Ipv6Address>(
                listening_scope::<Ipv6Address>(),
                address.into(),
                bits,
            ),
        };
        self.listening.insert(key, group);
    }

    /// Adds a pool's service of this flavour to a group, at the ports that have their first `bits`
    /// bits in common with `port`.
    pub fn add_ports(&mut self, flavour: Flavour, pool: Pool, group: u32, (port, bits): (u16, u8)) {
        self.add_ports_of(flavour, group, (port, bits), spec(flavour, pool));
    }

    /// As [`Self::add_ports`], of a service that records its flows against its pool's kind.
    pub fn add_recorded_ports(
        &mut self,
        flavour: Flavour,
        pool: Pool,
        group: u32,
        ports: (u16, u8),
    ) {
        self.add_ports_with(flavour, pool, group, ports, ServiceTraits::TRACKED);
    }

    /// As [`Self::add_ports`], of a service with these traits.
    pub fn add_ports_with(
        &mut self,
        flavour: Flavour,
        pool: Pool,
        group: u32,
        ports: (u16, u8),
        traits: ServiceTraits,
    ) {
        let spec = ServiceSpec {
            traits,
            ..spec(flavour, pool)
        };
        self.add_ports_of(flavour, group, ports, spec);
    }

    fn add_ports_of(
        &mut self,
        flavour: Flavour,
        group: u32,
        (port, bits): (u16, u8),
        spec: ServiceSpec,
    ) {
        let block = PortKey::new(group, flavour.protocol_number(), port.to_be_bytes(), bits);
        self.ports.insert(block, spec.id);
        let position = numbered_position(spec.id, flavour.protocol_number());
        match flavour.version {
            Version::V4 => drop(self.services_v4.insert(position, Service::numbered(spec))),
            Version::V6 => drop(self.services_v6.insert(position, Service::numbered(spec))),
        }
    }
}
