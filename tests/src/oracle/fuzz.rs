//! What fuzzers drive: bytes become a frame, or a story, about which packet path and model have to agree.
//! The corpus of what was found that way is replayed by an ordinary test.

use super::{
    compare::{Met, run},
    generate,
    story::{Step, Story},
};

/// Sites that a first byte chooses from.
const SITES: u64 = 256;

/// One frame, to a site that the first byte chooses.
///
/// # Panics
///
/// If packet path and model differ.
pub fn parse(bytes: &[u8]) {
    let Some((site, frame)) = bytes.split_first() else {
        return;
    };
    let site = generate::story(u64::from(*site) % SITES, 0).site;
    let steps = vec![Step::Bytes(frame.to_vec())];
    agree(&Story { site, steps });
}

/// A story whose site the first byte chooses, and whose steps the others do.
///
/// # Panics
///
/// If packet path and model differ.
pub fn path(bytes: &[u8]) {
    let Some((site, choices)) = bytes.split_first() else {
        return;
    };
    let site = u64::from(*site) % SITES;
    agree(&generate::story_of_choices(site, choices));
}

fn agree(story: &Story) {
    if let Err(different) = run(story, &mut Met::default()) {
        panic!("{:#?}\n{}", story.steps, different.text);
    }
}
