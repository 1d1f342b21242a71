//! Which backend and which source port a flow gets, worked out anew from its hash (see `hashes`):
//! everything behind it is written a second time here.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    abi::{Direction, Slot, SourcePorts},
    datapath::DropReason,
};

use super::{
    case::{Case, Ends, Expected},
    frame::Frame,
    hashes::{flow_hash, scaled, slot},
    places::{BACK, BACKEND, BACKEND_PORT, Flavour, Pool, Version, Way},
    world::{SEED, World, table},
};

/// Slots of the pools' tables.
const SLOTS: usize = 1021;

/// Backends of a pool in these rows: indices, and last bytes of addresses, from 100 on.
const BACKENDS: u8 = 3;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for number in 1..=24 {
            rows.push(hashed(flavour, number));
        }
        rows.push(many(
            flavour,
            SourcePorts {
                first: 20_000,
                count: 5_000,
            },
            3,
            48,
        ));
        rows.push(many(
            flavour,
            SourcePorts {
                first: 1024,
                count: 64_512,
            },
            1,
            24,
        ));
        rows.push(many(
            flavour,
            SourcePorts {
                first: 40_000,
                count: 4,
            },
            1,
            16,
        ));
        rows.push(many(
            flavour,
            SourcePorts {
                first: 65_534,
                count: 2,
            },
            2,
            16,
        ));
    }
    rows
}

/// The slot of one flow.
fn hashed(flavour: Flavour, number: u8) -> Case {
    let client = client(flavour, number);
    let input = flavour.packet(client, flavour.service(Pool::Ipip));
    let backend = backend(hash(flavour, Pool::Ipip, client));
    let output = input
        .clone()
        .hop()
        .inside(flavour.version.own(), flavour.version.inner(backend))
        .link(BACK.mac, BACKEND);
    let expected = Expected::sent(&input, &output, BACK)
        .counted(flavour, Pool::Ipip, Direction::In, &input)
        .backend(backend.into());
    Case::new(format!("ipip {flavour}: the backend of client {number}"))
        .world(|world| spread(world, flavour.version, Pool::Ipip))
        .frame(&input, expected)
}

/// Backend, source address and source port of many flows, one after another.
fn many(flavour: Flavour, ports: SourcePorts, sources: u8, clients: u8) -> Case {
    let name = format!("full-nat {flavour}: {clients} flows, {ports:?}, {sources} sources");
    let case = Case::new(name).world(|world| {
        world.constants.ports = ports;
        // The first one is marked already.
        for n in 1..sources {
            world.add_source(n.into(), source(flavour.version, n));
            world.add_mark(source(flavour.version, n));
        }
        spread(world, flavour.version, Pool::Nat);
    });
    let mut taken = BTreeSet::new();
    (1..=clients).fold(case, |case, number| {
        let client = client(flavour, number);
        let input = flavour.packet(client, flavour.service(Pool::Nat));
        let hash = hash(flavour, Pool::Nat, client);
        let to = SocketAddr::new(flavour.version.inner(backend(hash)), BACKEND_PORT);
        let mut candidates = (1..=8).map(|n| candidate(flavour.version, hash, n, ports, sources));
        let own = candidates.find(|own| taken.insert((*own, to)));
        case.frame(&input, recorded(flavour, &input, own, to, backend(hash)))
    })
}

fn recorded(
    flavour: Flavour,
    input: &Frame,
    own: Option<SocketAddr>,
    to: SocketAddr,
    backend: u8,
) -> Expected {
    let Some(own) = own else {
        return Expected::dropped(DropReason::NoSourcePort);
    };
    let output = input.clone().ends(own, to).hop().link(BACK.mac, BACKEND);
    Expected::sent(input, &output, BACK)
        .counted(flavour, Pool::Nat, Direction::In, input)
        .backend(backend.into())
        .opens()
}

/// Gives a pool its backends, slot by slot in turn.
fn spread(world: &mut World, version: Version, pool: Pool) {
    for n in 100..100 + BACKENDS {
        world.add_backend_at(n.into(), pool, version.inner(n), super::world::NEXT_HOP);
    }
    let slots = (0..SLOTS as u32).map(|n| Slot::settled(100 + n % u32::from(BACKENDS)));
    world.slots.insert(table(version, pool), slots.collect());
}

fn client(flavour: Flavour, number: u8) -> SocketAddr {
    let address = flavour.version.client_number(Way::Router, number);
    SocketAddr::new(address, 1000 + 257 * u16::from(number))
}

fn hash(flavour: Flavour, pool: Pool, client: SocketAddr) -> u64 {
    flow_hash(SEED, Ends::request(flavour, pool, client))
}

/// The backend that a hash's slot belongs to.
fn backend(hash: u64) -> u8 {
    100 + (slot(hash, SLOTS) % usize::from(BACKENDS)) as u8
}

/// The `n`-th source address and port that a flow may use, counted from 1: the `n`-th output of
/// SplitMix64 whose state is the hash.
fn candidate(version: Version, hash: u64, n: u64, ports: SourcePorts, sources: u8) -> SocketAddr {
    let mut z = hash.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let address = source(version, scaled(z >> 32, sources.into()) as u8);
    let offset = scaled(z & 0xffff_ffff, ports.count.into()) as u16;
    SocketAddr::new(address, ports.first + offset)
}

fn source(version: Version, n: u8) -> IpAddr {
    version.inner(254 - n)
}
