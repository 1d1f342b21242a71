//! `cargo xtask demo`: sets up, builds, and hands over to the demo in `tests`.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::{root, setup, workspace::Workspace};

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
    workspace.build(&["sluice", "demo"])?;
    root::acquire(workspace, "the demo (network namespaces, BPF programs)")?;
    let mut demo = root::command(workspace, workspace.built("demo"));
    demo.arg("--sluice").arg(workspace.built("sluice"));
    Ok(demo)
}
