//! Every packet is accounted for: the soak `conservation`, smaller. `cargo xtask soak conservation`
//! is the full size.

use sluice_tests::{
    conservation::{self, Plan},
    progress::Progress,
};

use super::binary;

/// What must have come out in a run, in both families, for it to say anything.
const SEEN: [&str; 18] = [
    "to full-nat",
    "to nat",
    "to nat-tracked",
    "to nat-range",
    "to dsr",
    "to dsr-tracked",
    "to ipip",
    "to ipip-tracked",
    "to ipip-across",
    "to ipip-range",
    "to gue",
    "to gue-tracked",
    "to gue-across",
    "answers of full-nat",
    "answers of nat",
    "answers of nat-tracked",
    "answers of nat-range",
    "answers of full-nat-across",
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
    let both = |seen| ["IPv4", "IPv6"].map(|family| format!("{seen}, {family}"));
    let kinds = SEEN.into_iter().flat_map(both);
    // Its backends have one of them.
    for kind in kinds.chain(["to full-nat-across, IPv6".to_owned()]) {
        let count = ledger.kinds.get(&kind).copied().unwrap_or(0);
        assert!(count > 50, "{count} {kind}\n{ledger}");
    }
    assert!(ledger.told.passed.len() > 8, "{ledger}");
    assert!(ledger.told.dropped.len() > 6, "{ledger}");
}
