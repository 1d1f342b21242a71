//! What fuzzers drive: bytes become a frame, or a story, about which packet path and model have to agree.
//! The corpus of what was found that way is replayed by an ordinary test.

use std::net::IpAddr;

use super::{
    compare::{Met, run},
    generate,
    story::{Step, Story},
};
use crate::cases::places::UPLINK;

/// Sites that a first byte chooses from.
const SITES: u64 = 256;

/// One frame, to a site that the first byte chooses. The second one chooses what of it is put right, so
/// that others than those who guess MAC and IP addresses get on.
///
/// # Panics
///
/// If packet path and model differ.
pub fn parse(bytes: &[u8]) {
    let [site, right, frame @ ..] = bytes else {
        return;
    };
    let site = generate::story(u64::from(*site) % SITES, 0).site;
    let mut frame = frame.to_vec();
    let service = &site.services[usize::from(right >> 4) % site.services.len()];
    let (ethertype, at, address) = match service.end.ip() {
        IpAddr::V4(address) => ([0x08, 0x00], 30, address.octets().to_vec()),
        IpAddr::V6(address) => ([0x86, 0xdd], 38, address.octets().to_vec()),
    };
    let mut put = |bit: u8, at: usize, bytes: &[u8]| {
        let place = frame.get_mut(at..at + bytes.len());
        if let Some(place) = place.filter(|_| right & bit != 0) {
            place.copy_from_slice(bytes);
        }
    };
    put(1, 0, &UPLINK.mac);
    put(2, 12, &ethertype);
    put(4, at, &address);
    let steps = vec![Step::Bytes(frame)];
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
    agree(&generate::story_of_choices(site, choices.to_vec()));
}

fn agree(story: &Story) {
    if let Err(different) = run(story, &mut Met::default()) {
        panic!("{:#?}\n{}", story.steps, different.text);
    }
}
