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
        let lists = (global_list::<Ipv4Address>(), global_list::<Ipv6Address>());
        self.say(lists, prefix, verdict);
    }

    /// Has the list of a pool's service say this of a prefix.
    pub fn list_for(
        &mut self,
        flavour: Flavour,
        pool: Pool,
        prefix: (IpAddr, u8),
        verdict: Verdict,
    ) {
        self.list_of(service_id(flavour, pool), prefix, verdict);
        self.add_traits(flavour, pool, ServiceTraits::LISTED);
    }

    /// Has the list of the service of a number say this of a prefix.
    pub fn list_of(&mut self, service: u32, prefix: (IpAddr, u8), verdict: Verdict) {
        let lists = (
            service_list::<Ipv4Address>(service),
            service_list::<Ipv6Address>(service),
        );
        self.say(lists, prefix, verdict);
    }

    /// Has the lists of both families say this of a prefix.
    fn say(&mut self, (v4, v6): (u32, u32), (ip, bits): (IpAddr, u8), verdict: Verdict) {
        let key = match ip {
            IpAddr::V4(ip) => PrefixKey::new(v4, Ipv4Address::from(ip), bits),
            IpAddr::V6(ip) => PrefixKey::new(v6, Ipv6Address::from(ip), bits),
        };
        self.access.insert(key, verdict.number());
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
