//! `nat`: the destination of a client's packet is rewritten, and the source of what the backend
//! answers, which is told by nothing but the backend's port. (The way to the backend: `hashed`; the
//! kernel's routes back: `one_sided_routes`.)

use std::net::SocketAddr;

use lb_common::{
    abi::Handshake,
    datapath::{DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    checksums::with_checksum,
    frame::{ACK, FIN, Frame, RST, SYN},
    outputs::{answer, answered, forwarded, opened},
    places::{BACK, BACKEND, Flavour, Pool, Protocol, ROUTER, SOURCE_PORT, UPLINK, Way},
    reverses::Answering,
    world::{MTU, World, backend_index, service_id},
};

const POOL: Pool = Pool::OneSided;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in Pool::ONE_SIDED {
            rows.extend(both_ways(flavour, pool));
        }
        rows.extend(headers(flavour));
        rows.extend(sizes(flavour));
        rows.extend(malformed(flavour));
        rows.extend(cut_short(flavour));
        rows.extend(others(flavour));
        rows.extend(own(flavour));
        rows.extend(with_full_nat(flavour));
        rows.extend(tables(flavour));
        rows.extend(faults(flavour));
    }
    for flavour in Flavour::TCP {
        rows.extend(flags(flavour));
        rows.extend(tcp_checksums(flavour));
    }
    for flavour in Flavour::UDP {
        rows.extend(udp_checksums(flavour));
    }
    rows
}

fn row(flavour: Flavour, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{POOL} {flavour}: {what}"))
}

fn returns(case: Case, flavour: Flavour, reply: &Frame) -> Case {
    case.frame(reply, answered(flavour, POOL, reply))
}

fn passes(case: Case, frame: &Frame) -> Case {
    case.frame(frame, Expected::passed(PassReason::NoService))
}

fn both_ways(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let (there, back) = (flavour.request(pool), flavour.reply(pool));
    let here_back = back.clone().arrives(UPLINK);
    let row = |what| Case::new(format!("{pool} {flavour}: {what}"));
    let mut client = flavour.client(Way::Router);
    client.set_ip(flavour.version.client_number(Way::Router, 8));
    client.set_port(1);
    let others = back.clone().ends(flavour.backend(pool), client);
    let to_other = others
        .clone()
        .ends(flavour.service(pool), client)
        .hop()
        .link(UPLINK.mac, ROUTER);
    let direction = lb_common::abi::Direction::Out;
    vec![
        row("a reply, whatever was before").frame(&back, answered(flavour, pool, &back)),
        row("a conversation")
            .frame(&there, forwarded(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back))
            .frame(&there, forwarded(flavour, pool, &there))
            .frame(&back, answered(flavour, pool, &back)),
        row("a reply, transmitted").frame(&here_back, answered(flavour, pool, &here_back)),
        row("a reply to another client").frame(
            &others,
            Expected::sent(&others, &to_other, UPLINK).counted(flavour, pool, direction, &others),
        ),
    ]
}

/// No flags make a reply a new flow.
fn flags(flavour: Flavour) -> Vec<Case> {
    let all = [
        ("SYN-ACK", SYN | ACK),
        ("FIN", FIN | ACK),
        ("RST", RST),
        ("SYN", SYN),
        ("none", 0),
    ];
    let replies = all.into_iter().map(|(name, flags)| {
        let reply = flavour.reply(POOL).flags(flags).tcp_options();
        let mut expected = answered(flavour, POOL, &reply);
        if flags == SYN | ACK {
            expected = expected.handshake(Handshake::Answered);
        }
        row(flavour, format!("a reply with flags {name}")).frame(&reply, expected)
    });
    replies.collect()
}

/// What else a reply's header says stays, the hops apart.
fn headers(flavour: Flavour) -> Vec<Case> {
    let back = flavour.reply(POOL);
    let mut rows = Vec::new();
    for class in [0x01, 0x02, 0x03, 0xb8, 0xff] {
        let reply = back.clone().class(class).dont_fragment();
        rows.push(returns(
            row(flavour, format!("a reply of class {class:02x}")),
            flavour,
            &reply,
        ));
    }
    for hops in [2, 255] {
        let reply = back.clone().hops(hops);
        rows.push(returns(
            row(flavour, format!("{hops} hops left in a reply")),
            flavour,
            &reply,
        ));
    }
    for hops in [0, 1] {
        let reply = back.clone().hops(hops);
        let late = Expected::dropped(DropReason::TtlExpired);
        rows.push(row(flavour, format!("{hops} hops left in a reply")).frame(&reply, late));
    }
    for (what, reply) in [
        (
            "an odd length, and padding",
            back.clone().payload(b"odds!").padded(3),
        ),
        ("no payload", back.clone().payload(b"")),
        (
            "another router's MAC address",
            back.clone().link([2, 0, 0, 0, 2, 0x77], BACK.mac),
        ),
    ] {
        rows.push(returns(
            row(flavour, format!("a reply, {what}")),
            flavour,
            &reply,
        ));
    }
    rows
}

/// A reply against what the way back takes.
fn sizes(flavour: Flavour) -> Vec<Case> {
    let sized = |more| flavour.reply(POOL).sized(usize::from(MTU) + more);
    vec![
        returns(row(flavour, "a reply as big as fits"), flavour, &sized(0)),
        row(flavour, "a reply one byte too big")
            .frame(&sized(1), Expected::dropped(DropReason::TooBig)),
        row(flavour, "what the backends take does not count for replies")
            .world(|world| world.set_mtu(100))
            .frame(&sized(0), answered(flavour, POOL, &sized(0))),
    ]
}

/// Replies that are not sound are dropped.
fn malformed(flavour: Flavour) -> Vec<Case> {
    let back = flavour.reply(POOL);
    let transport = back.transport();
    let drops = |what: &str, reply: &Frame, reason| {
        row(flavour, format!("a reply with {what}")).frame(reply, Expected::dropped(reason))
    };
    let mut rows = vec![
        drops(
            "a length beyond the frame",
            &back.clone().says_ip_length(2000),
            DropReason::BadIpLength,
        ),
        drops(
            "a length within its transport header",
            &back.clone().says_ip_length(transport - 14 + 7),
            bad_header(flavour),
        ),
    ];
    match flavour.protocol {
        Protocol::Tcp => {
            for words in [0u8, 4, 7, 15] {
                let reply = back.clone().patch(transport + 12, &[words << 4]);
                rows.push(drops(
                    &format!("data offset {words}"),
                    &reply,
                    DropReason::BadTcpHeader,
                ));
            }
        }
        Protocol::Udp => {
            for length in [0u16, 7, 13, 65_535] {
                let reply = back.clone().patch(transport + 4, &length.to_be_bytes());
                rows.push(drops(
                    &format!("UDP length {length}"),
                    &reply,
                    DropReason::BadUdpLength,
                ));
            }
        }
    }
    rows
}

/// A reply's frame is cut; its headers promise more.
fn cut_short(flavour: Flavour) -> impl Iterator<Item = Case> {
    let whole = flavour.reply(POOL);
    let (length, ports) = (whole.bytes().len(), whole.transport() + 4);
    (0..length).map(move |cut| {
        let expected = if cut < ports {
            Expected::passed(PassReason::Truncated)
        } else {
            Expected::dropped(DropReason::BadIpLength)
        };
        row(flavour, format!("a reply cut to {cut} of {length} bytes"))
            .frame(&whole.clone().cut(cut), expected)
    })
}

fn bad_header(flavour: Flavour) -> DropReason {
    match flavour.protocol {
        Protocol::Tcp => DropReason::BadTcpHeader,
        Protocol::Udp => DropReason::BadUdpLength,
    }
}

/// What is no reply: by address, port or protocol.
fn others(flavour: Flavour) -> Vec<Case> {
    let (client, backend) = (flavour.client(Way::Router), flavour.backend(POOL));
    let mut port = backend;
    port.set_port(backend.port() + 1);
    let mut swapped = backend;
    swapped.set_port(backend.port().swap_bytes());
    let mut address = backend;
    address.set_ip(flavour.version.inner(200));
    let back = flavour.reply(POOL);
    let other = match flavour.protocol {
        Protocol::Tcp => Protocol::Udp,
        Protocol::Udp => Protocol::Tcp,
    };
    let other = Flavour {
        protocol: other,
        ..flavour
    };
    let mut rows: Vec<_> = [
        ("port", port),
        ("port, bytes swapped", swapped),
        ("address", address),
    ]
    .map(|(what, from)| {
        let stray = back.clone().ends(from, client);
        passes(row(flavour, format!("from another {what}")), &stray)
    })
    .into();
    rows.push(passes(
        row(flavour, "from the port by a protocol that is not served")
            .world(|world| world.remove_service(flavour, POOL)),
        &back,
    ));
    let theirs = other.reply(POOL);
    rows.push(
        row(flavour, "the other protocol's port answers still")
            .world(|world| world.remove_service(flavour, POOL))
            .frame(&theirs, answered(other, POOL, &theirs)),
    );
    // Its destination is a backend's, not its source.
    let towards = back.clone().ends(client, backend);
    rows.push(passes(row(flavour, "to the backend's port"), &towards));
    rows.push(passes(
        row(flavour, "a reply where there is no service in nat mode")
            .world(|world| world.constants.nat = false),
        &back,
    ));
    let there = flavour.request(POOL);
    rows.push(
        row(flavour, "a request where there is no service in nat mode")
            .world(|world| world.constants.nat = false)
            .frame(&there, forwarded(flavour, POOL, &there)),
    );
    rows
}

/// What the gateway itself asked of a backend (a health check) is answered to the gateway.
fn own(flavour: Flavour) -> Vec<Case> {
    let host = flavour.version.inner(253);
    let to_host = SocketAddr::new(host, 41_000);
    let back = flavour.reply(POOL).ends(flavour.backend(POOL), to_host);
    let with = |what| row(flavour, what).world(|world| world.add_own(host));
    let mut service_like = to_host;
    service_like.set_port(flavour.port());
    let to_client = flavour.reply(POOL);
    vec![
        passes(with("a reply to the gateway passes"), &back),
        passes(
            with("a malformed one passes"),
            &back.clone().says_ip_length(2000),
        ),
        passes(with("one without hops passes"), &back.clone().hops(1)),
        passes(
            with("one to a port as the service's passes"),
            &back.clone().ends(flavour.backend(POOL), service_like),
        ),
        passes(with("one of any size passes"), &back.clone().sized(1501)),
        with("a client is answered nevertheless")
            .frame(&to_client, answered(flavour, POOL, &to_client)),
        passes(
            with("what is for the gateway passes"),
            &flavour.packet(flavour.client(Way::Router), to_host),
        ),
    ]
}

/// The same port of a backend serves `full-nat` and `nat`.
fn with_full_nat(flavour: Flavour) -> Vec<Case> {
    let there = flavour.request(Pool::Nat);
    let from = flavour.backend(Pool::Nat);
    let shared = |what| {
        row(flavour, what).world(|world| {
            world.remove_service(flavour, POOL);
            let by = Answering::of(flavour, POOL);
            world.add_reverse(flavour, from, flavour.service(POOL), by);
        })
    };
    let back = flavour.reply(Pool::Nat);
    let to_client = back.clone().ends(from, flavour.client(Way::Router));
    let mut elsewhere = flavour.own();
    elsewhere.set_port(SOURCE_PORT + 1);
    let stray = back.clone().ends(from, elsewhere);
    // As a client of another service, a backend is a client.
    let mut client = flavour.packet(from, flavour.service(Pool::Ipip));
    client = client.arrives(BACK).link(BACKEND, BACK.mac);
    vec![
        shared("a reply to a full-nat flow of the same port")
            .frame(&there, opened(flavour, Pool::Nat, &there))
            .frame(&back, answered(flavour, Pool::Nat, &back))
            .frame(&to_client, answered(flavour, POOL, &to_client)),
        shared("to a source address, of no flow")
            .frame(&back, Expected::dropped(DropReason::UnknownFlow))
            .frame(&stray, Expected::passed(PassReason::NoFlow)),
        shared("from the port to another service")
            .frame(&client, forwarded(flavour, Pool::Ipip, &client)),
    ]
}

/// Where things lie, and whom a reply counts for.
fn tables(flavour: Flavour) -> Vec<Case> {
    let back = flavour.reply(POOL);
    let (from, to) = (flavour.backend(POOL), flavour.service(POOL));
    let usual = Answering::of(flavour, POOL);
    let anew = |what: &str, by| {
        row(flavour, what).world(|world| {
            world.remove_service(flavour, POOL);
            world.add_reverse(flavour, from, to, by);
        })
    };
    let (service, backend) = (
        service_id(flavour, Pool::Dsr),
        backend_index(flavour.version, Pool::Dsr),
    );
    let elsewhere = Answering {
        service,
        backend,
        ..usual
    };
    let counted = answered(flavour, Pool::Dsr, &back);
    let own = answered(flavour, POOL, &back);
    let counts = Expected {
        counted: counted.counted,
        ..own
    };
    vec![
        returns(
            anew(
                "a reply's port at its second place",
                Answering { place: 1, ..usual },
            ),
            flavour,
            &back,
        ),
        returns(
            anew(
                "a reply's port is the last one",
                Answering {
                    index: 65_535,
                    ..usual
                },
            ),
            flavour,
            &back,
        ),
        anew("a reply counts for whom its port names", elsewhere).frame(&back, counts),
        returns(
            row(flavour, "a reply from a backend that has no slots any more")
                .world(|world| world.give_slots(flavour.version, POOL, 0)),
            flavour,
            &back,
        ),
        returns(
            row(flavour, "a reply from a backend that is dead")
                .world(|world| world.kill_backend(usual.backend)),
            flavour,
            &back,
        ),
        returns(
            row(
                flavour,
                "a reply while the backend's next hop is not resolved",
            )
            .world(|world| world.next_hops.clear()),
            flavour,
            &back,
        ),
    ]
}

/// Tables that contradict each other.
fn faults(flavour: Flavour) -> Vec<Case> {
    let back = flavour.reply(POOL);
    let (from, to) = (flavour.backend(POOL), flavour.service(POOL));
    let fault = |what: &str, change: &dyn Fn(&mut World)| {
        row(flavour, what)
            .world(|world| change(world))
            .frame(&back, Expected::dropped(DropReason::Inconsistent))
    };
    vec![
        fault("a port that answers for nobody", &|world| {
            world.reverses_v4.clear();
            world.reverses_v6.clear();
        }),
        fault("a port that answers for one beyond the table", &|world| {
            let usual = Answering::of(flavour, POOL);
            world.remove_service(flavour, POOL);
            world.add_reverse(
                flavour,
                from,
                to,
                Answering {
                    index: 1 << 16,
                    ..usual
                },
            );
            world.reverses_v4.clear();
            world.reverses_v6.clear();
        }),
    ]
}

/// Checksums that come out as zero, there and back. TCP's has one zero: it is sent as it is.
fn tcp_checksums(flavour: Flavour) -> Vec<Case> {
    let (there, back) = (flavour.request(POOL), flavour.reply(POOL));
    let (to, from) = (
        zeroed(&there, &translated(flavour, &there), 16, 0),
        replied(flavour, &back),
    );
    let from = zeroed(&back, &from, 16, 0);
    vec![
        row(flavour, "a checksum that becomes 0").frame(&to, forwarded(flavour, POOL, &to)),
        returns(
            row(flavour, "a reply's checksum that becomes 0"),
            flavour,
            &from,
        ),
    ]
}

/// UDP's has two: 0 is none, ffff is zero.
fn udp_checksums(flavour: Flavour) -> Vec<Case> {
    let (there, back) = (flavour.request(POOL), flavour.reply(POOL));
    let to = zeroed(&there, &translated(flavour, &there), 6, 0xffff);
    let from = zeroed(&back, &replied(flavour, &back), 6, 0xffff);
    let was = there.clone().payload(&with_checksum(&there, 6, 0xffff));
    let none = back.clone().unchecked();
    let forwards = |what: &str, frame: &Frame| {
        row(flavour, what).frame(frame, forwarded(flavour, POOL, frame))
    };
    vec![
        forwards("a checksum that becomes 0 is sent as ffff", &to),
        forwards("a checksum of ffff", &was),
        returns(
            row(flavour, "a reply's checksum that becomes 0"),
            flavour,
            &from,
        ),
        returns(
            row(flavour, "a reply without a checksum has none"),
            flavour,
            &none,
        ),
    ]
}

fn translated(flavour: Flavour, there: &Frame) -> Frame {
    there.clone().ends(there.source(), flavour.backend(POOL))
}

fn replied(flavour: Flavour, back: &Frame) -> Frame {
    answer(flavour, POOL, Way::Router, back)
}

/// `frame` with the payload by which `output`, what becomes of it, has this checksum.
fn zeroed(frame: &Frame, output: &Frame, offset: usize, checksum: u16) -> Frame {
    frame
        .clone()
        .payload(&with_checksum(output, offset, checksum))
}
