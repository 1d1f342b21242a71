//! Starting cargo and rustc so that nothing leaks in from the cargo that we run under.
//!
//! Cargo hands a build script dozens of variables, and a cargo started in there takes several of
//! them for its own: `CARGO_ENCODED_RUSTFLAGS` silently replaces the flags below, clippy comes in
//! by `RUSTC_WORKSPACE_WRAPPER`, and the host's release profile by `CARGO_PROFILE_*`.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
    process::Command,
};

use crate::{TARGET, Tools};

/// What the BPF objects are always built with, whatever the host's profile says. Without fat LTO
/// and a single codegen unit the 512-byte stack overflows; BTF is made from the debug info.
const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
];

/// Variables of the outer cargo that change what an inner one builds.
const FOREIGN: &[&str] = &[
    "CARGO",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_ENCODED_RUSTDOCFLAGS",
    "CARGO_INCREMENTAL",
    "CLIPPY_ARGS",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

/// The same by prefix; `CARGO_TARGET_` covers the target folder and every target's flags.
const FOREIGN_PREFIXES: &[&str] = &[
    "CARGO_BUILD_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CARGO_UNSTABLE_",
    "DEP_",
];

/// `cargo VERB --release --target bpfel-unknown-none` with the profile, flags and linker of a BPF
/// build and `extra` ones, in `target_dir`. The caller adds packages and further arguments.
pub fn cargo(tools: &Tools, verb: &str, target_dir: &Path, extra: &[&str]) -> Command {
    let mut command = clean("cargo");
    command
        .current_dir(&tools.root)
        .args([verb, "--release", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(tools, extra))
        .env(
            "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER",
            tools.linker.path(),
        )
        .envs(PROFILE.iter().copied());
    command
}

/// `program` without the outer cargo's variables.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| is_foreign(name)) {
        command.env_remove(name);
    }
    command
}

fn is_foreign(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        FOREIGN.contains(&name)
            || FOREIGN_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    })
}

/// The flags in cargo's encoded form: a path may hold spaces. With `--target`, cargo keeps them
/// from build scripts and procedural macros, which are the host's.
fn rustflags(tools: &Tools, extra: &[&str]) -> OsString {
    let mut flags = OsString::from("--sysroot=");
    flags.push(tools.sysroot.path());
    let architecture = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    let fixed = ["-Cdebuginfo=2", "-Clink-arg=--btf", &architecture];
    for flag in fixed.iter().chain(extra) {
        flags.push("\u{1f}");
        flags.push(flag);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::is_foreign;

    #[test]
    fn what_changes_a_build_is_removed_and_the_rest_stays() {
        for name in [
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "DEP_Z_ROOT",
        ] {
            assert!(is_foreign(name.as_ref()), "{name}");
        }
        for name in [
            "PATH",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_MAKEFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(!is_foreign(name.as_ref()), "{name}");
        }
    }
}
