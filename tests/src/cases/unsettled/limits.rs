//! How much is recorded, and what packets get that are not: what they would get if nothing had
//! changed. So nothing that floods the table breaks a flow.

use lb_common::abi::{
    RecordLimits,
    Recorded::{Data, Open as Opening},
};

use super::{
    super::{
        case::Case,
        frame::{ACK, FIN},
        outputs::forwarded,
        places::{Flavour, Pool, Protocol, Version},
        world::{backend_index, table},
    },
    story::{
        A, B, C, FAR,
        Sent::{Next, Open, Other, Segment},
        Story, mixed, moving,
    },
};

/// Entries of a family's table. Two are kept for what opens a flow.
const CAPACITY: u8 = 8;
const FOR_DATA: u8 = 6;
/// Of each kind, in a second.
const RATE: u8 = 5;

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::ALL {
        stories.extend(full(flavour));
        stories.extend(rates(flavour));
    }
    for flavour in Flavour::TCP {
        stories.push(refused_end(flavour));
    }
    let rows = stories.into_iter().map(Story::row);
    rows.chain(Flavour::ALL.map(families_apart)).collect()
}

fn row(flavour: Flavour, what: &str) -> Story {
    let limits = RecordLimits {
        capacity: CAPACITY.into(),
        rate: RATE.into(),
    };
    Story::new(flavour, format!("limits, {what}"))
        .world(|world| world.constants.limits = limits)
        .slot(moving(B, A))
}

/// So many clients after `first` open flows, a second apart.
fn open(story: Story, first: u8, count: u8) -> Story {
    (first..first + count).fold(story, |story, n| story.client(n).gets(Open, B).advance(1))
}

/// So many clients after `first` go on with theirs, a second apart.
fn go_on(story: Story, first: u8, count: u8) -> Story {
    (first..first + count).fold(story, |story, n| story.client(n).gets(Other, A).advance(1))
}

/// The table is full.
fn full(flavour: Flavour) -> Vec<Story> {
    let opened = |what| open(row(flavour, what), 1, CAPACITY).client(100);
    let gone_on = |what| go_on(row(flavour, what), 1, FOR_DATA).client(100);
    let changing = opened("full, exceptions are followed and change");
    let kept = opened("who is recorded stays so").unrecorded(Open, A, Opening);
    let kept = (1..=CAPACITY).fold(kept.slot(mixed(C)), |story, n| {
        story.client(n).gets(Next, B)
    });
    vec![
        kept,
        opened("full, what opens goes to the previous one, and stays there")
            .unrecorded(Open, A, Opening)
            .unrecorded(Next, A, Data)
            .unrecorded(Open, A, Opening),
        opened("full, nothing of it is remembered")
            .unrecorded(Open, A, Opening)
            .unrecorded(Other, A, Data)
            .slot(mixed(B))
            .gets(Other, B),
        committed_both_ways(changing),
        opened("full, there is room again")
            .client(3)
            .swept()
            .client(100)
            .gets(Open, B)
            .gets(Next, B),
        gone_on("a quarter is kept for what opens").unrecorded(Other, A, Data),
        open(
            gone_on("a quarter is there for what opens"),
            50,
            CAPACITY - FOR_DATA,
        )
        .client(100)
        .unrecorded(Open, A, Opening),
        go_on(
            open(row(flavour, "what opens counts for what goes on"), 50, 2),
            1,
            4,
        )
        .client(100)
        .unrecorded(Other, A, Data)
        .gets(Open, B),
        gone_on("what is refused and not told of is never settled")
            .unrecorded(Other, A, Data)
            .unrecorded(Other, A, Data)
            .client(1)
            .swept()
            .client(100)
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Other, A),
    ]
}

/// Each family has a table of its own.
fn families_apart(flavour: Flavour) -> Case {
    let version = match flavour.version {
        Version::V4 => Version::V6,
        Version::V6 => Version::V4,
    };
    let other = Flavour { version, ..flavour };
    let (frame, index) = (
        other.request(Pool::Ipip),
        backend_index(version, Pool::Ipip),
    );
    let full = open(row(flavour, "full, the other family is not"), 1, CAPACITY);
    full.world(|world| {
        let slot = moving(index, index);
        world.slots.insert(table(version, Pool::Ipip), vec![slot]);
    })
    .row()
    .frame(&frame, forwarded(other, Pool::Ipip, &frame))
}

/// So many in a second.
fn rates(flavour: Flavour) -> Vec<Story> {
    let opened =
        |what| (1..=RATE).fold(row(flavour, what), |story, n| story.client(n).gets(Open, B));
    let gone_on = |what| {
        (1..=RATE).fold(row(flavour, what), |story, n| {
            story.client(n).gets(Other, A)
        })
    };
    let changing = opened("exceptions are followed and change at any rate");
    vec![
        opened("a rate of what opens")
            .client(100)
            .unrecorded(Open, A, Opening)
            .unrecorded(Open, A, Opening)
            .advance(1)
            .gets(Open, B)
            .gets(Next, B),
        opened("a rate of what opens is not one of what goes on")
            .client(100)
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Other, A),
        gone_on("a rate of what goes on")
            .client(100)
            .unrecorded(Other, A, Data)
            .unrecorded(Next, A, Data)
            .advance(1)
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Other, A),
        gone_on("a rate of what goes on is not one of what opens")
            .client(100)
            .gets(Open, B)
            .gets(Next, B),
        committed_both_ways(changing),
    ]
}

/// Tentative exceptions of the first clients: one is committed to its backend, the other, as far as
/// its packets can do that, to its fallback.
fn committed_both_ways(story: Story) -> Story {
    let protocol = story.flavour().protocol;
    let story = story.client(1).gets(Open, B).gets(Next, B);
    let story = story.client(2).gets(Other, A);
    match protocol {
        Protocol::Tcp => story.gets(Next, A),
        Protocol::Udp => story.gets(Next, B).gets(Other, B),
    }
}

/// A FIN of a flow without an exception makes none, so nothing is refused.
fn refused_end(flavour: Flavour) -> Story {
    go_on(row(flavour, "what ends is not refused"), 1, FOR_DATA)
        .client(100)
        .gets(Segment(FIN | ACK, FAR), A)
}
