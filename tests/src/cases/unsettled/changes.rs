//! Slots that change while they change, and packets that the flow's client did not send: the
//! counter-examples to an earlier wording of the rules. The slots are as the agent would make them.

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
        stories.extend(moves(flavour));
        stories.extend(deaths(flavour));
        stories.extend(forged(flavour));
    }
    for flavour in Flavour::TCP {
        stories.extend(forged_end(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

fn moves(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("changes, {what}"));
    vec![
        row("there and back")
            .slot(settled(A))
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(mixed(A))
            .gets(Next, B),
        row("there and back, who was seen at first")
            .slot(settled(A))
            .gets(Open, A)
            .slot(moving(B, A))
            .gets(Next, A)
            .slot(mixed(A))
            .gets(Next, A)
            .slot(moving(C, A))
            .gets(Next, A),
        row("there and back, and there again")
            .slot(settled(A))
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(mixed(A))
            .slot(moving(B, A))
            .gets(Next, B),
        row("in a mixture")
            .slot(moving(B, A))
            .slot(mixed(B))
            .gets(Open, B)
            .slot(moving(A, B))
            .gets(Next, B),
        row("in a mixture, an older flow")
            .slot(moving(B, A))
            .gets(Other, A)
            .slot(mixed(B))
            .slot(moving(C, B))
            .gets(Other, A)
            .slot(mixed(C))
            .gets(Other, A)
            .slot(settled(C))
            .gets(Other, C),
        row("in motion")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(moving(C, A))
            .gets(Next, B)
            .slot(mixed(C))
            .gets(Next, B),
    ]
}

fn deaths(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("deaths, {what}"));
    vec![
        row("current, in motion, and an old flow")
            .slot(settled(A))
            .gets(Open, A)
            .slot(moving(B, A))
            .dies(B)
            .slot(moving(C, A))
            .gets(Next, A)
            .slot(mixed(C))
            .gets(Next, A),
        row("current, in motion, and its own flow")
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Next, B)
            .dies(B)
            .slot(moving(C, A))
            .gets(Next, C)
            .slot(mixed(A))
            .gets(Next, C),
        row("the first of three, and a flow of the second")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(moving(C, A))
            .dies(A)
            .slot(mixed(C))
            .gets(Next, B),
        row("the previous one, and a new flow")
            .slot(moving(B, A))
            .dies(A)
            .slot(mixed(B))
            .gets(Open, B)
            .gets(Next, B)
            .slot(moving(C, B))
            .gets(Next, B),
        row("the previous one, and its recorded flow")
            .slot(moving(B, A))
            .gets(Other, A)
            .dies(A)
            .slot(mixed(B))
            .gets(Other, B)
            .slot(moving(C, B))
            .gets(Other, B),
    ]
}

/// Another forges what opens a flow.
fn forged(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("forged, {what}"));
    vec![
        row("an opening of a flow that was not seen")
            .slot(settled(A))
            .gets(Other, A)
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Other, A)
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Other, A),
        row("an opening of a recorded flow")
            .slot(moving(B, A))
            .gets(Other, A)
            .gets(Open, A)
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Open, A)
            .gets(Other, A),
        row("openings again and again")
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Open, B)
            .slot(mixed(B))
            .gets(Open, B)
            .slot(moving(C, B))
            .gets(Open, B)
            .gets(Other, A),
        row("an opening that is seen when the slot has gone on")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(mixed(B))
            .slot(moving(C, B))
            .gets(Other, A),
    ]
}

/// Another forges a FIN, too.
fn forged_end(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("forged, {what}"));
    vec![
        row("a FIN, then a SYN")
            .slot(moving(B, A))
            .gets(Other, A)
            .gets(Fin, A)
            .gets(Open, B)
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Other, A),
        row("a FIN, then a SYN, in a mixture")
            .slot(moving(B, A))
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Fin, A)
            .gets(Open, B)
            .gets(Other, A),
        row("a FIN of a flow that was not seen, then a SYN")
            .slot(moving(B, A))
            .gets(Fin, A)
            .gets(Open, B)
            .gets(Other, A),
    ]
}
