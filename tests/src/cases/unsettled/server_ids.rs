//! Connection ids that name the server that gave them out: its packets go there from wherever they
//! come, and whatever their slot says; all others go as if there were no such ids
//! (draft-ietf-quic-load-balancers-21, sections 4 and 5; RFC 8999, section 5).

use lb_common::abi::{
    BackendRef, Ipv4Address, Ipv6Address, PrefixKey, ServiceTraits, server_scope,
};

use super::{
    super::{
        case::Case,
        places::{Flavour, Pool, Version},
        world::{World, service_id},
    },
    story::{
        A, B, C,
        Sent::{self, Datagram},
        Story, mixed, moving, settled,
    },
};

/// The configuration of all ids here: the upper three bits.
const CONFIGURATION: u8 = 2;

/// The server id of a backend.
fn server(index: u32) -> [u8; 3] {
    [0x0a, 0x0b, index as u8]
}

/// A connection id that a backend gives out: the configuration, some bits, its id, a nonce.
fn id(index: u32, bits: u8, nonce: &[u8]) -> Vec<u8> {
    let first = CONFIGURATION << 5 | bits;
    [&[first][..], &server(index), nonce].concat()
}

/// Nonce and what follows a connection id: as much as a real packet has at least.
const NONCE: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

fn short(id: &[u8]) -> Sent {
    Datagram([&[0x4e], id, &[0xe7; 20]].concat())
}

/// A long header, and bytes behind its first connection id.
fn long(first: u8, version: u32, id: &[u8], length: usize) -> Sent {
    let mut packet = vec![first];
    packet.extend(version.to_be_bytes());
    packet.push(id.len() as u8);
    packet.extend(id);
    packet.resize(length, 0x5c);
    Datagram(packet)
}

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::UDP {
        stories.extend(named(flavour));
        stories.extend(not_named(flavour));
        stories.extend(in_every_phase(flavour));
        stories.extend(migrating(flavour));
        stories.extend(gone(flavour));
        stories.extend(other_lengths(flavour));
        stories.push(other_service(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// A service all of whose flows are in a slot of `A`'s, and whose backends have ids.
fn row(flavour: Flavour, what: impl std::fmt::Display) -> Story {
    Story::plain(flavour, format!("server ids, {what}"))
        .traits(ServiceTraits::QUIC.and(ServiceTraits::SERVER_IDS))
        .world(|world| {
            for index in [A, B, C] {
                name(world, flavour, index, &server(index));
            }
        })
        .slot(settled(A))
}

/// Has connection ids of the service name a backend by these octets.
fn name(world: &mut World, flavour: Flavour, index: u32, octets: &[u8]) {
    let (key, backend) = entry(flavour, index, octets);
    world.servers.insert(key, backend.word());
}

fn entry(flavour: Flavour, index: u32, octets: &[u8]) -> (PrefixKey, BackendRef) {
    let service = service_id(flavour, Pool::Ipip);
    let scope = match flavour.version {
        Version::V4 => server_scope::<Ipv4Address>(service),
        Version::V6 => server_scope::<Ipv6Address>(service),
    };
    let mut id = [0; PrefixKey::BYTES];
    id[0] = CONFIGURATION << 5;
    id[1..=octets.len()].copy_from_slice(octets);
    let key = PrefixKey::server(scope, &id, octets.len() as u8 + 1);
    (key, BackendRef::new(index, 0))
}

/// Whatever packet it is: by its first connection id alone.
fn named(flavour: Flavour) -> impl Iterator<Item = Story> {
    let all = [
        ("a short header", short(&id(B, 0, &NONCE))),
        (
            "a short header, other low bits",
            short(&id(B, 0x1f, &NONCE)),
        ),
        ("a short header, a long id", short(&id(B, 7, &[9; 16]))),
        ("an Initial", long(0xc0, 1, &id(B, 7, &NONCE), 1200)),
        ("a Handshake", long(0xe0, 1, &id(B, 7, &NONCE), 60)),
        (
            "a Handshake, a long id",
            long(0xe0, 1, &id(B, 7, &[9; 16]), 60),
        ),
        ("version 2", long(0xd0, 0x6b33_43cf, &id(B, 7, &NONCE), 60)),
        (
            "an unknown version",
            long(0x80, 0xff00_001d, &id(B, 7, &NONCE), 60),
        ),
    ];
    let stories = all.map(|(what, sent)| row(flavour, what).gets(sent, B));
    stories.into_iter()
}

/// As if there were no such ids.
fn not_named(flavour: Flavour) -> impl Iterator<Item = Story> {
    let real = id(B, 0, &NONCE);
    let other = |change: fn(&mut Vec<u8>)| {
        let mut id = real.clone();
        change(&mut id);
        id
    };
    let cut = |length: usize| match short(&real) {
        Datagram(packet) => Datagram(packet[..length].to_vec()),
        sent => sent,
    };
    let all = [
        (
            "an Initial with a client's own id",
            long(0xc0, 1, &[0x5a; 8], 1200),
        ),
        ("another server id", short(&other(|id| id[3] ^= 8))),
        ("another configuration", short(&other(|id| id[0] ^= 0x20))),
        (
            "the configuration of nobody",
            short(&other(|id| id[0] |= 0xe0)),
        ),
        (
            "a long header, an id without a whole nonce",
            long(0xe0, 1, &real[..7], 60),
        ),
        ("a long header, an empty id", long(0xe0, 1, &[], 60)),
        (
            "a long header, cut short behind its id",
            long(0xe0, 1, &real, 14),
        ),
        ("a short header, cut short", cut(16)),
        ("a short header of a byte", Datagram(vec![0x40])),
        ("nothing", Datagram(Vec::new())),
    ];
    let stories = all.map(|(what, sent)| row(flavour, what).gets(sent, A));
    stories.into_iter()
}

/// A packet that names a server reads no exception and makes none.
fn in_every_phase(flavour: Flavour) -> Vec<Story> {
    let named = || short(&id(C, 3, &NONCE));
    let handshake = || long(0xe0, 1, &id(C, 3, &NONCE), 60);
    vec![
        row(flavour, "moving").slot(moving(B, A)).gets(named(), C),
        row(flavour, "mixed").slot(mixed(B)).gets(named(), C),
        row(flavour, "moving, nothing is recorded")
            .slot(moving(B, A))
            .gets(named(), C)
            .slot(mixed(B))
            .gets(Sent::Other, B),
        row(flavour, "a whole connection")
            .slot(moving(C, A))
            .gets(Sent::Open, C)
            .gets(Sent::Open, C)
            .gets(handshake(), C)
            .gets(named(), C)
            .slot(mixed(B))
            .gets(named(), C)
            .slot(settled(B))
            .gets(named(), C),
    ]
}

/// The client's address changes, and the connection stays.
fn migrating(flavour: Flavour) -> Vec<Story> {
    vec![
        row(flavour, "a client that moves")
            .gets(Sent::Open, A)
            .gets(short(&id(A, 1, &NONCE)), A)
            .slot(settled(B))
            .client(2)
            .gets(short(&id(A, 2, &[5, 6, 7, 8])), A)
            .client(3)
            .gets(short(&id(A, 3, &[7; 9])), A)
            .gets(Sent::Open, B),
    ]
}

/// A backend that takes no new flows is still named; one that is dead or another one is not.
fn gone(flavour: Flavour) -> Vec<Story> {
    let named = || short(&id(B, 0, &NONCE));
    vec![
        row(flavour, "no slot leads there").gets(named(), B),
        row(flavour, "a dead backend").dies(B).gets(named(), A),
        row(flavour, "a backend that is dead for a while")
            .dies(B)
            .gets(named(), A)
            .returns(B)
            .gets(named(), B),
        row(flavour, "another backend in its place")
            .replaced(B)
            .gets(named(), A),
        row(flavour, "an id that is taken back")
            .gets(named(), B)
            .world(|world| {
                let (key, _) = entry(flavour, B, &server(B));
                world.servers.remove(&key);
            })
            .gets(named(), A),
        row(flavour, "an id that another backend gets")
            .gets(named(), B)
            .world(|world| name(world, flavour, C, &server(B)))
            .gets(named(), C),
        row(flavour, "nobody else lives")
            .slot(settled(0))
            .gets(named(), B),
    ]
}

/// The shortest ids, and the longest ones.
fn other_lengths(flavour: Flavour) -> Vec<Story> {
    let octets = |id: &[u8]| short(&[&[CONFIGURATION << 5 | 9], id].concat());
    let with = |what, ids: [&'static [u8]; 2]| {
        row(flavour, what).world(|world| {
            world.servers.clear();
            name(world, flavour, B, ids[0]);
            name(world, flavour, C, ids[1]);
        })
    };
    const B15: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const C15: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16];
    let of15 = |id: [u8; 15]| octets(&[&id[..], &NONCE].concat());
    vec![
        with("one octet", [&[1], &[2]])
            .gets(octets(&[1, 9, 9, 9, 9]), B)
            .gets(octets(&[2, 9, 9, 9, 9]), C)
            .gets(octets(&[3, 9, 9, 9, 9]), A),
        with("fifteen octets", [&B15, &C15])
            .gets(of15(B15), B)
            .gets(of15(C15), C)
            .gets(octets(&[7; 19]), A),
    ]
}

/// Connection ids of a service that says nothing of them name nobody.
fn other_service(flavour: Flavour) -> Story {
    row(flavour, "a service without")
        .traits(ServiceTraits::QUIC)
        .gets(short(&id(B, 0, &NONCE)), A)
}
