//! The agent of another commit, which runs go over to and come back from: the one that landed before, say. Built out of
//! a worktree of that commit below `target`, with a target folder of its own, which the next run finds again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    process,
    workspace::{PRODUCT, Workspace},
};

/// Builds it, in the release profile; where it is then.
pub(crate) fn build(workspace: &Workspace, commit: &str) -> Result<PathBuf> {
    let folder = workspace.root().join("target/previous");
    let tree = folder.join("tree");
    let hash = hash(workspace, commit)?;
    println!(
        "previous: building the agent of {hash}, below {}",
        folder.display()
    );
    check_out(workspace, &tree, &hash)?;
    let target = folder.join("target");
    // It has tools of its own, of its versions.
    let mut setup = workspace.cargo();
    setup.current_dir(&tree);
    process::run(setup.args(["xtask", "setup", "--build-only"]))?;
    let mut cargo = workspace.cargo();
    cargo.current_dir(&tree);
    cargo.args([
        "build",
        "--release",
        "--package",
        PRODUCT,
        "--bin",
        "sluice",
    ]);
    process::run(cargo.arg("--target-dir").arg(&target))?;
    Ok(target.join("release/sluice"))
}

/// The commit that a name means.
fn hash(workspace: &Workspace, commit: &str) -> Result<String> {
    let mut git = workspace.command("git");
    git.args(["rev-parse", "--verify", "--quiet"]);
    let output = git.arg(format!("{commit}^{{commit}}")).output();
    let output = output.context("starting git")?;
    if !output.status.success() {
        bail!("{commit} is no commit of this repository");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn check_out(workspace: &Workspace, tree: &Path, hash: &str) -> Result<()> {
    let mut git = workspace.command("git");
    if tree.exists() {
        git.arg("-C")
            .arg(tree)
            .args(["checkout", "--quiet", "--detach", "--force", hash]);
    } else {
        // One that was removed by hand is still registered.
        git.args(["worktree", "add", "--quiet", "--detach", "--force"]);
        git.arg(tree).arg(hash);
    }
    process::run(&mut git)
}
