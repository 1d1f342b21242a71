//! Who may use a service: martian sources, access lists, limits on new flows.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    abi::{Limits, Rate, Verdict},
    datapath::DropReason,
};

use super::{
    case::{Case, Expected},
    frame::{ACK, Frame, SYN},
    outputs::{forwarded, joined},
    places::{Flavour, Pool, Version, Way},
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in [Pool::Ipip, Pool::Nat] {
            rows.extend(martians(flavour, pool));
            rows.extend(neighbours_of_martians(flavour, pool));
            rows.extend(own(flavour, pool));
            rows.extend(lists(flavour, pool));
            rows.extend(order(flavour, pool));
        }
        rows.extend(limits(flavour));
    }
    rows
}

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("admit, {pool} {flavour}: {what}"))
}

/// A packet from any address to a pool's service.
fn from(flavour: Flavour, pool: Pool, source: IpAddr) -> Frame {
    flavour.packet(SocketAddr::new(source, 50_007), flavour.service(pool))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn of(version: Version, v4: &[&str], v6: &[&str]) -> Vec<IpAddr> {
    let texts = match version {
        Version::V4 => v4,
        Version::V6 => v6,
    };
    texts.iter().map(|text| address(text)).collect()
}

/// Sources that no client has, at the edges of what is such.
fn martians(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let v4 = [
        "0.0.0.0",
        "0.255.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.255.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ];
    let v6 = [
        "::",
        "::1",
        "::ffff:198.51.100.7",
        "fe80::1",
        "febf:ffff::1",
        "ff02::1",
        "ff00::",
    ];
    let drops = |source: IpAddr| {
        let dropped = Expected::dropped(DropReason::MartianSource);
        row(flavour, pool, format!("from {source}")).frame(&from(flavour, pool, source), dropped)
    };
    let martians = of(flavour.version, &v4, &v6).into_iter();
    let mut rows: Vec<Case> = martians.map(drops).collect();
    let elsewhere = SocketAddr::new(flavour.version.link(200, 1), 80);
    let loopback = of(flavour.version, &["127.0.0.1"], &["::1"])[0];
    let foreign = flavour.packet(SocketAddr::new(loopback, 1), elsewhere);
    let passed = Expected::passed(lb_common::datapath::PassReason::NoService);
    rows.push(row(flavour, pool, "a martian that is for no service").frame(&foreign, passed));
    rows
}

fn neighbours_of_martians(flavour: Flavour, pool: Pool) -> Vec<Case> {
    if pool.is_tracked() {
        // The same test, and there are no routes back to these.
        return Vec::new();
    }
    let v4 = [
        "1.0.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "223.255.255.255",
    ];
    let v6 = [
        "0:0:0:1::1",
        "64:ff9b::1",
        "fe7f::1",
        "fec0::1",
        "feff::1",
        "2001:db8::",
    ];
    let sources = of(flavour.version, &v4, &v6).into_iter();
    let goes = |source: IpAddr| {
        let frame = from(flavour, pool, source);
        let expected = forwarded(flavour, pool, &frame);
        row(flavour, pool, format!("from {source}")).frame(&frame, expected)
    };
    sources.map(goes).collect()
}

fn own(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let service = flavour.version.service(pool);
    let other = flavour.version.service(Pool::Dsr);
    let (land, from_other) = (from(flavour, pool, service), from(flavour, pool, other));
    let client = flavour.request(pool);
    vec![
        row(flavour, pool, "from the service itself")
            .frame(&land, Expected::dropped(DropReason::OwnDestination)),
        row(flavour, pool, "from another service")
            .world(|world| world.own(other))
            .frame(&from_other, Expected::dropped(DropReason::OwnSource)),
        row(
            flavour,
            pool,
            "a client that the filter takes for one of ours",
        )
        .world(|world| world.filter(flavour.version.client(Way::Router)))
        .frame(&client, joined(flavour, pool, &client)),
    ]
}

/// The first `bits` bits of the usual client's address.
fn around(flavour: Flavour, bits: u8) -> (IpAddr, u8) {
    let network = match flavour.version.client(Way::Router) {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    };
    (network, bits)
}

fn whole(flavour: Flavour) -> u8 {
    match flavour.version {
        Version::V4 => 32,
        Version::V6 => 128,
    }
}

/// A prefix, and what a list says of it.
type Entry = ((IpAddr, u8), Verdict);

/// Both kinds of list alike: the longest prefix decides; what is on none comes in.
fn lists(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let goes = || joined(flavour, pool, &frame);
    let (all, net, host) = (
        around(flavour, 0),
        around(flavour, 24),
        around(flavour, whole(flavour)),
    );
    let stories: [(&str, &[Entry], bool); 7] = [
        ("denied alone", &[(host, Verdict::Deny)], false),
        ("its network is denied", &[(net, Verdict::Deny)], false),
        ("all are denied", &[(all, Verdict::Deny)], false),
        (
            "only its network is allowed",
            &[(all, Verdict::Deny), (net, Verdict::Allow)],
            true,
        ),
        (
            "denied in a network that is allowed",
            &[
                (all, Verdict::Deny),
                (net, Verdict::Allow),
                (host, Verdict::Deny),
            ],
            false,
        ),
        (
            "allowed in a network that is denied",
            &[(net, Verdict::Deny), (host, Verdict::Allow)],
            true,
        ),
        (
            "another network is denied",
            &[(
                (flavour.version.link(7, 0), whole(flavour) - 8),
                Verdict::Deny,
            )],
            true,
        ),
    ];
    let mut rows = Vec::new();
    for (what, entries, comes_in) in stories {
        let expected = |reason| {
            if comes_in {
                goes()
            } else {
                Expected::dropped(reason)
            }
        };
        rows.push(
            row(flavour, pool, format!("by the list of all: {what}"))
                .world(|world| {
                    entries
                        .iter()
                        .for_each(|(p, v)| world.list(flavour, pool, *p, *v))
                })
                .frame(&frame, expected(DropReason::Denied)),
        );
        rows.push(
            row(flavour, pool, format!("by its own list: {what}"))
                .world(|world| {
                    let mut list = |p, v| world.list_for(flavour, pool, p, v);
                    entries.iter().for_each(|(p, v)| list(*p, *v));
                })
                .frame(&frame, expected(DropReason::ServiceDenied)),
        );
    }
    rows.push(
        row(flavour, pool, "another service's list")
            .world(|world| world.list_for(flavour, Pool::Dsr, all, Verdict::Deny))
            .frame(&frame, goes()),
    );
    rows.push(
        row(flavour, pool, "the list of all, which it does not ask")
            .world(|world| world.list_of_all(all, Verdict::Deny))
            .frame(&frame, goes()),
    );
    rows
}

/// Either list may keep a source out, an open flow's too.
fn order(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let all = around(flavour, 0);
    vec![
        row(flavour, pool, "one list allows, the other denies")
            .world(|world| {
                world.list(flavour, pool, all, Verdict::Allow);
                world.list_for(flavour, pool, all, Verdict::Deny);
            })
            .frame(&frame, Expected::dropped(DropReason::ServiceDenied)),
        row(flavour, pool, "denied while it is open")
            .frame(&frame, joined(flavour, pool, &frame))
            .world(|world| world.list(flavour, pool, all, Verdict::Deny))
            .frame(&frame, Expected::dropped(DropReason::Denied)),
    ]
}

const NONE: Rate = Rate {
    per_second: 0,
    burst: 0,
};

fn bits(source: Rate, total: Rate) -> Limits {
    Limits {
        source,
        total,
        ipv4_bits: 32,
        ipv6_bits: 64,
    }
}

/// A flow a second, and so many at once. No tick of the rows' clock is as long as that takes.
fn slow(burst: u32) -> Rate {
    Rate {
        per_second: 1,
        burst,
    }
}

/// Only what opens a flow takes tokens.
fn limits(flavour: Flavour) -> Vec<Case> {
    let mut rows = Vec::new();
    for pool in [Pool::Ipip, Pool::Nat] {
        let opening = |number: u8| {
            let client = flavour.version.client_number(Way::Router, 7);
            let client = SocketAddr::new(client, 50_000 + u16::from(number));
            flavour.packet(client, flavour.service(pool)).flags(SYN)
        };
        let counts = opening(0).asks() || pool.is_tracked();
        let goes = |frame: &Frame| {
            let expected = joined(flavour, pool, frame);
            if frame.asks() {
                expected.opens()
            } else {
                expected
            }
        };
        let or = |frame: &Frame, reason| {
            if counts {
                Expected::dropped(reason)
            } else {
                goes(frame)
            }
        };
        if pool.is_tracked() {
            // The rows' world has one source port: a flow a backend.
            rows.push(
                row(flavour, pool, "an open flow takes no token")
                    .world(|world| world.limit(flavour, pool, bits(slow(1), slow(1))))
                    .frame(&opening(0), goes(&opening(0)))
                    .frame(&opening(0), forwarded(flavour, pool, &opening(0))),
            );
            continue;
        }
        let [one, two, three] = [1, 2, 3].map(opening);
        rows.push(
            row(flavour, pool, "a source's limit")
                .world(|world| world.limit(flavour, pool, bits(slow(2), NONE)))
                .frame(&one, goes(&one))
                .frame(&two, goes(&two))
                .frame(&three, or(&three, DropReason::SourceLimited)),
        );
        rows.push(
            row(flavour, pool, "the service's limit")
                .world(|world| world.limit(flavour, pool, bits(NONE, slow(2))))
                .frame(&one, goes(&one))
                .frame(&two, goes(&two))
                .frame(&three, or(&three, DropReason::ServiceLimited)),
        );
        let data = one.clone().flags(ACK);
        rows.push(
            row(flavour, pool, "data takes no token")
                .world(|world| world.limit(flavour, pool, bits(slow(1), slow(1))))
                .frame(&one, goes(&one))
                .frame(&data, forwarded(flavour, pool, &data))
                .frame(&two, or(&two, DropReason::SourceLimited)),
        );
        rows.push(
            row(flavour, pool, "tokens come back with time")
                .world(|world| world.limit(flavour, pool, bits(slow(1), NONE)))
                .frame(&one, goes(&one))
                .frame(&two, or(&two, DropReason::SourceLimited))
                .advance(1)
                .frame(&two, goes(&two))
                .frame(&three, or(&three, DropReason::SourceLimited)),
        );
    }
    rows
}
