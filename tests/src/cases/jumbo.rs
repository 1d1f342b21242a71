//! Frames that fill several buffers: the first part of one has its headers and some of its payload, as
//! drivers hand it over, and ring 2 has the headers in other parts too (`tests/kernel/parts.rs`).

use super::{
    case::Case,
    outputs::joined,
    places::{Flavour, Pool},
    world::{NEXT_HOP, World},
};
use lb_common::abi::NextHop;

/// Bytes of an IP packet on a network of jumbo frames, with room for what a tunnel puts outside.
const LENGTHS: [usize; 3] = [3_600, 8_000, 8_900];

/// Bytes that the backends' network takes.
const MTU: u16 = 9_000;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in Pool::ALL {
            rows.extend(LENGTHS.map(|length| forwarded(flavour, pool, length)));
        }
    }
    rows
}

fn forwarded(flavour: Flavour, pool: Pool, length: usize) -> Case {
    let frame = flavour.request(pool).sized(length);
    let expected = joined(flavour, pool, &frame);
    Case::new(format!("jumbo, {pool} {flavour}: {length} bytes"))
        .world(widen)
        .frame(&frame, expected)
}

fn widen(world: &mut World) {
    let hop = world.next_hops.get(&NEXT_HOP).map(|next| next.hop);
    if let Some(hop) = hop {
        let mtu = MTU.into();
        world.next_hops.insert(NEXT_HOP, NextHop { hop, mtu });
    }
}
