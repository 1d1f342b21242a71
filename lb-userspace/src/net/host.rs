//! Facts about this host that the configuration and the data plane depend on: its interfaces, its
//! addresses, which addresses are delivered to it, and the settings that forwarding needs. A
//! reading, not a watch; it judges nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use serde::{Serialize, Serializer};

use super::{
    error::Error,
    facts::{InterfaceAddress, Link, LinkKind, Match, Vlan, own_addresses},
    netlink::{Kernel, Netlink},
    resolution::{IfIndex, Mac, mac_text},
    sysctl::{self, PortRange},
};

/// This host's network, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its interfaces, by index.
    pub interfaces: Vec<Interface>,
    /// Its addresses on all of them, lo included.
    pub addresses: Vec<InterfaceAddress>,
    /// `net.ipv4.ip_local_port_range`.
    pub local_ports: PortRange,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its index.
    pub index: IfIndex,
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    #[serde(serialize_with = "optional_mac")]
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has a carrier (never while it is down).
    pub carrier: bool,
    /// What kind of frames it sends.
    pub kind: LinkKind,
    /// What it is, as `ip -details link` says: `bridge`, `veth`, `vlan`; none for a card.
    pub make: Option<String>,
    /// Its part of a frame, if it is a VLAN device.
    pub vlan: Option<Vlan>,
    /// `net.ipv4.conf.NAME.forwarding`; none if it has no IPv4. `bpf_fib_lookup` finds nothing for
    /// packets from an interface where it is off (BPF_FIB_LKUP_RET_FWD_DISABLED, net/core/filter.c).
    pub forwarding_ipv4: Option<bool>,
    /// `net.ipv6.conf.NAME.forwarding`, likewise.
    pub forwarding_ipv6: Option<bool>,
}

/// What brings packets for an address to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// It is on lo or an interface, or has a route of type `local`.
    Local,
    /// A route other than the default one covers it.
    Routed,
    /// Only the default route covers it, or none: nobody would send it here.
    Absent,
}

impl Host {
    /// Reads it, in the network namespace of the calling thread. Needs a tokio runtime.
    pub async fn read() -> Result<Self, Error> {
        let kernel = Kernel::open()?;
        let links = kernel.links().await?;
        let addresses = kernel.addresses().await?;
        let interfaces: Result<_, Error> = links.into_iter().map(interface).collect();
        let local_ports = sysctl::local_ports(Path::new(sysctl::ROOT))?;
        Ok(Self {
            interfaces: interfaces?,
            addresses,
            local_ports,
        })
    }

    /// The interface of that name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.name == name)
    }

    /// Its addresses that packets from outside can be for: all but the loopback ones.
    pub fn own_addresses(&self) -> BTreeSet<IpAddr> {
        own_addresses(&self.addresses)
    }

    /// Whether an interface, lo included, carries that address.
    pub fn carries(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|ours| ours.address == address)
    }
}

/// How each of `addresses` is delivered to this host, by the network namespace of the calling
/// thread. Needs a tokio runtime.
pub async fn deliveries(
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Result<BTreeMap<IpAddr, Delivery>, Error> {
    let kernel = Kernel::open()?;
    let mut deliveries = BTreeMap::new();
    for address in addresses {
        let delivery = match kernel.matching(address).await? {
            Match::Local => Delivery::Local,
            Match::Unicast { prefix: 0 } | Match::Nothing => Delivery::Absent,
            Match::Unicast { prefix: _ } => Delivery::Routed,
        };
        deliveries.insert(address, delivery);
    }
    Ok(deliveries)
}

fn interface((index, link): (IfIndex, Link)) -> Result<Interface, Error> {
    let Link {
        name,
        mac,
        mtu,
        up,
        carrier,
        resolves: _,
        kind,
        make,
        vlan,
    } = link;
    let forwarding = |family| sysctl::forwarding(Path::new(sysctl::ROOT), family, &name);
    let (forwarding_ipv4, forwarding_ipv6) = (forwarding("ipv4")?, forwarding("ipv6")?);
    Ok(Interface {
        index,
        name,
        mac,
        mtu,
        up,
        carrier,
        kind,
        make,
        vlan,
        forwarding_ipv4,
        forwarding_ipv6,
    })
}

fn optional_mac<S: Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
    match mac {
        Some(mac) => mac_text(mac, serializer),
        None => serializer.serialize_none(),
    }
}
