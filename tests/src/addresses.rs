//! Every address of the test network (RFC 2544's benchmarking range and unique local addresses).
//!
//! ```text
//!  clients 198.18.64.0/18 ─ client .2 ─ 198.18.3.0/24 ─ .1 router
//!  services .10, .20 of 198.18.0.0/24: on the gateway, which the router sends them to
//!  router .1 ─ 198.18.2.0/24 (front) ─ .2 gateway eth0
//!  router .1 ─ 198.18.1.0/24 (back) ─ gateway eth1 .2 and .254, backends .11 .12 .13
//! ```
//!
//! IPv6 has the same networks as fd00:64::/64, fd00:183::/64, fd00:18::/64, fd00:182::/64 and
//! fd00:181::/64. The backends' way back to the clients is the router, not the gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use lb_userspace::model::Family;

/// An address of each family, of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dual {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Dual {
    /// The one of `family`.
    pub fn of(self, family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => self.v4.into(),
            Family::Ipv6 => self.v6.into(),
        }
    }

    /// Both.
    pub fn both(self) -> [IpAddr; 2] {
        Family::ALL.map(|family| self.of(family))
    }
}

/// The client's end of its link to the router, and the router's.
pub const CLIENT: Dual = host(3, 0x183, 2, 2);
/// The router on the clients' side.
pub const ROUTER_CLIENTS: Dual = host(3, 0x183, 1, 1);
/// The router on the side of the gateway's front.
pub const ROUTER_FRONT: Dual = host(2, 0x182, 1, 1);
/// The router in the back network.
pub const ROUTER_BACK: Dual = host(1, 0x181, 1, 1);
/// The gateway's eth0.
pub const GATEWAY_FRONT: Dual = host(2, 0x182, 2, 2);
/// The gateway's eth1.
pub const GATEWAY_BACK: Dual = host(1, 0x181, 2, 2);
/// What `full-nat` connects from, also on the gateway's eth1.
pub const SOURCE: Dual = host(1, 0x181, 254, 0xfe);
/// The second gateway of a pair: its eth0,
pub const SECOND_FRONT: Dual = host(2, 0x182, 3, 3);
/// its eth1,
pub const SECOND_BACK: Dual = host(1, 0x181, 3, 3);
/// and what `full-nat` connects from there.
pub const SECOND_SOURCE: Dual = host(1, 0x181, 253, 0xfd);
/// What backends of `nat` route by where there is a pair: one of the gateways has it.
pub const INSIDE: Dual = host(1, 0x181, 250, 0xfa);
/// Where the service of `full-nat` listens.
pub const WEB: Dual = host(0, 0x18, 10, 0x10);
/// Where the service of `ipip` listens.
pub const TUNNEL: Dual = host(0, 0x18, 20, 0x20);
/// The backends' own addresses.
pub const BACKENDS: [Dual; 3] = [
    host(1, 0x181, 11, 0x11),
    host(1, 0x181, 12, 0x12),
    host(1, 0x181, 13, 0x13),
];

/// The networks that service addresses are in.
pub const SERVICES: (&str, &str) = ("198.18.0.0/24", "fd00:18::/64");
/// The networks that clients come from.
pub const CLIENTS: (&str, &str) = ("198.18.64.0/18", "fd00:64::/64");

/// Client addresses before they repeat: the IPv4 pool but its first and last address.
const POOL: u32 = (1 << 14) - 2;

/// The `number`th client address; another for every number below 16,382.
pub fn client(family: Family, number: u32) -> IpAddr {
    let host = number % POOL + 1;
    match family {
        Family::Ipv4 => Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 64, 0).to_bits() + host).into(),
        Family::Ipv6 => Ipv6Addr::from_bits(
            Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0).to_bits() + u128::from(host),
        )
        .into(),
    }
}

const fn host(net4: u8, net6: u16, v4: u8, v6: u16) -> Dual {
    Dual {
        v4: Ipv4Addr::new(198, 18, net4, v4),
        v6: Ipv6Addr::new(0xfd00, net6, 0, 0, 0, 0, 0, v6),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn clients_are_distinct_and_of_the_pool() {
        let all: HashSet<_> = (0..POOL)
            .map(|number| client(Family::Ipv4, number))
            .collect();
        assert_eq!(all.len(), POOL as usize);
        assert!(all.contains(&"198.18.64.1".parse().unwrap()));
        assert!(all.contains(&"198.18.127.254".parse().unwrap()));
        assert_eq!(
            client(Family::Ipv6, 0),
            "fd00:64::1".parse::<IpAddr>().unwrap()
        );
    }
}
