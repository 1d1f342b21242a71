//! No established flow breaks while backends are added, weighed, flipped, drained and killed: the
//! soak `connections`, smaller. `cargo xtask soak connections` is the full size.

use std::{path::PathBuf, time::Duration};

use sluice_tests::{
    live::{self, Backend, Change, Mode, Plan, Programs, Step, Summary},
    progress::Progress,
};

use super::binary;

/// Runs in namespaces that have `name` in their names. Such a run waits nearly all of its time, and what
/// it measures it holds against connections beside it, so several go side by side.
fn run(name: &str, mode: &str, plan: &Plan) -> Summary {
    let programs = Programs {
        sluice: binary(),
        soak: PathBuf::from(env!("CARGO_BIN_EXE_soak")),
    };
    let mode: Mode = mode.parse().unwrap();
    live::run(name, mode, plan, &programs, &Progress::new()).unwrap()
}

/// Where the hash determines the backend, a run in which no flow was recorded moved nothing.
fn no_flow_breaks(mode: &str) {
    let summary = run(&format!("sluice-live-{mode}"), mode, &Plan::brief());
    assert!(summary.is_good(), "{summary}");
    let moved = summary.is_tracked() || summary.exceptions.is_some_and(|most| most > 0.0);
    assert!(moved, "{summary}");
}

#[test]
fn no_flow_breaks_in_ipip() {
    no_flow_breaks("ipip");
}

#[test]
fn no_flow_breaks_in_gue() {
    no_flow_breaks("gue");
}

#[test]
fn no_flow_breaks_in_dsr() {
    no_flow_breaks("dsr");
}

#[test]
fn no_flow_breaks_in_nat() {
    no_flow_breaks("nat");
}

#[test]
fn no_flow_breaks_in_full_nat() {
    no_flow_breaks("full-nat");
}

#[test]
fn no_flow_breaks_in_tracked_ipip() {
    no_flow_breaks("ipip-tracked");
}

#[test]
fn no_flow_breaks_in_tracked_nat() {
    no_flow_breaks("nat-tracked");
}

/// The soak `flood`, smaller. What opens in a flood may have to try again, and a flow that is evicted
/// before its third packet may have lost its port to another.
fn no_flow_breaks_in_a_flood(mode: &str) {
    let summary = run("sluice-flood", mode, &Plan::brief().flooded());
    println!("{summary}");
    assert!(summary.is_good(), "{summary}");
    let (late, broken) = summary.verdict.late;
    assert!(late > 20 && broken * 5 <= late, "{summary}");
    let rate = summary.flood.unwrap_or_default();
    assert!(rate > 10_000.0, "no flood to speak of: {summary}");
}

#[test]
fn serial_no_flow_breaks_in_a_flood_in_ipip() {
    no_flow_breaks_in_a_flood("ipip");
}

#[test]
fn serial_no_flow_breaks_in_a_flood_in_full_nat() {
    no_flow_breaks_in_a_flood("full-nat");
}

/// Flows of a backend that is taken away do break: the judgement sees it.
#[test]
fn a_backend_that_is_taken_away_breaks_its_flows() {
    let taken_away = Step {
        after: Duration::from_millis(500),
        change: Change::Remove(Backend(0)),
    };
    let plan = Plan {
        script: vec![taken_away],
        ..Plan::brief()
    };
    let summary = run("sluice-taken-away", "ipip", &plan);
    assert!(!summary.is_good(), "{summary}");
    let verdict = &summary.verdict;
    let of_it = verdict.shares["backend1"];
    assert!(verdict.resets > of_it / 2, "{summary}");
    // One whose first question it had not answered yet is nobody's.
    let unknown = verdict.counted - verdict.shares.values().sum::<usize>();
    assert!(verdict.resets <= of_it + unknown, "{summary}");
}
