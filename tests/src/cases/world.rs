//! What the packet path finds when a frame comes in: the tables, and the kernel's routes.
//!
//! Plain data, which ring 0 reads as it is and ring 2 writes into maps and a namespace. A row
//! starts from [`World::default`] and changes what it is about.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::{
    abi::{
        Backend, Device, HopWord, Ipv4Address, Ipv6Address, Limits, Load, MacAddress, NextHop,
        OldTable, PortKey, PrefixKey, RecordLimits, ReplyLimits, Reverse, Seed, Service, Slot,
        SourcePorts, TableId, TableSize, Tags, Timeouts, VlanKey,
    },
    net::{Ipv4, Ipv6},
};

use super::places::{
    BACK, BACKEND, FOREIGN, Flavour, INTERFACES, Interface, Mac, Pool, ROUTER, SIDE, SIDE_ROUTER,
    SOURCE_PORT, UPLINK, Version, Way,
};

/// Jiffies in a second. Far more than any kernel's, so that in ring 2 no time passes but what a
/// row asks for.
pub const HERTZ: u32 = 100_000;

/// The next hop of every backend.
pub const NEXT_HOP: u32 = 1;

/// Bytes that the next hop of every backend takes.
pub const MTU: u16 = 1500;

/// The tables and the routes.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// What ring 2 sets when it loads the program.
    pub constants: Constants,
    /// Flows of one family that the table takes. Ring 0 only: the kernel's evicts.
    pub flow_capacity: usize,
    /// The agent's devices by ifindex.
    pub ingress: BTreeMap<u32, HopWord>,
    /// The agent's VLAN devices, by what their frames are known by.
    pub vlans: BTreeMap<VlanKey, HopWord>,
    /// The agent's devices as senders.
    pub devices: BTreeMap<u16, Device>,
    /// The ifindex that a redirect to a device goes to.
    pub redirect: BTreeMap<u16, u32>,
    /// By index.
    pub next_hops: BTreeMap<u32, NextHop>,
    /// By index.
    pub backends: BTreeMap<u32, Backend>,
    /// How much backends are meant to take, by index.
    pub loads: BTreeMap<u32, Load>,
    /// By service.
    pub timeouts: BTreeMap<u32, Timeouts>,
    /// How large TCP segments may be that ends say they take, by service.
    pub largest_segments: BTreeMap<u32, u32>,
    /// By position.
    pub services_v4: BTreeMap<u32, Service<Ipv4Address>>,
    /// By position.
    pub services_v6: BTreeMap<u32, Service<Ipv6Address>>,
    /// Backends that connection ids name, as words.
    pub servers: BTreeMap<PrefixKey, u32>,
    /// Words of the filter of our own addresses.
    pub own: BTreeMap<u32, u64>,
    /// Access lists.
    pub access: BTreeMap<PrefixKey, u32>,
    /// By service.
    pub limits: BTreeMap<u32, Limits>,
    /// Groups, by what services listen on.
    pub listening: BTreeMap<PrefixKey, u32>,
    /// Numbers of services, by blocks of ports.
    pub ports: BTreeMap<PortKey, u32>,
    /// By index.
    pub reverses_v4: BTreeMap<u32, Reverse<Ipv4Address>>,
    /// By index.
    pub reverses_v6: BTreeMap<u32, Reverse<Ipv6Address>>,
    /// By index.
    pub sources_v4: BTreeMap<u32, Ipv4Address>,
    /// By index.
    pub sources_v6: BTreeMap<u32, Ipv6Address>,
    /// Each table's slots, from the first one on and over again.
    pub slots: BTreeMap<TableId, Vec<Slot>>,
    /// The backends that probes are for, as words, by their ports from the lowest on.
    pub probed: BTreeMap<u32, u32>,
    /// The tables that others replace, by the new one.
    pub old_tables: BTreeMap<TableId, OldTable>,
    /// By prefix.
    pub routes: BTreeMap<(IpAddr, u8), Route>,
    /// MAC addresses by interface and address.
    pub neighbours: BTreeMap<(u32, IpAddr), Mac>,
}

/// The program's load-time constants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Constants {
    /// Key of the flow hash.
    pub seed: Seed,
    /// The service table's salt.
    pub salt: u64,
    /// The source ports.
    pub ports: SourcePorts,
    /// How many exceptions may be recorded.
    pub limits: RecordLimits,
    /// How many frames may be made here: none, unless a row is about them.
    pub replies: ReplyLimits,
    /// Whether there is a service in `nat` mode.
    pub nat: bool,
    /// Whether a service in `nat` mode listens on more than single ports.
    pub nat_ranges: bool,
    /// Whether a service listens on a whole prefix.
    pub prefixes: bool,
    /// Whether flows of a service may have ends of both families.
    pub crossing: bool,
    /// Whether a device is a VLAN's.
    pub vlans: bool,
    /// Whether backends' answers to probes may come in.
    pub probes: bool,
    /// Whether the program of the tables before is asked; there is none in rows.
    pub asks_older: bool,
}

impl std::fmt::Debug for Constants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:016x?}, {:?}",
            (self.seed.k0, self.seed.k1),
            self.ports
        )
    }
}

/// A route of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a gateway.
    Via {
        /// Its address.
        gateway: IpAddr,
        /// The interface that it is behind.
        ifindex: u32,
        /// The route's own MTU.
        mtu: Option<u16>,
    },
    /// Unreachable.
    Unreachable,
}

/// How long flows of every service may be silent, jiffies: as the agent's defaults have it, but that
/// one that begins has as long as one that goes on.
pub const TIMEOUTS: Timeouts = Timeouts {
    handshake: (2 * 3600 + 10 * 60) * HERTZ,
    established: (2 * 3600 + 10 * 60) * HERTZ,
    closing: 120 * HERTZ,
    reset: 10 * HERTZ,
    udp: 120 * HERTZ,
    affinity: 0,
};

/// The bytes of the seed, as SipHash takes them.
pub const SEED: [u8; 16] = *b"cases of packets";

impl Default for World {
    fn default() -> Self {
        let mut world = Self::without_services();
        for version in Version::ALL {
            world.add_source(0, version.own());
            world.add_mark(version.own());
            for pool in Pool::ALL {
                world.add_backend(backend_index(version, pool), pool, version);
                let current = Slot::settled(backend_index(version, pool));
                world.slots.insert(table(version, pool), vec![current]);
            }
        }
        for pool in Pool::ALL {
            for flavour in Flavour::ALL {
                world.add_service(flavour, pool, 0);
            }
        }
        world
    }
}

impl World {
    /// Devices and routes alone.
    pub fn without_services() -> Self {
        let next = NextHop {
            hop: HopWord::new(MacAddress(BACKEND), BACK.device),
            mtu: MTU.into(),
        };
        let ours = || INTERFACES.iter().filter(|interface| interface.device != 0);
        let constants = Constants {
            seed: Seed::from(SEED),
            salt: 0x5a17,
            ports: SourcePorts {
                first: SOURCE_PORT,
                count: 1,
            },
            limits: RecordLimits {
                capacity: 64,
                rate: 1 << 20,
            },
            replies: ReplyLimits {
                errors: 0,
                errors_per_source: 0,
                resets: 0,
                resets_per_source: 0,
            },
            nat: true,
            nat_ranges: true,
            prefixes: true,
            crossing: true,
            vlans: true,
            probes: true,
            asks_older: false,
        };
        Self {
            constants,
            flow_capacity: usize::MAX,
            ingress: ours().map(|i| (i.ifindex, i.hop())).collect(),
            vlans: BTreeMap::new(),
            devices: ours().map(|i| (i.device, i.sender())).collect(),
            redirect: ours().map(|i| (i.device, i.ifindex)).collect(),
            next_hops: [(NEXT_HOP, next)].into(),
            backends: BTreeMap::new(),
            loads: BTreeMap::new(),
            timeouts: BTreeMap::new(),
            largest_segments: BTreeMap::new(),
            services_v4: BTreeMap::new(),
            services_v6: BTreeMap::new(),
            servers: BTreeMap::new(),
            own: BTreeMap::new(),
            access: BTreeMap::new(),
            limits: BTreeMap::new(),
            listening: BTreeMap::new(),
            ports: BTreeMap::new(),
            reverses_v4: BTreeMap::new(),
            reverses_v6: BTreeMap::new(),
            sources_v4: BTreeMap::new(),
            sources_v6: BTreeMap::new(),
            slots: BTreeMap::new(),
            probed: BTreeMap::new(),
            old_tables: BTreeMap::new(),
            routes: routes(),
            neighbours: neighbours(),
        }
    }
}

/// Index of a pool's backend, and of its counters.
pub fn backend_index(version: Version, pool: Pool) -> u32 {
    1 + 2 * pool as u32 + version as u32
}

/// Index of a service's counters.
pub fn service_id(flavour: Flavour, pool: Pool) -> u32 {
    1 + 4 * pool as u32 + 2 * flavour.version as u32 + flavour.protocol as u32
}

/// A pool's slot table.
pub fn table(version: Version, pool: Pool) -> TableId {
    let index = 2 * pool as u32 + version as u32;
    TableId {
        size: TableSize::Small,
        index,
    }
}

impl Interface {
    /// The agent's device, as the word that tables hold.
    pub fn hop(&self) -> HopWord {
        HopWord::new(MacAddress(self.mac), self.device)
    }

    /// The same as a sender.
    pub(super) fn sender(&self) -> Device {
        Device::new(self.hop(), self.ifindex, Tags::NONE)
    }
}

fn routes() -> BTreeMap<(IpAddr, u8), Route> {
    let mut routes = BTreeMap::new();
    for version in Version::ALL {
        let length = if version == Version::V4 { 24 } else { 64 };
        let mut add = |way, route| routes.insert((version.client_number(way, 0), length), route);
        let via = |interface: Interface, host, mtu| Route::Via {
            gateway: version.link(interface.ifindex as u8, host),
            ifindex: interface.ifindex,
            mtu,
        };
        add(Way::Router, via(UPLINK, 1, None));
        add(Way::Silent, via(UPLINK, 99, None));
        add(Way::SilentAside, via(SIDE, 99, None));
        add(Way::Aside, via(SIDE, 1, None));
        add(Way::Foreign, via(FOREIGN, 1, None));
        add(Way::Narrow, via(UPLINK, 1, Some(1400)));
        add(Way::Unreachable, Route::Unreachable);
    }
    routes
}

fn neighbours() -> BTreeMap<(u32, IpAddr), Mac> {
    let routers = [(UPLINK, ROUTER), (SIDE, SIDE_ROUTER), (FOREIGN, ROUTER)];
    let both = routers
        .iter()
        .flat_map(|router| Version::ALL.map(|version| (router, version)));
    both.map(|((interface, mac), version)| {
        let net = interface.ifindex as u8;
        ((interface.ifindex, version.link(net, 1)), *mac)
    })
    .collect()
}

/// A family's half of a world's tables.
pub trait Half: lb_common::net::Family {
    /// Its services by position.
    fn services(world: &World) -> &BTreeMap<u32, Service<Self::Address>>;
    /// Its backends' ports that answer in `nat` mode, by index.
    fn reverses(world: &World) -> &BTreeMap<u32, Reverse<Self::Address>>;
    /// Its source addresses by index.
    fn sources(world: &World) -> &BTreeMap<u32, Self::Address>;
}

impl Half for Ipv4 {
    fn services(world: &World) -> &BTreeMap<u32, Service<Ipv4Address>> {
        &world.services_v4
    }
    fn reverses(world: &World) -> &BTreeMap<u32, Reverse<Ipv4Address>> {
        &world.reverses_v4
    }
    fn sources(world: &World) -> &BTreeMap<u32, Ipv4Address> {
        &world.sources_v4
    }
}

impl Half for Ipv6 {
    fn services(world: &World) -> &BTreeMap<u32, Service<Ipv6Address>> {
        &world.services_v6
    }
    fn reverses(world: &World) -> &BTreeMap<u32, Reverse<Ipv6Address>> {
        &world.reverses_v6
    }
    fn sources(world: &World) -> &BTreeMap<u32, Ipv6Address> {
        &world.sources_v6
    }
}
