//! Packets of QUIC that prove nothing, of a flow that an Initial has opened tentatively: a short
//! header may be the old connection's, or the new one's whose Handshake was lost or overtaken. So it
//! goes to the fallback, or if that is gone to the flow's own backend, and the exception stays
//! tentative: the Handshake that comes later commits it.

use lb_common::abi::ServiceTraits;

use super::{
    super::{case::Case, places::Flavour},
    known::{GONE, Gone},
    quic::{UNKNOWN, V1, V2},
    story::{
        A, B, C, NOBODY,
        Sent::{self, Datagram, Next, Open, Other},
        Story, mixed, moving, quic,
    },
};

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::UDP {
        stories.extend(proving_nothing(flavour));
        stories.extend(in_every_phase(flavour));
        stories.extend(opened_again(flavour));
        stories.extend(reset(flavour));
        stories.push(other_service(flavour));
        for (how, gone) in GONE {
            stories.extend(without_fallback(flavour, how, gone));
            stories.extend(without_backend(flavour, how, gone));
        }
    }
    stories.into_iter().map(Story::row).collect()
}

/// TENTATIVE(B, fallback A), in MOVING(B).
fn row(flavour: Flavour, what: impl std::fmt::Display) -> Story {
    Story::new(flavour, format!("inconclusive, {what}"))
        .slot(moving(B, A))
        .gets(Open, B)
}

/// Each kind of them: to the fallback, again and again, until a Handshake comes.
fn proving_nothing(flavour: Flavour) -> impl Iterator<Item = Story> {
    let datagram = |first, version, length| Datagram(quic(first, version, length));
    let all = [
        ("Retry of version 1", datagram(0xf0, V1, 300)),
        ("Retry of version 2", datagram(0xc0, V2, 300)),
        (
            "a long header of an unknown version",
            datagram(0xe0, UNKNOWN, 1199),
        ),
        ("a short header", datagram(0x40, V1, 300)),
        ("a short header with a type's bits", datagram(0x6f, V1, 300)),
        ("a short header of a byte", Datagram(vec![0x40])),
        ("four bytes", Datagram(vec![0xe0, 0, 0, 0])),
        ("nothing", Datagram(Vec::new())),
    ];
    all.into_iter().map(move |(what, sent): (_, Sent)| {
        row(flavour, what)
            .gets(sent.clone(), A)
            .gets(sent.clone(), A)
            .gets(Next, B)
            .gets(sent.clone(), B)
            .gets(Open, B)
            .slot(mixed(C))
            .gets(sent, B)
            .gets(Other, B)
    })
}

/// Neither the slot's phase nor who is current or previous now counts.
fn in_every_phase(flavour: Flavour) -> Vec<Story> {
    let row = |what| row(flavour, what);
    vec![
        row("mixed").slot(mixed(C)).gets(Other, A).gets(Next, B),
        row("mixed, it stays tentative")
            .gets(Other, A)
            .slot(mixed(C))
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Next, B)
            .gets(Other, B),
        row("moving on")
            .slot(mixed(B))
            .slot(moving(C, B))
            .gets(Other, A)
            .gets(Next, B),
        row("nobody is current")
            .slot(mixed(NOBODY))
            .gets(Other, A)
            .gets(Next, B),
        row("nobody is current, the fallback is dead")
            .dies(A)
            .slot(mixed(NOBODY))
            .gets(Other, B)
            .gets(Next, B),
        row("the Handshake came first")
            .gets(Next, B)
            .gets(Other, B)
            .slot(mixed(A))
            .gets(Other, B),
    ]
}

/// The client's Initial comes once more, before or behind it.
fn opened_again(flavour: Flavour) -> Vec<Story> {
    let row = |what| row(flavour, what);
    vec![
        row("behind a second Initial")
            .gets(Open, B)
            .gets(Other, A)
            .gets(Next, B)
            .gets(Other, B),
        row("before a second Initial")
            .gets(Other, A)
            .gets(Open, B)
            .gets(Other, A)
            .gets(Next, B),
        row("before a second Initial, when the slot has moved on")
            .gets(Other, A)
            .slot(mixed(B))
            .slot(moving(C, B))
            .gets(Open, B)
            .gets(Other, A)
            .gets(Next, B),
    ]
}

/// The fallback is gone: the flow's own backend, wherever the slot leads now.
fn without_fallback(flavour: Flavour, how: &str, gone: Gone) -> Vec<Story> {
    let start = |what| gone(row(flavour, format!("fallback {how}, {what}")), A);
    vec![
        start("moving").gets(Other, B).gets(Next, B).gets(Other, B),
        start("mixed")
            .slot(mixed(C))
            .gets(Other, B)
            .gets(Other, B)
            .gets(Open, B)
            .gets(Next, B),
        start("later")
            .slot(moving(C, B))
            .gets(Other, B)
            .slot(mixed(A))
            .gets(Next, B)
            .gets(Other, B),
        gone(start("then the backend").slot(mixed(C)).gets(Other, B), B)
            .gets(Other, C)
            .slot(mixed(A))
            .gets(Next, C)
            .gets(Open, C),
    ]
}

/// The flow's own backend is gone: the fallback, committed to it.
fn without_backend(flavour: Flavour, how: &str, gone: Gone) -> Vec<Story> {
    let start = |what| row(flavour, format!("backend {how}, {what}")).gets(Other, A);
    vec![
        gone(start("what proves nothing commits to the fallback"), B)
            .slot(moving(C, A))
            .gets(Other, A)
            .slot(mixed(C))
            .gets(Next, A)
            .gets(Open, A),
        gone(start("a Handshake commits to current"), B)
            .slot(moving(C, A))
            .gets(Next, C)
            .slot(mixed(A))
            .gets(Other, C),
        gone(start("a second Initial keeps the fallback"), B)
            .slot(mixed(C))
            .gets(Open, C)
            .gets(Other, A)
            .gets(Next, C)
            .gets(Other, C),
    ]
}

/// A service that resets the flows of dead backends, and a fallback that was dead for a while.
fn reset(flavour: Flavour) -> Vec<Story> {
    let start = |what| {
        Story::resetting(flavour, format!("inconclusive, {what}"))
            .slot(moving(B, A))
            .gets(Open, B)
    };
    vec![
        start("the fallback dead is no reason")
            .dies(A)
            .slot(mixed(C))
            .gets(Other, B)
            .gets(Next, B),
        row(flavour, "a fallback that is dead for a while")
            .dies(A)
            .gets(Other, B)
            .returns(A)
            .gets(Other, A)
            .gets(Next, B),
        // Committed to the fallback, it is not the backend's when that returns.
        row(flavour, "a backend that is dead for a while")
            .gets(Other, A)
            .dies(B)
            .slot(moving(C, A))
            .gets(Other, A)
            .returns(B)
            .gets(Other, A)
            .gets(Next, A),
    ]
}

/// Where UDP is not QUIC (any more), no datagram proves anything.
fn other_service(flavour: Flavour) -> Story {
    row(flavour, "the service is no more QUIC")
        .traits(ServiceTraits::NONE)
        .gets(Next, A)
        .gets(Open, A)
        .traits(ServiceTraits::QUIC)
        .gets(Next, B)
        .gets(Other, B)
}
