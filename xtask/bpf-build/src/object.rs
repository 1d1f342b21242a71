//! Compiling one program to its BPF object, and telling cargo about it.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{Program, TARGET, Tools, command, depinfo, tools};

/// The whole of a build script: compiles `program` and puts the object's path into `variable`, for
/// `aya::include_bytes_aligned!(env!("VARIABLE"))`.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     bpf_build::build_script(bpf_build::PRODUCT, "SLUICE_XDP")
/// }
/// ```
///
/// A failure is one `error:` line of cargo's; only if the program itself does not compile do the
/// compiler's messages follow.
pub fn build_script(program: Program, variable: &str) -> ExitCode {
    match compile_here(program) {
        Ok(object) => {
            println!("cargo::rustc-env={variable}={}", object.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cargo::error={error:#}");
            // Cargo shows a script's output only if the script fails, and fails it for the line
            // above anyway: a missing tool stays one line.
            if error.is::<CompileError>() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

/// Compiles `program` of the workspace in `root` and returns the object's path. Everything it writes
/// is below `out_dir`.
///
/// Prints the `cargo::rerun-if-changed` lines of what went into it. The target folder is its own:
/// in the outer cargo's, the two would wait for each other's lock.
pub fn compile(program: Program, root: &Path, out_dir: &Path) -> Result<PathBuf> {
    let tools = Tools::locate(root)?;
    rerun_if_changed(&[tools.linker.path(), tools.sysroot.path().to_path_buf()]);
    let object = object(&tools, program, &out_dir.join("bpf"))?;
    rerun_if_changed(&depinfo::inputs(
        &object.with_added_extension("d"),
        &tools.root,
    )?);
    Ok(object)
}

/// The same for callers that are no build script: compiles `program` in `target_dir` and prints
/// nothing but the compiler's own messages.
pub fn object(tools: &Tools, program: Program, target_dir: &Path) -> Result<PathBuf> {
    tools.check()?;
    let status = command::cargo(tools, "build", target_dir, program.rustflags)
        .args([
            "--quiet",
            "--package",
            program.package,
            "--bin",
            program.binary,
            "--features",
            &program.features.join(","),
        ])
        .status()
        .context("running cargo for the BPF object")?;
    if !status.success() {
        return Err(CompileError(program).into());
    }
    let object = target_dir.join(TARGET).join("release").join(program.binary);
    if !object.is_file() {
        bail!(
            "cargo built {} but left no {}",
            program.package,
            object.display()
        );
    }
    Ok(object)
}

/// The program does not compile; the compiler has said why.
#[derive(Debug)]
struct CompileError(Program);

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not compile for {TARGET}", self.0.package)
    }
}

impl std::error::Error for CompileError {}

fn compile_here(program: Program) -> Result<PathBuf> {
    let out_dir = env::var_os("OUT_DIR").context("OUT_DIR is not set: call this from build.rs")?;
    compile(program, &tools::workspace_root()?, Path::new(&out_dir))
}

fn rerun_if_changed(paths: &[PathBuf]) {
    for path in paths {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}
