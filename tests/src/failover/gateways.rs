//! What makes two hosts gateways of a service at the address that moves, and another one its backend: packets come to that in
//! another header (`ipip`), and past the gateways nothing goes back.
//!
//! ```text
//!  client ── datagram ──► whoever has the address ── XDP ── datagram in another header ──► backend
//! ```
//!
//! A gateway that has given the address up still forwards what comes to it, until neighbours have heard of that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    decapsulator::{Decapsulator, Tunnel},
    lan::Lan,
    link::End,
    programs::Pass,
};

use super::site::IP;

/// The port that the service listens on.
pub(super) const PORT: u16 = 9000;

/// The programs that the network needs for that. Dropping it detaches them.
pub(super) struct Gateways {
    _pass: Pass,
    _decapsulator: Decapsulator,
}

impl Gateways {
    /// Makes these hosts of a network gateways, and that one the backend.
    pub(super) fn set_up(lan: &Lan, gateways: &[u8], backend: u8) -> Result<Self> {
        let mut pass = Pass::load()?;
        for &host in gateways {
            // bpf_fib_lookup answers only on interfaces that forward.
            lan.host(host).forward_packets()?;
            let interface = &format!("port{host}");
            pass.attach(End {
                namespace: lan.switch(),
                interface,
            })?;
        }
        let namespace = lan.host(backend);
        // The service's address is answered for, but not by ARP.
        namespace.sysctl("ipv4/conf/all/arp_ignore", "1")?;
        namespace.sysctl("ipv4/conf/all/arp_announce", "2")?;
        namespace.ip(&format!("address add {IP}/32 dev lo"))?;
        let mut decapsulator = Decapsulator::load_for(Tunnel::Ip, &own(backend), &[IP.into()])?;
        decapsulator.attach(End {
            namespace,
            interface: "eth0",
        })?;
        Ok(Self {
            _pass: pass,
            _decapsulator: decapsulator,
        })
    }
}

/// The lines of a gateway's configuration: the service, and its backend, which is healthy while a file is there.
pub(super) fn lines(gateway: u8, backend: u8, file: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\nlisten = [\"{IP}:{PORT}/udp\"]\npool = \"web\"\n\n\
         [[pool]]\nname = \"web\"\nforward = \"ipip\"\nsource = [\"198.18.0.{gateway}\"]\nslots = 1021\n\n\
         [[pool.check]]\ntype = \"exec\"\ncommand = [\"/usr/bin/test\", \"-e\", \"{file}\"]\n\
         interval = \"1s\"\nrise = 1\nfall = 1\n\n\
         [[pool.backend]]\nname = \"web1\"\naddress = \"198.18.0.{backend}\"\n"
    )
}

/// A host's own addresses.
fn own(host: u8) -> [IpAddr; 2] {
    [
        Ipv4Addr::new(198, 18, 0, host).into(),
        Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, host.into()).into(),
    ]
}
