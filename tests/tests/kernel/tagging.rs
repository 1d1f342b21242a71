//! Rows whose interfaces are all VLAN devices: the same comes of them.

use sluice_tests::cases::{
    case::Case,
    ring::run,
    tagging::{Plan, Tagging},
};

use crate::ring::KernelRing;

/// Every so many of the rows, another one under each plan.
const SHARE: usize = 9;

/// Runs a share of the rows; what is wrong with them.
pub(crate) fn run_share(cases: &[Case], ring: &mut KernelRing<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, plan) in Plan::ALL.into_iter().enumerate() {
        let mut ring = Tagging::new(plan, &mut *ring);
        let cases = cases.iter().filter(|case| Plan::takes(case));
        for case in cases.skip(n).step_by(SHARE) {
            if let Err(what) = run(case, &mut ring) {
                wrong.push(format!("{plan:?}: {what}"));
            }
        }
    }
    wrong
}
