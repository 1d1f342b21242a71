//! Services that reset a flow whose backend is gone (`on_down = "reset"`): its packets are dropped, and
//! answered where the rates allow it.

use lb_common::abi::Fate;
use lb_common::datapath::DropReason;

use super::{
    super::{case::Case, places::Flavour},
    story::{
        A, B, C,
        Sent::{Fin, Next, Open, Other},
        Story, mixed, moving, settled,
    },
};

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::ALL {
        stories.extend(recorded(flavour));
        stories.extend(opened(flavour));
        stories.extend(ended(flavour));
    }
    for flavour in Flavour::TCP {
        stories.push(not_following(flavour));
        stories.push(told(flavour));
        stories.extend(closing(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// COMMITTED to a backend that dies or is replaced.
fn recorded(flavour: Flavour) -> Vec<Story> {
    let gone = DropReason::BackendGone;
    let row = |what| {
        Story::resetting(flavour, what)
            .slot(moving(B, A))
            .gets(Other, A)
    };
    vec![
        row("a flow of a dead backend")
            .dies(A)
            .slot(mixed(B))
            .loses(Other, gone)
            .loses(Next, gone)
            .loses(Other, gone),
        row("a flow of a replaced backend")
            .replaced(A)
            .slot(mixed(B))
            .loses(Other, gone),
        row("what opens anew is not")
            .dies(A)
            .slot(mixed(B))
            .gets(Open, B)
            .gets(Next, B),
        row("a flow of a living backend is not")
            .slot(mixed(B))
            .gets(Other, A),
        row("a flow without an exception is not")
            .slot(moving(B, A))
            .dies(A)
            .slot(mixed(B))
            .client(8)
            .gets(Other, B)
            .gets(Next, B),
        row("a settled slot is not")
            .dies(A)
            .slot(settled(B))
            .gets(Other, B),
    ]
}

/// COMMITTED to a backend that says what becomes of its flows, whatever their service does.
fn ended(flavour: Flavour) -> Vec<Story> {
    let gone = DropReason::BackendGone;
    let recorded = |story: Story| story.slot(moving(B, A)).gets(Other, A);
    vec![
        recorded(Story::new(
            flavour,
            "a flow of a backend whose flows are reset",
        ))
        .ended(A, Fate::Reset)
        .slot(mixed(B))
        .loses(Other, gone)
        .gets(Open, B),
        recorded(Story::new(
            flavour,
            "a flow of a backend whose flows are dropped",
        ))
        .ended(A, Fate::Drop)
        .slot(mixed(B))
        .loses(Other, gone)
        .loses(Next, gone),
        recorded(Story::resetting(flavour, "its place is another's by now"))
            .ended(A, Fate::Drop)
            .replaced(A)
            .slot(mixed(B))
            .loses(Other, gone),
    ]
}

/// TENTATIVE at a backend that dies.
fn opened(flavour: Flavour) -> Vec<Story> {
    let gone = DropReason::BackendGone;
    let row = |what| {
        Story::resetting(flavour, what)
            .slot(moving(B, A))
            .gets(Open, B)
    };
    vec![
        row("a tentative flow of a dead backend")
            .dies(B)
            .slot(moving(C, A))
            .loses(Next, gone)
            .loses(Next, gone),
        row("what does not follow has its fallback")
            .dies(B)
            .slot(moving(C, A))
            .gets(Other, A)
            .gets(Next, A),
        row("nor if both are dead")
            .dies(A)
            .dies(B)
            .slot(mixed(C))
            .gets(Other, C)
            .gets(Next, C),
    ]
}

/// TENTATIVE with a fallback that dies. (Of QUIC: see `inconclusive`.)
fn not_following(flavour: Flavour) -> Story {
    let what = "what does not follow is not, its fallback dead";
    Story::resetting(flavour, what)
        .slot(moving(B, A))
        .gets(Open, B)
        .dies(A)
        .slot(mixed(C))
        .gets(Other, C)
        .gets(Next, C)
}

/// The client is told.
fn told(flavour: Flavour) -> Story {
    Story::resetting(flavour, "the client is told")
        .world(|world| world.allow_replies(100, 100))
        .slot(moving(B, A))
        .gets(Other, A)
        .dies(A)
        .slot(mixed(B))
        .told(Other)
        .told(Other)
}

/// What ends such a flow, and what comes then.
fn closing(flavour: Flavour) -> Vec<Story> {
    let gone = DropReason::BackendGone;
    let row = |what| {
        Story::resetting(flavour, what)
            .slot(moving(B, A))
            .gets(Other, A)
    };
    vec![
        row("a FIN of a dead backend's flow")
            .dies(A)
            .slot(mixed(B))
            .loses(Fin, gone),
        row("a closing flow of a dead backend")
            .gets(Fin, A)
            .dies(A)
            .slot(mixed(B))
            .loses(Other, gone)
            .gets(Open, B)
            .gets(Next, B),
    ]
}
