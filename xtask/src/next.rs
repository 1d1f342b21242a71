//! `cargo xtask next`: `sluice` once more, out of the same source but of another layout, for tests that go from one
//! to the other and back. It lies beside the usual one, as `sluice-next`.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    process, setup,
    test::ROOT_FEATURE,
    workspace::{PRODUCT, Workspace},
};

/// Build sluice-next, the build of another layout that tests upgrade to
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Sets up and builds it.
pub(crate) fn run(workspace: &Workspace, _: &Arguments) -> Result<()> {
    setup::tools(workspace)?;
    build(workspace)
}

/// Builds both in the dev profile. What they share is built once.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    beside(&workspace.built("sluice"), |more| {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--workspace", "--features", ROOT_FEATURE]);
        process::run(cargo.args(["--bin", "sluice"]).args(more))
    })
}

/// Has `build` make the other one, given what to say to cargo for that, and then the usual one in its place.
pub(crate) fn beside(usual: &Path, build: impl Fn(&[&str]) -> Result<()>) -> Result<()> {
    let feature = format!("{PRODUCT}/layout-next");
    build(&["--features", &feature])?;
    let moved = fs::rename(usual, usual.with_file_name("sluice-next"));
    moved.with_context(|| format!("moving {}", usual.display()))?;
    build(&[])
}
