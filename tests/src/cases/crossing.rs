//! `full-nat` between families: the client has addresses of one, its backend of the other.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    abi::{Direction, ServiceTraits},
    datapath::{AnswerReason, DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    frame::{ACK, FIN, Frame, IP, PSH, RST, SYN},
    icmp::{answered as made, error, mtu},
    messages::Kind,
    outputs,
    places::{
        BACK, BACKEND, BACKEND_PORT, Flavour, Pool, ROUTER, SOURCE_PORT, UPLINK, Version, Way,
    },
    truncated::bad_header,
    world::{MTU, Route, World, backend_index, service_id},
};

const POOL: Pool = Pool::Nat;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        rows.extend(both_ways(flavour));
        rows.extend(headers(flavour));
        rows.extend(sizes(flavour));
        rows.extend(told(flavour));
        rows.extend(ways_back(flavour));
        rows.extend(no_flow(flavour));
        rows.extend(same_family(flavour));
        rows.extend(shapes(flavour));
        rows.extend(tables(flavour));
    }
    Flavour::TCP
        .into_iter()
        .for_each(|flavour| rows.extend(tcp(flavour)));
    rows.extend(unchecked());
    rows.extend(mapped_on_the_wire());
    rows
}

pub(super) fn row(flavour: Flavour, what: impl std::fmt::Display) -> Case {
    Case::new(format!("across, {flavour}: {what}")).world(|world| world.cross(POOL))
}

/// The backend's end.
pub(super) fn backend(flavour: Flavour) -> SocketAddr {
    SocketAddr::new(flavour.version.other().backend(POOL), BACKEND_PORT)
}

/// Sluice's end towards the backend.
pub(super) fn own(flavour: Flavour) -> SocketAddr {
    SocketAddr::new(flavour.version.other().own(), SOURCE_PORT)
}

pub(super) fn request(flavour: Flavour) -> Frame {
    flavour.request(POOL)
}

/// What the backend answers with.
pub(super) fn reply(flavour: Flavour) -> Frame {
    let frame = flavour.packet(backend(flavour), own(flavour));
    frame.arrives(BACK).link(BACKEND, BACK.mac)
}

/// `input`, from a client, goes on to the backend.
fn forwarded(flavour: Flavour, input: &Frame) -> Expected {
    let there = input.clone().ends(own(flavour), backend(flavour));
    let output = there.hop().anew().link(BACK.mac, BACKEND);
    Expected::sent(input, &output, BACK).counted(flavour, POOL, Direction::In, input)
}

pub(super) fn opened(flavour: Flavour, input: &Frame) -> Expected {
    forwarded(flavour, input).opens()
}

/// `input`, from the backend, goes on to a client.
fn answered_to(flavour: Flavour, client: Way, input: &Frame) -> Expected {
    let ends = (flavour.service(POOL), flavour.client(client));
    let back = input.clone().ends(ends.0, ends.1);
    let output = back.hop().anew().link(UPLINK.mac, ROUTER);
    Expected::sent(input, &output, UPLINK).counted(flavour, POOL, Direction::Out, input)
}

fn answered(flavour: Flavour, input: &Frame) -> Expected {
    answered_to(flavour, Way::Router, input)
}

fn both_ways(flavour: Flavour) -> Vec<Case> {
    let (there, back) = (request(flavour), reply(flavour));
    let here = there.clone().arrives(BACK);
    let here_back = back.clone().arrives(UPLINK);
    vec![
        row(flavour, "a new flow").frame(&there, opened(flavour, &there)),
        row(flavour, "a conversation")
            .frame(&there, opened(flavour, &there))
            .frame(&back, answered(flavour, &back))
            .frame(&there, forwarded(flavour, &there))
            .frame(&back, answered(flavour, &back)),
        row(flavour, "transmitted both ways")
            .frame(&here, opened(flavour, &here))
            .frame(&here_back, answered(flavour, &here_back)),
        row(flavour, "a flow goes on when its pool gets another backend")
            .frame(&there, opened(flavour, &there))
            .world(|world| world.give_slots(flavour.version, POOL, 0))
            .frame(&there, forwarded(flavour, &there)),
        row(flavour, "one source port")
            .frame(&there, opened(flavour, &there))
            .frame(
                &flavour.packet(other_client(flavour), flavour.service(POOL)),
                Expected::dropped(DropReason::NoSourcePort),
            ),
    ]
}

pub(super) fn other_client(flavour: Flavour) -> SocketAddr {
    SocketAddr::new(flavour.version.client_number(Way::Router, 8), 50_008)
}

/// What both families' headers say stays, the hops apart.
fn headers(flavour: Flavour) -> Vec<Case> {
    let (there, back) = (request(flavour), reply(flavour));
    let mut rows = Vec::new();
    for class in [0x01, 0x03, 0xb8, 0xff] {
        let (there, back) = (there.clone().class(class), back.clone().class(class));
        let case = row(flavour, format!("class {class:02x}"))
            .frame(&there, opened(flavour, &there))
            .frame(&back, answered(flavour, &back));
        rows.push(case);
    }
    for hops in [2, 255] {
        let (there, back) = (there.clone().hops(hops), back.clone().hops(hops));
        let case = row(flavour, format!("{hops} hops left"))
            .frame(&there, opened(flavour, &there))
            .frame(&back, answered(flavour, &back));
        rows.push(case);
    }
    for hops in [0, 1] {
        let (late, late_back) = (there.clone().hops(hops), back.clone().hops(hops));
        let gone = || Expected::dropped(DropReason::TtlExpired);
        let case = row(flavour, format!("{hops} hops left in a flow"))
            .frame(&there, opened(flavour, &there))
            .frame(&late, gone())
            .frame(&late_back, gone());
        rows.push(case);
    }
    let whole = there.clone().dont_fragment();
    rows.push(row(flavour, "not to be fragmented").frame(&whole, opened(flavour, &whole)));
    for payload in [&b""[..], b"o", b"odd", b"\xff\xff\xff\xff\xff", &[0; 64]] {
        let there = there.clone().payload(payload).padded(3);
        let back = back.clone().payload(payload).padded(1);
        let case = row(flavour, format!("{} bytes and padding", payload.len()))
            .frame(&there, opened(flavour, &there))
            .frame(&back, answered(flavour, &back));
        rows.push(case);
    }
    rows
}

/// The largest packets of clients that the backends' next hop takes, `more` bytes apart.
fn largest(flavour: Flavour, takes: u16, more: isize) -> usize {
    let longer = match flavour.version {
        Version::V4 => -20,
        Version::V6 => 20,
    };
    (isize::from(takes as i16) + longer + more) as usize
}

/// A packet is as long as it leaves.
fn sizes(flavour: Flavour) -> Vec<Case> {
    let (there, back) = (request(flavour), reply(flavour));
    let too_big = || Expected::dropped(DropReason::TooBig);
    let sized = |more| there.clone().sized(largest(flavour, MTU, more));
    let (fits, more) = (sized(0), sized(1));
    // Replies lose what requests gain.
    let answer = |more| {
        let bytes = 2 * usize::from(MTU) - largest(flavour, MTU, 0) + more;
        back.clone().sized(bytes)
    };
    let (fits_back, more_back) = (answer(0), answer(1));
    vec![
        row(flavour, "as big as fits").frame(&fits, opened(flavour, &fits)),
        row(flavour, "one byte too big, then not")
            .frame(&more, too_big())
            .frame(&fits, opened(flavour, &fits))
            .frame(&more, too_big()),
        row(flavour, "a reply as big as fits")
            .frame(&there, opened(flavour, &there))
            .frame(&fits_back, answered(flavour, &fits_back))
            .frame(&more_back, too_big()),
        row(flavour, "a reply one byte too big")
            .frame(&there, opened(flavour, &there))
            .frame(&more_back, too_big())
            .frame(&fits_back, answered(flavour, &fits_back)),
    ]
}

/// Clients are told in what they count, about the packet as they sent it.
fn told(flavour: Flavour) -> Vec<Case> {
    let may_tell = |world: &mut World| {
        world.allow_replies(100, 1000);
        world.set_mtu(1400);
    };
    let large = request(flavour)
        .sized(largest(flavour, 1400, 1))
        .class(0x28);
    let says = mtu(flavour.version, largest(flavour, 1400, 0) as u16);
    let too_big = error(flavour, Kind::TooBig, says, &large);
    let old = request(flavour).hops(1);
    let expired = error(flavour, Kind::Expired, [0; 4], &old);
    // What an IPv4 header says that an IPv6 one does not: its number, flags and checksum.
    let odd = large.clone().patch(IP + 4, b"\xab\xcd\xc0\x00");
    let odd = odd.patch(IP + 10, b"\xba\xd0");
    let quoted = error(flavour, Kind::TooBig, says, &odd);
    let mut rows = vec![
        row(flavour, "told what fits")
            .world(may_tell)
            .frame(&large, made(AnswerReason::ToldTooBig, &too_big)),
        row(flavour, "told that its hops are used up")
            .world(may_tell)
            .frame(&old, made(AnswerReason::ToldExpired, &expired)),
    ];
    if flavour.version == Version::V4 {
        let case = row(flavour, "told about a header with a wrong checksum").world(may_tell);
        rows.push(case.frame(&odd, made(AnswerReason::ToldTooBig, &quoted)));
    }
    rows
}

/// Routes and neighbours are those of the client's family.
fn ways_back(flavour: Flavour) -> Vec<Case> {
    let back = reply(flavour);
    let flow = |way, what| {
        let there = flavour.packet(flavour.client(way), flavour.service(POOL));
        row(flavour, what).frame(&there, opened(flavour, &there))
    };
    let narrow = |more: usize| {
        let longer = largest(flavour.other(), 1400, 0);
        back.clone().sized(longer + more)
    };
    let gateway = flavour.version.link(UPLINK.ifindex as u8, 99);
    vec![
        flow(Way::Nowhere, "no route back").frame(&back, Expected::dropped(DropReason::NoRoute)),
        flow(Way::Silent, "a gateway that is not resolved").frame(
            &back,
            answered_to(flavour, Way::Silent, &back).asks_for(UPLINK, gateway),
        ),
        flow(Way::Narrow, "a narrow way back")
            .frame(&narrow(0), answered_to(flavour, Way::Narrow, &narrow(0)))
            .frame(&narrow(1), Expected::dropped(DropReason::TooBig)),
        flow(Way::Nowhere, "a route that comes late")
            .frame(&back, Expected::dropped(DropReason::NoRoute))
            .world(|world| {
                let route = Route::Via {
                    gateway: flavour.version.link(UPLINK.ifindex as u8, 1),
                    ifindex: UPLINK.ifindex,
                    mtu: None,
                };
                let (to, bits) = (flavour.version.client(Way::Nowhere), flavour.version.bits());
                world.routes.insert((to, bits), route);
            })
            .frame(&back, answered_to(flavour, Way::Nowhere, &back)),
    ]
}

/// What comes to a source address of no flow; what passes is untouched.
fn no_flow(flavour: Flavour) -> Vec<Case> {
    let (there, back) = (request(flavour), reply(flavour));
    let passed = || Expected::passed(PassReason::NoFlow);
    let unknown = || Expected::dropped(DropReason::UnknownFlow);
    let mut rows = vec![
        row(flavour, "a reply of no flow")
            .frame(&back.clone().class(0x30).dont_fragment(), unknown()),
        row(flavour, "a malformed packet of no flow")
            .frame(&back.clone().says_ip_length(2000), unknown()),
        row(flavour, "a malformed reply")
            .frame(&there, opened(flavour, &there))
            .frame(
                &back.clone().says_ip_length(2000),
                Expected::dropped(DropReason::BadIpLength),
            ),
    ];
    for port in [SOURCE_PORT - 1, SOURCE_PORT + 1, 22, 0, 65_535] {
        let mut stray = own(flavour);
        stray.set_port(port);
        let stray = back.clone().ends(backend(flavour), stray);
        rows.push(
            row(flavour, format!("to port {port} of a source address")).frame(&stray, passed()),
        );
    }
    rows
}

/// Gives the pool a backend of the client's own family.
pub(super) fn near(flavour: Flavour, world: &mut World) {
    let version = flavour.version;
    let sources = (1 + version as u32, 1);
    let index = backend_index(version, POOL);
    world.add_backend_with_sources(index, version.backend(POOL), sources);
}

/// A backend of the client's own family, in a pool that crosses.
fn same_family(flavour: Flavour) -> Vec<Case> {
    let version = flavour.version;
    let (there, back) = (request(flavour), flavour.reply(POOL));
    let made_anew = |frame: Frame| match version {
        Version::V4 => frame.anew(),
        Version::V6 => frame,
    };
    let forwarded = |input: &Frame| {
        let output = outputs::output(flavour, POOL, input).link(BACK.mac, BACKEND);
        Expected::sent(input, &made_anew(output), BACK).counted(flavour, POOL, Direction::In, input)
    };
    let answered = |input: &Frame| {
        let output = outputs::answer(flavour, POOL, Way::Router, input).link(UPLINK.mac, ROUTER);
        Expected::sent(input, &made_anew(output), UPLINK).counted(
            flavour,
            POOL,
            Direction::Out,
            input,
        )
    };
    let fits = there.clone().sized(MTU.into());
    vec![
        row(flavour, "a backend of the client's family")
            .world(move |world| near(flavour, world))
            .frame(&there, forwarded(&there).opens())
            .frame(&back, answered(&back))
            .frame(&fits, forwarded(&fits))
            .frame(
                &there.clone().sized(usize::from(MTU) + 1),
                Expected::dropped(DropReason::TooBig),
            ),
    ]
}

/// What is not plain is not taken across.
fn shapes(flavour: Flavour) -> Vec<Case> {
    let there = request(flavour).payload(&[7; 64]);
    let not = || Expected::dropped(DropReason::CrossingShape);
    let odd = match flavour.version {
        Version::V4 => there.clone().ip_options(&[1, 1, 1, 0]),
        Version::V6 => there.clone().extensions(&[(60, &[0, 1, 4, 0, 0, 0, 0])]),
    };
    // Behind four bytes, which the ports are, the packet ends.
    let cut = |frame: &Frame| {
        let end = frame.transport() + 4;
        frame.clone().says_ip_length(end - 14).cut(end)
    };
    let malformed = || Expected::dropped(bad_header(flavour));
    vec![
        row(flavour, "options or extension headers").frame(&odd, not()),
        row(flavour, "a first fragment").frame(&there.clone().fragment(0..48, 9), not()),
        row(flavour, "a header that is cut short").frame(&cut(&there), malformed()),
        row(flavour, "options, and a header that is cut short").frame(&cut(&odd), malformed()),
    ]
}

/// Tables that contradict each other, and what they say of services.
fn tables(flavour: Flavour) -> Vec<Case> {
    let there = request(flavour);
    let id = service_id(flavour, POOL);
    let mut rows = vec![
        row(flavour, "no backend")
            .world(|world| world.give_slots(flavour.version, POOL, 0))
            .frame(&there, Expected::dropped(DropReason::NoBackend)),
        row(flavour, "no next hop")
            .world(|world| world.next_hops.clear())
            .frame(&there, Expected::dropped(DropReason::NoNextHop)),
    ];
    let mut elsewhere = flavour.service(POOL);
    elsewhere.set_port(8003);
    let ranged = there.clone().ends(flavour.client(Way::Router), elsewhere);
    let traits = ServiceTraits::TRACKED.and(ServiceTraits::CROSSES);
    let case = row(flavour, "a range of ports")
        .world(|world| {
            world.add_group(flavour.version.service(POOL), 1);
            world.add_ports_with(flavour, POOL, 1, (8000, 13), traits);
        })
        .frame(&ranged, opened(flavour, &ranged))
        .frame(&ranged, forwarded(flavour, &ranged));
    rows.push(case);
    if flavour.version == Version::V4 {
        let case = row(flavour, "no entry for mapped packets")
            .world(|world| world.services_v6.retain(|_, service| service.id() != id))
            .frame(&there, Expected::dropped(DropReason::Inconsistent));
        rows.push(case);
    }
    rows
}

fn tcp(flavour: Flavour) -> Vec<Case> {
    let with = |flags| request(flavour).flags(flags);
    let back = reply(flavour);
    let mut rows = Vec::new();
    for (name, flags) in [
        ("SYN", SYN),
        ("ACK with data", ACK | PSH),
        ("FIN", FIN | ACK),
    ] {
        let first = with(flags);
        rows.push(
            row(flavour, format!("first flags {name}")).frame(&first, opened(flavour, &first)),
        );
    }
    let (reset, ack, refused) = (with(RST), with(ACK), back.clone().flags(RST | ACK));
    let options = with(SYN).tcp_options();
    rows.extend([
        row(flavour, "a reset of no flow")
            .frame(&reset, Expected::dropped(DropReason::ResetWithoutFlow))
            .frame(&ack, opened(flavour, &ack))
            .frame(&reset, forwarded(flavour, &reset)),
        row(flavour, "refused")
            .frame(&with(SYN), opened(flavour, &with(SYN)))
            .frame(&refused, answered(flavour, &refused)),
        row(flavour, "options").frame(&options, opened(flavour, &options)),
    ]);
    let said = with(SYN).with_tcp_options(&[2, 4, 5, 180]);
    let lowered = with(SYN).with_tcp_options(&[2, 4, 5, 20]);
    let expected = Expected {
        counted: opened(flavour, &said).counted,
        ..opened(flavour, &lowered)
    };
    let clamps = move |world: &mut World| {
        world
            .largest_segments
            .insert(service_id(flavour, POOL), 1300);
    };
    rows.push(
        row(flavour, "a segment size that is lowered")
            .world(clamps)
            .frame(&said, expected),
    );
    let resets = ServiceTraits::TRACKED.and(ServiceTraits::RESETS);
    let case = row(flavour, "a flow whose backend is gone")
        .world(|world| {
            world.set_traits(flavour, POOL, resets);
            world.cross_service(flavour, POOL, ServiceTraits::CROSSES);
        })
        .frame(&ack, opened(flavour, &ack))
        .world(|world| world.kill_backend(backend_index(flavour.version, POOL)))
        .frame(&ack, Expected::dropped(DropReason::BackendGone));
    rows.push(case);
    rows
}

/// UDP without a checksum goes from IPv6 to IPv4, but not back (RFC 7915, section 4.5).
fn unchecked() -> Vec<Case> {
    let [v4, v6] = Flavour::UDP;
    let not = || Expected::dropped(DropReason::UncheckedDatagram);
    let there = |flavour| request(flavour).unchecked();
    let back = |flavour| reply(flavour).unchecked();
    let (checked, checked_v6) = (request(v4), request(v6));
    vec![
        row(v4, "no checksum").frame(&there(v4), not()),
        row(v4, "no checksum in a flow")
            .frame(&checked, opened(v4, &checked))
            .frame(&there(v4), not())
            .frame(&back(v4), answered(v4, &back(v4))),
        row(v6, "no checksum").frame(&there(v6), opened(v6, &there(v6))),
        row(v6, "no checksum in a reply")
            .frame(&checked_v6, opened(v6, &checked_v6))
            .frame(&back(v6), not()),
    ]
}

/// Mapped addresses stand for others here; from outside they are nobody's.
fn mapped_on_the_wire() -> Vec<Case> {
    let flavour = Flavour::TCP[1];
    let mapped = |address: &str, port| SocketAddr::new(address.parse().expect("an address"), port);
    let client = mapped("::ffff:198.51.100.7", 50_007);
    let service = SocketAddr::new(
        match Version::V4.service(POOL) {
            IpAddr::V4(address) => address.to_ipv6_mapped().into(),
            IpAddr::V6(address) => address.into(),
        },
        80,
    );
    let martian = || Expected::dropped(DropReason::MartianSource);
    vec![
        row(flavour, "from a mapped address")
            .frame(&flavour.packet(client, flavour.service(POOL)), martian()),
        row(flavour, "a reply from a mapped address").frame(
            &flavour.packet(client, SocketAddr::new(flavour.version.own(), SOURCE_PORT)),
            Expected::dropped(DropReason::MappedAddress),
        ),
        row(flavour, "to a mapped address").frame(
            &flavour.packet(flavour.client(Way::Router), service),
            Expected::passed(PassReason::NoService),
        ),
    ]
}
