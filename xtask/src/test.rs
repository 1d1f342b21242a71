//! `cargo xtask test`: sets up and runs the tests, ring by ring or all of them. Which tests need
//! root is told by where they are: the binaries `kernel` and `netns` of the package with the tests, and `guest`,
//! which runs under another kernel.

use std::{
    ffi::OsString,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result};

use crate::{
    cache, executable, guest, next, process, root, setup,
    workspace::{TESTS, Workspace},
};

/// The nextest that is installed where there is none.
const NEXTEST: &str = "0.9.143";

/// What the tests of rings 2 and 3 are built with: without it a plain `cargo test` leaves them out.
pub(crate) const ROOT_FEATURE: &str = "sluice-tests/root";

/// The rings that need root, and the integration test that each of them is.
const ROOTED: [(u8, &str); 2] = [(2, "kernel"), (3, "netns")];

/// Run the tests: all rings, or those named
///
/// 0: plain functions and properties; 1: scripts on fake tables, and the command line; both need
/// nothing and always run together. 2: programs and maps in this kernel; 3: namespaces with real
/// peers, and what needs another kernel, in a guest; both need root, and get it by sudo if this is not root. Builds never run as root.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this ring; may be given several times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3))]
    ring: Vec<u8>,
    /// Passed through to cargo-nextest: a part of a test's name, --no-capture, …
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// Sets up and runs them.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let Arguments { ring, rest } = arguments;
    run_rings(workspace, ring, "default", rest)?;
    if !rest.is_empty() {
        // Single tests were asked for.
        return Ok(());
    }
    let wanted = |n| ring.is_empty() || ring.contains(&n);
    if wanted(3) {
        println!("\nring 3, in a guest");
        guest::test(workspace)?;
    }
    if wanted(0) || wanted(1) {
        examples(workspace)?;
    }
    Ok(())
}

/// Every ring, the way CI wants it: to the end, whatever fails; but for what another kernel runs, which is
/// a step of its own there.
pub(crate) fn run_all(workspace: &Workspace) -> Result<()> {
    run_rings(workspace, &[], "ci", &[])?;
    examples(workspace)
}

fn run_rings(workspace: &Workspace, rings: &[u8], profile: &str, rest: &[OsString]) -> Result<()> {
    let parts = parts(rings, root::is_ours());
    if parts.iter().any(Part::needs_root) {
        setup::everything(workspace)?;
    } else {
        setup::tools(workspace)?;
    }
    let nextest = nextest(workspace)?;
    if parts.iter().any(|part| part.rooted.contains(&"netns")) {
        next::build(workspace)?;
    }
    for part in &parts {
        let mut command = part.command(workspace, &nextest)?;
        process::run(command.args(["--profile", profile]).args(rest))?;
    }
    Ok(())
}

/// Examples in documentation, which nextest leaves out. Those of the fuzz targets' crate are the tests' own,
/// under another name that they don't know.
fn examples(workspace: &Workspace) -> Result<()> {
    process::run(
        workspace
            .cargo()
            .args(["test", "--quiet", "--workspace", "--doc"])
            .args(["--exclude", "sluice-fuzz"]),
    )
}

/// One run of nextest.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// Whether rings 0 and 1 are in it.
    plain: bool,
    /// The binaries of rings 2 and 3 that are in it.
    rooted: Vec<&'static str>,
    /// Whether root has to be had by sudo.
    sudo: bool,
}

/// What to run for `rings` (none: all): everything at once as root, else what needs sudo apart.
fn parts(rings: &[u8], is_root: bool) -> Vec<Part> {
    let wanted = |ring| rings.is_empty() || rings.contains(&ring);
    let plain = wanted(0) || wanted(1);
    let rooted: Vec<_> = ROOTED
        .iter()
        .filter(|(ring, _)| wanted(*ring))
        .map(|(_, binary)| *binary)
        .collect();
    if is_root {
        return vec![Part {
            plain,
            rooted,
            sudo: false,
        }];
    }
    let apart = [
        Part {
            plain,
            rooted: Vec::new(),
            sudo: false,
        },
        Part {
            plain: false,
            rooted,
            sudo: true,
        },
    ];
    apart
        .into_iter()
        .filter(|part| part.plain || part.needs_root())
        .collect()
}

impl Part {
    fn needs_root(&self) -> bool {
        !self.rooted.is_empty()
    }

    fn command(&self, workspace: &Workspace, nextest: &Path) -> Result<Command> {
        let mut command = workspace.command(nextest);
        // The whole workspace in any case, so that all runs share one build.
        command.args(["nextest", "run", "--workspace", "--features", ROOT_FEATURE]);
        command.args(["--filterset", &self.filter()]);
        command.args(["--test-threads", &threads().to_string()]);
        if self.sudo {
            root::acquire(workspace, "running the tests of rings 2 and 3")?;
            command.env(runner_variable(workspace)?, "sudo --preserve-env --");
        }
        Ok(command)
    }

    fn filter(&self) -> String {
        let (negation, binaries): (_, Vec<_>) = if self.plain {
            let left_out = ROOTED
                .iter()
                .map(|(_, binary)| *binary)
                .filter(|binary| !self.rooted.contains(binary));
            ("not ", left_out.chain([guest::TEST]).collect())
        } else {
            ("", self.rooted.clone())
        };
        let binaries: Vec<_> = binaries
            .iter()
            .map(|name| format!("binary_id({TESTS}::{name})"))
            .collect();
        format!("{negation}({})", binaries.join(" or "))
    }
}

/// How many tests run side by side: more than there are cores, since those of ring 3 mostly wait.
fn threads() -> usize {
    2 * thread::available_parallelism().map_or(1, NonZero::get)
}

/// The variable by which cargo and nextest learn what to start the host's binaries with.
fn runner_variable(workspace: &Workspace) -> Result<String> {
    let about = process::output(workspace.command("rustc").arg("-vV"))?;
    let about = String::from_utf8_lossy(&about.stdout);
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` names no host")?;
    Ok(format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    ))
}

/// cargo-nextest: the installed one, else our own, installed once per user and never on the path.
fn nextest(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(installed) = executable::find("cargo-nextest") {
        return Ok(installed);
    }
    let folder = cache::folder()?.join(format!("nextest-{NEXTEST}"));
    let program = folder.join("bin/cargo-nextest");
    if !program.is_file() {
        println!(
            "nextest: installing {NEXTEST} into {} (some minutes)",
            folder.display()
        );
        let what = format!("cargo-nextest@{NEXTEST}");
        process::run(
            workspace
                .cargo()
                .args(["install", "--locked", &what, "--root"])
                .arg(&folder),
        )?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(rings: &[u8], is_root: bool) -> Vec<(String, bool)> {
        parts(rings, is_root)
            .iter()
            .map(|part| (part.filter(), part.sudo))
            .collect()
    }

    /// The filter of these binaries of the tests.
    fn of(negation: &str, binaries: &[&str]) -> String {
        let ids = binaries
            .iter()
            .map(|name| format!("binary_id(sluice-tests::{name})"));
        format!("{negation}({})", ids.collect::<Vec<_>>().join(" or "))
    }

    #[test]
    fn root_runs_everything_at_once_but_what_a_guest_does() {
        let all = of("not ", &["guest"]);
        assert_eq!(filters(&[], true), [(all.clone(), false)]);
        assert_eq!(filters(&[0, 2, 3], true), [(all, false)]);
    }

    #[test]
    fn a_user_runs_what_needs_root_apart() {
        let plain = of("not ", &["kernel", "netns", "guest"]);
        let rooted = of("", &["kernel", "netns"]);
        assert_eq!(filters(&[], false), [(plain, false), (rooted, true)]);
    }

    #[test]
    fn rings_can_be_named() {
        let plain = of("not ", &["kernel", "netns", "guest"]);
        assert_eq!(filters(&[1], true), [(plain.clone(), false)]);
        assert_eq!(filters(&[0], false), [(plain, false)]);
        let without_netns = of("not ", &["netns", "guest"]);
        assert_eq!(filters(&[0, 2], true), [(without_netns, false)]);
        assert_eq!(filters(&[3], false), [(of("", &["netns"]), true)]);
    }
}
