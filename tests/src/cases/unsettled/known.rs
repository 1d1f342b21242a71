//! Packets of flows that have an exception, committed or tentative, its backend alive, dead or
//! replaced.

use super::{
    super::{case::Case, places::Flavour},
    story::{
        A, B, C,
        Sent::{Next, Open, Other},
        Story, mixed, moving,
    },
};

/// A backend that a flow had is not there any more.
pub(super) type Gone = fn(Story, u32) -> Story;

/// The ways in which that is so.
pub(super) const GONE: [(&str, Gone); 2] = [
    ("dead", |story, backend| story.dies(backend)),
    ("replaced", |story, backend| story.replaced(backend)),
];

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::ALL {
        stories.extend(committed(flavour));
        stories.push(tentative(flavour));
        stories.extend(opened_again(flavour));
        stories.extend(successors(flavour));
        for (how, gone) in GONE {
            stories.extend(committed_to_gone(flavour, how, gone));
            stories.extend(tentative_to_gone(flavour, how, gone));
            stories.extend(gone_fallback(flavour, how, gone));
        }
    }
    for flavour in Flavour::TCP {
        stories.extend(not_following(flavour));
        for (how, gone) in GONE {
            stories.extend(not_following_gone(flavour, how, gone));
        }
    }
    stories.into_iter().map(Story::row).collect()
}

/// COMMITTED(A), in MOVING(B).
fn committed(flavour: Flavour) -> Vec<Story> {
    let row = |what| {
        Story::new(flavour, format!("committed, {what}"))
            .slot(moving(B, A))
            .gets(Other, A)
    };
    vec![
        row("what opens changes nothing")
            .gets(Open, A)
            .gets(Next, A)
            .gets(Open, A)
            .gets(Other, A),
        row("mixed").slot(mixed(B)).gets(Other, A).gets(Next, A),
        row("mixed, what opens changes nothing")
            .slot(mixed(B))
            .gets(Open, A)
            .gets(Other, A)
            .gets(Open, A),
        row("moving on")
            .slot(moving(C, B))
            .gets(Other, A)
            .gets(Open, A),
        row("swept")
            .slot(mixed(B))
            .swept()
            .gets(Other, B)
            .gets(Open, B),
    ]
}

/// COMMITTED to one that is gone, then MIXED(C) or MOVING(C).
fn committed_to_gone(flavour: Flavour, how: &str, gone: Gone) -> Vec<Story> {
    let to_a = |what| {
        let story = Story::new(flavour, format!("committed to {how}, {what}"))
            .slot(moving(B, A))
            .gets(Other, A);
        gone(story, A).slot(mixed(C))
    };
    let to_b = |what| {
        let story = Story::new(flavour, format!("committed to {how}, moving, {what}"))
            .slot(moving(B, A))
            .gets(Open, B)
            .gets(Next, B);
        gone(story, B).slot(moving(C, A))
    };
    vec![
        to_a("goes on at current, committed to it")
            .gets(Other, C)
            .slot(mixed(B))
            .gets(Next, C)
            .gets(Open, C),
        to_a("opens at current, tentatively")
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Next, C),
        to_a("opens at current, which is the fallback, too")
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Other, C),
        to_b("goes on at current, committed to it")
            .gets(Next, C)
            .slot(mixed(B))
            .gets(Other, C)
            .gets(Open, C),
        to_b("opens at current, tentatively")
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Next, C),
        to_b("opens at current, with the previous one as fallback")
            .gets(Open, C)
            .slot(mixed(B))
            .gets(Other, A),
    ]
}

/// TENTATIVE(B, fallback A), in MOVING(B).
fn opened_at_b(flavour: Flavour, what: impl std::fmt::Display) -> Story {
    Story::new(flavour, what).slot(moving(B, A)).gets(Open, B)
}

fn tentative(flavour: Flavour) -> Story {
    opened_at_b(flavour, "tentative, what follows commits")
        .gets(Next, B)
        .gets(Other, B)
        .gets(Open, B)
        .slot(mixed(C))
        .gets(Other, B)
}

/// TENTATIVE(B, fallback A), and a segment that does not follow. (What does not, of QUIC, proves
/// nothing: see `inconclusive`.)
fn not_following(flavour: Flavour) -> Vec<Story> {
    let row = |what| opened_at_b(flavour, format!("tentative, {what}"));
    let again = |what| opened_at_b(flavour, format!("opened again, {what}"));
    vec![
        row("what does not follow commits to the fallback")
            .gets(Other, A)
            .gets(Next, A)
            .gets(Open, A)
            .slot(mixed(C))
            .gets(Next, A),
        row("mixed, what does not follow commits to the fallback")
            .slot(mixed(C))
            .gets(Other, A)
            .gets(Next, A)
            .gets(Open, A),
        again("at once, but another was there")
            .gets(Open, B)
            .gets(Other, A)
            .gets(Next, A),
        // Whoever is the miss now is not the fallback then.
        again("later, the fallback stays")
            .slot(mixed(B))
            .slot(moving(C, B))
            .gets(Open, B)
            .gets(Other, A)
            .gets(Next, A),
    ]
}

/// TENTATIVE, and a packet that opens comes once more.
fn opened_again(flavour: Flavour) -> Vec<Story> {
    let row = |what| opened_at_b(flavour, format!("opened again, {what}"));
    vec![
        row("at once").gets(Open, B).gets(Next, B).gets(Other, B),
        row("when the slot has moved on")
            .slot(moving(C, A))
            .gets(Open, B)
            .gets(Next, B),
        row("in a mixture")
            .slot(mixed(C))
            .gets(Open, B)
            .gets(Next, B),
        row("later, the backend stays")
            .slot(mixed(B))
            .slot(moving(C, B))
            .gets(Open, B)
            .gets(Next, B),
        opened_at_b(flavour, "tentative, mixed, what follows commits")
            .slot(mixed(C))
            .gets(Next, B)
            .gets(Other, B)
            .gets(Open, B),
    ]
}

/// Backends that have an index that others had before, or will have.
fn successors(flavour: Flavour) -> Vec<Story> {
    let row = |what| {
        Story::new(flavour, format!("successors, {what}"))
            .replaced(A)
            .replaced(B)
            .replaced(B)
            .slot(moving(B, A))
    };
    vec![
        row("what opens at one stays")
            .gets(Open, B)
            .slot(mixed(C))
            .gets(Next, B)
            .gets(Open, B),
        row("what goes on at one stays")
            .gets(Other, A)
            .slot(mixed(C))
            .gets(Other, A),
        row("a fallback that is one")
            .gets(Open, B)
            .slot(mixed(C))
            .gets(Other, A),
        row("one's own successor")
            .gets(Other, A)
            .replaced(A)
            .slot(mixed(C))
            .gets(Other, C),
    ]
}

/// TENTATIVE(B, fallback A), B gone, then MIXED(C).
fn without_backend(flavour: Flavour, how: &str, gone: Gone, what: &str) -> Story {
    let story = opened_at_b(flavour, format!("tentative to {how}, {what}")).slot(mixed(B));
    gone(story, B).slot(mixed(C))
}

/// TENTATIVE(B, fallback A), A gone, then MIXED(C).
fn without_fallback(flavour: Flavour, how: &str, gone: Gone, what: &str) -> Story {
    let story = opened_at_b(flavour, format!("fallback {how}, {what}"));
    gone(story, A).slot(mixed(C))
}

fn tentative_to_gone(flavour: Flavour, how: &str, gone: Gone) -> Vec<Story> {
    let row = |what| without_backend(flavour, how, gone, what);
    vec![
        row("what follows goes to current, committed to it")
            .gets(Next, C)
            .slot(mixed(A))
            .gets(Other, C)
            .gets(Open, C),
        row("what does not follow goes to the fallback, committed to it")
            .gets(Other, A)
            .gets(Next, A)
            .gets(Open, A),
        row("what opens goes to current, tentatively")
            .gets(Open, C)
            .slot(mixed(A))
            .gets(Next, C)
            .gets(Other, C),
    ]
}

/// What does not follow, one of both gone.
fn not_following_gone(flavour: Flavour, how: &str, gone: Gone) -> Vec<Story> {
    let row = |what| without_fallback(flavour, how, gone, what);
    vec![
        without_backend(flavour, how, gone, "what opens keeps the fallback")
            .gets(Open, C)
            .gets(Other, A)
            .gets(Next, A),
        row("what does not follow goes to current, committed to it")
            .gets(Other, C)
            .slot(mixed(B))
            .gets(Next, C)
            .gets(Open, C),
        // Whoever is the miss now is not current.
        row("later, what does not follow goes to current, committed to it")
            .slot(moving(C, B))
            .gets(Other, C)
            .slot(mixed(A))
            .gets(Next, C),
    ]
}

fn gone_fallback(flavour: Flavour, how: &str, gone: Gone) -> Vec<Story> {
    let row = |what| without_fallback(flavour, how, gone, what);
    let both = |what| gone(row(what).slot(mixed(C)), B);
    vec![
        row("what follows commits").gets(Next, B).gets(Other, B),
        row("what opens stays").gets(Open, B).gets(Next, B),
        both("the backend, too, what does not follow goes to current")
            .gets(Other, C)
            .slot(mixed(C))
            .gets(Next, C),
    ]
}
