//! `ipip`: every packet goes behind another IP header, and nothing is remembered.

use lb_common::{
    abi::{Slot, TableId, TableSize},
    datapath::DropReason,
};

use super::{
    case::{Case, Expected},
    frame::{ACK, FIN, PSH, RST, SYN},
    outputs::{forwarded, opened},
    places::{BACK, CLOSED, Flavour, Pool, SIDE, Version, Way},
    world::{MTU, backend_index},
};

const POOL: Pool = Pool::Ipip;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        rows.extend(plain(flavour));
        rows.extend(classes(flavour));
        rows.extend(sizes(flavour));
        rows.extend(headroom(flavour));
        rows.extend(no_backend(flavour));
        rows.extend(tables(flavour));
    }
    Flavour::TCP
        .into_iter()
        .for_each(|flavour| rows.extend(flags(flavour)));
    rows
}

fn row(flavour: Flavour, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{POOL} {flavour}: {what}"))
}

fn plain(flavour: Flavour) -> Vec<Case> {
    let frame = flavour.request(POOL);
    let here = frame.clone().arrives(BACK);
    let aside = frame.clone().arrives(SIDE);
    let closed = frame.clone().arrives(CLOSED);
    let mut client = flavour.client(Way::Router);
    client.set_port(0);
    let port_0 = flavour.packet(client, flavour.service(POOL));
    let unchecked = frame.clone().unchecked();
    let mut rows = vec![
        row(flavour, "a packet").frame(&frame, forwarded(flavour, POOL, &frame)),
        row(flavour, "transmitted").frame(&here, forwarded(flavour, POOL, &here)),
        row(flavour, "another way in").frame(&aside, forwarded(flavour, POOL, &aside)),
        row(flavour, "needs no forwarding").frame(&closed, forwarded(flavour, POOL, &closed)),
        row(flavour, "source port 0").frame(&port_0, forwarded(flavour, POOL, &port_0)),
        row(flavour, "counters add up")
            .frame(&frame, forwarded(flavour, POOL, &frame))
            .frame(&here, forwarded(flavour, POOL, &here))
            .frame(&port_0, forwarded(flavour, POOL, &port_0)),
    ];
    if Flavour::UDP.contains(&flavour) {
        let expected = forwarded(flavour, POOL, &unchecked);
        rows.push(row(flavour, "no UDP checksum").frame(&unchecked, expected));
    }
    rows
}

/// Only a SYN counts as a new flow.
fn flags(flavour: Flavour) -> impl Iterator<Item = Case> {
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
        let frame = flavour.request(POOL).flags(flags);
        let expected = forwarded(flavour, POOL, &frame);
        let expected = if frame.asks() {
            expected.opens()
        } else {
            expected
        };
        row(flavour, format!("flags {name}")).frame(&frame, expected)
    })
}

/// Traffic class and ECN go outward.
fn classes(flavour: Flavour) -> impl Iterator<Item = Case> {
    [0x01, 0x02, 0x03, 0x04, 0x10, 0xb8, 0xfc, 0xff]
        .into_iter()
        .map(move |class| {
            let frame = flavour.request(POOL).class(class);
            row(flavour, format!("class {class:02x}"))
                .frame(&frame, forwarded(flavour, POOL, &frame))
        })
}

/// The packet with its new header against the MTU.
fn sizes(flavour: Flavour) -> Vec<Case> {
    let outer = outer(flavour);
    let fits = flavour.request(POOL).sized(usize::from(MTU) - outer);
    let more = flavour.request(POOL).sized(usize::from(MTU) - outer + 1);
    let padded = fits.clone().padded(8);
    let jumbo = flavour.request(POOL).sized(8960);
    vec![
        row(flavour, "as big as fits").frame(&fits, forwarded(flavour, POOL, &fits)),
        row(flavour, "padding does not count").frame(&padded, forwarded(flavour, POOL, &padded)),
        row(flavour, "one byte too big").frame(&more, Expected::dropped(DropReason::TooBig)),
        row(flavour, "the size of a jumbo frame")
            .world(|world| world.set_mtu(9000))
            .frame(&jumbo, forwarded(flavour, POOL, &jumbo)),
    ]
}

fn headroom(flavour: Flavour) -> Vec<Case> {
    let (frame, outer) = (flavour.request(POOL), outer(flavour));
    let none = Expected::dropped(DropReason::NoHeadroom);
    vec![
        row(flavour, "no headroom").cramped(&frame, 0, none.clone()),
        row(flavour, "a byte of headroom missing").cramped(&frame, outer - 1, none),
        row(flavour, "just enough headroom").cramped(
            &frame,
            outer,
            forwarded(flavour, POOL, &frame),
        ),
    ]
}

fn no_backend(flavour: Flavour) -> Vec<Case> {
    let frame = flavour.request(POOL);
    let index = backend_index(flavour.version, POOL);
    let drops = |case: Case, reason| case.frame(&frame, Expected::dropped(reason));
    vec![
        drops(
            row(flavour, "no backend").world(|world| world.give_slots(flavour.version, POOL, 0)),
            DropReason::NoBackend,
        ),
        drops(
            row(flavour, "no next hop").world(|world| world.next_hops.clear()),
            DropReason::NoNextHop,
        ),
        drops(
            row(flavour, "a backend with next hop 0").world(|world| {
                world.add_backend_at(index, POOL, flavour.version.backend(POOL), 0);
            }),
            DropReason::NoNextHop,
        ),
    ]
}

/// Where services and backends lie in their tables.
fn tables(flavour: Flavour) -> Vec<Case> {
    let frame = flavour.request(POOL);
    let syn = frame.clone().flags(SYN);
    let first = if frame.flags(SYN).asks() {
        opened
    } else {
        forwarded
    };
    let mut rows = vec![
        row(flavour, "a service at its second place")
            .world(|world| {
                world.remove_service(flavour, POOL);
                world.add_service(flavour, POOL, 1);
            })
            .frame(&syn, first(flavour, POOL, &syn)),
        row(flavour, "the last backend")
            .world(|world| {
                world.add_backend(65_535, POOL, flavour.version);
                world.give_slots(flavour.version, POOL, 65_535);
            })
            .frame(&syn, first(flavour, POOL, &syn).backend(65_535)),
    ];
    let index = backend_index(flavour.version, POOL);
    for size in [TableSize::Medium, TableSize::Large] {
        let case = row(flavour, format!("a table of size {size:?}"))
            .world(|world| {
                world.use_table(flavour, POOL, TableId { size, index: 3 });
                world
                    .slots
                    .insert(TableId { size, index: 3 }, vec![Slot::settled(index)]);
            })
            .frame(&syn, first(flavour, POOL, &syn));
        rows.push(case);
    }
    rows
}

fn outer(flavour: Flavour) -> usize {
    match flavour.version {
        Version::V4 => 20,
        Version::V6 => 40,
    }
}
