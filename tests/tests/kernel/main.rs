//! Ring 2: the packet path in the kernel, frame by frame through `BPF_PROG_TEST_RUN`. Needs root.

mod bench;
mod counts;
mod flows;
mod network;
mod parts;
mod program;
mod races;
mod ring;
mod vlan;

use sluice_tests::cases::{self, ring::run};

use network::Network;
use ring::KernelRing;

/// The table of packet cases: every row that the kernel can run, with the outcome that it has on
/// the host.
#[test]
fn every_case_in_the_kernel() {
    let network = Network::create().expect("a network namespace");
    let (rows, left_out, wrong) = network.run(|| {
        let mut ring = KernelRing::new(&network);
        let (left_out, cases): (Vec<_>, Vec<_>) = cases::all()
            .into_iter()
            .partition(|case| case.host_only.is_some());
        let wrong: Vec<_> = cases
            .iter()
            .filter_map(|case| run(case, &mut ring).err())
            .collect();
        (cases.len(), left_out.len(), wrong)
    });
    println!("{rows} rows in the kernel, {left_out} on the host only");
    assert!(
        wrong.is_empty(),
        "{} rows fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
