//! Changes to a [`World`]: access lists, limits, and the addresses that are our own.

use std::net::IpAddr;

use lb_common::abi::{
    Address, Ipv4Address, Ipv6Address, Limits, PrefixKey, ServiceTraits, Verdict, global_list,
    own_bit, own_scope, service_list,
};

use super::{
    places::{Flavour, Pool},
    world::{World, service_id},
};

impl World {
    /// Has the list of all services say this of a prefix, and a pool's service ask it.
    pub fn list(&mut self, flavour: Flavour, pool: Pool, prefix: (IpAddr, u8), verdict: Verdict) {
        self.list_of_all(prefix, verdict);
        self.add_traits(flavour, pool, ServiceTraits::ALL_LISTED);
    }

    /// Has the list of all services say this of a prefix.
    pub fn list_of_all(&mut self, prefix: (IpAddr, u8), verdict: Verdict) {
        let key = match prefix.0 {
            IpAddr::V4(ip) => PrefixKey::new(
                global_list::<Ipv4Address>(),
                Ipv4Address::from(ip),
                prefix.1,
            ),
            IpAddr::V6(ip) => PrefixKey::new(
                global_list::<Ipv6Address>(),
                Ipv6Address::from(ip),
                prefix.1,
            ),
        };
        self.access.insert(key, verdict.number());
    }

    /// Has the list of a pool's service say this of a prefix.
    pub fn list_for(
        &mut self,
        flavour: Flavour,
        pool: Pool,
        prefix: (IpAddr, u8),
        verdict: Verdict,
    ) {
        let id = service_id(flavour, pool);
        let key = match prefix.0 {
            IpAddr::V4(ip) => PrefixKey::new(
                service_list::<Ipv4Address>(id),
                Ipv4Address::from(ip),
                prefix.1,
            ),
            IpAddr::V6(ip) => PrefixKey::new(
                service_list::<Ipv6Address>(id),
                Ipv6Address::from(ip),
                prefix.1,
            ),
        };
        self.access.insert(key, verdict.number());
        self.add_traits(flavour, pool, ServiceTraits::LISTED);
    }

    /// Limits the new flows of a pool's service.
    pub fn limit(&mut self, flavour: Flavour, pool: Pool, limits: Limits) {
        self.limits.insert(service_id(flavour, pool), limits);
        self.add_traits(flavour, pool, ServiceTraits::LIMITED);
    }

    fn add_traits(&mut self, flavour: Flavour, pool: Pool, traits: ServiceTraits) {
        self.respecify(flavour, pool, |spec| spec.traits = spec.traits.and(traits));
    }

    /// Makes an address one that a service listens on, as far as sources are concerned.
    pub fn own(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.own_address::<Ipv4Address>(address.into()),
            IpAddr::V6(address) => self.own_address::<Ipv6Address>(address.into()),
        }
    }

    /// Sets an address's bit in the filter alone: that of another address may be the same.
    pub fn filter(&mut self, address: IpAddr) {
        let (word, bit) = match address {
            IpAddr::V4(address) => own_bit(Ipv4Address::from(address)),
            IpAddr::V6(address) => own_bit(Ipv6Address::from(address)),
        };
        *self.own.entry(word).or_default() |= bit;
    }

    fn own_address<A: Address + Into<IpAddr>>(&mut self, address: A) {
        self.filter(address.into());
        let key = PrefixKey::new(own_scope::<A>(), address, 8 * size_of::<A>() as u8);
        self.listening.insert(key, 0);
    }
}
