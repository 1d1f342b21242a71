//! The two tools that a BPF build needs beside the compiler, as one value.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{Linker, Sysroot};

/// What a build says when a tool is missing: one line, and what to do.
pub const NOT_SET_UP: &str = "the BPF tools are not set up: run `cargo xtask setup` once";

/// Linker and sysroot of one checkout, there or not.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Folder of the workspace's `Cargo.toml`, absolute.
    pub root: PathBuf,
    /// Turns the compiler's bitcode into an object with BTF.
    pub linker: Linker,
    /// Holds `core` for the BPF target.
    pub sysroot: Sysroot,
}

impl Tools {
    /// The tools of the workspace in `root`: where they are, whether or not they are there.
    pub fn locate(root: &Path) -> Result<Self> {
        let root = fs::canonicalize(root)
            .with_context(|| format!("looking for the workspace in {}", root.display()))?;
        Ok(Self {
            linker: Linker::locate(&root)?,
            sysroot: Sysroot::locate(&root)?,
            root,
        })
    }

    /// Fails with [`NOT_SET_UP`] unless both tools can be used.
    pub fn check(&self) -> Result<()> {
        if !self.linker.is_installed() || !self.sysroot.is_built() {
            bail!(NOT_SET_UP);
        }
        Ok(())
    }
}

/// The workspace that the running build script or `xtask` belongs to, from the manifest folder
/// that cargo passes to both.
pub fn workspace_root() -> Result<PathBuf> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .context("CARGO_MANIFEST_DIR is not set: run this through cargo")?;
    let manifest = PathBuf::from(manifest);
    let root = manifest
        .ancestors()
        .find(|folder| is_workspace(folder))
        .with_context(|| format!("no workspace found above {}", manifest.display()))?;
    Ok(root.to_path_buf())
}

fn is_workspace(folder: &Path) -> bool {
    fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
}
