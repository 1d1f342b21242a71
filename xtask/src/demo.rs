//! `cargo xtask demo`: sets up, builds the release binaries, and hands over to the demo in `tests`.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::{
    process, root, setup,
    workspace::{PRODUCT, TESTS, Workspace},
};

/// Show Sluice balancing real HTTP between namespaces, from set-up to clean-up
///
/// Ends with status 0 only if every request was answered right and every backend got its share.
/// Builds as the user; the demo itself runs as root, by sudo if need be.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave it running and print what to try
    #[arg(long)]
    keep: bool,
    /// Passed through to the demo (`-- --help` lists what it takes)
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// Becomes the demo, so that a Ctrl-C reaches nobody else and its clean-up is waited for.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    setup::everything(workspace)?;
    let mut demo = build(workspace)?;
    if arguments.keep {
        demo.arg("--keep");
    }
    let error = demo.args(&arguments.rest).exec();
    Err(error).context("starting the demo")
}

/// Builds, and returns the command that runs the demo as root.
pub(crate) fn build(workspace: &Workspace) -> Result<Command> {
    process::run(
        workspace
            .cargo()
            .args(["build", "--release", "--bin", "sluice", "--bin", "demo"])
            .args(["--package", PRODUCT, "--package", TESTS]),
    )?;
    root::acquire(workspace, "the demo (network namespaces, BPF programs)")?;
    let program = workspace.released("demo");
    let mut demo = root::command(workspace, program);
    demo.arg("--sluice").arg(workspace.released("sluice"));
    Ok(demo)
}
