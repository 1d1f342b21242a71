//! The tree that we work on, its packages by name, and cargo started in it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{process, test::ROOT_FEATURE};

/// The package with the binary `sluice`.
pub(crate) const PRODUCT: &str = "lb-userspace";

/// The package with the demo and the tests that need root.
pub(crate) const TESTS: &str = "sluice-tests";

/// A checkout.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The checkout that this program was built in.
    pub(crate) fn locate() -> Result<Self> {
        let program = env::current_exe().context("looking for the folder of xtask's binary")?;
        // xtask is TARGET/debug/xtask, wherever TARGET was sent to.
        let target = program
            .ancestors()
            .nth(2)
            .with_context(|| format!("{} is not in a target folder", program.display()))?;
        Ok(Self {
            root: bpf_build::workspace_root()?,
            target: target.to_path_buf(),
        })
    }

    /// Folder of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Builds binaries of the dev profile, as the tests do, so that what both need is built once.
    pub(crate) fn build(&self, binaries: &[&str]) -> Result<()> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--workspace", "--features", ROOT_FEATURE]);
        cargo.args(binaries.iter().flat_map(|binary| ["--bin", binary]));
        process::run(&mut cargo)
    }

    /// A binary of the dev profile.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }

    /// A binary of the release profile.
    pub(crate) fn released(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// Where xtask builds and checks BPF programs for itself.
    pub(crate) fn bpf_target(&self) -> PathBuf {
        self.root.join("target/bpf/xtask")
    }

    /// `program` started in the workspace's root, as from a shell: without the variables of the
    /// cargo that runs us, since a crate that watches one of them would be built again each time.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        for (name, _) in env::vars_os().filter(|(name, _)| {
            name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            })
        }) {
            command.env_remove(name);
        }
        command
    }

    /// `cargo` on the workspace.
    pub(crate) fn cargo(&self) -> Command {
        self.command("cargo")
    }
}
