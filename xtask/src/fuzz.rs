//! Fuzz targets: builds them, instrumented, with the stable toolchain; and runs one until it has used
//! an hour of a processor, from the corpus in the tree.

mod share;

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{process, workspace::Workspace};

/// The package that the targets are in.
const PACKAGE: &str = "sluice-fuzz";

/// What the targets are built for: named, so that build scripts and macros are not instrumented.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What rustc needs to be told to count what is reached, and to follow comparisons.
const INSTRUMENTED: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg=fuzzing";

/// A target.
pub(crate) struct Target {
    /// Its name, which is its binary's.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    /// The name of its corpus.
    corpus: &'static str,
    /// The longest input, bytes.
    longest: u32,
}

/// All of them.
pub(crate) const TARGETS: [Target; 3] = [
    Target {
        name: "fuzz-parse",
        about: "any frame through the packet path and a plain model, an hour of CPU time",
        corpus: "parse",
        longest: 256,
    },
    Target {
        name: "fuzz-path",
        about: "any packets and changes through both, an hour of CPU time",
        corpus: "path",
        longest: 1024,
    },
    Target {
        name: "fuzz-vrrp",
        about: "any packet through the codec of adverts, an hour of CPU time",
        corpus: "vrrp",
        longest: 64,
    },
];

/// What a run uses of a processor.
const SHARE: Duration = Duration::from_secs(3600);

/// How long a run takes at most, seconds of the clock: others may want the same cores.
const LONGEST: u32 = 3 * 3600;

/// How long a run takes where nobody else wants the core, for a list.
pub(crate) const MINUTES: u64 = SHARE.as_secs() / 60;

/// Builds the targets.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--features", "libfuzzer"]);
    cargo.args(["--package", PACKAGE, "--target", PLATFORM]);
    cargo.args(TARGETS.iter().flat_map(|target| ["--bin", target.name]));
    cargo.arg("--target-dir").arg(folder(workspace));
    cargo.env("RUSTFLAGS", INSTRUMENTED);
    // Overflows count, and the pass that counts comes before what links everything.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    cargo.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
    process::run(&mut cargo)
}

/// Runs a target until it has used [`SHARE`], or as `rest` says (libFuzzer's flags) if that ends
/// earlier, writes what it came to, and makes the corpus as small as it gets.
pub(crate) fn run(workspace: &Workspace, target: &Target, rest: &[OsString]) -> Result<()> {
    build(workspace)?;
    let results = workspace.root().join("target/soak");
    let found = folder(workspace).join("corpus").join(target.corpus);
    fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
    target.unpack(workspace, &found)?;
    let log = results.join(format!("{}.log", target.name));
    println!(
        "{}: {MINUTES} min of CPU time, at most {} min of the clock; its log is {}",
        target.name,
        LONGEST / 60,
        log.display()
    );
    let running = target
        .fuzzer(workspace)
        .arg(format!("-max_total_time={LONGEST}"))
        .args([
            format!("-max_len={}", target.longest),
            "-print_final_stats=1".into(),
        ])
        .arg(format!("-artifact_prefix={}/", results.display()))
        .args(rest)
        .arg(&found)
        .stderr(File::create(&log).with_context(|| log.display().to_string())?)
        .spawn()
        .context("starting the target")?;
    let (status, used) = share::wait(running, SHARE)?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let summary = summary(&text, used);
    println!("{summary}");
    fs::write(results.join(format!("{}.txt", target.name)), &summary)?;
    if !status.success() {
        bail!("{} found something: see {}", target.name, log.display());
    }
    target.minimise(workspace, &found)
}

impl Target {
    fn fuzzer(&self, workspace: &Workspace) -> Command {
        let built = folder(workspace).join(PLATFORM).join("release");
        workspace.command(built.join(self.name))
    }

    /// Puts the corpus of the tree beside what was found before.
    fn unpack(&self, workspace: &Workspace, found: &Path) -> Result<()> {
        let corpus = workspace.root().join("fuzz/corpus");
        let corpus = corpus.join(self.corpus).with_extension("txt");
        fs::create_dir_all(found).with_context(|| format!("making {}", found.display()))?;
        let text = fs::read_to_string(&corpus).with_context(|| corpus.display().to_string())?;
        for (n, line) in text.lines().enumerate() {
            let input = bytes(line).with_context(|| format!("{}:{}", corpus.display(), n + 1))?;
            fs::write(found.join(format!("tree-{n}")), input)?;
        }
        Ok(())
    }

    /// Leaves what reaches something of what was found, a line each, in a file.
    fn minimise(&self, workspace: &Workspace, found: &Path) -> Result<()> {
        let small = folder(workspace).join("minimised").join(self.corpus);
        if small.exists() {
            fs::remove_dir_all(&small)?;
        }
        fs::create_dir_all(&small)?;
        let mut merge = self.fuzzer(workspace);
        // What is reached counts, not how often: else there are thousands.
        merge.args(["-merge=1", "-use_counters=0"]);
        merge.arg(format!("-max_len={}", self.longest));
        process::output(merge.arg(&small).arg(found))?;
        let mut lines = Vec::new();
        for input in fs::read_dir(&small)? {
            let input = fs::read(input?.path())?;
            lines.push(input.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        lines.sort_by_key(|line: &String| (line.len(), line.clone()));
        let file = small.with_extension("txt");
        fs::write(&file, lines.join("\n") + "\n")?;
        println!("{} inputs reach all of it: {}", lines.len(), file.display());
        Ok(())
    }
}

/// The bytes that a line of a corpus says.
fn bytes(line: &str) -> Result<Vec<u8>> {
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| Ok(u8::from_str_radix(str::from_utf8(pair)?, 16)?))
        .collect()
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/fuzz")
}

/// The CPU time, the last line that says what was reached, and the statistics (executions among them).
fn summary(log: &str, used: Duration) -> String {
    let reached = log.lines().rfind(|line| line.contains(" cov: "));
    let statistics = log.lines().filter(|line| line.starts_with("stat::"));
    let used = format!("stat::cpu_seconds:              {}", used.as_secs());
    let mut lines: Vec<_> = reached.into_iter().chain(statistics).collect();
    lines.push(&used);
    lines.join("\n") + "\n"
}
