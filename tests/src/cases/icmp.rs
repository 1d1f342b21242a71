//! What is made here: echo replies, errors about packets that end here, resets; and at which rates.

use lb_common::{
    abi::{Scheduler, ServiceTraits},
    datapath::{AnswerReason, DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    frame::{ACK, FIN, Frame, RST, SYN},
    messages::{Kind, Message, quote, reset},
    outputs::{joined, opened},
    places::{BACK, Flavour, Mac, Pool, Protocol, ROUTER, UPLINK, Version, Way},
    world::backend_index,
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in Pool::MODES {
            rows.extend(told(flavour, pool));
            rows.extend(rejected(flavour, pool));
        }
        rows.extend(rates(flavour));
        rows.extend(quotes(flavour));
        rows.extend(never(flavour));
    }
    for flavour in Flavour::TCP {
        rows.extend(resets(flavour));
        rows.extend(Pool::MODES.map(|pool| gone(flavour, pool)));
        rows.extend(echo(flavour));
    }
    rows
}

/// A row in whose world frames are made here.
fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("made for {pool} {flavour}: {what}"))
        .world(|world| world.allow_replies(100, 1000))
}

/// The longest quote.
fn longest(version: Version) -> usize {
    match version {
        Version::V4 => 548,
        Version::V6 => 1232,
    }
}

/// The error that `frame` is answered with.
pub(super) fn error(flavour: Flavour, kind: Kind, rest: [u8; 4], frame: &Frame) -> Message {
    let bytes = frame.bytes();
    let body = quote(&bytes, longest(flavour.version).min(bytes.len() - 14) & !3);
    let ends = [frame.destination().ip(), frame.source().ip()];
    Message::new(kind, ends, rest, &body)
        .link(UPLINK.mac, ROUTER)
        .ours()
}

/// What an error that says how much fits has in front of its quote.
pub(super) fn mtu(version: Version, mtu: u16) -> [u8; 4] {
    let [a, b] = mtu.to_be_bytes();
    match version {
        Version::V4 => [0, 0, a, b],
        Version::V6 => [0, 0, a, b],
    }
}

/// The frame from the uplink is answered with `message`.
pub(super) fn answered(reason: AnswerReason, message: &Message) -> Expected {
    Expected::answered(UPLINK, reason, message.bytes())
}

/// No frame comes from a MAC address like this.
const GROUP: Mac = [0x03, 0, 0, 0, 0, 7];

/// Packets that do not fit, and those whose hops are used up.
fn told(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let large = flavour.request(pool).sized(1400);
    let says = mtu(flavour.version, 1399 - flavour.overhead(pool) as u16);
    let too_big = error(flavour, Kind::TooBig, says, &large);
    let old = flavour.request(pool).hops(1);
    let expired = error(flavour, Kind::Expired, [0; 4], &old);
    vec![
        row(flavour, pool, "too big")
            .world(|world| world.set_mtu(1399))
            .frame(&large, answered(AnswerReason::ToldTooBig, &too_big)),
        row(flavour, pool, "hops used up")
            .frame(&old, answered(AnswerReason::ToldExpired, &expired)),
        row(flavour, pool, "hops used up, from a group of stations").frame(
            &old.clone().link(GROUP, UPLINK.mac),
            Expected::dropped(DropReason::TtlExpired),
        ),
    ]
}

/// Services without a backend.
fn rejected(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool).flags(SYN);
    let refusal = match flavour.protocol {
        Protocol::Tcp => reset(
            [UPLINK.mac, ROUTER],
            [frame.destination(), frame.source()],
            // SYN counts as one, and so do four bytes of payload.
            (0, Some(0x0102_0304 + 5)),
        ),
        Protocol::Udp => error(flavour, Kind::PortUnreachable, [0; 4], &frame).bytes(),
    };
    let rejects = |rejects| {
        let traits = if pool.is_tracked() {
            ServiceTraits::TRACKED
        } else {
            ServiceTraits::NONE
        };
        move |world: &mut super::world::World| {
            world.give_slots(flavour.version, pool, 0);
            if rejects {
                world.set_traits(flavour, pool, traits.and(ServiceTraits::REJECTS));
            }
        }
    };
    vec![
        row(flavour, pool, "no backend, rejects")
            .world(rejects(true))
            .frame(
                &frame,
                Expected::answered(UPLINK, AnswerReason::Rejected, refusal),
            ),
        row(flavour, pool, "no backend, drops")
            .world(rejects(false))
            .frame(&frame, Expected::dropped(DropReason::NoBackend)),
    ]
}

/// Numbers of resets (RFC 9293, section 3.10.7.1).
fn resets(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Ipip;
    let frame = flavour.request(pool).sequence(u32::MAX);
    let empty = row(flavour, pool, "").world;
    let gone = |what: &str, frame: &Frame, numbers| {
        let ends = [frame.destination(), frame.source()];
        let refusal = reset([UPLINK.mac, ROUTER], ends, numbers);
        let mut case = row(flavour, pool, format!("a reset that answers {what}"));
        case.world = empty.clone();
        case.world(|world| {
            world.give_slots(flavour.version, pool, 0);
            world.set_traits(flavour, pool, ServiceTraits::REJECTS);
        })
        .frame(
            frame,
            Expected::answered(UPLINK, AnswerReason::Rejected, refusal),
        )
    };
    let acknowledging = frame.clone().acknowledgement(0xfedc_ba98);
    let rows = vec![
        gone(
            "an ACK",
            &acknowledging.clone().flags(ACK),
            (0xfedc_ba98, None),
        ),
        gone(
            "a FIN",
            &frame.clone().flags(FIN).payload(b""),
            (0, Some(0)),
        ),
        gone("data without ACK", &frame.clone().flags(0), (0, Some(3))),
        gone(
            "SYN and FIN",
            &frame.clone().flags(SYN | FIN).payload(b"x"),
            (0, Some(2)),
        ),
        gone(
            "a SYN with options",
            &frame.clone().flags(SYN).tcp_options().payload(b""),
            (0, Some(0)),
        ),
    ];
    let answer = row(flavour, pool, "a reset is not reset")
        .world(|world| {
            world.give_slots(flavour.version, pool, 0);
            world.set_traits(flavour, pool, ServiceTraits::REJECTS);
        })
        .frame(&frame.flags(RST), Expected::dropped(DropReason::NoBackend));
    [rows, vec![answer]].concat()
}

/// Recorded flows of a backend that is gone.
fn gone(flavour: Flavour, pool: Pool) -> Case {
    let frame = flavour.request(pool).acknowledgement(0xfedc_ba98);
    let opens = frame.clone().flags(SYN);
    let ends = [frame.destination(), frame.source()];
    let refusal = reset([UPLINK.mac, ROUTER], ends, (0xfedc_ba98, None));
    let is_reset = || Expected::answered(UPLINK, AnswerReason::Reset, refusal.clone());
    let mode = match pool {
        Pool::Nat | Pool::NatSamePort | Pool::OneSided | Pool::OneSidedSamePort => {
            ServiceTraits::NONE
        }
        _ => ServiceTraits::STEERED,
    };
    let traits = ServiceTraits::TRACKED.and(ServiceTraits::RESETS).and(mode);
    row(flavour, pool, "the backend is gone")
        .world(|world| world.record_flows(flavour, pool, traits, Scheduler::Hash))
        .frame(&opens, opened(flavour, pool, &opens))
        .world(|world| world.kill_backend(backend_index(flavour.version, pool)))
        .frame(&frame, is_reset())
        .frame(&frame, is_reset())
        .frame(
            &frame.clone().flags(RST),
            Expected::dropped(DropReason::BackendGone),
        )
}

/// How much is quoted.
fn quotes(flavour: Flavour) -> Vec<Case> {
    let lengths = [60, 61, 62, 63, 547, 548, 549, 1231, 1232, 1233, 1500];
    let rows = lengths.into_iter().map(|length| {
        let frame = flavour.request(Pool::Dsr).hops(1);
        let frame = frame.sized(length.max(flavour.version.header() + 20));
        let expired = error(flavour, Kind::Expired, [0; 4], &frame);
        row(flavour, Pool::Dsr, format!("about {length} bytes"))
            .frame(&frame, answered(AnswerReason::ToldExpired, &expired))
    });
    let padded = flavour.request(Pool::Dsr).hops(1).payload(b"").padded(20);
    let plain = flavour.request(Pool::Dsr).hops(1).payload(b"");
    let expired = error(flavour, Kind::Expired, [0; 4], &plain);
    let padding = row(flavour, Pool::Dsr, "padding is not quoted")
        .frame(&padded, answered(AnswerReason::ToldExpired, &expired));
    rows.chain([padding]).collect()
}

/// Token buckets.
fn rates(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Ipip;
    let from = |number: u8| {
        let mut client = flavour.client(Way::Router);
        client.set_ip(flavour.version.client_number(Way::Router, number));
        flavour.packet(client, flavour.service(pool)).hops(1)
    };
    let aside = flavour
        .packet(flavour.client(Way::Aside), flavour.service(pool))
        .hops(1);
    let told = |frame: &Frame| {
        let expired = error(flavour, Kind::Expired, [0; 4], frame);
        answered(AnswerReason::ToldExpired, &expired)
    };
    let not = || Expected::dropped(DropReason::TtlExpired);
    vec![
        row(flavour, pool, "two to one prefix")
            .world(|world| world.allow_replies(2, 100))
            .frame(&from(7), told(&from(7)))
            .frame(&from(8), told(&from(8)))
            .frame(&from(9), not())
            .frame(&aside, told(&aside))
            .advance(1)
            .frame(&from(7), told(&from(7))),
        row(flavour, pool, "three in all")
            .world(|world| world.allow_replies(2, 3))
            .frame(&from(7), told(&from(7)))
            .frame(&from(8), told(&from(8)))
            .frame(&aside, told(&aside))
            .frame(&aside, not())
            .advance(1)
            .frame(&aside, told(&aside)),
        row(flavour, pool, "none at all")
            .world(|world| world.allow_replies(0, 0))
            .frame(&from(7), not()),
    ]
}

/// Nobody is told whose address names no host (RFC 1122, section 3.2.2): no client has such a one.
fn never(flavour: Flavour) -> Vec<Case> {
    let strange: &[&str] = match flavour.version {
        Version::V4 => &[
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "239.1.2.3",
            "255.255.255.255",
        ],
        Version::V6 => &["::", "::1", "ff02::1"],
    };
    let rows = strange.iter().map(|address| {
        let source = (address.parse::<std::net::IpAddr>().expect("an address"), 7).into();
        let frame = flavour.packet(source, flavour.service(Pool::Ipip)).hops(1);
        row(flavour, Pool::Ipip, format!("nothing to {address}"))
            .frame(&frame, Expected::dropped(DropReason::MartianSource))
    });
    rows.collect()
}

/// Echo requests.
fn echo(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Ipip;
    let (client, service) = (flavour.client(Way::Router).ip(), flavour.service(pool).ip());
    let request = Message::new(Kind::Echo, [client, service], [1, 2, 3, 4], b"ping pong")
        .arrives(ROUTER, UPLINK);
    let reply = |request: &Message| {
        let [from, to] = request.link;
        let (kind, code) = Kind::EchoReply.of(flavour.version);
        let reply = request.clone().ends(service, client).kind(kind, code);
        reply.link(to, from).hops(64)
    };
    let answers = |case: Case, request: &Message| {
        let expected = Expected::answered(
            request.ingress,
            AnswerReason::EchoReply,
            reply(request).bytes(),
        );
        case.bytes(request.ingress, request.bytes(), expected)
    };
    let with = |what| row(flavour, pool, what).world(|world| world.add_echo(flavour, pool));
    let long = request.clone().body(&[0xa5; 1400]);
    let back = request.clone().arrives(super::places::BACKEND, BACK);
    let (kind, code) = Kind::EchoReply.of(flavour.version);
    let passes = |case: Case, message: &Message| {
        case.bytes(
            message.ingress,
            message.bytes(),
            Expected::passed(PassReason::Icmp),
        )
    };
    vec![
        answers(with("echo"), &request),
        answers(with("echo, no body"), &request.clone().body(b"")),
        answers(with("echo, a long one"), &long),
        answers(with("echo, the last hop"), &request.clone().hops(1)),
        answers(with("echo, another interface"), &back),
        answers(
            with("echo, and no flow has ends of both families")
                .world(|world| world.constants.crossing = false),
            &request,
        ),
        passes(row(flavour, pool, "echo, not for us"), &request),
        passes(
            with("echo, from a group of stations"),
            &request.clone().link(GROUP, UPLINK.mac),
        ),
        passes(with("echo, a reply"), &request.clone().kind(kind, code)),
        passes(
            with("echo, another code"),
            &request.clone().kind(request.kind.0, 1),
        ),
        with("echo, no backend")
            .world(|world| world.give_slots(flavour.version, pool, 0))
            .bytes(
                UPLINK,
                request.bytes(),
                Expected::dropped(DropReason::NoBackend),
            ),
        {
            let frame = flavour.request(pool);
            let expected = joined(flavour, pool, &frame);
            with("echo beside the service").frame(&frame, expected)
        },
    ]
}
