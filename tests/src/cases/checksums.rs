//! Checksums that come out as zero when `full-nat` changes them.

use super::{
    case::Case,
    frame::Frame,
    outputs::{answer, answered, opened},
    places::{Flavour, Pool, Way},
};

pub(super) fn rows() -> Vec<Case> {
    let udp = Flavour::UDP.into_iter().flat_map(udp_checksums);
    udp.chain(Flavour::TCP.map(tcp_checksum)).collect()
}

fn row(flavour: Flavour, pool: Pool, what: &str) -> Case {
    Case::new(format!("{pool} {flavour}: {what}"))
}

/// UDP's checksum field has two zeros: 0 is none, ffff is zero.
fn udp_checksums(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let (there, back) = (flavour.request(pool), flavour.reply(pool));
    let mut rows = Vec::new();
    let (none, none_back) = (there.clone().unchecked(), back.clone().unchecked());
    let case = row(flavour, pool, "no checksum stays none")
        .frame(&none, opened(flavour, pool, &none))
        .frame(&none_back, answered(flavour, pool, &none_back));
    rows.push(case);
    let rewritten = there.clone().ends(flavour.own(), flavour.backend(pool));
    let to_zero = with_checksum(&rewritten, 6, 0xffff);
    let to_zero = there.clone().payload(&to_zero);
    let case = row(flavour, pool, "a checksum that becomes 0 is sent as ffff")
        .frame(&to_zero, opened(flavour, pool, &to_zero));
    rows.push(case);
    let from_zero = there.clone().payload(&with_checksum(&there, 6, 0xffff));
    let case = row(flavour, pool, "a checksum of ffff")
        .frame(&from_zero, opened(flavour, pool, &from_zero));
    rows.push(case);
    let rewritten = answer(flavour, pool, Way::Router, &back);
    let to_zero = back.payload(&with_checksum(&rewritten, 6, 0xffff));
    let case = row(flavour, pool, "a reply's checksum that becomes 0")
        .frame(&there, opened(flavour, pool, &there))
        .frame(&to_zero, answered(flavour, pool, &to_zero));
    rows.push(case);
    rows
}

/// TCP's has one: 0 is sent as it is.
fn tcp_checksum(flavour: Flavour) -> Case {
    let there = flavour.request(Pool::Nat);
    let rewritten = there
        .clone()
        .ends(flavour.own(), flavour.backend(Pool::Nat));
    let to_zero = there.payload(&with_checksum(&rewritten, 16, 0));
    row(flavour, Pool::Nat, "a checksum that becomes 0")
        .frame(&to_zero, opened(flavour, Pool::Nat, &to_zero))
}

/// A payload that gives `frame` this checksum, which lies `offset` bytes into the transport
/// header.
pub(super) fn with_checksum(frame: &Frame, offset: usize, checksum: u16) -> Vec<u8> {
    let place = frame.transport() + offset;
    let has = |payload: &[u8; 2]| {
        frame.clone().payload(payload).bytes()[place..place + 2] == checksum.to_be_bytes()
    };
    let payload = (0..=u16::MAX).map(u16::to_be_bytes).find(has);
    payload.expect("two bytes reach every checksum").to_vec()
}
