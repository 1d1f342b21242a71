//! The kernel's routes, as far as worlds have any (`bpf_fib_lookup`).

use std::net::IpAddr;

use lb_common::{
    abi::{HopWord, MacAddress},
    datapath::{DropReason, Route},
};

use crate::cases::{
    places::CLOSED,
    world::{self, World},
};

/// The answer for a packet of `length` bytes that came in through `ingress`.
pub(super) fn look_up(world: &World, ingress: u32, client: IpAddr, length: u16) -> Route<IpAddr> {
    if ingress == CLOSED.ifindex {
        return Route::None(DropReason::ForwardingDisabled);
    }
    let Some(world::Route::Via {
        gateway,
        ifindex,
        mtu,
    }) = route_to(world, client)
    else {
        return Route::None(DropReason::NoRoute);
    };
    let mtu = mtu.unwrap_or(world::MTU);
    if length > mtu {
        return Route::TooBig { mtu };
    }
    let device = world.ingress.get(&ifindex).map_or(0, |hop| hop.device());
    match world.neighbours.get(&(ifindex, gateway)) {
        _ if device == 0 => Route::None(DropReason::NoDevice),
        Some(mac) => Route::Found {
            hop: HopWord::new(MacAddress(*mac), device),
            mtu,
        },
        None => Route::NoNeighbour {
            device,
            address: gateway,
        },
    }
}

fn route_to(world: &World, client: IpAddr) -> Option<world::Route> {
    let routes = world.routes.iter();
    let matching = routes.filter(|((prefix, length), _)| lies_in(client, *prefix, *length));
    matching
        .max_by_key(|((_, length), _)| *length)
        .map(|(_, route)| *route)
}

fn lies_in(address: IpAddr, prefix: IpAddr, length: u8) -> bool {
    match (address, prefix) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= length.into()
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= length.into()
        }
        _ => false,
    }
}
