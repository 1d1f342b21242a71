//! Running one step as root: directly if we are, else through sudo, and saying so.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{executable, process, workspace::Workspace};

/// Whether we are root already.
pub(crate) fn is_ours() -> bool {
    // A process owns its folder in /proc with its effective user.
    fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Makes sure that what follows can become root, asking for a password now if one is needed:
/// `why` completes "sudo: … needs root".
pub(crate) fn acquire(workspace: &Workspace, why: &str) -> Result<()> {
    if is_ours() {
        return Ok(());
    }
    if executable::find("sudo").is_none() {
        bail!("{why} needs root: run this as root, or install sudo");
    }
    println!("sudo: {why} needs root; nothing else is run with it");
    // Not --validate: that asks for a password unless every rule for the user does without.
    process::run(workspace.command("sudo").args(["--", "true"]))
}

/// `program` as root. Call [`acquire`] first.
pub(crate) fn command(workspace: &Workspace, program: impl AsRef<Path>) -> Command {
    if is_ours() {
        return workspace.command(program);
    }
    let mut command = workspace.command("sudo");
    command
        .args(["--preserve-env=SLUICE_LOG,RUST_BACKTRACE", "--"])
        .arg(program.as_ref());
    command
}
