//! `gue`: the UDP header around a packet (the packet itself follows it: variant 1 of
//! draft-ietf-intarea-gue). Its checksum is left out over IPv4 (RFC 768); over IPv6 it covers every
//! byte, here added up by etherparse.

use std::{collections::BTreeSet, net::SocketAddr};

use lb_common::abi::{Direction, Slot, TableId, TableSize};

use super::{
    case::{Case, Ends, Expected},
    checksums::with_checksum,
    edits::Tunnel,
    frame::{ACK, Frame, SYN},
    hashes::{flow_hash, outer_port},
    outputs::{forwarded, opened, output},
    places::{BACK, BACKEND, Flavour, Pool, Version, Way},
    world::{SEED, backend_index},
};

const POOLS: [Pool; 2] = [Pool::Gue, Pool::GueAcross];

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for pool in POOLS {
        for flavour in Flavour::ALL {
            rows.push(source_ports(flavour, pool));
            rows.push(by_source(flavour, pool));
            rows.extend(ports(flavour, pool));
            rows.extend(lengths(flavour, pool));
            rows.extend(headers(flavour, pool));
            rows.push(no_checksum(flavour, pool));
            if flavour.version.backends(pool) == Version::V6 {
                rows.push(becomes_zero(flavour, pool));
            }
        }
        for flavour in Flavour::TCP {
            rows.extend(segments(flavour, pool));
        }
        for flavour in Flavour::UDP {
            rows.extend(datagrams(flavour, pool));
        }
    }
    rows
}

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{pool} {flavour}: {what}"))
}

fn goes_on(case: Case, flavour: Flavour, pool: Pool, frame: &Frame) -> Case {
    case.frame(frame, forwarded(flavour, pool, frame))
}

fn leaves(flavour: Flavour, pool: Pool, input: &Frame, output: Frame) -> Expected {
    let output = output.link(BACK.mac, BACKEND);
    Expected::sent(input, &output, BACK).counted(flavour, pool, Direction::In, input)
}

fn client(flavour: Flavour, number: u8) -> SocketAddr {
    let address = flavour.version.client_number(Way::Router, number);
    SocketAddr::new(address, 4_000 + 613 * u16::from(number))
}

/// The source port is the flow's: the same in each of its packets, others in other flows.
fn source_ports(flavour: Flavour, pool: Pool) -> Case {
    let mut met = BTreeSet::new();
    let case = row(flavour, pool, "source ports of 24 flows");
    let case = (1..=24).fold(case, |case, number| {
        let client = client(flavour, number);
        let port = outer_port(flow_hash(SEED, Ends::request(flavour, pool, client)));
        assert!((49_152..=65_535).contains(&port));
        met.insert(port);
        let first = flavour.packet(client, flavour.service(pool)).flags(SYN);
        let next = first.clone().flags(ACK).payload(b"more of it").class(0xb8);
        let expected = forwarded(flavour, pool, &first);
        let expected = if first.asks() {
            expected.opens()
        } else {
            expected
        };
        goes_on(case.frame(&first, expected), flavour, pool, &next)
    });
    assert!(met.len() > 12, "many flows have the same port");
    case
}

/// Also where the client's address alone chooses the slot, the source port is the flow's: links and
/// receive queues spread by it.
fn by_source(flavour: Flavour, pool: Pool) -> Case {
    let table = TableId {
        size: TableSize::Small,
        index: 50,
    };
    let bits = match flavour.version {
        Version::V4 => 24,
        Version::V6 => 56,
    };
    let case = row(flavour, pool, "source ports with source-hash").world(|world| {
        let index = backend_index(flavour.version, pool);
        world.slots.insert(table, vec![Slot::settled(index)]);
        world.use_source_hash(flavour, pool, table, bits);
    });
    (1..=4).fold(case, |case, number| {
        let frame = flavour.packet(client(flavour, number), flavour.service(pool));
        goes_on(case, flavour, pool, &frame)
    })
}

/// The destination port is the backend's.
fn ports(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    [1, 0x00ff, 0xff00, 65_535].into_iter().map(move |port| {
        let tunnel = Tunnel {
            port,
            ..Tunnel::default()
        };
        let input = flavour.request(pool);
        let output = output(flavour, pool, &input).to_outside(port);
        row(flavour, pool, format!("to UDP port {port}"))
            .world(|world| world.set_tunnel(flavour.version, pool, tunnel))
            .frame(&input, leaves(flavour, pool, &input, output))
    })
}

/// Odd and even, short and long.
fn lengths(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    let lengths = (0..=9).chain([255, 256, 1_023, 1_024, 1_371, 1_372]);
    lengths.map(move |length| {
        let payload: Vec<u8> = (0..length).map(|n| (n * 7 + 0x81) as u8).collect();
        let frame = flavour.request(pool).payload(&payload);
        let case = row(flavour, pool, format!("{length} bytes of payload"));
        goes_on(case, flavour, pool, &frame)
    })
}

/// Whatever the headers inside say is in the checksum.
fn headers(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = || flavour.request(pool);
    let all = [
        ("few hops", frame().hops(2)),
        ("many hops", frame().hops(255)),
        ("DF and a class", frame().dont_fragment().class(0xfd)),
        (
            "padding is not in the checksum",
            frame().payload(b"odd").padded(5),
        ),
    ];
    let rows = all.into_iter().map(|(what, frame)| {
        goes_on(
            row(flavour, pool, format!("outside, {what}")),
            flavour,
            pool,
            &frame,
        )
    });
    rows.collect()
}

/// Where the configuration wants none.
fn no_checksum(flavour: Flavour, pool: Pool) -> Case {
    let tunnel = Tunnel {
        checksum: false,
        ..Tunnel::default()
    };
    let input = flavour.request(pool);
    let output = output(flavour, pool, &input).unchecked_outside();
    row(flavour, pool, "checksums are not wanted")
        .world(|world| world.set_tunnel(flavour.version, pool, tunnel))
        .frame(&input, leaves(flavour, pool, &input, output))
}

/// 0 would say that there is no checksum: it is sent as ffff. Of this client's flows, the one whose
/// outer source port makes it so, beside one of four destination ports.
fn becomes_zero(flavour: Flavour, pool: Pool) -> Case {
    let (frame, port) = [0x1000, 0x5000, 0x9000, 0xd000]
        .into_iter()
        .find_map(|port| Some((summing_up_to_zero(flavour, pool, port)?, port)))
        .expect("a flow for one of four ports");
    let output = output(flavour, pool, &frame).to_outside(port);
    assert_eq!(output.bytes()[60..62], [0xff; 2], "not what was looked for");
    let tunnel = Tunnel {
        port,
        ..Tunnel::default()
    };
    let what = "an outer checksum that becomes 0 is sent as ffff";
    row(flavour, pool, what)
        .world(|world| world.set_tunnel(flavour.version, pool, tunnel))
        .frame(&frame, leaves(flavour, pool, &frame, output))
}

fn summing_up_to_zero(flavour: Flavour, pool: Pool, to: u16) -> Option<Frame> {
    let address = flavour.version.client(Way::Router);
    let of_port = |port| flavour.packet(SocketAddr::new(address, port), flavour.service(pool));
    // Behind Ethernet and IPv6 header: UDP's source port, and 6 bytes further on its checksum.
    let bytes = output(flavour, pool, &of_port(1)).to_outside(to).bytes();
    let field = |at: usize| u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let wanted = (field(54) + field(60)) % 0xffff;
    let port = (1..=u16::MAX).find(|port| {
        let ends = Ends::request(flavour, pool, SocketAddr::new(address, *port));
        u32::from(outer_port(flow_hash(SEED, ends))) % 0xffff == wanted
    });
    port.map(of_port)
}

/// TCP always has a checksum.
fn segments(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let zero = frame.clone().payload(&with_checksum(&frame, 16, 0));
    let ones = frame
        .clone()
        .payload(&with_checksum(&frame, 16, 0xffff - 1));
    let syn = frame.clone().flags(SYN).tcp_options().payload(b"");
    vec![
        goes_on(
            row(flavour, pool, "a TCP checksum of 0"),
            flavour,
            pool,
            &zero,
        ),
        goes_on(
            row(flavour, pool, "a TCP checksum of fffe"),
            flavour,
            pool,
            &ones,
        ),
        // Where UDP has its checksum, TCP has the sequence number's lower half.
        goes_on(
            row(flavour, pool, "a sequence number that ends in zeros"),
            flavour,
            pool,
            &frame.clone().sequence(0x0102_0000),
        ),
        row(flavour, pool, "a SYN with options").frame(&syn, opened(flavour, pool, &syn)),
    ]
}

/// From a datagram without a checksum none can be made in reasonable time.
fn datagrams(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let ones = frame.clone().payload(&with_checksum(&frame, 6, 0xffff));
    let unchecked = frame.clone().unchecked().payload(b"odd");
    let mut rows = vec![
        goes_on(
            row(flavour, pool, "a UDP checksum of ffff"),
            flavour,
            pool,
            &ones,
        ),
        goes_on(
            row(flavour, pool, "no checksum inside, none outside"),
            flavour,
            pool,
            &unchecked,
        ),
    ];
    // The inner checksum covers what the UDP length says, not the rest of the packet (in which
    // RFC 9868 has options), so the outer one can't be told from it.
    for (length, more) in [(0, 4), (0, 1), (3, 1), (4, 4), (5, 8)] {
        let within = &b"datagram"[..length];
        let input = frame.clone().payload(within).surplus(&b"behind it"[..more]);
        let outside = output(flavour, pool, &input).unchecked_outside();
        let what = format!("{more} bytes behind a datagram of {length}");
        let case = row(flavour, pool, what);
        rows.push(case.frame(&input, leaves(flavour, pool, &input, outside)));
    }
    rows
}
