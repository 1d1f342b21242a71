//! Packets of flows that have an exception that is closing.

use lb_common::datapath::DropReason;

use super::{
    super::{case::Case, places::Flavour},
    known::{GONE, Gone},
    story::{
        A, B, C, NOBODY,
        Sent::{Fin, Next, Open, Other},
        Story, mixed, moving,
    },
};

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::TCP {
        stories.extend(alive(flavour));
        for (how, gone) in GONE {
            stories.extend(to_gone(flavour, how, gone));
        }
    }
    stories.into_iter().map(Story::row).collect()
}

/// CLOSING(A), in MOVING(B).
fn alive(flavour: Flavour) -> Vec<Story> {
    let row = |what| {
        Story::new(flavour, format!("closing, {what}"))
            .slot(moving(B, A))
            .gets(Other, A)
            .gets(Fin, A)
    };
    vec![
        row("what goes on commits again")
            .gets(Other, A)
            .gets(Open, A)
            .gets(Next, A),
        row("a FIN again leaves it closing")
            .gets(Fin, A)
            .gets(Open, B),
        row("what opens goes to current, tentatively")
            .gets(Open, B)
            .gets(Next, B)
            .gets(Other, B),
        row("what opens has the old one as fallback")
            .gets(Open, B)
            .gets(Other, A)
            .gets(Open, A),
        row("mixed, what goes on commits again")
            .slot(mixed(C))
            .gets(Other, A)
            .gets(Open, A),
        row("mixed, what opens goes to current, tentatively")
            .slot(mixed(C))
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Next, C),
        row("mixed, what opens has the old one as fallback")
            .slot(mixed(C))
            .gets(Open, C)
            .gets(Other, A),
        row("what opens while nobody is current is refused")
            .slot(moving(NOBODY, A))
            .loses(Open, DropReason::NoBackend),
        row("what is refused while nobody is current changes nothing")
            .slot(moving(NOBODY, A))
            .loses(Open, DropReason::NoBackend)
            .slot(mixed(B))
            .gets(Next, A)
            .gets(Other, A)
            .gets(Open, A),
    ]
}

/// CLOSING, its backend gone.
fn to_gone(flavour: Flavour, how: &str, gone: Gone) -> Vec<Story> {
    let to_b = |what| {
        let story = Story::new(flavour, format!("closing at {how}, {what}"))
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Next, B)
            .gets(Other, B)
            .gets(Fin, B);
        gone(story, B).slot(moving(C, A))
    };
    vec![
        to_b("what goes on goes to current, committed to it")
            .gets(Other, C)
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Other, C),
        to_b("a FIN goes to current, and closes")
            .gets(Fin, C)
            .slot(mixed(A))
            .gets(Open, A)
            .gets(Other, C),
        to_b("what opens goes to current, tentatively")
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Next, C),
        to_b("what opens has the miss as fallback")
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Other, A),
    ]
}
