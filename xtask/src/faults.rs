//! `cargo xtask faults`: are the proofs of ring 0 any good? Each fault of a list is put into a copy of
//! lb-common, and the oracle or a packet case has to find it.

mod list;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{process, workspace::Workspace};
use list::{FAULTS, Fault};

/// Seed faults into a copy of lb-common, one at a time: the oracle or a packet case has to find each
///
/// Needs neither root nor the BPF tools.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only those with this in their name
    name: Option<String>,
}

/// What of the workspace the copy has: enough for the package that finds faults.
const COPIED: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "fuzz",
    "lb-common",
    "lb-userspace/src/vrrp",
    "tests/src",
];

/// The package that finds faults.
const FINDER: &str = "sluice-fuzz";

/// Of so many faults CI seeds one: all of them take it a quarter of its time.
const ONE_OF: usize = 3;

/// Those whose turn it is, for CI: which, the commit decides, so that a failure comes again and all come in their turn.
pub(crate) fn run_some(workspace: &Workspace) -> Result<()> {
    let head = process::output(workspace.command("git").args(["rev-parse", "HEAD"]))?;
    let digits = head.stdout.iter().map(|&digit| usize::from(digit));
    let turn = digits.sum::<usize>() % ONE_OF;
    println!(
        "one in {ONE_OF} of {} faults, from number {turn} on; `cargo xtask faults` seeds all",
        FAULTS.len()
    );
    find_all(
        workspace,
        FAULTS.iter().skip(turn).step_by(ONE_OF).collect(),
    )
}

/// Copies that faults are seeded into at a time.
const COPIES: usize = 2;

/// Seeds those that were asked for.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let named = |fault: &&Fault| {
        let name = arguments.name.as_deref();
        name.is_none_or(|name| fault.name.contains(name))
    };
    find_all(workspace, FAULTS.iter().filter(named).collect())
}

fn find_all(workspace: &Workspace, faults: Vec<&Fault>) -> Result<()> {
    // Of all, and first: else CI finds a passage that went only when the turn of its fault comes.
    for fault in FAULTS {
        fault.read(workspace.root())?;
    }
    let start = Instant::now();
    let share = faults.len().div_ceil(COPIES).max(1);
    let missed = thread::scope(|scope| {
        let parts = (0..).zip(faults.chunks(share));
        let parts = parts.map(|(n, part)| scope.spawn(move || seed(workspace, n, part)));
        let parts: Vec<_> = parts.collect();
        let mut missed = Vec::new();
        for part in parts {
            let Ok(part) = part.join() else {
                bail!("a thread panicked");
            };
            missed.extend(part?);
        }
        Ok(missed)
    })?;
    let seconds = start.elapsed().as_secs();
    println!("{} faults in {seconds} s", faults.len());
    if !missed.is_empty() {
        bail!("nothing finds: {}", missed.join("; "));
    }
    Ok(())
}

/// Seeds these into the copy of number `n`; those that nothing finds.
fn seed(workspace: &Workspace, n: u32, faults: &[&Fault]) -> Result<Vec<&'static str>> {
    let copy = Copy::new(workspace, n)?;
    let (found, told) = copy.find(workspace)?;
    if found {
        bail!("{told} finds a fault where none was seeded");
    }
    let mut missed = Vec::new();
    for fault in faults {
        let (found, told) = copy.seeded(workspace, fault)?;
        println!("{:56} {told}", fault.name);
        if !found {
            missed.push(fault.name);
        }
    }
    Ok(missed)
}

impl Fault {
    /// The file that it is seeded into below this root, and what that says; an error where it has the passage
    /// not exactly once.
    fn read(&self, root: &Path) -> Result<(PathBuf, String)> {
        let file = root.join("lb-common/src").join(self.file);
        let sound = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        if sound.matches(self.from).count() != 1 {
            bail!(
                "{:?}: its passage is not once in lb-common/src/{}; mend xtask/src/faults/list.rs",
                self.name,
                self.file
            );
        }
        Ok((file, sound))
    }
}

/// A part of the workspace, in a folder below `target`.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn new(workspace: &Workspace, n: u32) -> Result<Self> {
        let root = workspace.root().join(format!("target/faults/{n}/tree"));
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
        }
        for part in COPIED {
            let (from, to) = (workspace.root().join(part), root.join(part));
            copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
        let manifest = root.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        let lines = text.lines().map(|line| {
            if line.starts_with("members = ") {
                "members = [\"fuzz\", \"lb-common\"]"
            } else {
                line
            }
        });
        fs::write(&manifest, lines.collect::<Vec<_>>().join("\n"))?;
        Ok(Self { root })
    }

    /// What is found of a fault; afterwards it is gone.
    fn seeded(&self, workspace: &Workspace, fault: &Fault) -> Result<(bool, String)> {
        let (file, sound) = fault.read(&self.root)?;
        fs::write(&file, sound.replace(fault.from, fault.to))?;
        let found = self.find(workspace);
        fs::write(&file, sound)?;
        found.with_context(|| format!("with the fault {:?}", fault.name))
    }

    /// Builds, and tells whether a fault is found, and by what.
    fn find(&self, workspace: &Workspace) -> Result<(bool, String)> {
        let target = self.root.with_file_name("target");
        let mut cargo = workspace.cargo();
        cargo.current_dir(&self.root).arg("--offline");
        cargo.args([
            "build",
            "--quiet",
            "--bin",
            "find-fault",
            "--package",
            FINDER,
        ]);
        // Nobody looks at where it fails.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
        // Whatever CI says: this builds nearly the same again and again.
        cargo.env("CARGO_INCREMENTAL", "1");
        process::output(cargo.arg("--target-dir").arg(&target))?;
        let mut finder = Command::new(target.join("debug/find-fault"));
        let printed = finder.output().context("starting the finder")?;
        let told = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
        match printed.status.code() {
            Some(code @ (0 | 1)) => Ok((code == 1, told)),
            _ => bail!("the finder ended with {}", printed.status),
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
