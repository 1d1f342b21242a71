//! A sysroot with `core` for the BPF target, made once per compiler.
//!
//! The target is tier 3: rustup ships no `core` for it. We compile it from the text that belongs
//! to the installed compiler ([`crate::sources`] finds that), so no nightly, no `-Zbuild-std` and
//! no network are needed. The compiler calls are the same wherever the text came from.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, Result, bail};

use crate::{
    TARGET, command,
    sources::{self, Origin},
};

/// Stands in for the real one, which is a crate of its own in rust-src and absent from rust-docs.
/// A BPF program has no use for it: aya-ebpf brings `memcpy` and its like.
const COMPILER_BUILTINS: &str =
    "#![no_std]\n#![feature(compiler_builtins)]\n#![compiler_builtins]\n";

/// The sysroot of one checkout and compiler, built or not.
#[derive(Clone, Debug)]
pub struct Sysroot {
    root: PathBuf,
    path: PathBuf,
}

impl Sysroot {
    /// The sysroot for the compiler that cargo uses in `root`.
    pub fn locate(root: &Path) -> Result<Self> {
        let commit = compiler_commit(root)?;
        Ok(Self {
            root: root.to_path_buf(),
            path: root.join("target/bpf").join(format!("sysroot-{commit}")),
        })
    }

    /// What to pass as `--sysroot`; absolute, since cargo runs the compiler in each package's
    /// folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there. It appears by a rename, so what is there is whole.
    pub fn is_built(&self) -> bool {
        libraries(&self.path).is_dir()
    }

    /// Makes it, unless it is there; says where `core`'s text came from if it was made. May add
    /// the rust-src component if the text is nowhere else.
    pub fn ensure(&self) -> Result<Option<Origin>> {
        if self.is_built() {
            return Ok(None);
        }
        let draft = self.path.with_extension(format!("draft-{}", process::id()));
        let origin = self.build(&draft);
        let _ = fs::remove_dir_all(&draft);
        origin.map(Some)
    }

    fn build(&self, draft: &Path) -> Result<Origin> {
        let text = draft.join("text");
        fs::create_dir_all(&text).with_context(|| format!("creating {}", text.display()))?;
        let toolchain = compiler_sysroot(&self.root)?;
        let (origin, library) = sources::collect(&toolchain, &text)?;

        let sysroot = draft.join("sysroot");
        fs::create_dir_all(libraries(&sysroot))
            .with_context(|| format!("creating {}", sysroot.display()))?;
        let builtins = text.join("compiler_builtins.rs");
        fs::write(&builtins, COMPILER_BUILTINS)
            .with_context(|| format!("writing {}", builtins.display()))?;
        self.compile("core", &library.join("core/src/lib.rs"), &sysroot)?;
        self.compile("compiler_builtins", &builtins, &sysroot)?;
        self.publish(&sysroot)?;
        Ok(origin)
    }

    fn compile(&self, name: &str, source: &Path, sysroot: &Path) -> Result<()> {
        let output = rustc(&self.root)
            .args(["--crate-name", name, "--crate-type", "lib"])
            .args(["--edition", "2024", "--target", TARGET])
            .args(["-O", "-Cpanic=abort", "-Zforce-unstable-if-unmarked"])
            .args(["-A", "warnings", "--sysroot"])
            .arg(sysroot)
            .arg("--out-dir")
            .arg(libraries(sysroot))
            .arg(source)
            .env("RUSTC_BOOTSTRAP", "1")
            .output()
            .context("running rustc")?;
        if !output.status.success() {
            bail!(
                "{name} for {TARGET} does not compile from {}:\n{}",
                source.display(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Moves the finished sysroot to its place. Another process may have been faster: its result
    /// is as good as ours.
    fn publish(&self, sysroot: &Path) -> Result<()> {
        match fs::rename(sysroot, &self.path) {
            Err(_) if self.is_built() => Ok(()),
            result => result.with_context(|| format!("creating {}", self.path.display())),
        }
    }
}

fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// The full hash of the commit that the compiler was built from.
fn compiler_commit(root: &Path) -> Result<String> {
    let about = ask(root, &["-vV".as_ref()])?;
    about
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .filter(|hash| *hash != "unknown")
        .map(str::to_owned)
        .context("`rustc -vV` names no commit: use a compiler installed by rustup")
}

fn compiler_sysroot(root: &Path) -> Result<PathBuf> {
    Ok(ask(root, &["--print".as_ref(), "sysroot".as_ref()])?
        .trim()
        .into())
}

fn ask(root: &Path, arguments: &[&OsStr]) -> Result<String> {
    let output = rustc(root)
        .args(arguments)
        .output()
        .context("running rustc")?;
    if !output.status.success() {
        bail!(
            "rustc {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("rustc's answer is not UTF-8")
}

/// The compiler that the BPF build's own cargo will find: started in `root`, where
/// `rust-toolchain.toml` is.
fn rustc(root: &Path) -> Command {
    let mut command = command::clean("rustc");
    command.current_dir(root);
    command
}
