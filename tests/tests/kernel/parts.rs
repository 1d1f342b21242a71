//! Frames in several parts (multi-buffer XDP), of which the first part ends within the headers: the
//! same comes of them as of frames in one piece, where no other program is needed.

use sluice_tests::cases::{self, case::Case, ring::run};

use crate::{network::Network, ring::KernelRing};

/// Bytes in the first part: no more than an Ethernet header; within IP's; within the transport's.
const FIRST_PARTS: [usize; 4] = [14, 20, 36, 60];

/// Every so many of the rows, another one for each length.
const SHARE: usize = 7;

/// Whether the program that reads packets of any shape is enough: what it has read is not answered, and
/// neither ICMP errors nor flows between families are its.
fn is_read_alone(case: &Case) -> bool {
    let others = ["an error", "the client is told"];
    let elsewhere = case.name.starts_with("across,") || case.name.starts_with("made for");
    case.host_only.is_none() && !elsewhere && !others.iter().any(|what| case.name.contains(what))
}

#[test]
fn frames_in_parts_are_handled_as_others() {
    let network = Network::create().expect("a network namespace");
    let cases: Vec<Case> = cases::all().into_iter().filter(is_read_alone).collect();
    let wrong = network.run(|| {
        let mut wrong = Vec::new();
        for (n, first_part) in FIRST_PARTS.into_iter().enumerate() {
            let mut ring = KernelRing::new(&network).in_parts(first_part);
            for case in cases.iter().skip(n).step_by(SHARE) {
                if let Err(what) = run(case, &mut ring) {
                    wrong.push(format!("{first_part} bytes: {what}"));
                }
            }
        }
        wrong
    });
    assert!(
        wrong.is_empty(),
        "{} fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
