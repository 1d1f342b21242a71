//! `full-nat`: both ends of every packet are rewritten, towards the backend and back.

use lb_common::{
    abi::{Handshake, Slot, TableId, TableSize},
    datapath::{DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    frame::{ACK, FIN, Frame, PSH, RST, SYN},
    outputs::{answered, forwarded, opened},
    places::{BACK, Flavour, Pool, ROUTER, SOURCE_PORT, UPLINK},
    world::{MTU, backend_index},
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in Pool::TRACKED {
            rows.extend(both_ways(flavour, pool));
            rows.extend(no_backend(flavour, pool));
        }
        rows.extend(headers(flavour));
        rows.extend(sizes(flavour));
        rows.extend(replies(flavour));
        rows.extend(tables(flavour));
    }
    Flavour::TCP
        .into_iter()
        .for_each(|flavour| rows.extend(flags(flavour)));
    rows
}

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{pool} {flavour}: {what}"))
}

fn both_ways(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let (there, back) = (flavour.request(pool), flavour.reply(pool));
    let here = there.clone().arrives(BACK);
    let here_back = back.clone().arrives(UPLINK);
    vec![
        row(flavour, pool, "a new flow").frame(&there, opened(flavour, pool, &there)),
        row(flavour, pool, "an established flow")
            .frame(&there, opened(flavour, pool, &there))
            .frame(&there, forwarded(flavour, pool, &there)),
        row(flavour, pool, "a reply")
            .frame(&there, opened(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back)),
        row(flavour, pool, "a conversation")
            .frame(&there, opened(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back))
            .frame(&there, forwarded(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back))
            .frame(&back, answered(flavour, pool, &back)),
        row(flavour, pool, "transmitted both ways")
            .frame(&here, opened(flavour, pool, &here))
            .frame(&here, forwarded(flavour, pool, &here))
            .frame(&here_back, answered(flavour, pool, &here_back)),
    ]
}

fn no_backend(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let there = flavour.request(pool);
    let index = backend_index(flavour.version, pool);
    let drops = |case: Case, reason| case.frame(&there, Expected::dropped(reason));
    vec![
        drops(
            row(flavour, pool, "no backend")
                .world(|world| world.give_slots(flavour.version, pool, 0)),
            DropReason::NoBackend,
        ),
        drops(
            row(flavour, pool, "no next hop").world(|world| world.next_hops.clear()),
            DropReason::NoNextHop,
        ),
        drops(
            row(flavour, pool, "a backend with next hop 0").world(|world| {
                world.add_backend_at(index, pool, flavour.version.backend(pool), 0);
            }),
            DropReason::NoNextHop,
        ),
        row(
            flavour,
            pool,
            "a flow goes on when its pool gets another backend",
        )
        .frame(&there, opened(flavour, pool, &there))
        .world(|world| world.give_slots(flavour.version, pool, 0))
        .frame(&there, forwarded(flavour, pool, &there)),
        row(flavour, pool, "a next hop that changes")
            .world(|world| world.next_hops.clear())
            .frame(&there, Expected::dropped(DropReason::NoNextHop))
            .world(|world| world.next_hops = super::world::World::default().next_hops)
            .frame(&there, opened(flavour, pool, &there)),
    ]
}

/// What else a header says stays, the hops apart.
fn headers(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let (there, back) = (flavour.request(pool), flavour.reply(pool));
    let mut rows = Vec::new();
    for class in [0x01, 0x03, 0xb8, 0xff] {
        let (there, back) = (there.clone().class(class), back.clone().class(class));
        let case = row(flavour, pool, format!("class {class:02x}"))
            .frame(&there, opened(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back));
        rows.push(case);
    }
    for (hops, reason) in [(0, DropReason::TtlExpired), (1, DropReason::TtlExpired)] {
        let (late, back) = (there.clone().hops(hops), back.clone().hops(hops));
        let case = row(flavour, pool, format!("{hops} hops left in a flow"))
            .frame(&there, opened(flavour, pool, &there))
            .frame(&late, Expected::dropped(reason))
            .frame(&back, Expected::dropped(reason));
        rows.push(case);
    }
    let last = back.clone().hops(2);
    let case = row(flavour, pool, "2 hops left in a reply")
        .frame(&there, opened(flavour, pool, &there))
        .frame(&last, answered(flavour, pool, &last));
    rows.push(case);
    let odd = there.clone().payload(b"odd").padded(3);
    let odd_back = back.payload(b"odds!").padded(1);
    let case = row(flavour, pool, "odd lengths and padding")
        .frame(&odd, opened(flavour, pool, &odd))
        .frame(&odd_back, answered(flavour, pool, &odd_back));
    rows.push(case);
    rows
}

/// Packets against the MTU of the next hop, and replies against that of the route.
fn sizes(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let (there, back) = (flavour.request(pool), flavour.reply(pool));
    let sized = |frame: &Frame, more| frame.clone().sized(usize::from(MTU) + more);
    let too_big = || Expected::dropped(DropReason::TooBig);
    let (fits, more) = (sized(&there, 0), sized(&there, 1));
    let (fits_back, more_back) = (sized(&back, 0), sized(&back, 1));
    let jumbo = there.clone().sized(8960);
    vec![
        row(flavour, pool, "as big as fits").frame(&fits, opened(flavour, pool, &fits)),
        row(flavour, pool, "one byte too big").frame(&more, too_big()),
        row(flavour, pool, "too big, then not, is one new flow")
            .frame(&more, too_big())
            .frame(&fits, opened(flavour, pool, &fits)),
        row(flavour, pool, "one byte too big in a flow")
            .frame(&there, opened(flavour, pool, &there))
            .frame(&more, too_big()),
        row(flavour, pool, "a reply as big as fits")
            .frame(&there, opened(flavour, pool, &there))
            .frame(&fits_back, answered(flavour, pool, &fits_back)),
        row(flavour, pool, "a reply one byte too big")
            .frame(&there, opened(flavour, pool, &there))
            .frame(&more_back, too_big()),
        row(flavour, pool, "a reply one byte too big for a cached route")
            .frame(&there, opened(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back))
            .frame(&fits_back, answered(flavour, pool, &fits_back))
            .frame(&more_back, too_big()),
        row(flavour, pool, "the size of a jumbo frame")
            .world(|world| world.set_mtu(9000))
            .frame(&jumbo, opened(flavour, pool, &jumbo)),
    ]
}

/// What comes to a source address.
fn replies(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let (there, back) = (flavour.request(pool), flavour.reply(pool));
    let unknown = || Expected::dropped(DropReason::UnknownFlow);
    let mut rows = vec![
        row(flavour, pool, "a reply of no flow").frame(&back, unknown()),
        row(flavour, pool, "a malformed packet of no flow")
            .frame(&back.clone().says_ip_length(2000), unknown()),
        row(flavour, pool, "a malformed reply")
            .frame(&there, opened(flavour, pool, &there))
            .frame(
                &back.clone().says_ip_length(2000),
                Expected::dropped(DropReason::BadIpLength),
            ),
    ];
    let host = || Expected::passed(PassReason::NoFlow);
    for port in [SOURCE_PORT - 1, SOURCE_PORT + 1, 22, 0, 65_535] {
        let mut own = flavour.own();
        own.set_port(port);
        let stray = back.clone().ends(flavour.backend(pool), own);
        let case = row(flavour, pool, format!("to port {port} of a source address"))
            .frame(&there, opened(flavour, pool, &there))
            .frame(&stray, host());
        rows.push(case);
    }
    let mut port = flavour.backend(pool);
    port.set_port(port.port() + 1);
    let mut address = flavour.backend(pool);
    address.set_ip(flavour.version.inner(200));
    for (what, from) in [("port", port), ("address", address)] {
        let stray = back.clone().ends(from, flavour.own());
        let case = row(flavour, pool, format!("a reply from another {what}"))
            .frame(&there, opened(flavour, pool, &there))
            .frame(&stray, unknown());
        rows.push(case);
    }
    rows
}

/// Flags of a flow's first packet: a reset opens none, anything else does.
fn flags(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let with = |flags| flavour.request(pool).flags(flags);
    let (ack, back) = (with(ACK), flavour.reply(pool));
    let mut rows = Vec::new();
    for (name, flags) in [
        ("SYN", SYN),
        ("SYN-ACK", SYN | ACK),
        ("ACK", ACK),
        ("ACK with data", ACK | PSH),
        ("FIN", FIN | ACK),
        ("none", 0),
    ] {
        let case = row(flavour, pool, format!("first flags {name}"))
            .frame(&with(flags), opened(flavour, pool, &with(flags)))
            .frame(&ack, forwarded(flavour, pool, &ack));
        rows.push(case);
    }
    for (name, flags) in [
        ("RST", RST),
        ("RST-ACK", RST | ACK),
        ("SYN and RST", SYN | RST),
    ] {
        let reset = with(flags);
        let case = row(flavour, pool, format!("first flags {name}"))
            .frame(&reset, Expected::dropped(DropReason::ResetWithoutFlow))
            .frame(&ack, opened(flavour, pool, &ack))
            .frame(&reset, forwarded(flavour, pool, &reset));
        rows.push(case);
    }
    let syn_ack = back.clone().flags(SYN | ACK);
    let reset = back.clone().flags(RST);
    let accepted = answered(flavour, pool, &syn_ack).handshake(Handshake::Answered);
    let case = row(flavour, pool, "a connection that is refused")
        .frame(&with(SYN), opened(flavour, pool, &with(SYN)))
        .frame(&syn_ack, accepted)
        .frame(&reset, answered(flavour, pool, &reset));
    rows.push(case);
    rows
}

/// Where services and backends lie in their tables.
fn tables(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let (there, back) = (flavour.request(pool), flavour.reply(pool));
    let index = backend_index(flavour.version, pool);
    let large = TableId {
        size: TableSize::Large,
        index: 1_023,
    };
    let mut rows = vec![
        row(flavour, pool, "a service at its second place")
            .world(|world| {
                world.remove_service(flavour, pool);
                world.add_service(flavour, pool, 1);
            })
            .frame(&there, opened(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back)),
        row(flavour, pool, "the last large table")
            .world(|world| {
                world.use_table(flavour, pool, large);
                world.slots.insert(large, vec![Slot::settled(index)]);
            })
            .frame(&there, opened(flavour, pool, &there)),
    ];
    // The arrival's own MAC addresses are of no importance to what leaves.
    let from_elsewhere = there.clone().link([0x02, 0, 0, 0, 1, 0x77], UPLINK.mac);
    let back_from_elsewhere = back.clone().link(ROUTER, BACK.mac);
    let case = row(flavour, pool, "from another router")
        .frame(&from_elsewhere, opened(flavour, pool, &from_elsewhere))
        .frame(
            &back_from_elsewhere,
            answered(flavour, pool, &back_from_elsewhere),
        )
        .frame(&there, forwarded(flavour, pool, &there));
    rows.push(case);
    rows
}
