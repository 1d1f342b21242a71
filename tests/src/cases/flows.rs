//! How flows are remembered: which packets are one flow, who holds a source port, and for how
//! long. There is one source port in these rows, so whoever comes second finds it taken.

use std::net::SocketAddr;

use lb_common::{abi::Direction, datapath::DropReason};

use super::{
    case::{Case, Ends, Expected},
    frame::{ACK, FIN, Frame, RST, SYN},
    outputs::{answered, forwarded, opened},
    places::{Flavour, Pool, Protocol, ROUTER, UPLINK, Version, Way},
};

const POOL: Pool = Pool::Nat;

/// How long a silent flow holds its source port, seconds.
fn silence(flavour: Flavour) -> u32 {
    match flavour.protocol {
        Protocol::Tcp => 7_800,
        Protocol::Udp => 120,
    }
}

/// How long a flow holds its source port after FIN or RST, seconds.
const CLOSING: u32 = 60;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        rows.extend(taken(flavour));
        rows.extend(silent(flavour));
        rows.extend(evicted(flavour));
        rows.extend(recycled(flavour));
        rows.extend(full(flavour));
    }
    for flavour in Flavour::TCP {
        rows.extend(closing(flavour));
        rows.extend(reopened(flavour));
    }
    for version in Version::ALL {
        rows.push(protocols_apart(version));
    }
    rows
}

fn row(flavour: Flavour, what: impl std::fmt::Display) -> Case {
    Case::new(format!("{POOL} {flavour}: {what}"))
}

/// Another client, whose way back is the same.
fn other(flavour: Flavour) -> SocketAddr {
    SocketAddr::new(flavour.version.client_number(Way::Router, 8), 50_008)
}

fn others(flavour: Flavour) -> Frame {
    flavour.packet(other(flavour), flavour.service(POOL))
}

fn taken_port() -> Expected {
    Expected::dropped(DropReason::NoSourcePort)
}

/// The backend's reply goes to the other client.
fn answers_other(flavour: Flavour, input: &Frame) -> Expected {
    let output = input
        .clone()
        .ends(flavour.service(POOL), other(flavour))
        .hop();
    let output = output.link(UPLINK.mac, ROUTER);
    Expected::sent(input, &output, UPLINK).counted(flavour, POOL, Direction::Out, input)
}

fn taken(flavour: Flavour) -> Vec<Case> {
    let (first, second) = (flavour.request(POOL), others(flavour));
    let mut third = flavour.client(Way::Router);
    third.set_port(third.port() + 1);
    let third = flavour.packet(third, flavour.service(POOL));
    let same = flavour.request(Pool::NatSamePort);
    vec![
        row(flavour, "another client finds the port taken")
            .frame(&first, opened(flavour, POOL, &first))
            .frame(&second, taken_port())
            .frame(&first, forwarded(flavour, POOL, &first)),
        row(flavour, "another port of the client is another flow")
            .frame(&first, opened(flavour, POOL, &first))
            .frame(&third, taken_port()),
        row(flavour, "towards another backend the port is free")
            .frame(&first, opened(flavour, POOL, &first))
            .frame(&same, opened(flavour, Pool::NatSamePort, &same)),
    ]
}

/// TCP and UDP have source ports of their own.
fn protocols_apart(version: Version) -> Case {
    let of = |protocol| Flavour { version, protocol };
    let (tcp, udp) = (of(Protocol::Tcp), of(Protocol::Udp));
    let (segment, datagram) = (tcp.request(POOL), udp.request(POOL));
    let (tcp_reply, udp_reply) = (tcp.reply(POOL), udp.reply(POOL));
    row(tcp, "a UDP flow has the same port")
        .frame(&segment, opened(tcp, POOL, &segment))
        .frame(&datagram, opened(udp, POOL, &datagram))
        .frame(&tcp_reply, answered(tcp, POOL, &tcp_reply))
        .frame(&udp_reply, answered(udp, POOL, &udp_reply))
}

/// A flow that says nothing keeps its port for a while, counted from its last packet either way.
fn silent(flavour: Flavour) -> Vec<Case> {
    let (first, second, reply) = (flavour.request(POOL), others(flavour), flavour.reply(POOL));
    let limit = silence(flavour);
    let start = |what| row(flavour, what).frame(&first, opened(flavour, POOL, &first));
    // Its numbers are those of a client that got the answer.
    let (early, third) = (
        reply.clone().sequence(u32::MAX),
        first.clone().sequence(0x0102_0305),
    );
    vec![
        start("late, the packet that commits it counts too")
            .frame(&early, answered(flavour, POOL, &early))
            .advance(limit - 1)
            .frame(&third, forwarded(flavour, POOL, &third))
            .advance(2)
            .frame(&second, taken_port()),
        start("silent, almost long enough")
            .advance(limit - 1)
            .frame(&second, taken_port()),
        start("silent for long enough")
            .advance(limit)
            .frame(&second, opened(flavour, POOL, &second))
            .frame(&reply, answers_other(flavour, &reply))
            .frame(&first, taken_port()),
        start("a client that goes on")
            .advance(limit - 1)
            .frame(&first, forwarded(flavour, POOL, &first))
            .advance(limit - 1)
            .frame(&second, taken_port()),
        start("a backend that goes on")
            .advance(limit - 1)
            .frame(&reply, answered(flavour, POOL, &reply))
            .advance(limit - 1)
            .frame(&second, taken_port())
            .advance(1)
            .frame(&second, opened(flavour, POOL, &second)),
        start("silent for long, and back before anyone")
            .advance(2 * limit)
            .frame(&first, forwarded(flavour, POOL, &first))
            .frame(&second, taken_port()),
    ]
}

/// FIN or RST of either side.
fn closing(flavour: Flavour) -> Vec<Case> {
    let (first, second) = (flavour.request(POOL), others(flavour).flags(SYN));
    let reply = flavour.reply(POOL);
    let mut rows = Vec::new();
    for (name, flags) in [("FIN", FIN | ACK), ("RST", RST)] {
        let (end, end_back) = (first.clone().flags(flags), reply.clone().flags(flags));
        let start = |what| {
            row(flavour, format!("{name} {what}")).frame(&first, opened(flavour, POOL, &first))
        };
        let by_client = |what| start(what).frame(&end, forwarded(flavour, POOL, &end));
        let by_backend = |what| start(what).frame(&end_back, answered(flavour, POOL, &end_back));
        rows.extend([
            by_client("of the client, too early")
                .advance(CLOSING - 1)
                .frame(&second, taken_port()),
            by_client("of the client")
                .advance(CLOSING)
                .frame(&second, opened(flavour, POOL, &second)),
            by_backend("of the backend, too early")
                .advance(CLOSING - 1)
                .frame(&second, taken_port()),
            by_backend("of the backend")
                .advance(CLOSING)
                .frame(&second, opened(flavour, POOL, &second)),
            by_client("of the client, and the backend goes on")
                .advance(CLOSING - 1)
                .frame(&reply, answered(flavour, POOL, &reply))
                .advance(CLOSING - 1)
                .frame(&second, taken_port())
                .advance(1)
                .frame(&second, opened(flavour, POOL, &second))
                .frame(&reply, answers_other(flavour, &reply)),
        ]);
    }
    let fin = first.clone().flags(FIN);
    rows.push(
        row(flavour, "a flow that starts with FIN is closing")
            .frame(&fin, opened(flavour, POOL, &fin))
            .advance(CLOSING)
            .frame(&second, opened(flavour, POOL, &second)),
    );
    rows
}

/// A SYN in a closing flow is a new connection from the same port of the client.
fn reopened(flavour: Flavour) -> Vec<Case> {
    let (ack, second) = (flavour.request(POOL), others(flavour));
    let (syn, fin) = (ack.clone().flags(SYN), ack.clone().flags(FIN | ACK));
    let fin_back = flavour.reply(POOL).flags(FIN | ACK);
    let closed = |what| {
        row(flavour, what)
            .frame(&syn, opened(flavour, POOL, &syn))
            .frame(&fin, forwarded(flavour, POOL, &fin))
    };
    vec![
        closed("a SYN reopens a closing flow")
            .frame(&syn, opened(flavour, POOL, &syn))
            .frame(&ack, forwarded(flavour, POOL, &ack))
            .advance(CLOSING)
            .frame(&second, taken_port()),
        closed("a SYN again counts once")
            .frame(&syn, opened(flavour, POOL, &syn))
            .frame(&syn, forwarded(flavour, POOL, &syn)),
        closed("an ACK does not reopen")
            .frame(&ack, forwarded(flavour, POOL, &ack))
            .advance(CLOSING)
            .frame(&second, opened(flavour, POOL, &second)),
        closed("a reopened flow closes again")
            .frame(&syn, opened(flavour, POOL, &syn))
            .frame(&fin_back, answered(flavour, POOL, &fin_back))
            .advance(CLOSING)
            .frame(&second, opened(flavour, POOL, &second)),
        row(flavour, "a SYN in an open flow")
            .frame(&syn, opened(flavour, POOL, &syn))
            .frame(&syn, forwarded(flavour, POOL, &syn)),
        closed("a SYN reopens a closing flow whose client's entry was evicted")
            .evict(Ends::request(flavour, POOL, flavour.client(Way::Router)))
            .frame(&syn, opened(flavour, POOL, &syn))
            .advance(CLOSING)
            .frame(&second, taken_port()),
    ]
}

/// The kernel evicts entries one by one.
fn evicted(flavour: Flavour) -> Vec<Case> {
    let (first, second, reply) = (flavour.request(POOL), others(flavour), flavour.reply(POOL));
    let clients = Ends::request(flavour, POOL, flavour.client(Way::Router));
    let start = |what| row(flavour, what).frame(&first, opened(flavour, POOL, &first));
    vec![
        start("evicted, the client meets its own port again")
            .evict(clients)
            .frame(&first, opened(flavour, POOL, &first))
            .frame(&reply, answered(flavour, POOL, &reply))
            .frame(&second, taken_port()),
        start("replies still pass when the client's entry is evicted")
            .evict(clients)
            .frame(&reply, answered(flavour, POOL, &reply)),
        start("a port whose client's entry is evicted stays taken")
            .evict(clients)
            .frame(&second, taken_port())
            .advance(silence(flavour))
            .frame(&second, opened(flavour, POOL, &second)),
        start("a reply whose entry is evicted")
            .evict(replies(flavour))
            .frame(&reply, Expected::dropped(DropReason::UnknownFlow)),
        start("a reply's entry that was evicted comes back within a second")
            .evict(replies(flavour))
            .advance(1)
            .frame(&first, forwarded(flavour, POOL, &first))
            .frame(&reply, answered(flavour, POOL, &reply)),
        start("a young flow's reply entry that was evicted comes back with the next packet")
            .evict(replies(flavour))
            .frame(&first, forwarded(flavour, POOL, &first))
            .frame(&reply, answered(flavour, POOL, &reply)),
        start("a young flow's port that another took meanwhile is not used by two")
            .evict(replies(flavour))
            .frame(&second, opened(flavour, POOL, &second))
            .frame(&first, taken_port()),
        start("a port that another took meanwhile is not used by two")
            .evict(replies(flavour))
            .frame(&second, opened(flavour, POOL, &second))
            .advance(1)
            .frame(&first, taken_port()),
        start("both entries evicted")
            .evict(clients)
            .evict(replies(flavour))
            .frame(&reply, Expected::dropped(DropReason::UnknownFlow))
            .frame(&first, opened(flavour, POOL, &first))
            .frame(&reply, answered(flavour, POOL, &reply)),
    ]
}

/// An element of the kernel's table may become another flow's while it is looked at.
fn recycled(flavour: Flavour) -> Vec<Case> {
    let (first, second, reply) = (flavour.request(POOL), others(flavour), flavour.reply(POOL));
    let clients = Ends::request(flavour, POOL, flavour.client(Way::Router));
    let start = |what| row(flavour, what).frame(&first, opened(flavour, POOL, &first));
    let gone = || Expected::dropped(DropReason::FlowEvicted);
    vec![
        start("an entry that became another's")
            .recycle(clients)
            .frame(&first, gone()),
        start("a reply's entry that became another's")
            .recycle(replies(flavour))
            .frame(&reply, gone()),
        start("a port's entry that became another's")
            .recycle(replies(flavour))
            .frame(&second, taken_port()),
    ]
}

fn full(flavour: Flavour) -> Vec<Case> {
    let first = flavour.request(POOL);
    let why = "the kernel's table evicts rather than being full";
    let full = || Expected::dropped(DropReason::FlowTableFull);
    vec![
        row(flavour, "no room for a flow")
            .host_only(why)
            .world(|world| world.flow_capacity = 0)
            .frame(&first, full()),
        row(flavour, "room for one direction only")
            .host_only(why)
            .world(|world| world.flow_capacity = 1)
            .frame(&first, full())
            .frame(
                &flavour.reply(POOL),
                Expected::dropped(DropReason::UnknownFlow),
            )
            .world(|world| world.flow_capacity = 2)
            .frame(&first, opened(flavour, POOL, &first)),
    ]
}

/// The replies of the first client's flow.
fn replies(flavour: Flavour) -> Ends {
    Ends {
        source: flavour.backend(POOL),
        destination: flavour.own(),
        protocol: flavour.protocol,
    }
}
