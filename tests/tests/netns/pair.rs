//! A gateway that is lost takes no connection with it: the soak `pair`, smaller. `cargo xtask soak pair` is the full size.

use std::{path::PathBuf, time::Duration};

use sluice_tests::{
    live::Programs,
    pair::{self, Case, Loss, Report, Size, When},
    progress::Progress,
};

use super::binary;

/// Longer than any wait that a loaded machine makes of one that is due; the soak judges what is due.
const PATIENCE: Duration = Duration::from_secs(10);

fn run(name: &str, mode: &str, loss: Loss, when: When) -> Report {
    let programs = Programs {
        sluice: binary(),
        soak: PathBuf::from(env!("CARGO_BIN_EXE_soak")),
    };
    let mode = mode.parse().unwrap();
    let case = Case { mode, loss, when };
    let title = format!("sluice-{name}");
    let report = pair::run(&title, case, Size::BRIEF, &programs, &Progress::new()).unwrap();
    println!("{report}");
    report
}

fn no_connection_breaks(name: &str, mode: &str, loss: Loss) {
    let report = run(name, mode, loss, When::Settled);
    assert!(report.is_sound(), "{report}");
    assert!(report.verdict.longest.0 < PATIENCE, "{report}");
}

#[test]
fn a_pair_keeps_connections_in_ipip() {
    no_connection_breaks("pair-ipip", "ipip", Loss::Host);
}

#[test]
fn a_pair_keeps_connections_in_nat() {
    no_connection_breaks("pair-nat", "nat", Loss::Host);
}

#[test]
fn a_pair_keeps_connections_when_an_agent_is_killed() {
    no_connection_breaks("pair-killed", "dsr", Loss::Agent);
}

/// Only the gateway that is lost knew of connections that opened while slots moved: the judgement sees that some break.
#[test]
fn a_pair_loses_connections_that_opened_while_slots_moved() {
    let report = run("pair-moving", "gue", Loss::Host, When::Moving);
    assert!(report.is_sound(), "{report}");
    let (_, of) = report.broken();
    let broken = report.broken_before;
    // Of a quarter of them, those whose slots moved: a quarter.
    assert!(broken > 0 && broken < of / 8, "{report}");
}
