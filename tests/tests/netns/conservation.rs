//! Every packet is accounted for: the soak `conservation`, smaller. `cargo xtask soak conservation`
//! is the full size.

use sluice_tests::{
    conservation::{self, Plan},
    progress::Progress,
};

use super::binary;

/// What must have come out in a run, in both families, for it to say anything.
const SEEN: [&str; 14] = [
    "to full-nat",
    "to nat",
    "to nat-tracked",
    "to dsr",
    "to dsr-tracked",
    "to ipip",
    "to ipip-tracked",
    "to ipip-across",
    "to gue",
    "to gue-tracked",
    "to gue-across",
    "answers of full-nat",
    "answers of nat",
    "answers of nat-tracked",
];

#[test]
fn every_packet_is_accounted_for_and_none_comes_out_unsound() {
    let plan = Plan {
        packets: 100_000,
        seed: 1,
    };
    let ledger = conservation::run("sluice-conserve", plan, &binary(), &Progress::new()).unwrap();
    println!("{ledger}");
    assert!(ledger.problems().is_empty(), "{ledger}");
    for seen in SEEN {
        for family in ["IPv4", "IPv6"] {
            let kind = format!("{seen}, {family}");
            let count = ledger.kinds.get(&kind).copied().unwrap_or(0);
            assert!(count > 50, "{count} {kind}\n{ledger}");
        }
    }
    assert!(ledger.told.passed.len() > 8, "{ledger}");
    assert!(ledger.told.dropped.len() > 6, "{ledger}");
}
