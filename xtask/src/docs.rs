//! `cargo xtask docs`: puts the pages in place that the binary prints from its own types.

use std::fs;

use anyhow::{Context, Result};

use crate::{
    process, setup,
    workspace::{PRODUCT, Workspace},
};

/// The pages, by the word that `sluice docs` takes.
const PAGES: [(&str, &str); 1] = [("reasons", "docs/reasons.md")];

/// Write the generated pages of the documentation
///
/// A test fails when one of them is stale.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Writes them all.
pub(crate) fn run(workspace: &Workspace, _: &Arguments) -> Result<()> {
    setup::tools(workspace)?;
    for (kind, page) in PAGES {
        let mut sluice = workspace.cargo();
        sluice.args(["run", "--quiet", "--package", PRODUCT, "--bin", "sluice"]);
        let printed = process::output(sluice.args(["--", "docs", kind]))?;
        let path = workspace.root().join(page);
        fs::write(&path, printed.stdout).with_context(|| format!("writing {}", path.display()))?;
        println!("docs: wrote {page}");
    }
    Ok(())
}
