//! Which packets of QUIC open a flow, and which prove that the flow is whose it seems to be
//! (RFC 9000, section 17.2; RFC 9369, section 3.2).

use super::{
    super::{case::Case, places::Flavour},
    story::{
        A, B,
        Sent::{self, Datagram, Next, Open, Other},
        Story, mixed, moving, quic,
    },
};

pub(super) const V1: u32 = 1;
pub(super) const V2: u32 = 0x6b33_43cf;
/// A draft's.
pub(super) const UNKNOWN: u32 = 0xff00_001d;

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::UDP {
        stories.extend(opening(flavour));
        stories.extend(proving(flavour));
        stories.extend(overtaking(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

fn datagram(first: u8, version: u32, length: usize) -> Sent {
    Datagram(quic(first, version, length))
}

/// What opens a flow goes to the current backend of a moving slot, all else to the previous one.
fn opening(flavour: Flavour) -> impl Iterator<Item = Story> {
    let all = [
        ("Initial of version 1", 0xc0, V1, 1200, B),
        ("Initial of version 1, other low bits", 0xcf, V1, 1200, B),
        ("Initial of version 1, short", 0xc0, V1, 60, B),
        ("0-RTT of version 1", 0xd0, V1, 1200, A),
        ("Handshake of version 1", 0xe0, V1, 1200, A),
        ("Retry of version 1", 0xf0, V1, 1200, A),
        ("Initial of version 2", 0xd0, V2, 1200, B),
        ("Initial of version 2, other low bits", 0xdf, V2, 1200, B),
        ("Initial of version 2, short", 0xd0, V2, 60, B),
        ("0-RTT of version 2", 0xe0, V2, 1200, A),
        ("Handshake of version 2", 0xf0, V2, 1200, A),
        ("Retry of version 2", 0xc0, V2, 1200, A),
        ("type 0 of an unknown version", 0xc0, UNKNOWN, 1200, B),
        ("type 1 of an unknown version", 0xd0, UNKNOWN, 1200, B),
        ("type 2 of an unknown version", 0xe0, UNKNOWN, 1200, B),
        ("type 3 of an unknown version", 0xf0, UNKNOWN, 1200, B),
        ("an unknown version, longer", 0xc0, UNKNOWN, 1201, B),
        ("an unknown version, too short", 0xc0, UNKNOWN, 1199, A),
        (
            "type 3 of an unknown version, too short",
            0xf0,
            UNKNOWN,
            1199,
            A,
        ),
        ("a short header", 0x40, V1, 1200, A),
        ("a short header with all other bits", 0x7f, UNKNOWN, 1200, A),
        ("four bytes", 0xc0, V1, 4, A),
    ];
    all.into_iter()
        .map(move |(what, first, version, length, backend)| {
            let sent = match length {
                4 => Datagram(vec![first, 0, 0, 0]),
                _ => datagram(first, version, length),
            };
            // Recorded either way: tentatively, or committed.
            Story::new(flavour, format!("QUIC, {what}"))
                .slot(moving(B, A))
                .gets(sent, backend)
                .slot(mixed(B))
                .gets(Other, A)
        })
}

/// What only who got an answer to an Initial can send commits to its backend. (All else proves
/// nothing: see `inconclusive`.)
fn proving(flavour: Flavour) -> impl Iterator<Item = Story> {
    let all = [
        ("0-RTT of version 1", 0xd0, V1),
        ("Handshake of version 1", 0xe0, V1),
        ("0-RTT of version 2", 0xe0, V2),
        ("Handshake of version 2", 0xf0, V2),
    ];
    all.into_iter().map(move |(what, first, version)| {
        Story::new(flavour, format!("QUIC, an Initial, then {what}"))
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(datagram(first, version, 300), B)
            .slot(mixed(A))
            .gets(Next, B)
            .gets(Other, B)
            .gets(Open, B)
    })
}

/// 0-RTT may be there before the Initial that it belongs to.
fn overtaking(flavour: Flavour) -> Vec<Story> {
    let early = || datagram(0xd0, V1, 1200);
    let row = |what| Story::new(flavour, format!("QUIC, {what}"));
    vec![
        row("0-RTT overtakes the Initial")
            .slot(moving(B, A))
            .gets(early(), A)
            .gets(Open, A)
            .gets(Next, A)
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Open, A)
            .gets(Other, A),
        row("the client's second Initial")
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Open, B)
            .gets(Next, B)
            .gets(Other, B)
            .gets(Open, B),
    ]
}
