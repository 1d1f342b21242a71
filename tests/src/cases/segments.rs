//! `mss_clamp`: what ends say of the segments that they take, where both directions pass here.

use lb_common::abi::{Direction, Handshake, Scheduler, ServiceTraits};

use super::{
    case::{Case, Expected},
    frame::{ACK, Frame, SYN},
    outputs::{answer, joined, opened, output},
    places::{BACK, BACKEND, Flavour, Pool, ROUTER, UPLINK, Way},
    world::{World, service_id},
};

/// What the services of these rows allow.
const ALLOWED: u16 = 1300;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::TCP {
        for pool in [Pool::Nat, Pool::NatSamePort, Pool::OneSided] {
            rows.extend(lowered(flavour, pool));
            rows.extend(kept(flavour, pool));
            rows.extend(not_asked(flavour, pool));
        }
        rows.extend(recorded(flavour));
    }
    rows
}

/// Options that say 1460, and the same where they say what is allowed.
const LARGER: [(&str, &[u8], &[u8]); 5] = [
    ("alone", &[2, 4, 5, 180], &[2, 4, 5, 20]),
    (
        "as Linux has them",
        &[
            2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
        ],
        &[2, 4, 5, 20, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7],
    ),
    (
        "at an odd place",
        &[1, 2, 4, 5, 180, 1, 1, 1],
        &[1, 2, 4, 5, 20, 1, 1, 1],
    ),
    (
        "at the end",
        &[1, 3, 3, 7, 2, 4, 255, 255],
        &[1, 3, 3, 7, 2, 4, 5, 20],
    ),
    ("behind the longest", &LAST, &LAST_LOWERED),
];

const LAST: [u8; 40] = last([5, 180]);
const LAST_LOWERED: [u8; 40] = last([5, 20]);

const fn last([a, b]: [u8; 2]) -> [u8; 40] {
    let mut options = [1; 40];
    [options[36], options[37], options[38], options[39]] = [2, 4, a, b];
    options
}

/// Options that stay as they are.
const OTHERS: [(&str, &[u8]); 8] = [
    ("none", &[]),
    ("others", &[1, 3, 3, 7]),
    ("what is allowed", &[2, 4, 5, 20]),
    ("less", &[2, 4, 2, 24]),
    ("behind the end", &[0, 2, 4, 5, 180, 0, 0, 0]),
    ("behind one without a length", &[9, 0, 2, 4, 5, 180, 0, 0]),
    ("of another length", &[2, 3, 255, 2, 5, 255, 255, 255]),
    ("cut short", &[1, 1, 2, 4]),
];

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    Case::new(format!("segment sizes, {pool} {flavour}: {what}"))
        .world(|world| allow(world, flavour, pool))
}

fn allow(world: &mut World, flavour: Flavour, pool: Pool) {
    let service = service_id(flavour, pool);
    world.largest_segments.insert(service, ALLOWED.into());
}

/// The client's first segment; the service's output has other options.
fn asks(flavour: Flavour, pool: Pool, frame: &Frame, options: &[u8]) -> Expected {
    let output = output(flavour, pool, &frame.clone().with_tcp_options(options));
    Expected::sent(frame, &output.link(BACK.mac, BACKEND), BACK)
        .counted(flavour, pool, Direction::In, frame)
        .opens()
}

/// The same of the backend's.
fn accepts(flavour: Flavour, pool: Pool, frame: &Frame, options: &[u8]) -> Expected {
    let lowered = frame.clone().with_tcp_options(options);
    let output = answer(flavour, pool, Way::Router, &lowered).link(UPLINK.mac, ROUTER);
    Expected::sent(frame, &output, UPLINK)
        .counted(flavour, pool, Direction::Out, frame)
        .handshake(Handshake::Answered)
}

/// A segment that asks for a connection, and one that accepts it.
fn handshake(flavour: Flavour, pool: Pool, options: &[u8]) -> [Frame; 2] {
    let ask = flavour.request(pool).flags(SYN).payload(b"");
    let accept = flavour.reply(pool).flags(SYN | ACK).payload(b"");
    [ask, accept].map(|frame| frame.with_tcp_options(options))
}

fn lowered(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let rows = LARGER.map(|(what, said, allowed)| {
        let [ask, accept] = handshake(flavour, pool, said);
        row(flavour, pool, format!("{what}, lowered"))
            .frame(&ask, asks(flavour, pool, &ask, allowed))
            .frame(&accept, accepts(flavour, pool, &accept, allowed))
    });
    rows.into()
}

fn kept(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let rows = OTHERS.map(|(what, said)| {
        let [ask, accept] = handshake(flavour, pool, said);
        row(flavour, pool, format!("{what}, kept"))
            .frame(&ask, opened(flavour, pool, &ask))
            .frame(&accept, accepts(flavour, pool, &accept, said))
    });
    rows.into()
}

/// Segments that may say nothing of it, and services that ask for nothing.
fn not_asked(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let (_, said, _) = LARGER[0];
    let [ask, accept] = handshake(flavour, pool, said);
    let later = ask.clone().flags(ACK).payload(b"ping");
    vec![
        row(flavour, pool, "no SYN").frame(&later, joined(flavour, pool, &later)),
        Case::new(format!("segment sizes, {pool} {flavour}: any"))
            .frame(&ask, opened(flavour, pool, &ask))
            .frame(&accept, accepts(flavour, pool, &accept, said)),
    ]
}

/// `nat` where flows are recorded.
fn recorded(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::OneSided;
    let (_, said, allowed) = LARGER[1];
    let [ask, accept] = handshake(flavour, pool, said);
    let case = row(flavour, pool, "recorded, lowered").world(|world| {
        world.record_flows(flavour, pool, ServiceTraits::TRACKED, Scheduler::Hash);
    });
    vec![
        case.frame(&ask, asks(flavour, pool, &ask, allowed))
            .frame(&accept, accepts(flavour, pool, &accept, allowed)),
    ]
}
