//! Services whose slots are chosen by the first bits of the client's address alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    super::{
        case::Case,
        places::{Flavour, Pool, Version},
        world::SEED,
    },
    story::{
        A, B, C,
        Sent::{Open, Other},
        Story, mixed, settled,
    },
    tables::{Finds, NEW, from_old, replace},
};

const POOL: Pool = Pool::Ipip;

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::ALL {
        stories.extend(sources(flavour));
        stories.push(from_flows_to_sources(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// Slots by the first bits of the client's address.
fn sources(flavour: Flavour) -> Vec<Story> {
    let lengths: &[u8] = match flavour.version {
        Version::V4 => &[1, 8, 20, 24, 31, 32],
        Version::V6 => &[1, 32, 48, 56, 63, 64, 65, 96, 127, 128],
    };
    let owners = [A, B, C];
    let story = |bits: &u8| {
        let finds = Finds {
            id: NEW,
            seed: SEED,
            prefix: *bits,
        };
        let story = Story::new(flavour, format!("source-hash, {bits} bits")).world(|world| {
            world.slots.insert(NEW, owners.map(settled).to_vec());
            world.use_source_hash(flavour, POOL, NEW, *bits);
        });
        (0..12u8).fold(story, |story, number| {
            let same = SocketAddr::new(address(flavour.version, number, 0), 4_000);
            let owner = owners[finds.slot(flavour, same) % owners.len()];
            // Beyond the prefix nothing counts, nor does the port.
            let beyond = u128::MAX.checked_shr(u32::from(*bits)).unwrap_or(0);
            let other = SocketAddr::new(address(flavour.version, number, beyond), 5_000);
            // Its last bit does.
            let next = address(flavour.version, number, 1 << (128 - u32::from(*bits)));
            let next = SocketAddr::new(next, 4_000);
            let nexts = owners[finds.slot(flavour, next) % owners.len()];
            story
                .from(same)
                .gets(Other, owner)
                .from(other)
                .gets(Other, owner)
                .gets(Open, owner)
                .from(next)
                .gets(Other, nexts)
        })
    };
    lengths.iter().map(story).collect()
}

/// The table before was by the whole flow.
fn from_flows_to_sources(flavour: Flavour) -> Story {
    let bits = if flavour.version == Version::V4 {
        24
    } else {
        56
    };
    let owners = [A, C];
    let finds = Finds {
        id: NEW,
        seed: SEED,
        prefix: bits,
    };
    let news = [from_old(B), from_old(C), mixed(C)];
    let story = Story::new(flavour, "source-hash instead of whole flows").world(|world| {
        world
            .slots
            .insert(Finds::USUAL.id, owners.map(settled).to_vec());
        replace(world, flavour, Finds::USUAL, B);
        world.slots.insert(NEW, news.to_vec());
        world.use_source_hash(flavour, POOL, NEW, bits);
    });
    (0..12u8).fold(story, |story, number| {
        let client = SocketAddr::new(address(flavour.version, number, 0), 4_000);
        let new = finds.slot(flavour, client) % news.len();
        let old = owners[Finds::USUAL.slot(flavour, client) % owners.len()];
        let owner = if new == 2 { C } else { old };
        story.from(client).gets(Other, owner)
    })
}

/// A client's address, all over the room but no martian, with some of its bits (as IPv6 counts them) changed.
fn address(version: Version, number: u8, change: u128) -> IpAddr {
    let n = u128::from(number) + 1;
    match version {
        Version::V4 => {
            let bits = (n.wrapping_mul(0x0765_4321) as u32 | 1) & 0x7fff_ffff;
            Ipv4Addr::from_bits(bits ^ (change >> 96) as u32).into()
        }
        Version::V6 => {
            let bits = n.wrapping_mul(0x2a00_0db8_1234_5678_9abc_def0_1357_9bdf);
            Ipv6Addr::from_bits(bits ^ change).into()
        }
    }
}
