//! The modes that remember nothing of a flow (`ipip`, `gue`, `dsr`, `nat`), from the client to the
//! backend: what all of them have in common.

use lb_common::{
    abi::{Slot, TableId, TableSize},
    datapath::DropReason,
};

use super::{
    case::{Case, Expected},
    frame::{ACK, FIN, PSH, RST, SYN},
    outputs::{forwarded, joined, opened},
    places::{BACK, CLOSED, Flavour, Pool, SIDE, UPLINK, Way},
    world::{MTU, backend_index},
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for pool in Pool::HASHED {
        for flavour in Flavour::ALL {
            rows.extend(plain(flavour, pool));
            rows.extend(classes(flavour, pool));
            rows.extend(sizes(flavour, pool));
            rows.extend(no_backend(flavour, pool));
            rows.extend(tables(flavour, pool));
        }
        for flavour in Flavour::TCP {
            rows.extend(flags(flavour, pool));
        }
    }
    for flavour in Flavour::ALL {
        for pool in Pool::TUNNELS {
            rows.extend(headroom(flavour, pool));
        }
        rows.push(side_by_side(flavour));
    }
    rows
}

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{pool} {flavour}: {what}"))
}

fn plain(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let here = frame.clone().arrives(BACK);
    let aside = frame.clone().arrives(SIDE);
    let closed = frame.clone().arrives(CLOSED);
    let mut client = flavour.client(Way::Router);
    client.set_port(0);
    let port_0 = flavour.packet(client, flavour.service(pool));
    let unchecked = frame.clone().unchecked();
    let odd = frame.clone().payload(b"odd").padded(3);
    let empty = frame.clone().payload(b"");
    let router = frame.clone().link([0x02, 0, 0, 0, 1, 0x77], UPLINK.mac);
    let mut rows = vec![
        row(flavour, pool, "a packet").frame(&frame, forwarded(flavour, pool, &frame)),
        row(flavour, pool, "transmitted").frame(&here, forwarded(flavour, pool, &here)),
        row(flavour, pool, "another way in").frame(&aside, forwarded(flavour, pool, &aside)),
        row(flavour, pool, "needs no forwarding").frame(&closed, forwarded(flavour, pool, &closed)),
        row(flavour, pool, "source port 0").frame(&port_0, forwarded(flavour, pool, &port_0)),
        row(flavour, pool, "an odd length, and padding")
            .frame(&odd, forwarded(flavour, pool, &odd)),
        row(flavour, pool, "no payload").frame(&empty, forwarded(flavour, pool, &empty)),
        row(flavour, pool, "from another router").frame(&router, forwarded(flavour, pool, &router)),
        row(flavour, pool, "counters add up")
            .frame(&frame, forwarded(flavour, pool, &frame))
            .frame(&here, forwarded(flavour, pool, &here))
            .frame(&port_0, forwarded(flavour, pool, &port_0)),
    ];
    if Flavour::UDP.contains(&flavour) && flavour.overhead(pool) == 0 {
        let behind = frame.clone().surplus(b"behind it");
        let expected = forwarded(flavour, pool, &behind);
        rows.push(row(flavour, pool, "bytes behind the datagram").frame(&behind, expected));
    }
    if Flavour::UDP.contains(&flavour) {
        let expected = forwarded(flavour, pool, &unchecked);
        rows.push(row(flavour, pool, "no UDP checksum").frame(&unchecked, expected));
    }
    rows
}

/// Only a SYN counts as a new flow.
fn flags(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    let all = [
        ("SYN", SYN),
        ("SYN with PSH", SYN | PSH),
        ("SYN-ACK", SYN | ACK),
        ("ACK", ACK),
        ("FIN", FIN | ACK),
        ("SYN and FIN", SYN | FIN),
        ("RST", RST),
        ("SYN and RST", SYN | RST),
        ("none", 0),
    ];
    all.into_iter().map(move |(name, flags)| {
        let frame = flavour.request(pool).flags(flags);
        let expected = forwarded(flavour, pool, &frame);
        let expected = if frame.asks() {
            expected.opens()
        } else {
            expected
        };
        row(flavour, pool, format!("flags {name}")).frame(&frame, expected)
    })
}

/// Traffic class and ECN go outward.
fn classes(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    [0x01, 0x02, 0x03, 0x04, 0x10, 0xb8, 0xfc, 0xff]
        .into_iter()
        .map(move |class| {
            let frame = flavour.request(pool).class(class);
            row(flavour, pool, format!("class {class:02x}"))
                .frame(&frame, forwarded(flavour, pool, &frame))
        })
}

/// The packet with its new header against the MTU.
fn sizes(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let outer = flavour.overhead(pool);
    let fits = flavour.request(pool).sized(usize::from(MTU) - outer);
    let more = flavour.request(pool).sized(usize::from(MTU) - outer + 1);
    let padded = fits.clone().padded(8);
    let jumbo = flavour.request(pool).sized(9000 - outer);
    vec![
        row(flavour, pool, "as big as fits").frame(&fits, forwarded(flavour, pool, &fits)),
        row(flavour, pool, "padding does not count")
            .frame(&padded, forwarded(flavour, pool, &padded)),
        row(flavour, pool, "one byte too big").frame(&more, Expected::dropped(DropReason::TooBig)),
        row(flavour, pool, "the size of a jumbo frame")
            .world(|world| world.set_mtu(9000))
            .frame(&jumbo, forwarded(flavour, pool, &jumbo)),
    ]
}

fn headroom(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let (frame, outer) = (flavour.request(pool), flavour.overhead(pool));
    let none = Expected::dropped(DropReason::NoHeadroom);
    vec![
        row(flavour, pool, "no headroom").cramped(&frame, 0, none.clone()),
        row(flavour, pool, "a byte of headroom missing").cramped(&frame, outer - 1, none),
        row(flavour, pool, "just enough headroom").cramped(
            &frame,
            outer,
            forwarded(flavour, pool, &frame),
        ),
    ]
}

fn no_backend(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let index = backend_index(flavour.version, pool);
    let drops = |case: Case, reason| case.frame(&frame, Expected::dropped(reason));
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
    ]
}

/// Where services and backends lie in their tables.
fn tables(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let syn = frame.clone().flags(SYN);
    let first = if frame.flags(SYN).asks() {
        opened
    } else {
        forwarded
    };
    let mut rows = vec![
        row(flavour, pool, "a service at its second place")
            .world(|world| {
                world.remove_service(flavour, pool);
                world.add_service(flavour, pool, 1);
            })
            .frame(&syn, first(flavour, pool, &syn)),
        row(flavour, pool, "the last backend")
            .world(|world| {
                world.add_backend(65_535, pool, flavour.version);
                world.give_slots(flavour.version, pool, 65_535);
            })
            .frame(&syn, first(flavour, pool, &syn).backend(65_535)),
    ];
    let index = backend_index(flavour.version, pool);
    for size in [TableSize::Medium, TableSize::Large] {
        let case = row(flavour, pool, format!("a table of size {size:?}"))
            .world(|world| {
                world.use_table(flavour, pool, TableId { size, index: 3 });
                world
                    .slots
                    .insert(TableId { size, index: 3 }, vec![Slot::settled(index)]);
            })
            .frame(&syn, first(flavour, pool, &syn));
        rows.push(case);
    }
    rows
}

/// Services of all modes on one host, one after another.
fn side_by_side(flavour: Flavour) -> Case {
    Pool::ALL.into_iter().fold(
        Case::new(format!("all modes {flavour}: side by side")),
        |case, pool| {
            let frame = flavour.request(pool).flags(SYN);
            let expected = joined(flavour, pool, &frame);
            let expected = if frame.asks() {
                expected.opens()
            } else {
                expected
            };
            case.frame(&frame, expected)
        },
    )
}
