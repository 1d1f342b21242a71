//! A [`Site`] as the tables that the packet path reads. The agent's own way from its configuration to
//! these is tested elsewhere.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::abi::{
    self, Address, BackendSpec, ForwardSpec, HopWord, Ipv4Address, Ipv6Address, MacAddress, Miss,
    OldTable, Outer, RecordLimits, ReplyLimits, Reverse, Seed, ServiceKey, ServiceSpec,
    ServiceTraits, SourcePorts, TableId, TableSize,
};

use super::{
    across::mapped_address,
    admission::{Limits, Rule},
    groups,
    listening::Listens,
    site::{self, Before, Mode, NextHop, Scheduler, Service, Site, Slot},
};
use crate::cases::{
    places::{Protocol, Version},
    world::{HERTZ, World},
};

/// Where the tables start that others replace.
const OLD_TABLES: u32 = 32;

impl Site {
    /// The tables.
    pub(super) fn world(&self) -> World {
        let mut world = World::without_services();
        world.constants.seed = Seed::from(self.seed);
        let (first, count) = self.ports;
        world.constants.ports = SourcePorts { first, count };
        world.constants.limits = RecordLimits {
            capacity: self.exceptions as u32,
            rate: self.rate,
        };
        world.constants.replies = ReplyLimits {
            errors: self.rates.errors,
            errors_per_source: self.rates.errors_per_source,
            resets: self.rates.resets,
            resets_per_source: self.rates.resets_per_source,
        };
        world.flow_capacity = self.flows;
        world.next_hops = (1..).zip(NextHop::ALL).filter_map(next_hop).collect();
        for version in Version::ALL {
            let sources = self
                .sources
                .iter()
                .filter(|a| site::version(**a) == version);
            for (index, address) in (0..).zip(sources) {
                world.add_source(index, *address);
                world.mark(*address, self.source(), self.source());
            }
        }
        if self.crossing {
            self.add_mapped_sources(&mut world);
        }
        for address in &self.own {
            world.mark(*address, abi::Service::own, abi::Service::own);
        }
        for (index, backend) in &self.backends {
            world.backends.insert(*index, self.backend(backend));
            let load = abi::Load {
                weight: backend.weight,
                max_flows: backend.max_flows,
            };
            world.loads.insert(*index, load);
        }
        for service in &self.services {
            self.add(&mut world, service);
        }
        for rule in &self.access {
            world.list_of_all((rule.address, rule.bits), verdict(*rule));
        }
        world
    }

    fn backend(&self, backend: &site::Backend) -> abi::Backend {
        let crosses = self.crossing && backend.mode == Mode::FullNat;
        let of = |version| {
            self.sources
                .iter()
                .filter(move |a| site::version(**a) == version)
        };
        let count = of(site::version(backend.address)).count() as u16;
        // Those of IPv4 come behind those of IPv6.
        let first = match backend.address {
            IpAddr::V4(_) if crosses => of(Version::V6).count() as u32,
            IpAddr::V4(_) | IpAddr::V6(_) => 0,
        };
        let sources = (first, count);
        let made = match (backend.address, Version::V4.own(), Version::V6.own()) {
            (IpAddr::V4(address), IpAddr::V4(own), _) => {
                made::<Ipv4Address>(backend, address.into(), own.into(), sources)
            }
            (IpAddr::V6(address), _, IpAddr::V6(own)) => {
                made::<Ipv6Address>(backend, address.into(), own.into(), sources)
            }
            _ => unreachable!("our own addresses are of their families"),
        };
        match backend.alive {
            true => made,
            false => made.dead(backend.fate),
        }
    }

    /// The mark of a source address.
    fn source<A: Address>(&self) -> impl Fn(A) -> abi::Service<A> {
        let crossing = self.crossing;
        move |address| {
            let mark = abi::Service::source(address);
            if crossing {
                mark.with(ServiceTraits::CROSSES)
            } else {
                mark
            }
        }
    }

    /// The source addresses of IPv4, as flows have them that may cross families.
    fn add_mapped_sources(&self, world: &mut World) {
        let count = world.sources_v6.len() as u32;
        let sources = self.sources.iter().filter(|a| a.is_ipv4());
        for (index, address) in (count..).zip(sources) {
            world.add_source(index, mapped_address(*address));
        }
        let all = abi::Service::source(Ipv6Address::ZERO).with(ServiceTraits::CROSSES);
        world.services_v6.insert(abi::MAPPED_SOURCE, all);
    }

    fn traits(&self, service: &Service) -> ServiceTraits {
        let own = traits(service);
        let own = match self.access.is_empty() {
            true => own,
            false => own.and(ServiceTraits::ALL_LISTED),
        };
        match service.mode {
            Mode::FullNat if self.crossing => own.and(ServiceTraits::CROSSES),
            Mode::FullNat | Mode::Nat | Mode::Dsr | Mode::Ipip { .. } | Mode::Gue { .. } => own,
        }
    }

    fn add(&self, world: &mut World, service: &Service) {
        let table = TableId {
            size: TableSize::Small,
            index: service.id,
        };
        let slots = |slots: &[Slot]| slots.iter().copied().map(word).collect();
        world.slots.insert(table, slots(&service.slots));
        if let Some(old) = &service.old {
            let before = TableId {
                size: TableSize::Small,
                index: OLD_TABLES + service.id,
            };
            let Seed { k0, k1 } = Seed::from(old.seed);
            world.slots.insert(before, slots(&old.slots));
            let old = OldTable::new(before, [k0, k1], old.prefix);
            world.old_tables.insert(table, old);
        }
        let timeouts = abi::Timeouts {
            handshake: service.timeouts.handshake as u32 * HERTZ,
            established: service.timeouts.established as u32 * HERTZ,
            closing: 0,
            reset: 0,
            udp: service.timeouts.udp as u32 * HERTZ,
            affinity: service.affinity.unwrap_or(0) as u32 * HERTZ,
        };
        world.timeouts.insert(service.id, timeouts);
        for rule in &service.access {
            world.list_of(service.id, (rule.address, rule.bits), verdict(*rule));
        }
        world.limits.insert(service.id, limits(service));
        if !matches!(service.listens, Listens::Prefix(..)) {
            world.own(service.end.ip());
        }
        let spec = ServiceSpec {
            id: service.id,
            table,
            traits: self.traits(service),
            scheduler: match service.scheduler {
                Scheduler::Hash => abi::Scheduler::Hash,
                Scheduler::RoundRobin => abi::Scheduler::RoundRobin,
                Scheduler::LeastConnections => abi::Scheduler::LeastConnections,
            },
            prefix: service.prefix,
        };
        match service.listens {
            Listens::Port => world.place(service, spec),
            Listens::Range(..) | Listens::Prefix(..) => {
                groups::place(world, service, spec);
                self.add_group(world, service);
            }
        }
        let address = service.end.ip();
        if self.echo(address).is_some_and(|one| one.id == service.id) {
            world.answer_echo(address, spec);
        }
        if self.crossing && service.mode == Mode::FullNat && service.end.is_ipv4() {
            let prefix = match spec.prefix {
                0 => 0,
                bits => bits + 96,
            };
            let position = abi::mapped_position(service.id, number(service.protocol));
            let entry = abi::Service::numbered(ServiceSpec { prefix, ..spec });
            world.services_v6.insert(position, entry);
        }
        if service.mode == Mode::Nat {
            for (index, address, port) in self.answering(service) {
                world.answers(service, index, (address, port));
            }
        }
    }

    /// The backends that answer for a service in `nat` mode: index, address, and port; `None`: whichever
    /// a client asked for.
    pub(super) fn answering(&self, service: &Service) -> Vec<(u32, IpAddr, Option<u16>)> {
        let owners = service.slots.iter().flat_map(|slot| match slot {
            Slot::Moving(Before::Backend(before), current) => vec![*before, *current],
            slot => vec![slot.current()],
        });
        let old = service.old.iter().flat_map(|old| &old.slots);
        let owners: BTreeMap<u32, &site::Backend> = owners
            .chain(old.map(|slot| slot.current()))
            .filter_map(|index| Some((index, self.backends.get(&index)?)))
            .collect();
        let asked = (service.listens == Listens::Port).then_some(service.end.port());
        let port = |b: &site::Backend| b.port.or(asked);
        owners
            .into_iter()
            .map(|(index, b)| (index, b.address, port(b)))
            .collect()
    }
}

impl World {
    pub(super) fn mark(
        &mut self,
        address: IpAddr,
        v4: impl Fn(Ipv4Address) -> abi::Service<Ipv4Address>,
        v6: impl Fn(Ipv6Address) -> abi::Service<Ipv6Address>,
    ) {
        let salt = self.constants.salt;
        match address {
            IpAddr::V4(address) => {
                let key = ServiceKey::mark(address.into());
                lay(&mut self.services_v4, key, salt, v4(address.into()));
            }
            IpAddr::V6(address) => {
                let key = ServiceKey::mark(address.into());
                lay(&mut self.services_v6, key, salt, v6(address.into()));
            }
        }
    }

    fn place(&mut self, service: &Service, spec: ServiceSpec) {
        let salt = self.constants.salt;
        let (port, protocol) = (service.end.port().to_be_bytes(), number(service.protocol));
        match service.end.ip() {
            IpAddr::V4(address) => {
                let key = ServiceKey::service(address.into(), port, protocol);
                lay(
                    &mut self.services_v4,
                    key,
                    salt,
                    abi::Service::new(key, spec),
                );
            }
            IpAddr::V6(address) => {
                let key = ServiceKey::service(address.into(), port, protocol);
                lay(
                    &mut self.services_v6,
                    key,
                    salt,
                    abi::Service::new(key, spec),
                );
            }
        }
    }

    /// Has echo requests for an address be answered.
    fn answer_echo(&mut self, address: IpAddr, spec: ServiceSpec) {
        let salt = self.constants.salt;
        match address {
            IpAddr::V4(address) => {
                let key = ServiceKey::echo(address.into(), 1);
                let entry = abi::Service::new(key, spec);
                lay(&mut self.services_v4, key, salt, entry);
            }
            IpAddr::V6(address) => {
                let key = ServiceKey::echo(address.into(), 58);
                let entry = abi::Service::new(key, spec);
                lay(&mut self.services_v6, key, salt, entry);
            }
        }
    }

    /// Has the end of the backend `index` answer for a service; without a port, all of its ports.
    fn answers(&mut self, service: &Service, index: u32, (from, port): (IpAddr, Option<u16>)) {
        let (salt, protocol) = (self.constants.salt, number(service.protocol));
        let port = port.unwrap_or(0).to_be_bytes();
        let (id, traits) = (service.id, traits(service));
        match (from, service.end.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let key = ServiceKey::reverse(from.into(), port, protocol);
                let entry = abi::Service::reverse(key, id, index, traits);
                lay(&mut self.services_v4, key, salt, entry);
                self.reverses_v4
                    .insert(index, reverse(to.into(), service, index));
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let key = ServiceKey::reverse(from.into(), port, protocol);
                let entry = abi::Service::reverse(key, id, index, traits);
                lay(&mut self.services_v6, key, salt, entry);
                self.reverses_v6
                    .insert(index, reverse(to.into(), service, index));
            }
            _ => unreachable!("nat keeps to a family"),
        }
    }
}

fn made<A: Address>(
    backend: &site::Backend,
    address: A,
    own: A,
    (first, count): (u32, u16),
) -> abi::Backend {
    let outer = |entropy| Outer {
        source: own,
        entropy,
    };
    let port = backend.port.unwrap_or(0).to_be_bytes();
    abi::Backend::new(BackendSpec {
        forward: match backend.mode {
            Mode::FullNat => ForwardSpec::FullNat { first, count },
            Mode::Nat => ForwardSpec::Nat,
            Mode::Dsr => ForwardSpec::Dsr,
            Mode::Ipip { entropy } => ForwardSpec::Ipip(outer(entropy)),
            Mode::Gue {
                entropy,
                port,
                checksum,
            } => ForwardSpec::Gue {
                outer: outer(entropy),
                port: port.to_be_bytes(),
                checksum,
            },
        },
        address,
        port,
        next_hop: 1 + backend.way as u32,
        generation: backend.generation,
    })
}

fn next_hop((index, way): (u32, NextHop)) -> Option<(u32, abi::NextHop)> {
    let (interface, mac, mtu) = way.way()?;
    let hop = HopWord::new(MacAddress(mac), interface.device);
    let mtu = mtu as u64;
    Some((index, abi::NextHop { hop, mtu }))
}

fn word(slot: Slot) -> abi::Slot {
    match slot {
        Slot::Settled(index) => abi::Slot::settled(index),
        Slot::Moving(Before::Backend(before), index) => {
            abi::Slot::moving(index, Miss::Backend(before), 1)
        }
        Slot::Moving(Before::OldSlots, index) => abi::Slot::moving(index, Miss::OldTable, 1),
        Slot::Mixed(index) => abi::Slot::mixed(index, 1),
    }
}

fn traits(service: &Service) -> ServiceTraits {
    let steered = service.tracked && !service.mode.translates();
    let all = [
        (service.tracked, ServiceTraits::TRACKED),
        (steered, ServiceTraits::STEERED),
        (service.one_packet, ServiceTraits::ONE_PACKET),
        (service.quic, ServiceTraits::QUIC),
        (service.resets, ServiceTraits::RESETS),
        (service.rejects, ServiceTraits::REJECTS),
        (service.affinity.is_some(), ServiceTraits::AFFINITY),
        (!service.access.is_empty(), ServiceTraits::LISTED),
        (service.limits != Limits::default(), ServiceTraits::LIMITED),
    ];
    let has = all.into_iter().filter(|(has, _)| *has);
    has.fold(ServiceTraits::NONE, |set, (_, one)| set.and(one))
}

fn verdict(rule: Rule) -> abi::Verdict {
    if rule.allowed {
        abi::Verdict::Allow
    } else {
        abi::Verdict::Deny
    }
}

fn limits(service: &Service) -> abi::Limits {
    let rate = |most: Option<u32>| abi::Rate {
        per_second: u32::from(most.is_some()),
        burst: most.unwrap_or(0),
    };
    let bits = service.limits.source.map_or(0, |(bits, _)| bits.into());
    abi::Limits {
        source: rate(service.limits.source.map(|(_, most)| most)),
        total: rate(service.limits.total),
        ipv4_bits: bits,
        ipv6_bits: bits,
    }
}

fn reverse<A>(address: A, service: &Service, backend: u32) -> Reverse<A> {
    Reverse {
        address,
        backend,
        port: service.end.port().to_be_bytes(),
        padding: [0; 2],
    }
}

pub(super) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

/// Puts an entry at one of the two places that its key may lie at.
fn lay<A: Address>(
    services: &mut BTreeMap<u32, abi::Service<A>>,
    key: ServiceKey<A>,
    salt: u64,
    entry: abi::Service<A>,
) {
    let places = key.positions(salt);
    let free = places
        .into_iter()
        .find(|place| !services.contains_key(place));
    services.insert(free.expect("the table is large"), entry);
}
