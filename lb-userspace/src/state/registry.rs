//! Which number everything has, from one configuration to the next. Numbers follow names, so what
//! did not change keeps its own, and nothing is written anew for it:
//!
//! | what | by | until |
//! |---|---|---|
//! | services, devices | name | it is gone and all other numbers have been used |
//! | next hops | address | the same, and no backend index is held for that address |
//! | backends | [`Identity`] | nothing names the index ([`slots::Indices`]) |
//! | source addresses | pool and addresses | no backend index is held that uses them |
//! | where IPv4 flows are recorded | names of pools and services | the tables end (`crossing`) |
//! | ends that answer | service's address, backend's index | it is gone and all others have been used |
//! | slot tables | pool, family, size, prefix | [`Registry::release_table`] |
//! | groups | address or prefix | it is gone and all other numbers have been used |
//! | positions of services | address, port, protocol | it is gone |
//!
//! No number goes from one owner to another within one configuration: while tables change, what
//! still names it would lead to the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use lb_common::abi::{
    Address, BackendRef, DEFAULT_BACKENDS, Ipv4Address, Ipv6Address, MAX_ACCESS, MAX_DEVICES,
    MAX_GROUPS, MAX_PORT_BLOCKS, MAX_SERVERS, MAX_SERVICES, MAX_SOURCES, MAX_TABLES, NextHop,
    Service, TableId, TableSize,
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{Config, Forward, Listen, Network, PROBE_DEVICE, Pool, PoolIndex, ReplyEnd},
    plan::{Families, Tables},
    slots::Indices,
};

use super::{
    crossing, groups,
    ids::{BackendId, Error, Hashing, Ids, PoolFamily},
    named::{self, Identity},
    numbers::Numbers,
    place::{self, Placement},
    ranges::{Ranges, Sources},
    replies::{self, Replier, Reply},
    servers,
    slot_tables::{Choice, Finding, NoTable, Owner, SlotTables, Used},
};

/// Who has which number. A configuration is assigned on a copy, so that one that does not fit
/// leaves all as it was. On disk it outlives the agent, as the tables do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    services: Numbers<String>,
    devices: Numbers<String>,
    next_hops: Numbers<IpAddr>,
    backends: Indices<Identity>,
    sources: Ranges,
    replies: Numbers<(SocketAddr, u32)>,
    groups: Numbers<Network>,
    tables: SlotTables,
    crossed: crossing::Past,
    /// This host's own addresses.
    own: BTreeSet<IpAddr>,
    /// What the kernel would send from, by backends' addresses.
    outer: BTreeMap<IpAddr, IpAddr>,
    /// Once there is one.
    service_table: Option<ServiceTable>,
}

/// Where everything lies in the service tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ServiceTable {
    salt: u64,
    /// The tables themselves say that.
    #[serde(skip)]
    positions: Positions,
}

/// Indices of backends' addresses.
type Backends = BTreeMap<BackendId, BackendRef>;

type Positions = Families<Placement<Ipv4Address>, Placement<Ipv6Address>>;

impl Default for Registry {
    fn default() -> Self {
        Self {
            services: Numbers::new(0, MAX_SERVICES),
            devices: Numbers::new(1, MAX_DEVICES),
            next_hops: Numbers::new(1, DEFAULT_BACKENDS),
            backends: Indices::default(),
            sources: Ranges::default(),
            replies: Numbers::new(1, DEFAULT_BACKENDS),
            groups: Numbers::new(1, MAX_GROUPS),
            tables: SlotTables::default(),
            crossed: crossing::Past::default(),
            own: BTreeSet::new(),
            outer: BTreeMap::new(),
            service_table: None,
        }
    }
}

impl Registry {
    /// The numbers of everything in `config`, and the registry that knows them. What `config` does
    /// not name gives its numbers up.
    pub fn assign(&self, config: &Config) -> Result<(Self, Ids), Error> {
        check_limits(config)?;
        let mut next = self.clone();
        next.resize(config.agent.backends)?;
        let crossing = next.crossed.follow(config);
        let services = next.services(config)?;
        let devices = next.devices(config)?;
        let (backends, probed) = next.backends(config)?;
        let mut ids = Ids {
            services,
            devices,
            backends,
            probed,
            probe_sources: config.probe_sources().iter().copied().collect(),
            // After the backends: what a held index needs is held too.
            next_hops: next.next_hops(config)?,
            sources: next.sources(config)?,
            source_addresses: next.source_addresses(config, &crossing),
            crossing_sources: named::crossing_sources(config, &crossing),
            crossing_services: BTreeSet::new(),
            crossing,
            unmapped: next.crossed.has_unmapped(),
            tables: BTreeMap::new(),
            hashing: BTreeMap::new(),
            turns: BTreeMap::new(),
            old_tables: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            replies: BTreeMap::new(),
            own: next.own(config),
            outer: next.outer.clone(),
            groups: next.groups(config)?,
            salt: 0,
            positions: Families::default(),
        };
        for (key, used) in next.tables(config)? {
            ids.tables.insert(key, used.id);
            ids.hashing.insert(key, Hashing::of(config, used));
        }
        ids.crossing_services = crossing::services(config, &ids);
        ids.turns = next.turns(config);
        ids.old_tables = next.old_tables(config);
        ids.abandoned = next.abandoned();
        ids.replies = next.replies(config, &ids)?;
        ServiceTable {
            salt: ids.salt,
            positions: ids.positions,
        } = next.place(config, &ids)?;
        Ok((next, ids))
    }

    /// There is room for this many backends. Another number than before comes with tables that are new.
    fn resize(&mut self, backends: u32) -> Result<(), Error> {
        self.backends.resize(backends)?;
        self.next_hops.resize(backends);
        self.replies.resize(backends);
        Ok(())
    }

    /// This host's addresses are these from now on. Where a pool is in `nat` mode they are marked:
    /// what backends send to them is the host's own, not a reply to a client.
    pub fn host_has(&mut self, addresses: BTreeSet<IpAddr>) {
        self.own = addresses;
    }

    /// The kernel would send from these addresses now, by where to. A backend whose outer headers take
    /// theirs from here is another one with another.
    pub fn sends_from(&mut self, sources: BTreeMap<IpAddr, IpAddr>) {
        self.outer = sources;
    }

    /// What [`Registry::sends_from`] was told last.
    pub fn outer_sources(&self) -> &BTreeMap<IpAddr, IpAddr> {
        &self.outer
    }

    /// Everything lies in the service tables where these say, which a former run left.
    pub fn finds(&mut self, tables: &Tables) {
        if let Some(found) = &mut self.service_table {
            found.positions = Families {
                ipv4: positions(&tables.services.ipv4),
                ipv6: positions(&tables.services.ipv6),
            };
        }
    }

    /// Tables are new, so nothing lies in the service tables.
    pub fn has_no_positions(&mut self) {
        self.service_table = None;
    }

    /// Nor has any pool a slot table from before.
    pub fn has_no_slots(&mut self) {
        self.tables = SlotTables::default();
    }

    /// The next hops of destinations, as tables say that a former run left.
    pub fn next_hops_in<'a>(
        &'a self,
        tables: &'a Tables,
    ) -> impl Iterator<Item = (IpAddr, NextHop)> + 'a {
        let held = self.next_hops.held();
        held.filter_map(|(address, number)| Some((*address, *tables.next_hops.get(&number)?)))
    }

    /// Nothing refers to a table in [`Ids::old_tables`] or [`Ids::abandoned`] any more: another pool
    /// may have it, and the pool may change its size again, from the next [`Registry::assign`] on.
    pub fn release_table(&mut self, table: TableId) {
        self.tables.release(table);
    }

    /// A registry that has flows that cross families looked up by mapped addresses alone, from the next
    /// [`Registry::assign`] on: no flow is [`Ids::is_unmapped`] any more.
    pub fn without_unmapped(&self) -> Self {
        let mut next = self.clone();
        next.crossed.forget_unmapped();
        next
    }

    /// The indices of backends.
    pub fn indices(&self) -> &Indices<Identity> {
        &self.backends
    }

    /// The same, to say which of those released are named no more.
    pub fn indices_mut(&mut self) -> &mut Indices<Identity> {
        &mut self.backends
    }

    fn services(&mut self, config: &Config) -> Result<Vec<u32>, Error> {
        let names = || config.services.iter().map(|service| service.name.clone());
        let full = no_room_beside("services", MAX_SERVICES);
        let numbers = self.services.assign(names()).ok_or(full)?;
        Ok(names().map(|name| numbers[&name]).collect())
    }

    fn devices(&mut self, config: &Config) -> Result<BTreeMap<String, u16>, Error> {
        let probes = config.has_probes().then(|| PROBE_DEVICE.to_owned());
        let names = config.agent.interfaces.iter().cloned().chain(probes);
        let full = no_room_beside("interfaces", MAX_DEVICES - 1);
        let numbers = self.devices.assign(names).ok_or(full)?;
        let number = |(name, &n): (&String, &u32)| (name.clone(), n as u16);
        Ok(numbers.iter().map(number).collect())
    }

    /// Those that flows have, and those that probes have.
    fn backends(&mut self, config: &Config) -> Result<(Backends, Backends), Error> {
        let wanted: Vec<(BackendId, Identity)> = named::identities(config, &self.outer).collect();
        let probed = named::probed_identities(config, &self.outer);
        let probed: Vec<(BackendId, Identity)> = probed.collect();
        let all = wanted.iter().chain(&probed);
        let identities: BTreeSet<&Identity> = all.map(|(_, identity)| identity).collect();
        let held = self.backends.assignments().map(|held| held.identity);
        let gone: Vec<Identity> = held.filter(|held| !identities.contains(held)).collect();
        let mut allocate = |wanted: &[(BackendId, Identity)]| {
            let wanted = wanted.iter();
            let allocated =
                wanted.map(|(id, identity)| Ok((*id, self.backends.allocate(identity)?)));
            allocated.collect::<Result<Backends, Error>>()
        };
        let allocated = (allocate(&wanted)?, allocate(&probed)?);
        gone.iter().for_each(|gone| self.backends.release(gone));
        Ok(allocated)
    }

    fn next_hops(&mut self, config: &Config) -> Result<BTreeMap<IpAddr, u32>, Error> {
        let wanted = || named::next_hops(config);
        let held = self
            .backends
            .assignments()
            .map(|held| held.identity.address);
        let full = no_room_beside("next hops", config.agent.backends - 1);
        let numbers = self.next_hops.assign(wanted().chain(held)).ok_or(full)?;
        Ok(wanted()
            .map(|address| (address, numbers[&address]))
            .collect())
    }

    fn sources(&mut self, config: &Config) -> Result<BTreeMap<PoolFamily, (u32, u16)>, Error> {
        let held = self.backends.assignments();
        let kept = held.map(|held| held.identity.source_piece()).collect();
        let wanted = named::source_pieces(config).map(|(_, sources)| sources);
        let full = no_room_beside("source addresses", MAX_SOURCES);
        let first = self
            .sources
            .assign(wanted, &kept, MAX_SOURCES)
            .ok_or(full)?;
        let piece = |(pool, piece): (usize, Sources)| {
            let key = (pool, piece.family);
            (key, (first[&piece], piece.len() as u16))
        };
        Ok(named::source_pieces(config).map(piece).collect())
    }

    fn source_addresses(
        &self,
        config: &Config,
        crossing: &BTreeSet<PoolIndex>,
    ) -> Families<BTreeMap<u32, Ipv4Addr>, BTreeMap<u32, Ipv6Addr>> {
        let mut addresses = Families::<BTreeMap<_, _>, BTreeMap<_, _>>::default();
        for (pool, piece) in named::source_pieces(config) {
            let Some(first) = self.sources.first(&piece) else {
                continue;
            };
            for (n, address) in (first..).zip(&piece.addresses) {
                match *address {
                    IpAddr::V4(address) if !crossing.contains(&pool) => {
                        addresses.ipv4.insert(n, address);
                    }
                    IpAddr::V4(_) | IpAddr::V6(_) => {
                        addresses.ipv6.insert(n, crossing::mapped(*address));
                    }
                }
            }
        }
        addresses
    }

    /// They are told from others where what comes from a backend may be an answer, and where a prefix
    /// may have them: it does not.
    fn own(&self, config: &Config) -> BTreeSet<IpAddr> {
        let nat = |pool: &Pool| pool.forward == Forward::Nat;
        let mut listens = config.services.iter().flat_map(|service| &service.listen);
        match config.pools.iter().any(nat) || listens.any(Listen::is_prefix) {
            true => self.own.clone(),
            false => BTreeSet::new(),
        }
    }

    /// Whom each end answers for. What the tables say of that is not changed either: another
    /// address or backend is another number.
    fn replies(&mut self, config: &Config, ids: &Ids) -> Result<BTreeMap<ReplyEnd, Reply>, Error> {
        let repliers = replies::repliers(config);
        let name = |replier: &Replier| {
            (
                replier.listen.address,
                ids.backends[&replier.backend].index(),
            )
        };
        let full = no_room_beside("ports of backends in nat mode", config.agent.backends - 1);
        let numbers = self
            .replies
            .assign(repliers.values().map(name))
            .ok_or(full)?;
        let reply = |(end, replier): (&ReplyEnd, &Replier)| {
            let (leaves_from, backend) = name(replier);
            let reply = Reply {
                number: numbers[&(leaves_from, backend)],
                service: ids.services[replier.service],
                recorded: replier.recorded,
                backend,
                leaves_from,
            };
            (*end, reply)
        };
        Ok(repliers.iter().map(reply).collect())
    }

    fn tables(&mut self, config: &Config) -> Result<BTreeMap<PoolFamily, Used>, Error> {
        let wanted = named::findings(config).map(|(key, finding)| {
            let owner = named::table_owner(config, key, Choice::Hash);
            (owner, finding)
        });
        let turns = named::turns(config).map(|(key, size)| {
            let prefixes = BTreeMap::new();
            let owner = named::table_owner(config, key, Choice::Turns);
            (owner, Finding { size, prefixes })
        });
        self.tables
            .assign(wanted.chain(turns))
            .map_err(|refused| match refused {
                NoTable::Full => no_room_beside("slot tables of one size", MAX_TABLES),
                NoTable::Prefixes(Owner { pool, family, .. }) => {
                    Error::SeveralPrefixes { pool, family }
                }
            })?;
        let used = self.tables.used();
        let table = |key| {
            (
                key,
                used[&named::table_owner(config, key, Choice::Hash)].clone(),
            )
        };
        Ok(named::table_keys(config).map(table).collect())
    }

    /// After [`Self::tables`].
    fn turns(&self, config: &Config) -> BTreeMap<PoolFamily, TableId> {
        let used = self.tables.used();
        let table = |(key, _)| {
            let owner = named::table_owner(config, key, Choice::Turns);
            (key, used[&owner].id)
        };
        named::turns(config).map(table).collect()
    }

    fn groups(&mut self, config: &Config) -> Result<BTreeMap<Network, u32>, Error> {
        let full = no_room_beside(
            "addresses with ranges of ports, and prefixes",
            MAX_GROUPS - 1,
        );
        let numbers = self.groups.assign(groups::networks(config)).ok_or(full)?;
        Ok(numbers.clone())
    }

    fn old_tables(&self, config: &Config) -> BTreeMap<PoolFamily, TableId> {
        let before = |key| {
            let owner = named::table_owner(config, key, Choice::Hash);
            let mut retiring = self.tables.retiring().iter();
            let (table, _) =
                retiring.find(|(_, was)| was.owner == owner && was.replaced_by.is_some())?;
            Some((key, *table))
        };
        named::table_keys(config).filter_map(before).collect()
    }

    fn abandoned(&self) -> BTreeSet<TableId> {
        let retiring = self.tables.retiring().iter();
        let abandoned = retiring.filter(|(_, was)| was.replaced_by.is_none());
        abandoned.map(|(table, _)| *table).collect()
    }

    fn place(&mut self, config: &Config, ids: &Ids) -> Result<ServiceTable, Error> {
        let keys = named::service_keys(config, ids);
        let placed = match &self.service_table {
            None => {
                let found = place::find(&keys.ipv4, &keys.ipv6).ok_or(Error::Unplaceable {
                    count: keys.ipv4.len().max(keys.ipv6.len()),
                })?;
                let (salt, positions) = found;
                ServiceTable { salt, positions }
            }
            Some(ServiceTable { salt, positions }) => {
                let no_position = |what| Error::NoPosition { what };
                let (ipv4, ipv6) = (
                    place::place(&positions.ipv4, &keys.ipv4, *salt),
                    place::place(&positions.ipv6, &keys.ipv6, *salt),
                );
                let positions = Families {
                    ipv4: ipv4.map_err(|key| no_position(named::of_ipv4_key(config, key)))?,
                    ipv6: ipv6.map_err(|key| no_position(named::of_ipv6_key(config, key)))?,
                };
                let salt = *salt;
                ServiceTable { salt, positions }
            }
        };
        self.service_table = Some(placed.clone());
        Ok(placed)
    }
}

/// Where each key lies.
fn positions<A: Address + Hash>(services: &BTreeMap<u32, Service<A>>) -> Placement<A> {
    let services = services.iter();
    services.map(|(&at, service)| (service.key(), at)).collect()
}

/// Limits that no configuration may exceed, whatever went before.
fn check_limits(config: &Config) -> Result<(), Error> {
    let none = BTreeMap::new();
    let probed = named::probed_identities(config, &none).count();
    let backends = named::identities(config, &none).count() + probed;
    let next_hops: BTreeSet<IpAddr> = named::next_hops(config).collect();
    let most = config.agent.backends - 1;
    within("services", config.services.len(), MAX_SERVICES)?;
    within("interfaces", config.agent.interfaces.len(), MAX_DEVICES - 1)?;
    within("backend addresses", backends, most)?;
    within("server ids", servers::count(config), MAX_SERVERS)?;
    within("next hops", next_hops.len(), most)?;
    let ends = replies::repliers(config).len();
    within("ports of backends in nat mode", ends, most)?;
    let services = config.services.iter();
    let lists = services.filter_map(|service| service.access.as_ref());
    let lists = lists.chain(&config.access);
    // Two more for what an allowing list says of all others.
    let prefixes = lists.map(|list| list.allow.len() + list.deny.len() + 2);
    within("prefixes of access lists", prefixes.sum(), MAX_ACCESS)?;
    let grouped = groups::networks(config).len();
    let what = "addresses with ranges of ports, and prefixes";
    within(what, grouped, MAX_GROUPS - 1)?;
    let spans = groups::spans(config);
    let blocks = spans.values().flatten().map(|span| span.blocks().count());
    within("blocks of ports", blocks.sum(), MAX_PORT_BLOCKS)?;
    for size in TableSize::ALL {
        let of_size = |key: &PoolFamily| config.pools[key.0].slots == size;
        let tables = named::table_keys(config).filter(of_size).count();
        within("slot tables of one size", tables, MAX_TABLES)?;
    }
    let pieces = named::source_pieces(config);
    let sources = pieces.map(|(_, piece)| piece.addresses.len());
    within("source addresses", sources.sum(), MAX_SOURCES)
}

fn within(what: &'static str, count: usize, limit: u32) -> Result<(), Error> {
    if count > limit as usize {
        Err(Error::TooMany { what, count, limit })
    } else {
        Ok(())
    }
}

fn no_room_beside(what: &'static str, limit: u32) -> Error {
    Error::NoRoomBeside { what, limit }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
