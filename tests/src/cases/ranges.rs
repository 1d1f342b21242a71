//! Services that listen on ranges of ports, on all ports, and on whole prefixes: which of them a
//! packet is for. What becomes of it then is what becomes of any packet of that service.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    abi::{Direction, ServiceTraits},
    datapath::PassReason,
};

use super::{
    case::{Case, Expected},
    frame::{Frame, SYN},
    outputs::{answered, forwarded, joined},
    places::{BACK, BACKEND, Flavour, Pool, ROUTER, UPLINK, Version, Way},
    reverses::Answering,
    world::World,
};

/// The group of most rows.
pub(super) const GROUP: u32 = 5;
/// Another one.
const OTHER: u32 = 6;
/// Every port.
pub(super) const ALL: (u16, u8) = (0, 0);
/// 8000 to 8015.
const SIXTEEN: (u16, u8) = (8000, 12);

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in [Pool::Ipip, Pool::Dsr] {
            rows.extend(ranges(flavour, pool));
            rows.extend(prefixes(flavour, pool));
            rows.extend(precedence(flavour, pool));
        }
        for pool in [
            Pool::Ipip,
            Pool::Nat,
            Pool::NatSamePort,
            Pool::Dsr,
            Pool::Gue,
        ] {
            rows.push(every_mode(flavour, pool));
        }
        rows.push(destination_port(flavour));
        rows.push(replies_of_a_range(flavour));
        rows.push(replies_into_a_prefix(flavour));
        rows.push(switched_off(flavour));
        rows.push(switched_off_in_nat(flavour));
    }
    rows
}

pub(super) fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{pool} {flavour}: {what}"))
}

/// A packet of the usual client to any end.
fn to(flavour: Flavour, end: SocketAddr) -> Frame {
    flavour.packet(flavour.client(Way::Router), end)
}

/// The pool's address, and a port.
fn at(flavour: Flavour, pool: Pool, port: u16) -> SocketAddr {
    SocketAddr::new(flavour.version.service(pool), port)
}

/// The service is at no single port any more, but at those of the group.
fn moved(world: &mut World, flavour: Flavour, pool: Pool, ports: (u16, u8)) {
    world.remove_service(flavour, pool);
    world.add_group(flavour.version.service(pool), GROUP);
    world.add_ports(flavour, pool, GROUP, ports);
}

fn not_served() -> Expected {
    Expected::passed(PassReason::NoService)
}

fn ranges(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = |port| to(flavour, at(flavour, pool, port));
    let mut rows = Vec::new();
    for port in [8000, 8007, 8015] {
        let frame = frame(port);
        rows.push(
            row(flavour, pool, format!("port {port} of a range"))
                .world(|world| moved(world, flavour, pool, SIXTEEN))
                .frame(&frame, forwarded(flavour, pool, &frame)),
        );
    }
    for port in [7999, 8016, 80, 53] {
        rows.push(
            row(flavour, pool, format!("port {port} outside of a range"))
                .world(|world| moved(world, flavour, pool, SIXTEEN))
                .frame(&frame(port), not_served()),
        );
    }
    for port in [0, 1, 80, 40_000, 65_535] {
        let frame = frame(port);
        rows.push(
            row(flavour, pool, format!("port {port} of all"))
                .world(|world| moved(world, flavour, pool, ALL))
                .frame(&frame, forwarded(flavour, pool, &frame)),
        );
    }
    rows.push(other_protocol(flavour, pool));
    rows.push(
        row(flavour, pool, "a range that comes, changes and goes")
            .frame(&frame(8001), not_served())
            .world(|world| moved(world, flavour, pool, SIXTEEN))
            .frame(&frame(8001), forwarded(flavour, pool, &frame(8001)))
            .world(|world| {
                world.add_ports(flavour, pool, GROUP, (8000, 16));
                clear_block(world);
            })
            .frame(&frame(8001), not_served())
            .frame(&frame(8000), forwarded(flavour, pool, &frame(8000))),
    );
    rows
}

/// Leaves of a group's blocks the single ports.
fn clear_block(world: &mut World) {
    let single = 48 + 16;
    world.ports.retain(|block, _| block.length() == single);
}

fn other_protocol(flavour: Flavour, pool: Pool) -> Case {
    let (client, end) = (flavour.client(Way::Router), at(flavour, pool, 8001));
    let other = if Flavour::TCP.contains(&flavour) {
        Frame::udp(client, end)
    } else {
        Frame::tcp(client, end)
    };
    row(flavour, pool, "all ports, of another protocol")
        .world(|world| moved(world, flavour, pool, ALL))
        .frame(&other, not_served())
}

/// A prefix around the address 100 of the network that services have, and that address.
fn around(version: Version, bits: u8) -> (IpAddr, IpAddr) {
    let address = match version {
        Version::V4 => IpAddr::from([198, 18, 7, 100]),
        Version::V6 => IpAddr::from([0xfd00, 0x18, 7, 0, 0, 0, 0, 100]),
    };
    (masked(address, bits), address)
}

/// The address with zeros behind its first bits.
pub(super) fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

/// The pool's service answers at a prefix too, on these ports.
fn spread(world: &mut World, flavour: Flavour, pool: Pool, bits: u8, ports: (u16, u8)) {
    let (prefix, _) = around(flavour.version, bits);
    world.add_prefix(prefix, bits, GROUP);
    world.add_ports(flavour, pool, GROUP, ports);
}

fn prefixes(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let lengths: &[u8] = match flavour.version {
        Version::V4 => &[8, 16, 23, 24, 25, 31, 32],
        Version::V6 => &[16, 48, 63, 64, 65, 96, 127, 128],
    };
    let mut rows = Vec::new();
    for &bits in lengths {
        let (_, inside) = around(flavour.version, bits);
        let outside = flipped(inside, bits);
        let inside = to(flavour, SocketAddr::new(inside, 443));
        let outside = to(flavour, SocketAddr::new(outside, 443));
        rows.push(
            row(flavour, pool, format!("a prefix of {bits} bits"))
                .world(|world| spread(world, flavour, pool, bits, (443, 16)))
                .frame(&inside, forwarded(flavour, pool, &inside))
                .frame(&outside, not_served()),
        );
    }
    let (_, inside) = around(flavour.version, 24);
    let port = |port| to(flavour, SocketAddr::new(inside, port));
    rows.push(
        row(flavour, pool, "ports of a prefix")
            .world(|world| spread(world, flavour, pool, 24, SIXTEEN))
            .frame(&port(8003), forwarded(flavour, pool, &port(8003)))
            .frame(&port(8016), not_served()),
    );
    rows
}

/// The address with the last bit of its prefix turned over.
fn flipped(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() ^ 1 << (32 - u32::from(bits))).into()),
        IpAddr::V6(address) => {
            IpAddr::V6((address.to_bits() ^ 1 << (128 - u32::from(bits))).into())
        }
    }
}

/// The single port, then the address's ranges, then the longest prefix.
fn precedence(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let aside = Pool::Gue;
    let service = flavour.version.service(pool);
    let (single, other) = (flavour.request(pool), to(flavour, at(flavour, pool, 8001)));
    let (_, address) = around(flavour.version, 24);
    let inside = to(flavour, SocketAddr::new(address, 8001));
    vec![
        row(flavour, pool, "a single port before all ports")
            .world(|world| {
                world.add_group(service, GROUP);
                world.add_ports(flavour, aside, GROUP, ALL);
            })
            .frame(&single, forwarded(flavour, pool, &single)),
        row(flavour, pool, "the address's ranges before its prefix")
            .world(|world| {
                moved(world, flavour, pool, ALL);
                world.add_prefix(masked(service, 24), 24, OTHER);
                world.add_ports(flavour, aside, OTHER, ALL);
            })
            .frame(&other, forwarded(flavour, pool, &other)),
        row(flavour, pool, "a single port's address is its prefix's too")
            .world(|world| {
                world.add_prefix(masked(service, 24), 24, GROUP);
                world.add_ports(flavour, pool, GROUP, SIXTEEN);
            })
            .frame(&single, forwarded(flavour, pool, &single))
            .frame(&other, forwarded(flavour, pool, &other)),
        row(flavour, pool, "the longer prefix")
            .world(|world| {
                spread(world, flavour, pool, 24, ALL);
                world.add_prefix(masked(address, 16), 16, OTHER);
                world.add_ports(flavour, aside, OTHER, ALL);
            })
            .frame(&inside, forwarded(flavour, pool, &inside)),
        row(flavour, pool, "the longer block of ports")
            .world(|world| {
                moved(world, flavour, pool, SIXTEEN);
                world.add_ports(flavour, aside, GROUP, ALL);
            })
            .frame(&other, forwarded(flavour, pool, &other)),
    ]
}

/// The modes do what they do for single ports.
fn every_mode(flavour: Flavour, pool: Pool) -> Case {
    let frame = flavour.request(pool).flags(SYN);
    let mut expected = joined(flavour, pool, &frame);
    if frame.asks() {
        expected = expected.opens();
    }
    let case = row(flavour, pool, "the usual port, as one of a range")
        .world(|world| moved(world, flavour, pool, (flavour.port() & !15, 12)))
        .frame(&frame, expected);
    if !pool.is_tracked() {
        return case;
    }
    let reply = flavour.reply(pool);
    case.frame(&reply, answered(flavour, pool, &reply))
}

/// A backend without a port of its own gets the one that the client asked for.
fn destination_port(flavour: Flavour) -> Case {
    let pool = Pool::NatSamePort;
    let frame = to(flavour, at(flavour, pool, 8005)).flags(SYN);
    let mut backend = flavour.backend(pool);
    backend.set_port(8005);
    let output = frame.clone().hop().ends(flavour.own(), backend);
    let sent = Expected::sent(&frame, &output.link(BACK.mac, BACKEND), BACK)
        .counted(flavour, pool, Direction::In, &frame)
        .opens();
    row(flavour, pool, "the client's port at the backend")
        .world(|world| moved(world, flavour, pool, SIXTEEN))
        .frame(&frame, sent)
}

/// In `nat`, what comes from a backend with a range of ports is an answer if it is a recorded flow's.
fn replies_of_a_range(flavour: Flavour) -> Case {
    let pool = Pool::OneSidedSamePort;
    let (client, end) = (flavour.client(Way::Router), at(flavour, pool, 8005));
    let backend = |port| SocketAddr::new(flavour.backend(pool).ip(), port);
    let (there, back) = (to(flavour, end), flavour.packet(backend(8005), client));
    let output = there.clone().hop().ends(client, backend(8005));
    let sent = Expected::sent(&there, &output.link(BACK.mac, BACKEND), BACK);
    let output = back.clone().hop().ends(end, client);
    let answered = Expected::sent(&back, &output.link(UPLINK.mac, ROUTER), UPLINK);
    let by = Answering {
        traits: ServiceTraits::TRACKED,
        ..Answering::of(flavour, pool)
    };
    row(flavour, pool, "replies of a range")
        .world(|world| {
            world.remove_service(flavour, pool);
            world.add_group(end.ip(), GROUP);
            world.add_recorded_ports(flavour, pool, GROUP, SIXTEEN);
            world.add_reverse(flavour, backend(0), end, by);
        })
        .frame(&back, Expected::passed(PassReason::NoFlow))
        .frame(
            &there,
            sent.counted(flavour, pool, Direction::In, &there).opens(),
        )
        .frame(
            &back,
            answered.counted(flavour, pool, Direction::Out, &back),
        )
        .frame(
            &flavour.packet(backend(8006), client),
            Expected::passed(PassReason::NoFlow),
        )
}

/// In `nat`, what comes from a backend is an answer though its client's address lies in a prefix that
/// is listened on, at other ports.
fn replies_into_a_prefix(flavour: Flavour) -> Case {
    let pool = Pool::OneSided;
    let reply = flavour.reply(pool);
    row(flavour, pool, "a reply into a prefix")
        .world(|world| {
            world.add_prefix(masked(flavour.client(Way::Router).ip(), 16), 16, GROUP);
            world.add_ports(flavour, Pool::Ipip, GROUP, (443, 16));
        })
        .frame(&reply, answered(flavour, pool, &reply))
}

/// Without the constant nobody looks for prefixes.
fn switched_off(flavour: Flavour) -> Case {
    let pool = Pool::Ipip;
    let (_, inside) = around(flavour.version, 24);
    row(flavour, pool, "no prefixes, says the constant")
        .world(|world| {
            world.constants.prefixes = false;
            spread(world, flavour, pool, 24, ALL);
        })
        .frame(&to(flavour, SocketAddr::new(inside, 80)), not_served())
}

/// Without the constant nobody asks for ranges that a backend answers from.
fn switched_off_in_nat(flavour: Flavour) -> Case {
    let pool = Pool::OneSidedSamePort;
    let client = flavour.client(Way::Router);
    let backend = |port| SocketAddr::new(flavour.backend(pool).ip(), port);
    row(flavour, pool, "no ranges in nat, says the constant")
        .world(|world| {
            world.constants.nat_ranges = false;
            let to = at(flavour, pool, 8005);
            world.add_reverse(flavour, backend(0), to, Answering::of(flavour, pool));
        })
        .frame(&flavour.packet(backend(8005), client), not_served())
}
