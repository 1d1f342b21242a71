//! Changes to a [`World`]: whom the ports of backends answer for in `nat` mode, and which addresses
//! are the host's own.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{Ipv4Address, Ipv6Address, Reverse, Service, ServiceKey, ServiceTraits};

use super::{
    edits::place_at,
    places::{Flavour, Pool},
    world::{World, backend_index, service_id},
};

/// Numbers that replies are counted by, and where the tables say whom they are from.
#[derive(Clone, Copy, Debug)]
pub struct Answering {
    /// The service's number.
    pub service: u32,
    /// The backend's.
    pub backend: u32,
    /// Index of the [`Reverse`].
    pub index: u32,
    /// Whether the replies' flows are recorded.
    pub traits: ServiceTraits,
    /// Which of its places the entry lies at.
    pub place: usize,
}

impl Answering {
    /// The usual ones of a pool's service.
    pub fn of(flavour: Flavour, pool: Pool) -> Self {
        Self {
            service: service_id(flavour, pool),
            backend: backend_index(flavour.version, pool),
            index: service_id(flavour, pool),
            traits: ServiceTraits::NONE,
            place: 0,
        }
    }
}

impl World {
    /// Has the backend's end `from` answer for the service's end `to`.
    pub fn add_reverse(
        &mut self,
        flavour: Flavour,
        from: SocketAddr,
        to: SocketAddr,
        by: Answering,
    ) {
        let (salt, protocol) = (self.constants.salt, flavour.protocol_number());
        let ports = [from, to].map(|end| end.port().to_be_bytes());
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let key = ServiceKey::<Ipv4Address>::reverse(from.into(), ports[0], protocol);
                let entry = Service::reverse(key, by.service, by.index, by.traits);
                place_at(&mut self.services_v4, key.positions(salt)[by.place], entry);
                let reverse = reverse(to.into(), ports[1], by);
                self.reverses_v4.insert(by.index, reverse);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let key = ServiceKey::<Ipv6Address>::reverse(from.into(), ports[0], protocol);
                let entry = Service::reverse(key, by.service, by.index, by.traits);
                place_at(&mut self.services_v6, key.positions(salt)[by.place], entry);
                let reverse = reverse(to.into(), ports[1], by);
                self.reverses_v6.insert(by.index, reverse);
            }
            _ => panic!("{from} and {to} are of two families"),
        }
    }

    /// Marks an address as this host's own.
    pub fn add_own(&mut self, address: IpAddr) {
        let salt = self.constants.salt;
        match address {
            IpAddr::V4(address) => {
                let [position, _] = ServiceKey::<Ipv4Address>::mark(address.into()).positions(salt);
                let mark = Service::own(address.into());
                place_at(&mut self.services_v4, position, mark);
            }
            IpAddr::V6(address) => {
                let [position, _] = ServiceKey::<Ipv6Address>::mark(address.into()).positions(salt);
                let mark = Service::own(address.into());
                place_at(&mut self.services_v6, position, mark);
            }
        }
    }
}

fn reverse<A>(address: A, port: [u8; 2], by: Answering) -> Reverse<A> {
    Reverse {
        address,
        backend: by.backend,
        port,
        padding: [0; 2],
    }
}
