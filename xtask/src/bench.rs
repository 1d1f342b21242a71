//! `cargo xtask bench packet`: sets up, builds the release binary, and hands over to `bench` in
//! `tests`, which does the measuring.

use std::{os::unix::process::CommandExt, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    process, root, setup,
    workspace::{TESTS, Workspace},
};

/// Measure what packets cost, beside floors of the same run
///
/// Builds as the user; the measuring itself runs as root, by sudo if need be.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Packet(Packet),
}

/// What one packet costs in this kernel, case by case; about 15 seconds after the build
///
/// One BPF_PROG_TEST_RUN per packet, every verdict and counter checked: docs/performance.md.
#[derive(clap::Args)]
struct Packet {
    /// Write the figures to FILE, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many packets to time for each case [default: 100000]
    #[arg(long, value_name = "N")]
    packets: Option<u32>,
}

/// Becomes the benchmark, so that a Ctrl-C reaches nobody else and its clean-up is waited for.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let What::Packet(packet) = &arguments.what;
    setup::everything(workspace)?;
    process::run(workspace.cargo().args([
        "build",
        "--release",
        "--package",
        TESTS,
        "--bin",
        "bench",
    ]))?;
    root::acquire(workspace, "the benchmark (a namespace, BPF programs)")?;
    let mut bench = root::command(workspace, workspace.released("bench"));
    bench.arg("packet");
    if let Some(file) = &packet.json {
        // The benchmark runs in the workspace's folder, the path was meant from here.
        let file = std::path::absolute(file).context("making the path of --json absolute")?;
        bench.arg("--json").arg(file);
    }
    if let Some(packets) = packet.packets {
        bench.arg("--packets").arg(packets.to_string());
    }
    Err(bench.exec()).context("starting the benchmark")
}
