//! `cargo xtask ci`: every check in the order in which it fails fastest, the demo last. Steps of which
//! one alone does not keep two cores busy go side by side.
//!
//! One profile is built, dev; the fuzz targets, which are instrumented, have their own.

use std::{
    env, panic,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bpf_build::{FOR_TESTS, PRODUCT};

use crate::{
    demo, dependencies, faults, fuzz, guest, process, setup, test, verify, workspace::Workspace,
};

/// Run all that CI runs: format, lints, tests of all rings, documentation, verifier, demo
///
/// Stops at the first step that fails. Needs root for the tests of rings 2 and 3 and for the demo
/// (by sudo if this is not root). Nothing is skipped.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the step of this name
    #[arg(long, value_name = "NAME")]
    step: Option<String>,
}

type Step = (&'static str, fn(&Workspace) -> Result<()>);

/// Those of a line go side by side.
const STEPS: [&[Step]; 10] = [
    &[("set-up", set_up)],
    &[("format", format)],
    &[("dependencies", dependencies::check)],
    &[("lints, host", host_lints)],
    &[("lints, BPF", bpf_lints)],
    &[("tests, rings 0 to 3", test::run_all)],
    &[
        ("seeded faults", faults::run_some),
        ("ring 3, in a guest", guest::test),
    ],
    &[("fuzz targets", fuzz::build)],
    &[("documentation", documentation), ("verifier", verifier)],
    &[("demo", demonstration)],
];

/// Runs the steps, then lists what each took.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.step {
        let mut all = STEPS.into_iter().flatten();
        let Some((_, step)) = all.find(|(step, _)| step == name) else {
            bail!("no step {name:?} in CI");
        };
        return step(workspace);
    }
    let start = Instant::now();
    let mut durations = Vec::new();
    for steps in STEPS {
        durations.extend(side_by_side(workspace, steps)?);
    }
    println!("\n== everything passed");
    for (name, duration) in &durations {
        println!("{name:24}{:>8}", seconds(*duration));
    }
    println!("{:24}{:>8}", "total", seconds(start.elapsed()));
    Ok(())
}

/// Runs the first step here, and others in processes of their own, whose output waits until the first has
/// ended; what each took.
fn side_by_side(workspace: &Workspace, steps: &[Step]) -> Result<Vec<(&'static str, Duration)>> {
    let Some((first, others)) = steps.split_first() else {
        return Ok(Vec::new());
    };
    thread::scope(|scope| {
        let others: Vec<_> = others
            .iter()
            .map(|(name, _)| (*name, scope.spawn(move || apart(name))))
            .collect();
        let mut durations = vec![(first.0, here(workspace, first)?)];
        for (name, apart) in others {
            let ended = apart
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic));
            let (output, duration) = ended.with_context(|| format!("CI failed at: {name}"))?;
            println!("\n== {name}\n{output}== {name}: {}", seconds(duration));
            durations.push((name, duration));
        }
        Ok(durations)
    })
}

fn here(workspace: &Workspace, (name, step): &Step) -> Result<Duration> {
    println!("\n== {name}");
    let start = Instant::now();
    step(workspace).with_context(|| format!("CI failed at: {name}"))?;
    let duration = start.elapsed();
    println!("== {name}: {}", seconds(duration));
    Ok(duration)
}

/// What a step printed, and how long it took.
fn apart(name: &str) -> Result<(String, Duration)> {
    let start = Instant::now();
    let xtask = env::current_exe().context("which program this is")?;
    let output = Command::new(xtask).args(["ci", "--step", name]).output()?;
    let [printed, complained] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if !output.status.success() {
        bail!("{}:\n{printed}{complained}", output.status);
    }
    Ok((printed + &complained, start.elapsed()))
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
