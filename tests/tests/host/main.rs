//! Ring 0: the packet path on the host. Needs neither root nor a kernel that knows BPF.

mod arbitrary;
mod checks;
mod checksums;
mod corpus;
mod oracle;
mod properties;
mod scripts;
mod slots;

use std::collections::BTreeSet;

use sluice_tests::{
    cases::{
        self,
        ring::run,
        tagging::{Plan, Tagging},
    },
    host::HostRing,
};

/// The table of packet cases.
#[test]
fn every_case_on_the_host() {
    let (cases, mut ring) = (cases::all(), HostRing::default());
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| run(case, &mut ring).err())
        .collect();
    println!("{} rows on the host", cases.len());
    assert!(
        wrong.is_empty(),
        "{} rows fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The same rows, whose interfaces are VLANs.
#[test]
fn every_case_in_vlans_on_the_host() {
    let (cases, mut ring, mut wrong) = (cases::all(), HostRing::default(), Vec::new());
    for plan in Plan::ALL {
        let mut ring = Tagging::new(plan, &mut ring);
        for case in cases.iter().filter(|case| Plan::takes(case)) {
            if let Err(what) = run(case, &mut ring) {
                wrong.push(format!("{plan:?}: {what}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn rows_have_names_of_their_own() {
    let mut names = BTreeSet::new();
    for case in cases::all() {
        assert!(
            names.insert(case.name.clone()),
            "two rows are called {}",
            case.name
        );
    }
}
