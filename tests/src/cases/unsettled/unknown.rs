//! Packets of flows that have no exception, in every phase.

use lb_common::{
    abi::Recorded::{Data, Open as Opening},
    datapath::DropReason,
};

use super::{
    super::{
        case::Case,
        frame::{ACK, FIN, RST, SYN},
        places::Flavour,
    },
    story::{
        A, B, C, FAR, ISN, NOBODY,
        Sent::{Fin, Next, Open, Other, Segment},
        Story, mixed, moving, settled,
    },
};

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::ALL {
        stories.extend(at_rest(flavour));
        stories.extend(in_motion(flavour));
        stories.extend(in_a_mixture(flavour));
        stories.extend(nobody(flavour));
        stories.extend(recycled(flavour));
    }
    for flavour in Flavour::TCP {
        stories.extend(closing(flavour));
        stories.extend(flags(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// SETTLED: the current backend, no look-up, no record.
fn at_rest(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("settled, {what}"));
    vec![
        row("everything goes to current")
            .slot(settled(B))
            .gets(Open, B)
            .gets(Next, B)
            .gets(Other, B),
        row("nothing is remembered of what goes on")
            .slot(settled(A))
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Other, B),
        row("nothing is remembered of what opens")
            .slot(settled(A))
            .gets(Open, A)
            .slot(mixed(B))
            .gets(Next, B),
        row("nobody looks an exception up, or changes it")
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Next, B)
            .slot(settled(C))
            .gets(Open, C)
            .gets(Other, C)
            .slot(mixed(C))
            .gets(Other, B),
        row("a tentative exception is not told of")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(settled(C))
            .gets(Other, C)
            .slot(mixed(C))
            .gets(Next, B),
    ]
}

/// MOVING: what opens a flow goes to current and is recorded, the rest to the previous one.
fn in_motion(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("moving, {what}"));
    vec![
        row("what opens goes to current, and what follows")
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Next, B)
            .gets(Other, B),
        row("what opens is recorded")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(mixed(C))
            .gets(Next, B),
        row("what opens is recorded with the previous one as a fallback")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(mixed(C))
            .gets(Other, A),
        row("what goes on stays")
            .slot(moving(B, A))
            .gets(Other, A)
            .gets(Next, A),
        row("what goes on is recorded")
            .slot(moving(B, A))
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Other, A),
        row("what goes on is committed to")
            .slot(moving(B, A))
            .gets(Next, A)
            .slot(mixed(B))
            .gets(Open, A)
            .gets(Next, A),
        row("to where it was before is still a motion")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(moving(A, A))
            .gets(Next, B),
        row("to where it was before, flows are recorded")
            .slot(moving(A, A))
            .client(1)
            .gets(Other, A)
            .client(2)
            .gets(Open, A)
            .slot(mixed(B))
            .gets(Next, A)
            .client(1)
            .gets(Other, A),
        row("each flow for itself")
            .slot(moving(B, A))
            .client(1)
            .gets(Open, B)
            .client(2)
            .gets(Other, A)
            .client(3)
            .gets(Open, B)
            .slot(mixed(C))
            .client(1)
            .gets(Next, B)
            .client(2)
            .gets(Next, A)
            .client(3)
            .gets(Other, A)
            .client(4)
            .gets(Other, C),
    ]
}

/// MIXED: the current backend, no record.
fn in_a_mixture(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("mixed, {what}"));
    vec![
        row("everything goes to current")
            .slot(mixed(B))
            .gets(Other, B)
            .gets(Open, B)
            .gets(Next, B),
        row("what opens is not recorded")
            .slot(mixed(B))
            .gets(Open, B)
            .slot(mixed(C))
            .gets(Next, C),
        row("what goes on is not recorded")
            .slot(mixed(B))
            .gets(Other, B)
            .slot(mixed(C))
            .gets(Other, C),
    ]
}

/// Nobody can have what is new.
fn nobody(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("nobody is current, {what}"));
    let none = DropReason::NoBackend;
    vec![
        row("moving, what goes on stays, and is recorded")
            .slot(moving(NOBODY, A))
            .gets(Other, A)
            .gets(Open, A)
            .slot(mixed(B))
            .gets(Other, A),
        row("moving, nothing new, and nothing of it is recorded")
            .slot(moving(NOBODY, A))
            .loses(Open, none)
            .loses(Open, none)
            .slot(mixed(B))
            .gets(Other, B)
            .gets(Next, B),
        row("mixed, nothing")
            .slot(mixed(NOBODY))
            .loses(Open, none)
            .loses(Other, none),
        row("mixed, who is recorded stays")
            .slot(moving(B, A))
            .gets(Other, A)
            .slot(mixed(NOBODY))
            .gets(Other, A)
            .gets(Open, A),
        row("what opens again stays where it was opened")
            .slot(moving(B, A))
            .gets(Open, B)
            .slot(moving(NOBODY, A))
            .gets(Open, B)
            .gets(Next, B),
        row("a recorded flow's backend dies")
            .slot(moving(B, A))
            .gets(Other, A)
            .dies(A)
            .slot(mixed(NOBODY))
            .loses(Other, none)
            .loses(Open, none)
            .slot(mixed(C))
            .gets(Other, C),
        row("a recorded flow's backend is dead for a while")
            .slot(moving(B, A))
            .gets(Other, A)
            .dies(A)
            .slot(mixed(NOBODY))
            .loses(Other, none)
            .returns(A)
            .slot(mixed(B))
            .gets(Other, A),
        row("a recorded flow's backend is dead for a while, and a packet opens it again")
            .slot(moving(B, A))
            .gets(Other, A)
            .dies(A)
            .slot(mixed(NOBODY))
            .loses(Open, none)
            .returns(A)
            .slot(mixed(B))
            .gets(Next, A),
        row("a tentative flow's backend dies, its fallback does not")
            .slot(moving(B, A))
            .gets(Open, B)
            .dies(B)
            .slot(mixed(NOBODY))
            .loses(Next, none)
            .slot(mixed(C))
            .gets(Open, C)
            .gets(Other, A),
        row("a tentative flow's backends die")
            .slot(moving(B, A))
            .gets(Open, B)
            .dies(A)
            .dies(B)
            .slot(mixed(NOBODY))
            .loses(Other, none)
            .loses(Open, none)
            .loses(Next, none)
            .slot(mixed(C))
            .gets(Next, C),
    ]
}

/// An element of the kernel's map may become another flow's while it is looked at: no exception,
/// and it is not written to.
fn recycled(flavour: Flavour) -> Vec<Story> {
    let row = |what| {
        Story::new(flavour, format!("recycled, {what}"))
            .slot(moving(B, A))
            .gets(Open, B)
            .recycled()
    };
    vec![
        row("what goes on is of no exception").unrecorded(Next, A, Data),
        row("what opens is of no exception").unrecorded(Open, A, Opening),
        row("nothing is written")
            .unrecorded(Other, A, Data)
            .unrecorded(Open, A, Opening)
            .recycled()
            .gets(Next, B),
        row("mixed, the current one")
            .slot(mixed(C))
            .gets(Next, C)
            .gets(Open, C)
            .recycled()
            .gets(Next, B),
    ]
}

/// What ends a flow goes where the flow goes, but makes no exception.
fn closing(flavour: Flavour) -> Vec<Story> {
    let mut stories = Vec::new();
    for (name, flags) in [("FIN", FIN | ACK), ("RST", RST), ("RST-ACK", RST | ACK)] {
        let end = Segment(flags, FAR);
        let row = |what| Story::new(flavour, format!("{name}, {what}"));
        stories.extend([
            row("settled").slot(settled(B)).gets(end.clone(), B),
            row("moving, to the previous one, unrecorded")
                .slot(moving(B, A))
                .gets(end.clone(), A)
                .slot(mixed(B))
                .gets(Other, B),
            row("mixed, unrecorded")
                .slot(mixed(B))
                .gets(end.clone(), B)
                .slot(mixed(C))
                .gets(Other, C),
        ]);
    }
    stories
}

/// Only a SYN alone opens a flow.
fn flags(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("flags {what}")).slot(moving(B, A));
    let recorded = |story: Story| story.slot(mixed(B)).gets(Other, A);
    let unrecorded = |story: Story| story.slot(mixed(B)).gets(Other, B);
    vec![
        recorded(row("SYN-ACK").gets(Segment(SYN | ACK, ISN), A)),
        recorded(row("none").gets(Segment(0, ISN), A)),
        unrecorded(row("SYN and FIN").gets(Segment(SYN | FIN, ISN), A)),
        unrecorded(row("SYN and RST").gets(Segment(SYN | RST, ISN), A)),
        row("SYN with others")
            .gets(Segment(SYN | 0x08 | 0xc0, ISN), B)
            .gets(Next, B),
        // A FIN that comes first ends nothing that would have to be known.
        row("FIN, then on")
            .gets(Fin, A)
            .gets(Other, A)
            .gets(Open, A),
    ]
}
