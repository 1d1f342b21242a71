//! bpf-linker: which version is wanted, whether it is there, how it is installed.
//!
//! Installed under `target/tools`, never globally, and never by a build script.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::command;

/// The pinned linker of one checkout, installed or not.
#[derive(Clone, Debug)]
pub struct Linker {
    root: PathBuf,
    version: String,
}

impl Linker {
    /// The linker that `[workspace.metadata.bpf]` in `root`'s `Cargo.toml` names.
    pub fn locate(root: &Path) -> Result<Self> {
        let manifest = root.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("reading {}", manifest.display()))?;
        let version = pinned_version(&text).with_context(|| {
            format!(
                "{} names no linker: add `linker = \"VERSION\"` under [workspace.metadata.bpf]",
                manifest.display()
            )
        })?;
        Ok(Self {
            root: root.to_path_buf(),
            version: version.to_owned(),
        })
    }

    /// The version that is wanted.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it is, or will be once installed.
    pub fn path(&self) -> PathBuf {
        self.folder().join("bin/bpf-linker")
    }

    /// Whether it is there, starts, and says that it is the wanted version.
    pub fn is_installed(&self) -> bool {
        Command::new(self.path())
            .arg("--version")
            .output()
            .is_ok_and(|output| {
                let wanted = format!("bpf-linker {}", self.version);
                output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == wanted
            })
    }

    /// Installs it, replacing another version; takes a minute or two.
    pub fn install(&self) -> Result<()> {
        let what = format!("bpf-linker@{}", self.version);
        let status = command::clean("cargo")
            .args(["install", &what, "--locked", "--force", "--root"])
            .arg(self.folder())
            .arg("--target-dir")
            .arg(self.folder().join("build"))
            .current_dir(&self.root)
            .status()
            .context("running cargo install")?;
        if !status.success() || !self.is_installed() {
            bail!(
                "installing {what} into {} failed: see cargo's messages above",
                self.folder().display()
            );
        }
        // The build's own files are 300 MB that nobody needs again.
        let _ = fs::remove_dir_all(self.folder().join("build"));
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        self.root.join("target/tools")
    }
}

/// The value of `linker` in `[workspace.metadata.bpf]`. Not a TOML parser: one table, one key,
/// one line, so that build scripts need none.
fn pinned_version(manifest: &str) -> Option<&str> {
    manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[workspace.metadata.bpf]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "linker")
        .and_then(|(_, value)| value.trim().strip_prefix('"')?.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::pinned_version;

    #[test]
    fn version_comes_from_its_own_table() {
        let text =
            "[a]\nlinker = \"1\"\n[workspace.metadata.bpf]\n# why\nlinker = \"0.10.3\" # x\n";
        assert_eq!(pinned_version(text), Some("0.10.3"));
    }

    #[test]
    fn another_table_does_not_count() {
        let text = "[workspace.metadata.bpf]\nother = \"2\"\n[b]\nlinker = \"1\"\n";
        assert_eq!(pinned_version(text), None);
    }
}
