//! Frames in several parts (multi-buffer XDP), of which the first part ends within the headers: the
//! same comes of them as of frames in one piece, where no other program is needed.

use sluice_tests::cases::{case::Case, ring::run};

use crate::ring::KernelRing;

/// Bytes in the first part: no more than an Ethernet header; within IP's; within the transport's.
const FIRST_PARTS: [usize; 4] = [14, 20, 36, 60];

/// Every so many of the rows, another one for each length.
const SHARE: usize = 7;

/// Whether the program that reads packets of any shape is enough: what it has read is not answered, and
/// neither ICMP errors, flows between families, probes nor tags are its.
fn is_read_alone(case: &Case) -> bool {
    let others = ["an error", "the client is told"];
    let elsewhere = ["across,", "made for", "probes,"];
    let elsewhere = elsewhere.iter().any(|what| case.name.starts_with(what));
    let tagged = !case.world.vlans.is_empty();
    case.host_only.is_none()
        && !elsewhere
        && !tagged
        && !others.iter().any(|what| case.name.contains(what))
}

/// Runs a share of the rows; what is wrong with them.
pub(crate) fn run_share(cases: &[Case], ring: &mut KernelRing<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, first_part) in FIRST_PARTS.into_iter().enumerate() {
        ring.set_first_part(first_part);
        let cases = cases.iter().filter(|case| is_read_alone(case));
        for case in cases.skip(n).step_by(SHARE) {
            if let Err(what) = run(case, ring) {
                wrong.push(format!("{first_part} bytes: {what}"));
            }
        }
    }
    ring.set_first_part(usize::MAX);
    wrong
}
