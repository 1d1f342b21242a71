//! Restarting the agent loses no packet: the soak `restart`, smaller. `cargo xtask soak restart` is the
//! full size.

use std::{path::PathBuf, time::Duration};

use sluice_tests::{
    live::{Backend, Mode},
    progress::Progress,
    restart::{self, Mishap, Programs, Report, Size, Step},
    sluice,
};

use super::binary;

/// Runs in namespaces that have `name` in their names.
fn run(name: &str, mode: &str, size: &Size, script: &[Step]) -> Report {
    let programs = Programs {
        sluice: binary(),
        next: sluice::next().unwrap(),
        soak: PathBuf::from(env!("CARGO_BIN_EXE_soak")),
    };
    let mode: Mode = mode.parse().unwrap();
    let title = format!("sluice-{name}");
    let report = restart::run(&title, mode, size, script, &programs, &Progress::new()).unwrap();
    println!("{report}");
    report
}

fn no_packet_is_lost(mode: &str) {
    let size = Size::brief();
    let report = run(&format!("restart-{mode}"), mode, &size, &size.script());
    assert!(report.is_good(), "{report}");
    assert_eq!(
        report.restarts(),
        (size.kills + size.stops + size.upgrades) as usize
    );
}

#[test]
fn serial_no_packet_is_lost_in_ipip() {
    no_packet_is_lost("ipip");
}

#[test]
fn serial_no_packet_is_lost_in_full_nat() {
    no_packet_is_lost("full-nat");
}

#[test]
fn serial_no_packet_is_lost_in_tracked_nat() {
    no_packet_is_lost("nat-tracked");
}

/// The same where the agent stays: what is lost above and not here, a restart lost.
#[test]
fn serial_no_packet_is_lost_by_reloads() {
    let size = Size::brief().without_ends();
    let report = run("restart-reloads", "gue", &size, &size.script());
    assert!(report.is_good(), "{report}");
    let told = size.reloads + size.refusals;
    assert_eq!((report.restarts(), report.reloads()), (0, told as usize));
}

/// Packets that go nowhere are missing: the judgement sees it.
#[test]
fn serial_a_backend_that_is_cut_off_is_noticed() {
    let cut = Step {
        after: Duration::from_millis(500),
        mishap: Mishap::Cut(Backend(0)),
    };
    let report = run("restart-cut", "dsr", &Size::brief(), &[cut]);
    assert!(!report.is_good(), "{report}");
    let (tally, verdict) = (&report.upset.tally, &report.upset.verdict);
    // A third of what was sent in the two seconds after it.
    assert!(tally.lost() > tally.sent / 6, "{report}");
    assert!(verdict.stalled + verdict.ended > 5, "{report}");
    assert_eq!((tally.again, tally.foreign), (0, 0), "{report}");
}
