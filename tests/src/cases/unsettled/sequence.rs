//! TCP's windows: which segments follow a SYN, and which FIN and RST are believed.

use super::{
    super::{
        case::Case,
        frame::{ACK, FIN, RST, SYN},
        places::Flavour,
    },
    story::{
        A, B, C, FAR, ISN,
        Sent::{Next, Open, Other, Segment},
        Story, mixed, moving,
    },
};

/// How far a FIN or RST may be from the last segment, either way.
const NEAR: u32 = 65_535;

const HALF: u32 = 1 << 31;

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::TCP {
        stories.extend(following(flavour));
        stories.extend(ending(flavour));
        stories.extend(last_seen(flavour));
        stories.extend(tentative_end(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// A segment follows a SYN if it lies 1 to 65,536 behind it.
fn following(flavour: Flavour) -> Vec<Story> {
    let distances = [
        (0, A),
        (1, B),
        (2, B),
        (65_535, B),
        (65_536, B),
        (65_537, A),
        (HALF - 1, A),
        (HALF, A),
        (HALF + 1, A),
        (0u32.wrapping_sub(65_536), A),
        (u32::MAX, A),
    ];
    let mut stories = Vec::new();
    for isn in [
        0,
        0x0102_0304,
        HALF - 1,
        0xffff_0000,
        u32::MAX - 1,
        u32::MAX,
    ] {
        for (distance, backend) in distances {
            let segment = Segment(ACK, isn.wrapping_add(distance));
            stories.push(
                Story::new(flavour, format!("{distance} behind a SYN of {isn:#x}"))
                    .slot(moving(B, A))
                    .gets(Segment(SYN, isn), B)
                    .gets(segment, backend)
                    .slot(mixed(C))
                    .gets(Next, backend)
                    .gets(Open, backend),
            );
        }
    }
    let row = |what| {
        Story::new(flavour, what)
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Segment(SYN, FAR), B)
    };
    stories.extend([
        row("the last SYN counts").gets(Other, A),
        row("the last SYN counts, the first does no more").gets(Next, A),
        row("the last SYN counts, what follows it is its flow's")
            .gets(Segment(ACK, FAR + 1), B)
            .gets(Next, B),
    ]);
    stories
}

/// FIN or RST within 65,535 of the last segment marks the flow as closing: a SYN then goes to the
/// current backend. Beyond, it is a segment like others.
fn ending(flavour: Flavour) -> Vec<Story> {
    let distances = [
        (0, true),
        (1, true),
        (NEAR, true),
        (NEAR + 1, false),
        (HALF - 1, false),
        (HALF, false),
        (0u32.wrapping_sub(NEAR + 1), false),
        (0u32.wrapping_sub(NEAR), true),
        (u32::MAX, true),
    ];
    let mut stories = Vec::new();
    for (name, flags) in [("FIN", FIN | ACK), ("RST", RST)] {
        for last in [0, FAR, u32::MAX - 9] {
            for (distance, believed) in distances {
                let what = format!("{name}, {:+} from {last:#x}", distance as i32);
                let story = Story::new(flavour, what)
                    .slot(moving(B, A))
                    .gets(Segment(ACK, last), A)
                    .gets(Segment(flags, last.wrapping_add(distance)), A)
                    .slot(mixed(C));
                stories.push(if believed {
                    story.gets(Open, C).gets(Next, C)
                } else {
                    story.gets(Open, A).gets(Next, A)
                });
            }
        }
    }
    stories
}

/// Against which segment a FIN is held.
fn last_seen(flavour: Flavour) -> Vec<Story> {
    const ON: u32 = FAR + 1_000_000;
    let row = |what| {
        Story::new(flavour, format!("the last segment, {what}"))
            .slot(moving(B, A))
            .gets(Other, A)
    };
    let fin = |sequence| Segment(FIN | ACK, sequence);
    vec![
        row("is the one before")
            .gets(Segment(ACK, ON), A)
            .gets(fin(ON), A)
            .gets(Open, B),
        row("is not an older one")
            .gets(Segment(ACK, ON), A)
            .gets(fin(FAR), A)
            .gets(Open, A),
        row("in a mixture, too")
            .slot(mixed(B))
            .gets(Segment(ACK, ON), A)
            .gets(fin(ON), A)
            .gets(Open, B),
        row("is not a SYN that changes nothing")
            .gets(Open, A)
            .gets(fin(ISN), A)
            .gets(Open, A),
        row("is the one before a SYN that changes nothing")
            .gets(Open, A)
            .gets(fin(FAR), A)
            .gets(Open, B),
        row("a FIN that is not believed opens a closing flow again")
            .gets(fin(FAR), A)
            .gets(fin(FAR + NEAR + 1), A)
            .gets(Open, A),
        row("a closing flow's counts, too")
            .gets(fin(FAR + NEAR), A)
            .gets(fin(FAR + 2 * NEAR), A)
            .gets(Open, B),
    ]
}

/// FIN and RST while it is not known who opened the flow.
fn tentative_end(flavour: Flavour) -> Vec<Story> {
    let mut stories = Vec::new();
    for (name, flags) in [("FIN", FIN | ACK), ("RST", RST)] {
        let end = |distance: u32| Segment(flags, ISN.wrapping_add(distance));
        let row = |what| {
            Story::new(flavour, format!("tentative, {name} {what}"))
                .slot(moving(B, A))
                .gets(Open, B)
        };
        stories.extend([
            row("that follows closes")
                .gets(end(1), B)
                .slot(mixed(C))
                .gets(Open, C)
                .gets(Next, C),
            row("that follows closes, and another opens and was not the client")
                .gets(end(1), B)
                .slot(mixed(C))
                .gets(Open, C)
                .gets(Other, B),
            row("that follows is data beyond the window")
                .gets(end(NEAR + 1), B)
                .slot(mixed(C))
                .gets(Open, B),
            row("that does not follow goes to the fallback")
                .gets(Segment(flags, FAR), A)
                .slot(mixed(C))
                .gets(Open, A)
                .gets(Next, A),
            row("that does not follow closes if it is near")
                .gets(end(0u32.wrapping_sub(5)), A)
                .slot(mixed(C))
                .gets(Open, C)
                .gets(Other, A),
        ]);
    }
    stories
}
