//! Changes to a [`World`]: what rows say when they say what is different in theirs.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::abi::{
    Address, Backend, BackendSpec, Forward, Ipv4Address, Ipv6Address, Service, ServiceKey,
    ServiceSpec, ServiceTraits, Slot, TableId,
};

use super::{
    places::{BACKEND_PORT, Flavour, Interface, Pool, Version},
    world::{NEXT_HOP, World, service_id, table},
};

impl World {
    /// Adds a backend of a pool's kind, with the address that the pool's backend has.
    pub fn add_backend(&mut self, index: u32, pool: Pool, version: Version) {
        self.add_backend_at(index, pool, version.backend(pool), NEXT_HOP);
    }

    /// Adds a backend of a pool's kind at `address`.
    pub fn add_backend_at(&mut self, index: u32, pool: Pool, address: IpAddr, next_hop: u32) {
        let sources = if address.is_ipv4() {
            self.sources_v4.len()
        } else {
            self.sources_v6.len()
        };
        self.insert_backend(index, pool, address, next_hop, (0, sources as u16));
    }

    /// Adds a `full-nat` backend at `address` that says which sources are its own.
    pub fn add_backend_with_sources(&mut self, index: u32, address: IpAddr, sources: (u32, u16)) {
        self.insert_backend(index, Pool::Nat, address, NEXT_HOP, sources);
    }

    fn insert_backend(
        &mut self,
        index: u32,
        pool: Pool,
        address: IpAddr,
        next_hop: u32,
        sources: (u32, u16),
    ) {
        let (forward, port) = match pool {
            Pool::Ipip => (Forward::Ipip, 0),
            Pool::Nat => (Forward::FullNat, BACKEND_PORT),
            Pool::NatSamePort => (Forward::FullNat, 0),
        };
        let common = Spec {
            forward,
            port: port.to_be_bytes(),
            sources,
            next_hop,
        };
        let backend = match (address, Version::V4.own(), Version::V6.own()) {
            (IpAddr::V4(address), IpAddr::V4(own), _) => {
                common.backend::<Ipv4Address>(address.into(), own.into())
            }
            (IpAddr::V6(address), _, IpAddr::V6(own)) => {
                common.backend::<Ipv6Address>(address.into(), own.into())
            }
            _ => unreachable!("our own addresses are of their families"),
        };
        self.backends.insert(index, backend);
    }

    /// Adds a pool's service of this flavour, at the first or second place that it may lie at.
    pub fn add_service(&mut self, flavour: Flavour, pool: Pool, place: usize) {
        let tracked = pool != Pool::Ipip;
        self.add_service_of(flavour, pool, place, table(flavour.version, pool), tracked);
    }

    /// Has a pool's service take its backends from another table.
    pub fn use_table(&mut self, flavour: Flavour, pool: Pool, table: TableId) {
        self.remove_service(flavour, pool);
        self.add_service_of(flavour, pool, 0, table, pool != Pool::Ipip);
    }

    /// Has a pool's service record its flows, or not, against its pool's kind.
    pub fn set_tracked(&mut self, flavour: Flavour, pool: Pool, tracked: bool) {
        self.remove_service(flavour, pool);
        self.add_service_of(flavour, pool, 0, table(flavour.version, pool), tracked);
    }

    fn add_service_of(
        &mut self,
        flavour: Flavour,
        pool: Pool,
        place: usize,
        table: TableId,
        tracked: bool,
    ) {
        let (id, salt) = (service_id(flavour, pool), self.constants.salt);
        let traits = if tracked {
            ServiceTraits::TRACKED
        } else {
            ServiceTraits::NONE
        };
        let spec = ServiceSpec {
            id,
            table,
            traits,
            prefix: 0,
        };
        let end = flavour.service(pool);
        let (port, protocol) = (end.port().to_be_bytes(), flavour.protocol_number());
        match end.ip() {
            IpAddr::V4(address) => {
                let key = ServiceKey::service(address.into(), port, protocol);
                let service = Service::new(key, spec);
                place_at(&mut self.services_v4, key.positions(salt)[place], service);
            }
            IpAddr::V6(address) => {
                let key = ServiceKey::service(address.into(), port, protocol);
                let service = Service::new(key, spec);
                place_at(&mut self.services_v6, key.positions(salt)[place], service);
            }
        }
    }

    /// Removes a service, at whichever place it lies.
    pub fn remove_service(&mut self, flavour: Flavour, pool: Pool) {
        let id = service_id(flavour, pool);
        self.services_v4.retain(|_, service| service.id() != id);
        self.services_v6.retain(|_, service| service.id() != id);
    }

    /// Adds an address that Sluice sends from.
    pub fn add_source(&mut self, index: u32, address: IpAddr) {
        match address {
            IpAddr::V4(address) => drop(self.sources_v4.insert(index, address.into())),
            IpAddr::V6(address) => drop(self.sources_v6.insert(index, address.into())),
        }
    }

    /// Marks an address as one that Sluice sends from.
    pub fn add_mark(&mut self, address: IpAddr) {
        let salt = self.constants.salt;
        match address {
            IpAddr::V4(address) => {
                let [position, _] = ServiceKey::<Ipv4Address>::mark(address.into()).positions(salt);
                place_at(
                    &mut self.services_v4,
                    position,
                    Service::source(address.into()),
                );
            }
            IpAddr::V6(address) => {
                let [position, _] = ServiceKey::<Ipv6Address>::mark(address.into()).positions(salt);
                place_at(
                    &mut self.services_v6,
                    position,
                    Service::source(address.into()),
                );
            }
        }
    }

    /// Gives every slot of a pool to the backend of this index.
    pub fn give_slots(&mut self, version: Version, pool: Pool, index: u32) {
        self.slots
            .insert(table(version, pool), vec![Slot::settled(index)]);
    }

    /// Takes a device away from the targets of a redirect.
    pub fn forbid_redirect(&mut self, interface: Interface) {
        self.redirect.remove(&interface.device);
    }

    /// Takes a device away from those that have a MAC address to send from.
    pub fn forget_sender(&mut self, interface: Interface) {
        self.devices.remove(&interface.device);
    }

    /// Sets what the backends' next hop takes.
    pub fn set_mtu(&mut self, mtu: u64) {
        if let Some(next) = self.next_hops.get_mut(&NEXT_HOP) {
            next.mtu = mtu;
        }
    }
}

fn place_at<S>(services: &mut BTreeMap<u32, S>, position: u32, service: S) {
    let before = services.insert(position, service);
    assert!(
        before.is_none(),
        "two services at position {position}: take another salt"
    );
}

/// What a backend is made from, its addresses apart.
struct Spec {
    forward: Forward,
    port: [u8; 2],
    sources: (u32, u16),
    next_hop: u32,
}

impl Spec {
    fn backend<A: Address>(self, address: A, source: A) -> Backend {
        let Self {
            forward,
            port,
            sources,
            next_hop,
        } = self;
        Backend::new(BackendSpec {
            forward,
            address,
            port,
            source,
            sources,
            next_hop,
            generation: 0,
        })
    }
}
