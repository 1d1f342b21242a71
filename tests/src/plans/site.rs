//! A site with services of every mode in both families, as a configuration, and where its backends are.
//!
//! ```text
//!                 IPv4             IPv6
//! service n       198.18.m.n:80    [fd00:18:m::n]:80       m: the mode's number
//! backend n       10.1.m.n         fd00:101:m::n           by a next hop whose address says m and n
//! source          10.1.m.254       fd00:101:m::fe
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use lb_userspace::state::Hop;

use crate::cases::places::{Interface, Mac, Version};

/// Where clients' packets come in.
pub const CLIENTS: Interface = Interface {
    name: "front",
    ifindex: 10,
    device: 1,
    mac: [2, 0, 0, 0, 0, 10],
};

/// Where backends are.
pub(super) const BACKENDS: Interface = Interface {
    name: "back",
    ifindex: 11,
    device: 2,
    mac: [2, 0, 0, 0, 0, 11],
};

/// A forwarding mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Mode {
    Dsr,
    Nat,
    Ipip,
    Gue,
    /// The one whose flows are all recorded.
    FullNat,
}

/// A pool: whom it has by what name, as numbers and weights.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) backends: BTreeMap<&'static str, (u8, u16)>,
    pub(super) slots: u32,
}

/// What is configured, in one mode as in another.
#[derive(Clone, Debug)]
pub struct Site {
    pub(super) modes: Vec<Mode>,
    /// By name, without the mode.
    pub(super) pools: BTreeMap<&'static str, Pool>,
    /// The pool and number of each, by name.
    pub(super) services: BTreeMap<&'static str, (&'static str, u8)>,
    /// Backends whose next hop has moved.
    pub(super) moved: BTreeSet<u8>,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Dsr, Self::Nat, Self::Ipip, Self::Gue, Self::FullNat];

    fn name(self) -> &'static str {
        match self {
            Self::Dsr => "dsr",
            Self::Nat => "nat",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::FullNat => "full-nat",
        }
    }

    /// Whether all flows are recorded.
    pub(super) fn is_tracked(self) -> bool {
        self == Self::FullNat
    }

    /// The port of its backends, where they have one of their own.
    fn port(self) -> Option<u16> {
        match self {
            Self::Nat | Self::FullNat => Some(8080),
            Self::Dsr | Self::Ipip | Self::Gue => None,
        }
    }

    fn has_sources(self) -> bool {
        match self {
            Self::Ipip | Self::Gue | Self::FullNat => true,
            Self::Dsr | Self::Nat => false,
        }
    }

    /// The address of a service.
    pub(super) fn service(self, version: Version, number: u8) -> SocketAddr {
        let ip = match version {
            Version::V4 => Ipv4Addr::new(198, 18, self as u8, number).into(),
            Version::V6 => v6(0x18, self as u8, number),
        };
        SocketAddr::new(ip, 80)
    }

    /// The address of a backend, or of our own in its network.
    pub(super) fn backend(self, version: Version, number: u8) -> IpAddr {
        match version {
            Version::V4 => Ipv4Addr::new(10, 1, self as u8, number).into(),
            Version::V6 => v6(0x101, self as u8, number),
        }
    }
}

fn v6(net: u16, mode: u8, number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, net, mode.into(), 0, 0, 0, 0, number.into()).into()
}

impl Site {
    /// Two services with pools of their own: `web` with three backends, `other` with two.
    pub fn new(modes: &[Mode]) -> Self {
        let pool = |backends: &[(&'static str, u8)]| Pool {
            backends: backends.iter().map(|&(name, n)| (name, (n, 100))).collect(),
            slots: 1021,
        };
        Self {
            modes: modes.to_vec(),
            pools: [
                ("web", pool(&[("a", 11), ("b", 12), ("c", 13)])),
                ("other", pool(&[("d", 21), ("e", 22)])),
            ]
            .into(),
            services: [("web", ("web", 1)), ("other", ("other", 2))].into(),
            moved: BTreeSet::new(),
        }
    }

    /// One where nothing is.
    pub fn empty() -> Self {
        let mut site = Self::new(&[]);
        site.pools.clear();
        site.services.clear();
        site
    }

    /// The backends of a service, by number; none if there is no such service.
    pub(super) fn backends_of(&self, service: &str) -> BTreeSet<u8> {
        let pool = self.services.get(service).map(|(pool, _)| pool);
        let pool = pool.and_then(|pool| self.pools.get(pool));
        let backends = pool.into_iter().flat_map(|pool| pool.backends.values());
        backends.map(|(number, _)| *number).collect()
    }

    /// The backends of all pools.
    pub(super) fn backends(&self) -> BTreeSet<u8> {
        let backends = self.pools.values().flat_map(|pool| pool.backends.values());
        backends.map(|(number, _)| *number).collect()
    }

    /// The address of a backend's next hop: by it, a frame says whose it is.
    pub(super) fn next_hop(&self, mode: Mode, number: u8) -> Mac {
        let moved = u8::from(self.moved.contains(&number));
        [4, mode as u8, 0, moved, 0, number]
    }

    /// The ways to all backends.
    pub(super) fn hops(&self) -> BTreeMap<IpAddr, Hop> {
        let mut hops = BTreeMap::new();
        for &mode in &self.modes {
            for number in self.backends() {
                let hop = Hop {
                    ifindex: BACKENDS.ifindex,
                    mac: self.next_hop(mode, number),
                    mtu: 1500,
                    source: None,
                    lost: None,
                };
                let addresses = Version::ALL.map(|version| mode.backend(version, number));
                hops.extend(addresses.map(|address| (address, hop)));
            }
        }
        hops
    }

    /// The configuration, as its file says it.
    pub(super) fn text(&self) -> String {
        let (front, back) = (CLIENTS.name, BACKENDS.name);
        let mut text = format!("[agent]\ninterfaces = [\"{front}\", \"{back}\"]\n");
        for &mode in &self.modes {
            self.write_services(&mut text, mode);
            self.write_pools(&mut text, mode);
        }
        text
    }

    fn write_services(&self, text: &mut String, mode: Mode) {
        let prefix = mode.name();
        for (name, (pool, number)) in &self.services {
            let [ipv4, ipv6] = Version::ALL.map(|version| mode.service(version, *number));
            let _ = writeln!(
                text,
                "[[service]]\nname = \"{prefix}-{name}\"\nlisten = [\"{ipv4}/tcp\", \"{ipv6}/tcp\"]\npool = \"{prefix}-{pool}\""
            );
        }
    }

    fn write_pools(&self, text: &mut String, mode: Mode) {
        let prefix = mode.name();
        for (name, pool) in &self.pools {
            let slots = pool.slots;
            let _ = writeln!(
                text,
                "[[pool]]\nname = \"{prefix}-{name}\"\nforward = \"{prefix}\"\nslots = {slots}"
            );
            if mode.has_sources() {
                let [ipv4, ipv6] = Version::ALL.map(|version| mode.backend(version, 254));
                let _ = writeln!(text, "source = [\"{ipv4}\", \"{ipv6}\"]");
            }
            for (name, (number, weight)) in &pool.backends {
                let address = |version| {
                    let ip = mode.backend(version, *number);
                    let with_port = |port| SocketAddr::new(ip, port).to_string();
                    mode.port().map_or_else(|| ip.to_string(), with_port)
                };
                let [ipv4, ipv6] = Version::ALL.map(address);
                let _ = writeln!(
                    text,
                    "[[pool.backend]]\nname = \"{name}\"\naddress = [\"{ipv4}\", \"{ipv6}\"]\nweight = {weight}"
                );
            }
        }
    }
}
