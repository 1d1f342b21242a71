//! `cargo xtask verify`: builds, and hands over to `verify` in `tests`, which knows what is accepted.

use anyhow::Result;

use crate::{process, root, setup, workspace::Workspace};

/// Load the packet programs and print the verifier's instruction counts and stack depths
///
/// Fails if more instructions were walked than lb-ebpf/verified.txt accepts. Needs root (by sudo if
/// this is not root). Nothing stays loaded.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Builds, and runs it as root.
pub(crate) fn run(workspace: &Workspace, _: &Arguments) -> Result<()> {
    setup::everything(workspace)?;
    workspace.build(&["verify"])?;
    root::acquire(workspace, "loading the packet programs")?;
    process::run(root::command(workspace, workspace.built("verify")).arg("lb-ebpf/verified.txt"))
}
