//! Where and what is measured: a namespace with a veth whose far end nobody reads, and a
//! configuration with a service for each mode and family, 100 backends and full slot tables.
//!
//! ```text
//! clients 10.1.0.0/16 ─ router .1 ─ 198.18.2.0/24 ─ uplink .2 ─ Sluice
//! backends 198.18.1.1 … .100: on the link too, so that every frame leaves as it came (XDP_TX)
//! ```
//! IPv6 has the same networks as fd00:64::/64, fd00:182::/64 and fd00:181::/64.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result};
use lb_userspace::{
    config::{self, Disk},
    model::Config,
    state::{Hop, Link},
};
use nix::net::if_::if_nametoindex;

use crate::{
    link::{self, End},
    namespace::Namespace,
    programs::Pass,
    stage::Stage,
};

use super::{Options, cases, rounds};

/// A MAC address.
pub(super) type Mac = [u8; 6];

/// The interface's.
pub(super) const UPLINK: Mac = [0x02, 0, 0, 0, 2, 2];
/// The router's.
pub(super) const ROUTER: Mac = [0x02, 0, 0, 0, 2, 1];

/// Backends of each pool.
const BACKENDS: u8 = 100;
/// The interface's name.
const INTERFACE: &str = "uplink";
/// Largest IP packet there, bytes.
const MTU: u16 = 1500;

/// The MAC address of backend `n`.
pub(super) const fn backend_mac(n: u8) -> Mac {
    [0x02, 0, 0, 0, 3, n]
}

/// How a service's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Ipip,
    FullNat,
}

/// The services, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    IpipV4,
    IpipV6,
    FullNatV4,
    FullNatV6,
}

impl Service {
    pub(super) const ALL: [Self; 4] =
        [Self::IpipV4, Self::IpipV6, Self::FullNatV4, Self::FullNatV6];

    pub(super) fn mode(self) -> Mode {
        match self {
            Self::IpipV4 | Self::IpipV6 => Mode::Ipip,
            Self::FullNatV4 | Self::FullNatV6 => Mode::FullNat,
        }
    }

    pub(super) fn is_ipv4(self) -> bool {
        matches!(self, Self::IpipV4 | Self::FullNatV4)
    }

    /// Index of its counters.
    pub(super) fn id(self) -> u32 {
        self as u32
    }

    /// Where clients reach it.
    pub(super) fn address(self) -> SocketAddr {
        SocketAddr::new(service_ip(10 + self as u8, self.is_ipv4()), 80)
    }
}

/// An address that no service has.
pub(super) fn nobody() -> SocketAddr {
    SocketAddr::new(service_ip(9, true), 80)
}

fn service_ip(n: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        IpAddr::from([198, 18, 0, n])
    } else {
        IpAddr::from([0xfd00, 0x18, 0, 0, 0, 0, 0, n.into()])
    }
}

fn backend_ip(n: u8, ipv4: bool) -> IpAddr {
    if ipv4 {
        IpAddr::from([198, 18, 1, n])
    } else {
        IpAddr::from([0xfd00, 0x181, 0, 0, 0, 0, 0, n.into()])
    }
}

/// The namespace and the configuration.
pub(super) struct Site {
    namespace: Namespace,
    /// Keeps the far end from looking at what little comes there, and the near end's receive
    /// queue registered, which a test run with this interface asks for.
    _pass: Pass,
    pub(super) config: Config,
}

impl Site {
    pub(super) fn set_up(stage: &Stage, options: Options) -> Result<Self> {
        let namespace = Namespace::create(&stage.name("gateway"))?;
        namespace.forward_packets()?;
        let end = |interface| End {
            namespace: &namespace,
            interface,
        };
        link::connect(end(INTERFACE), end("far"), MTU)?;
        let mut pass = Pass::load()?;
        pass.attach(end(INTERFACE))?;
        pass.attach(end("far"))?;
        namespace.ip(&format!("link set {INTERFACE} address {}", text(UPLINK)))?;
        for (own, clients, router) in [
            ("198.18.2.2/24", "10.1.0.0/16", "198.18.2.1"),
            ("fd00:182::2/64", "fd00:64::/64", "fd00:182::1"),
        ] {
            namespace.ip(&format!("address add {own} dev {INTERFACE}"))?;
            let lladdr = text(ROUTER);
            let neighbour = format!("lladdr {lladdr} dev {INTERFACE} nud permanent");
            namespace.ip(&format!("neigh replace {router} {neighbour}"))?;
            namespace.ip(&format!("route add {clients} via {router}"))?;
        }
        let path = stage.folder().join("sluice.toml");
        fs::write(&path, configuration(options)?)?;
        let config = config::load(&path, &Disk)?.config;
        Ok(Self {
            namespace,
            _pass: pass,
            config,
        })
    }

    /// Runs `task` in the namespace, in a thread of its own.
    pub(super) fn run<T: Send>(&self, task: impl FnOnce(Link) -> Result<T> + Send) -> Result<T> {
        self.namespace.run(|| {
            let ifindex = if_nametoindex(INTERFACE).context("the interface is gone")?;
            task(Link {
                ifindex,
                mac: UPLINK,
                mtu: MTU.into(),
                vlan: None,
            })
        })
    }

    /// The link by its name, and the backends' next hops there.
    pub(super) fn facts(link: Link) -> (BTreeMap<String, Link>, BTreeMap<IpAddr, Hop>) {
        let hop = |n| Hop {
            ifindex: link.ifindex,
            mac: backend_mac(n),
            mtu: link.mtu,
            source: None,
            lost: None,
        };
        let hops = (1..=BACKENDS)
            .flat_map(|n| [true, false].map(|ipv4| (backend_ip(n, ipv4), hop(n))))
            .collect();
        ([(INTERFACE.to_owned(), link)].into(), hops)
    }
}

fn configuration(options: Options) -> Result<String> {
    let mut toml = format!(
        "[agent]\ninterfaces = [\"{INTERFACE}\"]\nflows = {}\n\
         seed = \"000102030405060708090a0b0c0d0e0f\"\n",
        flow_entries(options)
    );
    for service in Service::ALL {
        let (name, pool) = (format!("{service:?}"), pool_name(service.mode()));
        let listen = service.address();
        writeln!(
            toml,
            "[[service]]\nname = \"{name}\"\nlisten = [\"{listen}/tcp\"]\npool = \"{pool}\""
        )?;
    }
    for mode in [Mode::Ipip, Mode::FullNat] {
        let name = pool_name(mode);
        writeln!(
            toml,
            "[[pool]]\nname = \"{name}\"\nforward = \"{name}\"\nslots = 65537"
        )?;
        toml.push_str(match mode {
            Mode::Ipip => "source = [\"198.18.2.2\", \"fd00:182::2\"]\n",
            Mode::FullNat => {
                "source = [\"198.18.3.1\", \"198.18.3.2\", \"fd00:183::1\", \"fd00:183::2\"]\n"
            }
        });
        for n in 1..=BACKENDS {
            let port = if mode == Mode::FullNat { 8080 } else { 80 };
            let [v4, v6] = [true, false].map(|ipv4| SocketAddr::new(backend_ip(n, ipv4), port));
            writeln!(
                toml,
                "[[pool.backend]]\nname = \"b{n}\"\naddress = [\"{v4}\", \"{v6}\"]"
            )?;
        }
    }
    Ok(toml)
}

fn pool_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Ipip => "ipip",
        Mode::FullNat => "full-nat",
    }
}

/// Entries of a flow table that has room for all flows of the run, so that none is evicted: two a
/// flow, and a quarter to spare.
fn flow_entries(options: Options) -> u32 {
    let cases = cases::all(options.packets);
    let new = cases
        .iter()
        .filter(|case| case.opens_flows())
        .map(|case| rounds::sent(case, options.packets));
    let flows = cases::FLOWS + new.max().unwrap_or(0);
    (flows * 5 / 2).next_power_of_two()
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
