//! Where things are in the world of the cases: interfaces, MAC addresses, addresses.
//!
//! ```text
//!  clients ─ router ─ UPLINK 1 ┐          ┌ BACK 2 ─ backends
//!                              ├─ Sluice ─┼ SIDE 3 ─ another router
//!                              │          ├ CLOSED 4: the kernel does not forward from here
//!                              │          └ FOREIGN: not one of the agent's
//! ```
//! A client's address says how the kernel routes to it: [`Way`].

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::frame::Frame;

/// A MAC address.
pub type Mac = [u8; 6];

/// An interface of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name in ring 2.
    pub name: &'static str,
    /// The kernel's number for it.
    pub ifindex: u32,
    /// Index among the agent's devices, 0 for none.
    pub device: u16,
    /// Its address.
    pub mac: Mac,
}

const fn interface(name: &'static str, number: u8, device: u16) -> Interface {
    Interface {
        name,
        ifindex: 10 + number as u32,
        device,
        mac: [0x02, 0, 0, 0, number, 0x01],
    }
}

/// Towards the clients.
pub const UPLINK: Interface = interface("uplink", 1, 1);
/// Towards the backends.
pub const BACK: Interface = interface("back", 2, 2);
/// Towards other clients.
pub const SIDE: Interface = interface("side", 3, 3);
/// The kernel forwards nothing that comes from here.
pub const CLOSED: Interface = interface("closed", 4, 4);
/// Not one of the agent's.
pub const FOREIGN: Interface = interface("foreign", 5, 0);

/// The device of the agent's probes, if a row has one: [`Interface`]s of the wire are the others.
pub const PROBE: Interface = interface("probe", 6, 6);

/// All of the wire.
pub const INTERFACES: [Interface; 5] = [UPLINK, BACK, SIDE, CLOSED, FOREIGN];

/// The router behind [`UPLINK`].
pub const ROUTER: Mac = [0x02, 0, 0, 0, 1, 0xfe];
/// The router behind [`SIDE`].
pub const SIDE_ROUTER: Mac = [0x02, 0, 0, 0, 3, 0xfe];
/// The other end of [`PROBE`].
pub const PROBER: Mac = [0x02, 0, 0, 0, 6, 0xfe];
/// The backends' MAC address.
pub const BACKEND: Mac = [0x02, 0, 0, 0, 2, 0xbe];

/// How the kernel routes to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Through the router behind [`UPLINK`].
    Router,
    /// There is no route.
    Nowhere,
    /// Through [`UPLINK`] and a gateway that is not resolved.
    Silent,
    /// Through [`SIDE`] and a gateway that is not resolved.
    SilentAside,
    /// Through the router behind [`SIDE`].
    Aside,
    /// Through [`FOREIGN`].
    Foreign,
    /// Through the router behind [`UPLINK`], up to 1,400 bytes.
    Narrow,
    /// There is a route that says unreachable.
    Unreachable,
}

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Version {
    V4,
    V6,
}

/// Protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// The services of the world, one of each flavour in every pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pool {
    /// Forwards by `ipip`.
    Ipip,
    /// Forwards by `full-nat`, to another port.
    Nat,
    /// Forwards by `full-nat`, to the service's port.
    NatSamePort,
    /// Forwards by `nat`, to another port.
    OneSided,
    /// Forwards by `nat`, to the service's port.
    OneSidedSamePort,
    /// Forwards by `dsr`.
    Dsr,
    /// Forwards by `gue`.
    Gue,
    /// Forwards by `ipip`, to a backend of the other family.
    IpipAcross,
    /// Forwards by `gue`, to a backend of the other family.
    GueAcross,
}

/// What most rows are repeated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flavour {
    /// IP version.
    pub version: Version,
    /// Protocol above IP.
    pub protocol: Protocol,
}

/// The one source port of most rows: so it is known which one a flow gets.
pub const SOURCE_PORT: u16 = 40_000;

/// The port that the backends of [`Pool::Nat`] and [`Pool::OneSided`] listen on.
pub const BACKEND_PORT: u16 = 8080;

/// The port that backends take GUE on.
pub const GUE_PORT: u16 = 6080;

impl Version {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// Bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// Length of a plain IP header, bytes.
    pub fn header(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// An address of it: 192.0.`net`.`host` or 2001:db8:`net`::`host`.
    pub fn link(self, net: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, net, host).into(),
            Self::V6 => v6(0x2001, 0x0db8, net, host),
        }
    }

    /// The address of a client.
    pub fn client(self, way: Way) -> IpAddr {
        self.client_number(way, 7)
    }

    /// The address of one of the clients that the kernel routes to in this way.
    pub fn client_number(self, way: Way, number: u8) -> IpAddr {
        let net = 100 + way as u8;
        match self {
            Self::V4 => Ipv4Addr::new(198, 51, net, number).into(),
            Self::V6 => v6(0x2001, 0x0db8, net, number),
        }
    }

    /// The address of a pool's services.
    pub fn service(self, pool: Pool) -> IpAddr {
        let host = 10 * (1 + pool as u8);
        match self {
            Self::V4 => Ipv4Addr::new(198, 18, 0, host).into(),
            Self::V6 => v6(0xfd00, 0x0018, 0, host),
        }
    }

    /// The address of the backend of a pool whose service has an address of this version.
    pub fn backend(self, pool: Pool) -> IpAddr {
        self.backends(pool).inner(1 + pool as u8)
    }

    /// The version of the addresses of a pool's backends, if that of its service's is this one.
    pub fn backends(self, pool: Pool) -> Self {
        match pool {
            Pool::IpipAcross | Pool::GueAcross => self.other(),
            Pool::Ipip
            | Pool::Nat
            | Pool::NatSamePort
            | Pool::OneSided
            | Pool::OneSidedSamePort
            | Pool::Dsr
            | Pool::Gue => self,
        }
    }

    /// The address that Sluice sends to backends from.
    pub fn own(self) -> IpAddr {
        self.inner(254)
    }

    /// An address on the backends' side.
    pub fn inner(self, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 1, 0, host).into(),
            Self::V6 => v6(0xfd00, 0x0101, 0, host),
        }
    }
}

fn v6(a: u16, b: u16, net: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(a, b, net.into(), 0, 0, 0, 0, host.into()).into()
}

impl Pool {
    /// All.
    pub const ALL: [Self; 9] = [
        Self::Ipip,
        Self::Nat,
        Self::NatSamePort,
        Self::OneSided,
        Self::OneSidedSamePort,
        Self::Dsr,
        Self::Gue,
        Self::IpipAcross,
        Self::GueAcross,
    ];
    /// One of each mode and pair of families.
    pub const MODES: [Self; 7] = [
        Self::Ipip,
        Self::Nat,
        Self::OneSided,
        Self::Dsr,
        Self::Gue,
        Self::IpipAcross,
        Self::GueAcross,
    ];
    /// Those whose flows are recorded.
    pub const TRACKED: [Self; 2] = [Self::Nat, Self::NatSamePort];
    /// Those whose flows are not.
    pub const HASHED: [Self; 7] = [
        Self::Ipip,
        Self::OneSided,
        Self::OneSidedSamePort,
        Self::Dsr,
        Self::Gue,
        Self::IpipAcross,
        Self::GueAcross,
    ];
    /// Those that put another header around packets.
    pub const TUNNELS: [Self; 4] = [Self::Ipip, Self::Gue, Self::IpipAcross, Self::GueAcross];
    /// Those whose backends answer to the client's address.
    pub const ONE_SIDED: [Self; 2] = [Self::OneSided, Self::OneSidedSamePort];

    /// Whether its backends' answers come back through here.
    pub fn is_answered_here(self) -> bool {
        match self {
            Pool::Nat | Pool::NatSamePort | Pool::OneSided | Pool::OneSidedSamePort => true,
            Pool::Ipip | Pool::Dsr | Pool::Gue | Pool::IpipAcross | Pool::GueAcross => false,
        }
    }

    /// Whether its flows are recorded.
    pub fn is_tracked(self) -> bool {
        Self::TRACKED.contains(&self)
    }
}

impl Flavour {
    /// All.
    pub const ALL: [Self; 4] = [
        Self::new(Version::V4, Protocol::Tcp),
        Self::new(Version::V4, Protocol::Udp),
        Self::new(Version::V6, Protocol::Tcp),
        Self::new(Version::V6, Protocol::Udp),
    ];
    /// Those of TCP.
    pub const TCP: [Self; 2] = [Self::ALL[0], Self::ALL[2]];
    /// Those of UDP.
    pub const UDP: [Self; 2] = [Self::ALL[1], Self::ALL[3]];

    const fn new(version: Version, protocol: Protocol) -> Self {
        Self { version, protocol }
    }

    /// The same protocol over the other IP version.
    pub fn other(self) -> Self {
        Self::new(self.version.other(), self.protocol)
    }

    /// A packet of it.
    pub fn packet(self, source: SocketAddr, destination: SocketAddr) -> Frame {
        match self.protocol {
            Protocol::Tcp => Frame::tcp(source, destination),
            Protocol::Udp => Frame::udp(source, destination),
        }
    }

    /// A packet from the usual client to a pool's service.
    pub fn request(self, pool: Pool) -> Frame {
        self.packet(self.client(Way::Router), self.service(pool))
    }

    /// A packet that a pool's backend answers with: to the usual source port if the pool rewrites
    /// sources, else to the usual client.
    pub fn reply(self, pool: Pool) -> Frame {
        let to = if pool.is_tracked() {
            self.own()
        } else {
            self.client(Way::Router)
        };
        self.packet(self.backend(pool), to)
            .arrives(BACK)
            .link(BACKEND, BACK.mac)
    }

    /// A client's end.
    pub fn client(self, way: Way) -> SocketAddr {
        SocketAddr::new(self.version.client(way), 50_007)
    }

    /// The service's end.
    pub fn service(self, pool: Pool) -> SocketAddr {
        SocketAddr::new(self.version.service(pool), self.port())
    }

    /// The end of a pool's backend.
    pub fn backend(self, pool: Pool) -> SocketAddr {
        let port = match pool {
            Pool::Nat | Pool::OneSided => BACKEND_PORT,
            Pool::Ipip
            | Pool::NatSamePort
            | Pool::OneSidedSamePort
            | Pool::Dsr
            | Pool::Gue
            | Pool::IpipAcross
            | Pool::GueAcross => self.port(),
        };
        SocketAddr::new(self.version.backend(pool), port)
    }

    /// How much longer a pool makes packets, bytes.
    pub fn overhead(self, pool: Pool) -> usize {
        let outer = self.version.backends(pool).header();
        match pool {
            Pool::Ipip | Pool::IpipAcross => outer,
            Pool::Gue | Pool::GueAcross => outer + 8,
            Pool::Nat | Pool::NatSamePort | Pool::OneSided | Pool::OneSidedSamePort | Pool::Dsr => {
                0
            }
        }
    }

    /// Sluice's end of a flow to a backend.
    pub fn own(self) -> SocketAddr {
        SocketAddr::new(self.version.own(), SOURCE_PORT)
    }

    /// The services' port.
    pub fn port(self) -> u16 {
        match self.protocol {
            Protocol::Tcp => 80,
            Protocol::Udp => 53,
        }
    }

    /// The protocol's number.
    pub fn protocol_number(self) -> u8 {
        match self.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, protocol) = (self.version, self.protocol);
        write!(f, "{}", format!("{protocol:?}{version:?}").to_lowercase())
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipip => "ipip",
            Self::Nat => "full-nat",
            Self::NatSamePort => "full-nat, same port",
            Self::OneSided => "nat",
            Self::OneSidedSamePort => "nat, same port",
            Self::Dsr => "dsr",
            Self::Gue => "gue",
            Self::IpipAcross => "ipip across",
            Self::GueAcross => "gue across",
        })
    }
}
