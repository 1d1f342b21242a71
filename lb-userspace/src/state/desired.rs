//! Filling the tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use lb_common::abi::{
    Address, Device, HopWord, Ipv4Address, Ipv6Address, MacAddress, NextHop, Reverse, Scheduler,
    Service, ServiceKey, ServiceSpec, ServiceTraits, Slot, TableId, Tags, VlanKey,
};

use crate::{
    model::{
        self, Config, Family, NoBackend, OnDown, PoolIndex, Protocol, ServiceIndex, TrackedBecause,
        Udp,
    },
    plan::Tables,
};

use super::{
    admission,
    backends::backend,
    contenders::{Contender, contenders},
    crossing, echo, groups,
    ids::{Ids, PoolFamily},
    named::{hashed, reply_key, service_key as key},
    owners::{Memo, Owners},
    probes,
    replies::Reply,
    servers,
    standings::Standings,
    tracking,
};

/// One of our devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub ifindex: u32,
    /// Its address.
    pub mac: [u8; 6],
    /// Largest IP packet that it sends, bytes.
    pub mtu: u32,
    /// Where its frames are found, if it is a VLAN device.
    pub vlan: Option<Vlan>,
}

/// Where the frames of a VLAN device are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The kernel's number of the device that they pass through, which is no VLAN device.
    pub bottom: u32,
    /// Their tags there.
    pub tags: Tags,
}

/// The way to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The kernel's number of the device.
    pub ifindex: u32,
    /// The next hop's address.
    pub mac: [u8; 6],
    /// Largest IP packet that goes there, bytes.
    pub mtu: u32,
    /// The address that the kernel would send from.
    pub source: Option<IpAddr>,
    /// How long ago it was lost, if it is the last one known.
    pub lost: Option<Duration>,
}

/// All that the tables depend on.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Its indices.
    pub ids: &'a Ids,
    /// This host's addresses: one that moves between hosts echoes only where it is.
    pub own: &'a BTreeSet<IpAddr>,
    /// Our devices, by name.
    pub links: &'a BTreeMap<String, Link>,
    /// Next hops that are resolved, by the address that they lead to.
    pub hops: &'a BTreeMap<IpAddr, Hop>,
    /// What backends are, as far as their health goes.
    pub standings: &'a Standings,
    /// Jiffies in a second.
    pub hertz: u32,
}

/// What the tables should hold.
#[derive(Clone, Debug)]
pub struct Desired {
    /// All but the slots that hashes choose, and which tables replace which: that is history.
    pub tables: Tables,
    /// Who contends for the slots of the tables of each family of a pool.
    pub contenders: BTreeMap<PoolFamily, Vec<Contender>>,
    /// The pool that answers for each family of a service: its own, or its fallback.
    pub answering: BTreeMap<(ServiceIndex, Family), PoolIndex>,
    /// Who is to own each slot, of the tables that services lead to and of those that they replace.
    pub owners: BTreeMap<TableId, Owners>,
}

impl Desired {
    /// The tables with slots that have always been like this, for those who know no history.
    pub fn settled(self, ids: &Ids) -> Tables {
        let used: BTreeSet<TableId> = ids.tables.values().copied().collect();
        let owners = self.owners.iter().filter(|(id, _)| used.contains(id));
        let settled = |owners: &Owners| owners.iter().map(|&n| Slot::settled(n)).collect();
        let slots = owners.map(|(&id, owners)| (id, settled(owners))).collect();
        let mut tables = self.tables;
        tables.slots.extend::<BTreeMap<TableId, Vec<Slot>>>(slots);
        tables
    }
}

/// The tables as they should be. `memo` only makes it faster.
pub fn desired(inputs: Inputs<'_>, memo: &mut Memo) -> Desired {
    let mut tables = Tables::default();
    devices(inputs, &mut tables);
    for (address, &index) in &inputs.ids.next_hops {
        if let Some(hop) = usable_hop(inputs, *address) {
            tables.next_hops.insert(index, hop);
        }
    }
    own(inputs.ids, &mut tables);
    sources(inputs.ids, &mut tables);
    replies(inputs.ids, &mut tables);
    for (&id, index) in &inputs.ids.backends {
        if let Some(backend) = backend(inputs, id, index.generation()) {
            tables.backends.insert(index.index(), backend);
        }
    }
    probes::fill(inputs, &mut tables);
    let keys = inputs.ids.tables.keys();
    let contenders = keys.map(|&key| (key, contenders(inputs, &tables, key)));
    let contenders = contenders.collect();
    let answering = answering(inputs, &contenders);
    services(inputs, &answering, &mut tables);
    echo::entries(inputs, &contenders, &answering, &mut tables);
    tracking::fill(inputs, &contenders, &mut tables);
    admission::fill(inputs.config, &inputs.ids.services, &mut tables);
    tables.largest_segments = largest_segments(inputs);
    servers::fill(inputs, &mut tables);
    let owners = owners(inputs.ids, &contenders, memo);
    Desired {
        tables,
        contenders,
        answering,
        owners,
    }
}

/// Each backend's share of its table's slots, by its index.
pub fn shares(ids: &Ids, tables: &Tables) -> BTreeMap<u32, f64> {
    let backends = ids.backends.values();
    let mut shares: BTreeMap<u32, f64> = backends.map(|n| (n.index(), 0.0)).collect();
    for slots in ids.tables.values().filter_map(|id| tables.slots.get(id)) {
        for slot in slots.iter().filter(|slot| slot.current() != 0) {
            *shares.entry(slot.current()).or_default() += 1.0 / slots.len() as f64;
        }
    }
    shares
}

/// How large TCP segments may be that clients and backends of services say they take, by number.
fn largest_segments(inputs: Inputs<'_>) -> BTreeMap<u32, u16> {
    let config = inputs.config;
    let sees = |pool: PoolIndex| config.pools[pool].forward.sees_answers();
    let services = inputs.ids.services.iter().zip(&config.services);
    services
        .filter(|(_, service)| service.pools().any(sees))
        .filter_map(|(&id, service)| Some((id, service.mss_clamp?)))
        .collect()
}

/// Our devices, where their frames leave, and the tags that they come in with.
fn devices(inputs: Inputs<'_>, tables: &mut Tables) {
    for (name, link) in inputs.links {
        let Some(&index) = inputs.ids.devices.get(name) else {
            continue;
        };
        let hop = HopWord::new(MacAddress(link.mac), index);
        let vlan = |vlan: Vlan| (vlan.bottom, vlan.tags);
        let (bottom, tags) = link.vlan.map_or((link.ifindex, Tags::NONE), vlan);
        tables.targets.insert(index, bottom);
        let device = Device::new(hop, link.ifindex, tags);
        tables.devices.insert(index, device);
        if tags != Tags::NONE {
            tables.vlans.insert(VlanKey::new(bottom, tags), hop);
        }
    }
}

/// The next hop towards an address, if it is resolved and leads through one of our devices.
pub(super) fn usable_hop(inputs: Inputs<'_>, address: IpAddr) -> Option<NextHop> {
    let hop = inputs.hops.get(&address)?;
    let (name, link) = inputs
        .links
        .iter()
        .find(|(_, link)| link.ifindex == hop.ifindex)?;
    let device = *inputs.ids.devices.get(name)?;
    // No IP packet is larger, whatever lo says of itself.
    let mtu = hop.mtu.min(link.mtu).min(u16::MAX.into()).into();
    Some(NextHop {
        hop: HopWord::new(MacAddress(hop.mac), device),
        mtu,
    })
}

/// Marks of this host's addresses. Those that are source addresses too get that mark over it.
fn own(ids: &Ids, tables: &mut Tables) {
    let (services, positions) = (&mut tables.services, &ids.positions);
    for address in &ids.own {
        match *address {
            IpAddr::V4(address) => {
                let address = Ipv4Address::from(address);
                if let Some(&position) = positions.ipv4.get(&ServiceKey::mark(address)) {
                    services.ipv4.insert(position, Service::own(address));
                }
            }
            IpAddr::V6(address) => {
                let address = Ipv6Address::from(address);
                if let Some(&position) = positions.ipv6.get(&ServiceKey::mark(address)) {
                    services.ipv6.insert(position, Service::own(address));
                }
            }
        }
    }
}

/// Whom the ports of `nat` backends answer for, dead ones included: what is on its way arrives.
fn replies(ids: &Ids, tables: &mut Tables) {
    for (&(address, port, protocol), reply) in &ids.replies {
        match (address, reply.leaves_from.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let key = reply_key(Ipv4Address::from(from), port, protocol);
                if let Some(&position) = ids.positions.ipv4.get(&key) {
                    let (service, reverse) = entries(key, to.into(), reply);
                    tables.reverses.ipv4.insert(reply.number, reverse);
                    tables.services.ipv4.insert(position, service);
                }
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let key = reply_key(Ipv6Address::from(from), port, protocol);
                if let Some(&position) = ids.positions.ipv6.get(&key) {
                    let (service, reverse) = entries(key, to.into(), reply);
                    tables.reverses.ipv6.insert(reply.number, reverse);
                    tables.services.ipv6.insert(position, service);
                }
            }
            // `nat` does not cross families.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }
}

/// The two entries of an end that answers.
fn entries<A: Address>(key: ServiceKey<A>, address: A, reply: &Reply) -> (Service<A>, Reverse<A>) {
    let reverse = Reverse {
        address,
        backend: reply.backend,
        port: reply.leaves_from.port().to_be_bytes(),
        padding: [0; 2],
    };
    let traits = match reply.recorded {
        true => ServiceTraits::TRACKED,
        false => ServiceTraits::NONE,
    };
    let service = Service::reverse(key, reply.service, reply.number, traits);
    (service, reverse)
}

/// Source addresses, and their marks.
fn sources(ids: &Ids, tables: &mut Tables) {
    for (&n, &address) in &ids.source_addresses.ipv4 {
        tables.sources.ipv4.insert(n, address.into());
        mark_ipv4(ids, address, tables);
    }
    for (&n, &address) in &ids.source_addresses.ipv6 {
        tables.sources.ipv6.insert(n, address.into());
        match address.to_ipv4_mapped() {
            Some(address) => mark_ipv4(ids, address, tables),
            None => mark_ipv6(ids, address, tables),
        }
    }
}

fn mark_ipv4(ids: &Ids, address: Ipv4Addr, tables: &mut Tables) {
    let mark = mark::<Ipv4Address>(ids, address.into(), address.into());
    if let Some(&position) = ids.positions.ipv4.get(&mark.key()) {
        tables.services.ipv4.insert(position, mark);
    }
}

fn mark_ipv6(ids: &Ids, address: Ipv6Addr, tables: &mut Tables) {
    let mark = mark::<Ipv6Address>(ids, address.into(), address.into());
    if let Some(&position) = ids.positions.ipv6.get(&mark.key()) {
        tables.services.ipv6.insert(position, mark);
    }
}

/// The mark of a source address.
fn mark<A: Address>(ids: &Ids, ip: IpAddr, address: A) -> Service<A> {
    match ids.crossing_sources.contains(&ip) {
        true => Service::source(address).with(ids.crossing_traits()),
        false => Service::source(address),
    }
}

/// Who is to own the slots of each table in use, and of each that one of those replaces.
fn owners(
    ids: &Ids,
    contenders: &BTreeMap<PoolFamily, Vec<Contender>>,
    memo: &mut Memo,
) -> BTreeMap<TableId, Owners> {
    let all = ids.tables.iter().chain(&ids.old_tables);
    let owners =
        all.filter_map(|(key, &table)| Some((table, memo.owners(table, contenders.get(key)?))));
    let owners: BTreeMap<TableId, Owners> = owners.collect();
    memo.keep(|table| owners.contains_key(&table));
    owners
}

/// Which pool answers: the fallback while nobody of the service's own pool lives, or fewer are up than must be, and
/// somebody of the fallback's does. A backend that takes no new flows, but has some, is not left alone.
fn answering(
    inputs: Inputs<'_>,
    contenders: &BTreeMap<PoolFamily, Vec<Contender>>,
) -> BTreeMap<(ServiceIndex, Family), PoolIndex> {
    let lives = |pool: PoolIndex, family| {
        let contenders = contenders.get(&(pool, family));
        contenders.is_some_and(|all| all.iter().any(|contender| contender.alive))
            && !inputs
                .standings
                .has_too_few(&inputs.config.pools[pool], family)
    };
    let services = inputs.config.services.iter().enumerate();
    let answering = services.flat_map(|(n, service)| {
        Family::ALL.map(|family| {
            let mut pools = service.pools();
            let pool = pools.find(|&pool| lives(pool, family));
            ((n, family), pool.unwrap_or(service.pool))
        })
    });
    answering.collect()
}

/// Services at single ports, then at ranges of ports and prefixes.
fn services(
    inputs: Inputs<'_>,
    answering: &BTreeMap<(ServiceIndex, Family), PoolIndex>,
    tables: &mut Tables,
) {
    let specs = Specs {
        inputs,
        answering,
        tracked: inputs.config.tracked(),
    };
    for (n, service) in inputs.config.services.iter().enumerate() {
        for listen in service.listen.iter().filter(|listen| listen.is_exact()) {
            let family = Family::of(listen.address.ip());
            let Some(spec) = specs.of(n, family, listen.protocol) else {
                continue;
            };
            match listen.address.ip() {
                IpAddr::V4(ip) => {
                    let key = key(ip.into(), listen);
                    if let Some(&position) = inputs.ids.positions.ipv4.get(&key) {
                        let entry = Service::new(key, spec);
                        tables.services.ipv4.insert(position, entry);
                    }
                }
                IpAddr::V6(ip) => {
                    let key = key(ip.into(), listen);
                    if let Some(&position) = inputs.ids.positions.ipv6.get(&key) {
                        let entry = Service::new(key, spec);
                        tables.services.ipv6.insert(position, entry);
                    }
                }
            }
        }
    }
    groups::fill(inputs, &specs, tables);
    crossing::fill(inputs, &specs, tables);
}

/// What services' entries are made from.
pub(super) struct Specs<'a> {
    inputs: Inputs<'a>,
    answering: &'a BTreeMap<(ServiceIndex, Family), PoolIndex>,
    tracked: Vec<Option<TrackedBecause>>,
}

impl Specs<'_> {
    /// A service's, if its pool has a slot table of the family.
    pub(super) fn of(
        &self,
        n: ServiceIndex,
        family: Family,
        protocol: Protocol,
    ) -> Option<ServiceSpec> {
        let ids = self.inputs.ids;
        let service = &self.inputs.config.services[n];
        let pool = self.answering.get(&(n, family)).copied();
        let table_key = (pool.unwrap_or(service.pool), family);
        let scheduler = tracking::scheduler(service);
        let by_turns = scheduler == Scheduler::RoundRobin;
        let table = if by_turns { &ids.turns } else { &ids.tables };
        let (recorded, prefix) = match self.tracked[n] {
            Some(_) => {
                let forward = self.inputs.config.pools[table_key.0].forward;
                let prefix = tracking::prefix(service, family);
                (tracking::traits(service, forward), prefix)
            }
            None => {
                let prefix = ids.prefix(table_key, n);
                (
                    servers::traits(service, protocol),
                    prefix.unwrap_or_else(|| hashed(service, family)),
                )
            }
        };
        let crosses = match ids.crossing.contains(&table_key.0) {
            true => ids.crossing_traits(),
            false => ServiceTraits::NONE,
        };
        Some(ServiceSpec {
            id: ids.services[n],
            table: *table.get(&table_key)?,
            traits: recorded
                .and(crosses)
                .and(traits(self.inputs.config, service, protocol)),
            scheduler,
            prefix,
        })
    }
}

/// How the flows of a service's address are told apart and kept. The connections of `quic` and the
/// datagrams of `one_packet` are those of its UDP addresses; only TCP has a reset.
fn traits(config: &Config, service: &model::Service, protocol: Protocol) -> ServiceTraits {
    let datagrams = match (protocol, service.udp) {
        (Protocol::Udp, Udp::OnePacket) => ServiceTraits::ONE_PACKET,
        (Protocol::Udp, Udp::Quic) => ServiceTraits::QUIC,
        (Protocol::Udp, Udp::Flows) | (Protocol::Tcp, _) => ServiceTraits::NONE,
    };
    let down = match (protocol, service.on_down) {
        (Protocol::Tcp, OnDown::Reset) => ServiceTraits::RESETS,
        (Protocol::Tcp, OnDown::Reschedule | OnDown::Keep { .. }) | (Protocol::Udp, _) => {
            ServiceTraits::NONE
        }
    };
    let nobody = match service.no_backend {
        NoBackend::Reject => ServiceTraits::REJECTS,
        NoBackend::Drop => ServiceTraits::NONE,
    };
    let removed = match service.removed {
        true => ServiceTraits::REMOVED,
        false => ServiceTraits::NONE,
    };
    datagrams
        .and(removed)
        .and(down)
        .and(nobody)
        .and(admission::traits(config, service))
}
