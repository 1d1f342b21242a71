//! Veth pairs between namespaces.

use anyhow::Result;

use crate::{addresses::Dual, namespace::Namespace, offload};

/// One end of a veth pair: a name in a namespace.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// Where it is.
    pub namespace: &'a Namespace,
    /// Its name there.
    pub interface: &'a str,
}

impl End<'_> {
    /// Adds an address of each family, with prefix lengths for IPv4 and IPv6.
    pub fn add_addresses(&self, addresses: Dual, prefixes: (u8, u8)) -> Result<()> {
        let Self {
            namespace,
            interface,
        } = self;
        let Dual { v4, v6 } = addresses;
        namespace.ip(&format!("addr add {v4}/{} dev {interface}", prefixes.0))?;
        namespace.ip(&format!(
            "addr add {v6}/{} dev {interface} nodad",
            prefixes.1
        ))
    }
}

/// Connects two ends and brings both up, without checksum offload.
pub fn connect(a: End<'_>, b: End<'_>, mtu: u16) -> Result<()> {
    a.namespace.ip(&format!(
        "link add {} mtu {mtu} type veth peer name {} mtu {mtu} netns {}",
        a.interface,
        b.interface,
        b.namespace.name()
    ))?;
    for End {
        namespace,
        interface,
    } in [a, b]
    {
        offload::disable_transmit_checksums(namespace, interface)?;
        namespace.ip(&format!("link set {interface} up"))?;
    }
    Ok(())
}

/// Routes a network of each family (`198.18.0.0/24`, `fd00:18::/64` or `default`) to a neighbour.
pub fn route(from: &Namespace, (v4, v6): (&str, &str), via: Dual) -> Result<()> {
    from.ip(&format!("-4 route add {v4} via {}", via.v4))?;
    from.ip(&format!("-6 route add {v6} via {}", via.v6))
}
