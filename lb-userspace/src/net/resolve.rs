//! The rule that turns routes, links and neighbours into a next hop. Stateless: what was known
//! before is `machine`'s business.

use std::net::IpAddr;

use super::{
    facts::{Facts, Link, LinkKind, Neighbourhood, Prefix, Route},
    resolution::{IfIndex, NextHop, Unresolved},
};

/// What the facts say about one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its next hop, or why there is none now.
    pub(super) outcome: Result<NextHop, Unresolved>,
    /// The neighbour that it goes to, once there is a device that could ask it.
    pub(super) neighbour: Option<Neighbourhood>,
}

impl From<Unresolved> for Verdict {
    fn from(reason: Unresolved) -> Self {
        Self {
            outcome: Err(reason),
            neighbour: None,
        }
    }
}

/// Judges one destination, which must have been looked up.
pub(super) fn resolve(destination: IpAddr, facts: &Facts) -> Verdict {
    // Whatever its route says, and it may have none.
    if destination.is_multicast() {
        return Unresolved::Multicast.into();
    }
    let Some(route) = facts.routes.get(&destination) else {
        return Unresolved::NoRoute.into();
    };
    let (device, gateway, preferred_source, mtu) = match *route {
        Route::Unicast {
            device,
            gateway,
            preferred_source,
            mtu,
        } => (device, gateway, preferred_source, mtu),
        Route::Encapsulating => return Unresolved::Encapsulating.into(),
        Route::Local => return Unresolved::ThisHost.into(),
        Route::Broadcast => return Unresolved::Broadcast.into(),
        Route::Multicast => return Unresolved::Multicast.into(),
        Route::Anycast => return Unresolved::Anycast.into(),
        Route::Refused(errno) => return refused(destination, errno, facts).into(),
    };
    let link = match usable(device, facts) {
        Ok(link) => link,
        Err(reason) => return reason.into(),
    };
    let neighbour = (device, gateway.unwrap_or(destination));
    let next_hop = |mac| NextHop {
        device,
        mac,
        mtu: mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
        preferred_source,
    };
    let outcome = mac(neighbour, link, facts).map(next_hop);
    Verdict {
        outcome,
        neighbour: Some(neighbour),
    }
}

/// The reason behind a refused look-up. For routes of other types the kernel answers with the error
/// that a sender would see: `fib_props` in net/ipv4/fib_semantics.c, `fib6_prop` in
/// net/ipv6/ip6_fib.c.
fn refused(destination: IpAddr, errno: i32, facts: &Facts) -> Unresolved {
    match errno {
        libc::ENETUNREACH => down_device(destination, facts).unwrap_or(Unresolved::NoRoute),
        libc::EHOSTUNREACH => Unresolved::Unreachable,
        libc::EACCES => Unresolved::Prohibited,
        libc::EINVAL => Unresolved::Blackhole,
        errno => Unresolved::LookupFailed { errno },
    }
}

/// The connected network of a device that is down has no route, so "no route" would mislead.
fn down_device(destination: IpAddr, facts: &Facts) -> Option<Unresolved> {
    facts.addresses.iter().find_map(|address| {
        let block = Prefix {
            address: address.address,
            length: address.prefix,
        };
        let link = facts.links.get(&address.device)?;
        (!link.up && block.contains(destination)).then(|| Unresolved::DeviceDown {
            device: link.name.clone(),
        })
    })
}

/// The device, if frames can leave by it.
pub(super) fn usable(device: IfIndex, facts: &Facts) -> Result<&Link, Unresolved> {
    let Some(link) = facts.links.get(&device) else {
        return Err(Unresolved::DeviceGone { device });
    };
    let device = || link.name.clone();
    match link.kind {
        LinkKind::Ethernet if !link.up => Err(Unresolved::DeviceDown { device: device() }),
        LinkKind::Ethernet if !link.carrier => Err(Unresolved::NoCarrier { device: device() }),
        LinkKind::Ethernet => Ok(link),
        LinkKind::Loopback | LinkKind::None => Err(Unresolved::NotEthernet { device: device() }),
    }
}

/// The neighbour's address, as far as the kernel would use it.
fn mac(neighbour: Neighbourhood, link: &Link, facts: &Facts) -> Result<[u8; 6], Unresolved> {
    let device = || link.name.clone();
    match facts.neighbours.get(&neighbour) {
        Some(entry) => match entry.mac {
            Some(mac) => Ok(mac),
            None if entry.failed => Err(Unresolved::NoNeighbour {
                neighbour: neighbour.1,
                device: device(),
            }),
            None => Err(Unresolved::Resolving {
                neighbour: neighbour.1,
                device: device(),
            }),
        },
        None if link.resolves => Err(Unresolved::Resolving {
            neighbour: neighbour.1,
            device: device(),
        }),
        None => Err(Unresolved::NoNeighbour {
            neighbour: neighbour.1,
            device: device(),
        }),
    }
}
