//! Ring 2: the packet path in the kernel, frame by frame through `BPF_PROG_TEST_RUN`. Needs root.

mod bench;
mod canary;
mod constants;
mod counts;
mod flows;
mod network;
mod older;
mod outcomes;
mod parts;
mod plans;
mod program;
mod races;
mod ring;
mod scripts;
mod tagging;
mod vlan;

use sluice_tests::cases::{self, ring::run};

use network::Network;
use ring::KernelRing;

/// The table of packet cases: every row that the kernel can run, with the outcome that it has on the
/// host; then shares of them whose frames are in parts, and in VLANs. One test, since most of the time
/// goes into loading a program for each set of constants.
#[test]
fn every_case_in_the_kernel() {
    let network = Network::create().expect("a network namespace");
    let (cases, left_out): (Vec<_>, Vec<_>) = cases::all()
        .into_iter()
        .partition(|case| case.host_only.is_none());
    let wrong = network.run(|| {
        let mut ring = KernelRing::new(&network);
        let mut wrong: Vec<_> = cases
            .iter()
            .filter_map(|case| run(case, &mut ring).err())
            .collect();
        wrong.extend(parts::run_share(&cases, &mut ring));
        wrong.extend(tagging::run_share(&cases, &mut ring));
        wrong
    });
    let (rows, left_out) = (cases.len(), left_out.len());
    println!("{rows} rows in the kernel, {left_out} on the host only");
    assert!(
        wrong.is_empty(),
        "{} rows fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
