//! `cargo xtask ci`: every check in the order in which it fails fastest, the demo last.
//!
//! Two profiles are built, no more: dev for clippy, tests and documentation, release for the demo.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bpf_build::{FOR_TESTS, PRODUCT};

use crate::{demo, dependencies, faults, fuzz, process, setup, test, verify, workspace::Workspace};

/// Run all that CI runs: format, lints, tests of all rings, documentation, verifier, demo
///
/// Stops at the first step that fails. Needs root for the tests of rings 2 and 3 and for the demo
/// (by sudo if this is not root). Nothing is skipped.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: [Step; 11] = [
    ("set-up", set_up),
    ("format", format),
    ("dependencies", dependencies::check),
    ("lints, host", host_lints),
    ("lints, BPF", bpf_lints),
    ("tests, rings 0 to 3", test::run_all),
    ("seeded faults", faults::run_all),
    ("fuzz targets", fuzz::build),
    ("documentation", documentation),
    ("verifier", verifier),
    ("demo", demonstration),
];

/// Runs the steps, then lists what each took.
pub(crate) fn run(workspace: &Workspace, _: &Arguments) -> Result<()> {
    let mut durations = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let start = Instant::now();
        step(workspace).with_context(|| format!("CI failed at: {name}"))?;
        let duration = start.elapsed();
        println!("== {name}: {}", seconds(duration));
        durations.push((name, duration));
    }
    println!("\n== everything passed");
    for (name, duration) in &durations {
        println!("{name:24}{:>8}", seconds(*duration));
    }
    let total = durations.iter().map(|(_, duration)| *duration).sum();
    println!("{:24}{:>8}", "total", seconds(total));
    Ok(())
}

fn set_up(workspace: &Workspace) -> Result<()> {
    setup::everything(workspace).map(drop)
}

fn format(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo().args(["fmt", "--all", "--check"]))
}

fn host_lints(workspace: &Workspace) -> Result<()> {
    process::run(workspace.cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        test::ROOT_FEATURE,
        "--",
        "--deny",
        "warnings",
    ]))
}

fn bpf_lints(workspace: &Workspace) -> Result<()> {
    let tools = setup::tools(workspace)?;
    process::run(
        bpf_build::cargo(&tools, "clippy", &workspace.bpf_target(), &[])
            .args(["--package", PRODUCT.package, "--package", FOR_TESTS.package])
            .args(["--", "--deny", "warnings"]),
    )
}

fn documentation(workspace: &Workspace) -> Result<()> {
    process::run(
        workspace
            .cargo()
            .args(["doc", "--no-deps", "--workspace"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

fn verifier(workspace: &Workspace) -> Result<()> {
    verify::run(workspace, &verify::Arguments {})
}

fn demonstration(workspace: &Workspace) -> Result<()> {
    process::run(&mut demo::build(workspace)?)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
