//! `ipip` and `gue`, of one family and across: where outer headers say that they come from.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use lb_common::abi::Direction;

use super::{
    case::{Case, Expected},
    edits::Tunnel,
    frame::Frame,
    hashes::outer_source,
    outputs::{hash, output},
    places::{BACK, BACKEND, Flavour, Pool, Way},
    world::table,
};

/// Clients of a row.
const CLIENTS: u8 = 8;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for pool in Pool::TUNNELS {
        for flavour in Flavour::ALL {
            rows.extend(entropy(flavour, pool));
            rows.push(entropy_of_one_client(flavour, pool));
            rows.extend(hops_and_flags(flavour, pool));
        }
    }
    rows
}

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{pool} {flavour}: {what}"))
}

/// `input` goes on inside `output`.
fn leaves(flavour: Flavour, pool: Pool, input: &Frame, output: Frame) -> Expected {
    let output = output.link(BACK.mac, BACKEND);
    Expected::sent(input, &output, BACK).counted(flavour, pool, Direction::In, input)
}

/// The last bits of the source come from the flow: the same in all its packets, others in other
/// flows; what is before them is as configured.
fn entropy(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    let own = flavour.version.backends(pool).own();
    [1, 2, 7, 8, 9, 16, 24, 31, 32]
        .into_iter()
        .map(move |bits| {
            let tunnel = Tunnel {
                entropy: bits,
                ..Tunnel::default()
            };
            let case = row(flavour, pool, format!("{bits} bits of the source"))
                .world(|world| world.set_tunnel(flavour.version, pool, tunnel));
            let mut sources = BTreeSet::new();
            let case = (1..=CLIENTS).fold(case, |case, number| {
                let input = from_client(flavour, pool, number);
                let source = outer_source(own, bits, hash(flavour, pool, &input));
                assert!(common_prefix(source, own) >= length(own) - u32::from(bits));
                sources.insert(source);
                let sent = |input: &Frame| {
                    let output = output(flavour, pool, input).from_outside(source);
                    leaves(flavour, pool, input, output)
                };
                let longer = input.clone().payload(b"another of them");
                case.frame(&input, sent(&input))
                    .frame(&longer, sent(&longer))
            });
            assert!(sources.len() > 1, "one source for all of them");
            case
        })
}

/// Flows of one client, which have one slot by its prefix, have sources of their own.
fn entropy_of_one_client(flavour: Flavour, pool: Pool) -> Case {
    let own = flavour.version.backends(pool).own();
    let tunnel = Tunnel {
        entropy: 16,
        ..Tunnel::default()
    };
    let case = row(flavour, pool, "sources of one client's flows").world(|world| {
        world.set_tunnel(flavour.version, pool, tunnel);
        let table = table(flavour.version, pool);
        world.use_source_hash(flavour, pool, table, 16);
    });
    let client = flavour.version.client_number(Way::Router, 1);
    let mut sources = BTreeSet::new();
    let case = (0..u16::from(CLIENTS)).fold(case, |case, number| {
        let client = SocketAddr::new(client, 3_000 + 517 * number);
        let input = flavour.packet(client, flavour.service(pool));
        let source = outer_source(own, 16, hash(flavour, pool, &input));
        sources.insert(source);
        let output = output(flavour, pool, &input).from_outside(source);
        case.frame(&input, leaves(flavour, pool, &input, output))
    });
    assert_eq!(sources.len(), usize::from(CLIENTS), "a source for each");
    case
}

fn from_client(flavour: Flavour, pool: Pool, number: u8) -> Frame {
    let address = flavour.version.client_number(Way::Router, number);
    let client = SocketAddr::new(address, 3_000 + 517 * u16::from(number));
    flavour.packet(client, flavour.service(pool))
}

fn length(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Bits that two addresses of a family start with alike.
fn common_prefix(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}

/// The outer hops are new; a packet that may be fragmented inside may not be outside.
fn hops_and_flags(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let mut rows = Vec::new();
    for hops in [2, 63, 65, 255] {
        let input = flavour.request(pool).hops(hops).dont_fragment().class(0x53);
        let expected = leaves(flavour, pool, &input, output(flavour, pool, &input));
        let what = format!("{hops} hops inside, DF and a class");
        rows.push(row(flavour, pool, what).frame(&input, expected));
    }
    rows
}
