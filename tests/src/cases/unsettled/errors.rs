//! ICMP errors about what a backend has sent while a slot's owner changes: they go to the backend that
//! the client's next packet would go to, and record nothing.

use super::{
    super::{case::Case, places::Flavour},
    story::{
        A, B, C,
        Sent::{Next, Open, Other},
        Story, mixed, moving,
    },
};

/// Bytes of a whole TCP header.
const WHOLE: usize = 20;
/// The least that is quoted: ports and sequence number.
const LEAST: usize = 8;

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::ALL {
        stories.extend(anybody(flavour));
    }
    for flavour in Flavour::TCP {
        stories.extend(tentative(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// Flows without an exception, and with one that is committed.
fn anybody(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::new(flavour, format!("an error, {what}")).slot(moving(B, A));
    vec![
        row("no exception while moving")
            .tells(Other, WHOLE, A)
            .tells(Other, LEAST, A)
            .slot(mixed(B))
            // Were it recorded, it would be A's.
            .gets(Other, B),
        row("no exception while mixed")
            .slot(mixed(B))
            .tells(Other, WHOLE, B)
            .tells(Other, LEAST, B)
            .slot(moving(C, B))
            .gets(Other, B),
        row("an exception")
            .gets(Other, A)
            .slot(mixed(B))
            .tells(Other, WHOLE, A)
            .tells(Other, LEAST, A)
            .client(8)
            .tells(Other, WHOLE, B),
        row("an exception of a dead backend")
            .gets(Other, A)
            .dies(A)
            .slot(mixed(B))
            .tells(Other, WHOLE, B),
    ]
}

/// Flows that have only been opened: what is acknowledged tells whose they are.
fn tentative(flavour: Flavour) -> Vec<Story> {
    let row = |what| {
        Story::new(flavour, format!("an error, {what}"))
            .slot(moving(B, A))
            .gets(Open, B)
    };
    vec![
        row("what follows the SYN is acknowledged")
            .tells(Next, WHOLE, B)
            .tells(Next, WHOLE, B)
            // Nothing is committed by that.
            .gets(Other, A),
        row("something else is acknowledged")
            .tells(Other, WHOLE, A)
            .gets(Next, B),
    ]
}
