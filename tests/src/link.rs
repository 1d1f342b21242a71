//! Veth pairs between namespaces.

use anyhow::{Context, Result};

use crate::{addresses::Dual, cases::places::Mac, namespace::Namespace, offload};

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

    /// Its MAC address.
    pub fn mac(&self) -> Result<Mac> {
        let Self {
            namespace,
            interface,
        } = self;
        // "2: eth0@if3: <…> … link/ether 02:00:00:00:00:01 brd …"
        let text = namespace.read_ip(&format!("-oneline link show {interface}"))?;
        let mut words = text.split_whitespace();
        let mac = words.find(|word| *word == "link/ether").and(words.next());
        mac.and_then(parse_mac)
            .with_context(|| format!("odd line {text:?}"))
    }
}

/// A MAC address as `ip` writes it.
pub fn parse_mac(text: &str) -> Option<Mac> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

/// The same, written.
pub fn print_mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_read_as_they_are_written() {
        let mac = [2, 0, 0, 0, 1, 0xfe];
        assert_eq!(print_mac(mac), "02:00:00:00:01:fe");
        assert_eq!(parse_mac(&print_mac(mac)), Some(mac));
        assert_eq!(parse_mac("02:00"), None);
        assert_eq!(parse_mac("02:00:00:00:01:zz"), None);
    }
}
