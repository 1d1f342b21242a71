//! Changes to a [`World`]: what rows say when they say what is different in theirs.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use lb_common::abi::{
    Address, Backend, BackendSpec, Fate, ForwardSpec, Ipv4Address, Ipv6Address, Load,
    MAPPED_SOURCE, Outer, ReplyLimits, Scheduler, Service, ServiceKey, ServiceKind, ServiceSpec,
    ServiceTraits, Slot, TableId, Timeouts, mapped_position,
};

use super::{
    places::{BACKEND_PORT, Flavour, GUE_PORT, Interface, Pool, Version},
    reverses::Answering,
    world::{HERTZ, NEXT_HOP, TIMEOUTS, World, backend_index, service_id, table},
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
        self.insert_backend(index, pool, address, next_hop, (0, sources as u16), 0);
    }

    /// Has a pool's backend be reached through another tunnel than the usual one.
    pub fn set_tunnel(&mut self, version: Version, pool: Pool, tunnel: Tunnel) {
        let index = backend_index(version, pool);
        let address = version.backend(pool);
        self.insert(index, address, Spec::new(pool, NEXT_HOP, tunnel));
    }

    /// Has the index of an `ipip` backend go to another one at the same address.
    pub fn reuse_backend(&mut self, index: u32, address: IpAddr) {
        let before = self.backends.get(&index).map_or(0, Backend::generation);
        let sources = (0, 0);
        self.insert_backend(
            index,
            Pool::Ipip,
            address,
            NEXT_HOP,
            sources,
            before.wrapping_add(1),
        );
    }

    /// A backend dies.
    pub fn kill_backend(&mut self, index: u32) {
        self.end_backend(index, Fate::Service);
    }

    /// The same, with what becomes of its flows.
    pub fn end_backend(&mut self, index: u32, fate: Fate) {
        if let Some(backend) = self.backends.get_mut(&index) {
            *backend = backend.dead(fate);
        }
    }

    /// Adds a `full-nat` backend at `address` that says which sources are its own.
    pub fn add_backend_with_sources(&mut self, index: u32, address: IpAddr, sources: (u32, u16)) {
        self.insert_backend(index, Pool::Nat, address, NEXT_HOP, sources, 0);
    }

    fn insert_backend(
        &mut self,
        index: u32,
        pool: Pool,
        address: IpAddr,
        next_hop: u32,
        sources: (u32, u16),
        generation: u8,
    ) {
        let spec = Spec {
            sources,
            generation,
            ..Spec::new(pool, next_hop, Tunnel::default())
        };
        self.insert(index, address, spec);
    }

    fn insert(&mut self, index: u32, address: IpAddr, spec: Spec) {
        let backend = match (address, Version::V4.own(), Version::V6.own()) {
            (IpAddr::V4(address), IpAddr::V4(own), _) => {
                spec.backend::<Ipv4Address>(address.into(), own.into())
            }
            (IpAddr::V6(address), _, IpAddr::V6(own)) => {
                spec.backend::<Ipv6Address>(address.into(), own.into())
            }
            _ => unreachable!("our own addresses are of their families"),
        };
        self.backends.insert(index, backend);
        let load = Load {
            weight: 1,
            max_flows: 0,
        };
        self.loads.insert(index, load);
    }

    /// Adds a pool's service of this flavour, at the first or second place that it may lie at.
    pub fn add_service(&mut self, flavour: Flavour, pool: Pool, place: usize) {
        self.add_service_of(flavour, pool, place, spec(flavour, pool));
    }

    /// Has a pool's service take its backends from another table.
    pub fn use_table(&mut self, flavour: Flavour, pool: Pool, table: TableId) {
        self.respecify(flavour, pool, |spec| spec.table = table);
    }

    /// Has a pool's service record its flows, or not, against its pool's kind.
    pub fn set_tracked(&mut self, flavour: Flavour, pool: Pool, tracked: bool) {
        let traits = if tracked {
            ServiceTraits::TRACKED
        } else {
            ServiceTraits::NONE
        };
        self.set_traits(flavour, pool, traits);
    }

    /// Has a pool's service tell and keep its flows in this way.
    pub fn set_traits(&mut self, flavour: Flavour, pool: Pool, traits: ServiceTraits) {
        self.respecify(flavour, pool, |spec| spec.traits = traits);
    }

    /// Has a pool's service record its flows, new ones spread in this way.
    pub fn record_flows(
        &mut self,
        flavour: Flavour,
        pool: Pool,
        traits: ServiceTraits,
        scheduler: Scheduler,
    ) {
        self.respecify(flavour, pool, |spec| {
            (spec.traits, spec.scheduler) = (traits, scheduler);
            if traits.has(ServiceTraits::AFFINITY) {
                spec.prefix = flavour.version.bits();
            }
        });
    }

    /// Has clients of a pool's service keep to a backend for so many seconds.
    pub fn set_affinity(&mut self, flavour: Flavour, pool: Pool, seconds: u32) {
        let timeouts = Timeouts {
            affinity: seconds * HERTZ,
            ..TIMEOUTS
        };
        self.timeouts.insert(service_id(flavour, pool), timeouts);
    }

    /// Has so many bits of a client's address choose the slot, of this table.
    pub fn use_source_hash(&mut self, flavour: Flavour, pool: Pool, table: TableId, prefix: u8) {
        self.respecify(flavour, pool, |spec| {
            (spec.table, spec.prefix) = (table, prefix);
        });
    }

    /// A pool's service, at its first place, as it was but for what `change` says; of a prefix,
    /// `change` has to say.
    pub(super) fn respecify(
        &mut self,
        flavour: Flavour,
        pool: Pool,
        change: impl FnOnce(&mut ServiceSpec),
    ) {
        let mut spec = spec(flavour, pool);
        let of_v4 = self
            .services_v4
            .values()
            .map(|s| (s.kind(), s.id(), s.table(), s.traits()));
        let of_v6 = self
            .services_v6
            .values()
            .map(|s| (s.kind(), s.id(), s.table(), s.traits()));
        let is_it = |kind, id| kind == ServiceKind::Service && id == spec.id;
        let found = of_v4.chain(of_v6).find(|(kind, id, ..)| is_it(*kind, *id));
        if let Some((_, _, table, traits)) = found {
            (spec.table, spec.traits) = (table, traits);
        }
        change(&mut spec);
        self.remove_service(flavour, pool);
        self.add_service_of(flavour, pool, 0, spec);
    }

    fn add_service_of(&mut self, flavour: Flavour, pool: Pool, place: usize, spec: ServiceSpec) {
        let salt = self.constants.salt;
        self.timeouts.insert(spec.id, TIMEOUTS);
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
        if Pool::ONE_SIDED.contains(&pool) {
            let by = Answering {
                place,
                ..Answering::of(flavour, pool)
            };
            self.add_reverse(flavour, flavour.backend(pool), flavour.service(pool), by);
        }
    }

    /// Has echo requests for the address of a pool's services be answered while the pool has a
    /// backend.
    pub fn add_echo(&mut self, flavour: Flavour, pool: Pool) {
        let spec = spec(flavour, pool);
        let salt = self.constants.salt;
        match flavour.service(pool).ip() {
            IpAddr::V4(address) => {
                let key = ServiceKey::echo(address.into(), 1);
                place_at(
                    &mut self.services_v4,
                    key.positions(salt)[0],
                    Service::new(key, spec),
                );
            }
            IpAddr::V6(address) => {
                let key = ServiceKey::echo(address.into(), 58);
                place_at(
                    &mut self.services_v6,
                    key.positions(salt)[0],
                    Service::new(key, spec),
                );
            }
        }
    }

    /// Lets so many frames be made here in a second, of each kind, for each source and in all.
    pub fn allow_replies(&mut self, of_one: u32, of_all: u32) {
        self.constants.replies = ReplyLimits {
            errors: of_all,
            errors_per_source: of_one,
            resets: of_all,
            resets_per_source: of_one,
        };
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

    /// Has the flows of a `full-nat` pool's services cross families: the backend of each has an address
    /// of the other one.
    pub fn cross(&mut self, pool: Pool) {
        self.cross_to(pool, Version::other, ServiceTraits::CROSSES);
    }

    /// Has them cross from now on, each with the backend that it had: what was recorded of IPv4 before is
    /// so without mapped addresses.
    pub fn begin_to_cross(&mut self, pool: Pool) {
        let traits = ServiceTraits::CROSSES.and(ServiceTraits::UNMAPPED);
        self.cross_to(pool, |version| version, traits);
    }

    fn cross_to(&mut self, pool: Pool, to: impl Fn(Version) -> Version, traits: ServiceTraits) {
        for version in Version::ALL {
            self.add_source(1 + version as u32, mapped(version.own()).into());
            let backend = to(version);
            let sources = (1 + backend as u32, 1);
            let index = backend_index(version, pool);
            self.add_backend_with_sources(index, backend.backend(pool), sources);
            self.mark_crossing(version.own(), traits);
        }
        for flavour in Flavour::ALL {
            self.cross_service(flavour, pool, traits);
        }
    }

    /// Marks a source address as one of flows that may cross families.
    fn mark_crossing(&mut self, address: IpAddr, traits: ServiceTraits) {
        let salt = self.constants.salt;
        match address {
            IpAddr::V4(address) => {
                let mark = Service::<Ipv4Address>::source(address.into()).with(traits);
                self.services_v4.insert(mark.key().positions(salt)[0], mark);
            }
            IpAddr::V6(address) => {
                let mark = Service::<Ipv6Address>::source(address.into()).with(traits);
                self.services_v6.insert(mark.key().positions(salt)[0], mark);
            }
        }
        let all = Service::source(Ipv6Address::ZERO).with(traits);
        self.services_v6.insert(MAPPED_SOURCE, all);
    }

    /// Gives a service traits of one whose flows cross families. One of IPv4 also has an entry for its
    /// mapped packets.
    pub fn cross_service(&mut self, flavour: Flavour, pool: Pool, traits: ServiceTraits) {
        self.respecify(flavour, pool, |spec| {
            spec.traits = spec.traits.and(traits);
        });
        let id = service_id(flavour, pool);
        let of_v4 = self.services_v4.values().find(|service| service.id() == id);
        let Some(entry) = of_v4.copied() else {
            return;
        };
        let spec = ServiceSpec {
            id,
            table: entry.table(),
            traits: entry.traits(),
            scheduler: entry.scheduler(),
            prefix: 0,
        };
        let position = mapped_position(id, flavour.protocol_number());
        self.services_v6.insert(position, Service::numbered(spec));
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

/// An address as flows have it that may cross families.
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// What a pool's service is made from as a rule.
pub(super) fn spec(flavour: Flavour, pool: Pool) -> ServiceSpec {
    ServiceSpec {
        id: service_id(flavour, pool),
        table: table(flavour.version, pool),
        traits: if pool.is_tracked() {
            ServiceTraits::TRACKED
        } else {
            ServiceTraits::NONE
        },
        scheduler: Scheduler::Hash,
        prefix: 0,
    }
}

pub(super) fn place_at<S>(services: &mut BTreeMap<u32, S>, position: u32, service: S) {
    let before = services.insert(position, service);
    assert!(
        before.is_none(),
        "two services at position {position}: take another salt"
    );
}

/// What is to choose of a tunnel to a backend.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    /// How many of the outer source's last bits come from the flow.
    pub entropy: u8,
    /// `gue`: the UDP port.
    pub port: u16,
    /// `gue`: whether there are UDP checksums over IPv6.
    pub checksum: bool,
}

impl Default for Tunnel {
    fn default() -> Self {
        Self {
            entropy: 0,
            port: GUE_PORT,
            checksum: true,
        }
    }
}

/// What a backend is made from, its addresses apart.
struct Spec {
    pool: Pool,
    port: [u8; 2],
    sources: (u32, u16),
    next_hop: u32,
    generation: u8,
    tunnel: Tunnel,
}

impl Spec {
    fn new(pool: Pool, next_hop: u32, tunnel: Tunnel) -> Self {
        let port = match pool {
            Pool::Nat | Pool::OneSided => BACKEND_PORT,
            Pool::Ipip
            | Pool::NatSamePort
            | Pool::OneSidedSamePort
            | Pool::Dsr
            | Pool::Gue
            | Pool::IpipAcross
            | Pool::GueAcross => 0,
        };
        Self {
            pool,
            port: port.to_be_bytes(),
            sources: (0, 0),
            next_hop,
            generation: 0,
            tunnel,
        }
    }

    fn backend<A: Address>(self, address: A, source: A) -> Backend {
        let (Tunnel { entropy, .. }, (first, count)) = (self.tunnel, self.sources);
        let outer = Outer { source, entropy };
        let forward = match self.pool {
            Pool::Ipip | Pool::IpipAcross => ForwardSpec::Ipip(outer),
            Pool::Nat | Pool::NatSamePort => ForwardSpec::FullNat { first, count },
            Pool::OneSided | Pool::OneSidedSamePort => ForwardSpec::Nat,
            Pool::Dsr => ForwardSpec::Dsr,
            Pool::Gue | Pool::GueAcross => ForwardSpec::Gue {
                outer,
                port: self.tunnel.port.to_be_bytes(),
                checksum: self.tunnel.checksum,
            },
        };
        Backend::new(BackendSpec {
            forward,
            address,
            port: self.port,
            next_hop: self.next_hop,
            generation: self.generation,
        })
    }
}
