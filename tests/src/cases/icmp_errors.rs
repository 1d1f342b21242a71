//! ICMP errors that quote a packet of ours: where they go, and what they quote then.

use std::net::IpAddr;

use etherparse::{Ipv6Header, UdpHeader};
use lb_common::{
    abi::Direction,
    datapath::{DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    frame::{Frame, IP, SYN},
    messages::{Kind, Message, quote},
    outputs::{joined, output},
    places::{BACK, BACKEND, Flavour, Pool, ROUTER, UPLINK, Version, Way},
    world::service_id,
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in [Pool::Dsr, Pool::OneSided, Pool::OneSidedSamePort, Pool::Nat] {
            rows.extend(to_backend(flavour, pool));
        }
        for pool in [Pool::OneSided, Pool::OneSidedSamePort, Pool::Nat] {
            rows.extend(to_client(flavour, pool));
        }
        for pool in Pool::TUNNELS {
            rows.extend(from_tunnel(flavour, pool));
        }
        for pool in Pool::TUNNELS {
            rows.extend(around(flavour, pool));
        }
        rows.extend(strange(flavour));
    }
    for flavour in Flavour::TCP {
        for to_backend in [true, false] {
            rows.extend(numbers(flavour, to_backend));
        }
    }
    rows
}

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("an error for {pool} {flavour}: {what}"))
}

/// A router beyond [`UPLINK`] or [`BACK`].
fn router(version: Version) -> IpAddr {
    version.link(77, 7)
}

const REST: [u8; 4] = [0, 0, 0x05, 0x78];

/// The packet of the pool's backend that an error is about, as it left here for the client.
fn sent_to_client(flavour: Flavour, pool: Pool) -> Frame {
    flavour
        .packet(flavour.service(pool), flavour.client(Way::Router))
        .hops(60)
        .sized(200)
}

/// How much of it is quoted: the least, just a TCP header, and more.
fn lengths(version: Version) -> [usize; 5] {
    let header = version.header();
    [
        header + 8,
        header + 16,
        header + 20,
        header + 64,
        header + 101,
    ]
}

/// About a packet of the backend's: to the backend.
fn to_backend(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let version = flavour.version;
    let left = sent_to_client(flavour, pool);
    // As the backend had sent it.
    let to = if pool.is_tracked() {
        flavour.own()
    } else {
        flavour.client(Way::Router)
    };
    let before = match pool {
        Pool::Dsr => left.clone(),
        _ => left.clone().ends(flavour.backend(pool), to),
    };
    let rows = lengths(version).into_iter().map(|length| {
        let (body, there) = (
            quote(&left.bytes(), length),
            quote(&requoted(&left, &before, length), length),
        );
        let ends = [router(version), flavour.service(pool).ip()];
        let error = Message::new(Kind::TooBig, ends, REST, &body);
        let source = if pool.is_tracked() {
            flavour.own().ip()
        } else {
            router(version)
        };
        let destination = match pool {
            Pool::Dsr => flavour.service(pool).ip(),
            _ => flavour.backend(pool).ip(),
        };
        let output = error.clone().ends(source, destination).body(&there);
        let output = output.hop().link(BACK.mac, BACKEND);
        let case = row(
            flavour,
            pool,
            format!("to the backend, {length} bytes quoted"),
        );
        opened(case, flavour, pool).bytes(
            UPLINK,
            error.bytes(),
            Expected::relayed(UPLINK, output.bytes(), BACK).counted_as(
                flavour,
                pool,
                Direction::In,
                error.ip_length(),
            ),
        )
    });
    rows.collect()
}

/// What is quoted of a packet whose ends were changed: what the checksum's change does not reach is
/// left as it was.
pub(super) fn requoted(from: &Frame, to: &Frame, length: usize) -> Vec<u8> {
    let (was, mut is) = (from.bytes(), to.bytes());
    let transport = from.transport();
    // A TCP header that is not quoted whole keeps what is behind the ports.
    if from.is_tcp() && length < transport - 14 + 20 {
        is[to.transport() + 4..].copy_from_slice(&was[transport + 4..]);
    }
    is
}

/// A flow that is recorded, where flows are.
fn opened(case: Case, flavour: Flavour, pool: Pool) -> Case {
    if !pool.is_tracked() {
        return case;
    }
    let syn = flavour.request(pool).flags(SYN);
    let expected = joined(flavour, pool, &syn);
    case.frame(&syn, expected)
}

/// About a client's packet that was given other ends: to the client.
fn to_client(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let version = flavour.version;
    let came = flavour.request(pool).hops(62).sized(200);
    let left = match pool {
        Pool::Nat => came.clone().ends(flavour.own(), flavour.backend(pool)),
        _ => came.clone().ends(came.source(), flavour.backend(pool)),
    };
    let rows = lengths(version).into_iter().map(|length| {
        let body = quote(&left.bytes(), length);
        let there = quote(&requoted(&left, &came, length), length);
        let ends = [router(version), left.source().ip()];
        let error = Message::new(Kind::PortUnreachable, ends, [0; 4], &body).arrives(BACKEND, BACK);
        let output = error
            .clone()
            .ends(flavour.service(pool).ip(), came.source().ip())
            .body(&there)
            .hop()
            .link(UPLINK.mac, ROUTER);
        let case = row(
            flavour,
            pool,
            format!("to the client, {length} bytes quoted"),
        );
        opened(case, flavour, pool).bytes(
            BACK,
            error.bytes(),
            Expected::relayed(BACK, output.bytes(), UPLINK).counted_as(
                flavour,
                pool,
                Direction::Out,
                error.ip_length(),
            ),
        )
    });
    rows.collect()
}

/// About a packet with our header around it: to its client, if it says what fits.
fn from_tunnel(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let came = flavour.request(pool).sized(400);
    let left = output(flavour, pool, &came).bytes();
    let outer = flavour.version.backends(pool);
    let overhead = flavour.overhead(pool);
    let ends = [router(outer), outer.own()];
    let error =
        |kind, length| Message::new(kind, ends, REST, &quote(&left, length)).arrives(BACKEND, BACK);
    let told = |length: usize| {
        let inside = quote(&came.clone().hop().bytes(), (length - overhead) & !3);
        let [a, b] = (0x0578 - overhead as u16).to_be_bytes();
        let ends = [came.destination().ip(), came.source().ip()];
        Message::new(Kind::TooBig, ends, [0, 0, a, b], &inside)
            .link(UPLINK.mac, ROUTER)
            .ours()
    };
    let least = overhead + flavour.version.header() + 8;
    let world = |case: Case| case.world(|world| world.allow_replies(100, 100));
    let relays = |length: usize| {
        let error = error(Kind::TooBig, length);
        world(row(
            flavour,
            pool,
            format!("from the tunnel, {length} bytes quoted"),
        ))
        .bytes(
            BACK,
            error.bytes(),
            Expected::relayed(BACK, told(length).bytes(), UPLINK).counted_as(
                flavour,
                pool,
                Direction::Out,
                error.ip_length(),
            ),
        )
    };
    let short = match pool {
        Pool::Ipip | Pool::IpipAcross => PassReason::TunnelError,
        _ => PassReason::Icmp,
    };
    let passes = |what: &str, error: Message, reason| {
        let case = world(row(flavour, pool, format!("from the tunnel, {what}")));
        case.bytes(BACK, error.bytes(), Expected::passed(reason))
    };
    let small = Message {
        rest: [0, 0, 0, 60],
        ..error(Kind::TooBig, least)
    };
    let other = error(Kind::TooBig, least).body(&{
        let mut body = quote(&left, least);
        // The last byte of the outer destination.
        body[outer.header() - 1] ^= 0x40;
        body
    });
    vec![
        relays(least),
        relays(least + 3),
        relays(least + 100),
        passes("too little quoted", error(Kind::TooBig, least - 1), short),
        passes(
            "about no size",
            error(Kind::PortUnreachable, least),
            PassReason::TunnelError,
        ),
        passes("of no use", small, PassReason::TunnelError),
        passes("of another backend", other, PassReason::Icmp),
        row(flavour, pool, "from the tunnel, beyond the rate").bytes(
            BACK,
            error(Kind::TooBig, least).bytes(),
            Expected::dropped(DropReason::ErrorLimit),
        ),
    ]
}

/// Around an error itself: it goes through a tunnel whole.
fn around(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let version = flavour.version;
    let left = sent_to_client(flavour, pool);
    let ends = [router(version), flavour.service(pool).ip()];
    let body = quote(&left.bytes(), version.header() + 8);
    let error = Message::new(Kind::TooBig, ends, REST, &body);
    let inner = error.clone().hop().bytes();
    let request = flavour.request(pool).sized(inner.len() - IP);
    let mut outer = output(flavour, pool, &request)
        .link(BACK.mac, BACKEND)
        .bytes();
    outer.truncate(IP + flavour.overhead(pool));
    if matches!(pool, Pool::Gue | Pool::GueAcross) && version.backends(pool) == Version::V6 {
        mend_udp(&mut outer, &inner[IP..]);
    }
    outer.extend(&inner[IP..]);
    let through = row(flavour, pool, "through the tunnel").bytes(
        UPLINK,
        error.bytes(),
        Expected::relayed(UPLINK, outer, BACK).counted_as(
            flavour,
            pool,
            Direction::In,
            error.ip_length(),
        ),
    );
    let none = row(flavour, pool, "no backend")
        .world(|world| world.give_slots(version, pool, 0))
        .bytes(
            UPLINK,
            error.bytes(),
            Expected::dropped(DropReason::NoBackend),
        );
    vec![through, none]
}

/// The checksum of the UDP header at the end of `outer`, over IPv6, becomes that of this payload.
fn mend_udp(outer: &mut [u8], payload: &[u8]) {
    let (ip, rest) = Ipv6Header::from_slice(&outer[IP..]).expect("an IPv6 header");
    let (udp, _) = UdpHeader::from_slice(rest).expect("a UDP header");
    let ports = (udp.source_port, udp.destination_port);
    let mended = UdpHeader::with_ipv6_checksum(ports.0, ports.1, &ip, payload);
    let mended = mended.expect("payloads here are short");
    let at = outer.len() - mended.to_bytes().len();
    outer[at..].copy_from_slice(&mended.to_bytes());
}

/// Quoted sequence numbers near those of a recorded flow, and guesses.
fn numbers(flavour: Flavour, to_backend: bool) -> Vec<Case> {
    let (pool, version) = (Pool::Nat, flavour.version);
    let seen = 0x0102_0304_u32;
    let case = |what: &str, sequence: u32, near: bool| {
        let (left, there, ingress, back) = if to_backend {
            let left = sent_to_client(flavour, pool).sequence(sequence);
            let there = left.clone().ends(flavour.backend(pool), flavour.own());
            (left, there, (ROUTER, UPLINK), (BACK, BACKEND))
        } else {
            let came = flavour.request(pool).hops(62).sized(200).sequence(sequence);
            let left = came.clone().ends(flavour.own(), flavour.backend(pool));
            (left, came, (BACKEND, BACK), (UPLINK, ROUTER))
        };
        let length = version.header() + 8;
        let ends = [router(version), left.source().ip()];
        let error = Message::new(Kind::TooBig, ends, REST, &quote(&left.bytes(), length))
            .arrives(ingress.0, ingress.1);
        let body = quote(&requoted(&left, &there, length), length);
        let (source, destination, direction) = if to_backend {
            (flavour.own(), flavour.backend(pool), Direction::In)
        } else {
            (flavour.service(pool), there.source(), Direction::Out)
        };
        let output = error
            .clone()
            .ends(source.ip(), destination.ip())
            .body(&body);
        let output = output.hop().link(back.0.mac, back.1);
        let expected = if near {
            Expected::relayed(ingress.1, output.bytes(), back.0).counted_as(
                flavour,
                pool,
                direction,
                error.ip_length(),
            )
        } else {
            Expected::dropped(DropReason::ErrorNumbers)
        };
        let to = if to_backend { "backend" } else { "client" };
        let first = row(flavour, pool, format!("to the {to}, {what}"));
        opened(first, flavour, pool).bytes(ingress.1, error.bytes(), expected)
    };
    vec![
        case("the last number that counts", seen + 0xf_ffff, true),
        case("the first number that counts", seen - 0xf_ffff, true),
        case("a number too far on", seen + 0x10_0000, false),
        case("a number too far back", seen - 0x10_0000, false),
        case("a guess", seen ^ 0x8000_0000, false),
    ]
}

/// What is of no flow of ours passes, and nothing is made about an error.
fn strange(flavour: Flavour) -> Vec<Case> {
    let (pool, version) = (Pool::OneSided, flavour.version);
    assert_ne!(service_id(flavour, pool), 0);
    let left = sent_to_client(flavour, pool);
    let ends = [router(version), flavour.service(pool).ip()];
    let length = version.header() + 8;
    let error = Message::new(Kind::TooBig, ends, REST, &quote(&left.bytes(), length));
    let passes = |what: &str, error: &Message| {
        row(flavour, pool, what).bytes(UPLINK, error.bytes(), Expected::passed(PassReason::Icmp))
    };
    let foreign = left.clone().ends(
        (version.link(66, 6), 99).into(),
        flavour.client(Way::Router),
    );
    let foreign = Message {
        ends: [router(version), version.link(66, 6)],
        ..error.clone().body(&quote(&foreign.bytes(), length))
    };
    let redirect = match version {
        Version::V4 => error.clone().kind(5, 1),
        Version::V6 => error.clone().kind(137, 0),
    };
    let tracked = sent_to_client(flavour, Pool::Nat);
    let unknown = Message {
        ends: [router(version), flavour.service(Pool::Nat).ip()],
        ..error.clone().body(&quote(&tracked.bytes(), length))
    };
    vec![
        passes("of no flow", &foreign),
        passes("a redirect", &redirect),
        passes(
            "a quote cut short",
            &error.clone().body(&quote(&left.bytes(), length - 1)),
        ),
        passes("no quote", &error.clone().body(b"")),
        passes(
            "for another than quoted",
            &error.clone().ends(router(version), version.own()),
        ),
        passes("of a flow that is not recorded", &unknown),
        row(flavour, pool, "its hops used up")
            .world(|world| world.allow_replies(100, 100))
            .bytes(
                UPLINK,
                error.clone().hops(1).bytes(),
                Expected::dropped(DropReason::TtlExpired),
            ),
        row(flavour, pool, "too big itself")
            .world(|world| {
                world.allow_replies(100, 100);
                world.set_mtu(error.ip_length() as u64 - 1);
            })
            .bytes(UPLINK, error.bytes(), Expected::dropped(DropReason::TooBig)),
    ]
}
