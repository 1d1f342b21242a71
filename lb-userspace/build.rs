//! Compiles the packet program, which the agent carries inside, and names the commit.

use std::{
    env,
    process::{Command, ExitCode},
};

use bpf_build::{PRODUCT, Program};

fn main() -> ExitCode {
    println!("cargo::rustc-env=SLUICE_COMMIT={}", commit());
    let features = match env::var_os("CARGO_FEATURE_LAYOUT_NEXT") {
        Some(_) => &["layout-next"][..],
        None => &[],
    };
    let program = Program {
        features,
        ..PRODUCT
    };
    bpf_build::build_script(program, "SLUICE_XDP")
}

/// The commit that this is built from, short; `unknown` outside a checkout.
fn commit() -> String {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".into(), |text| text.trim().into())
}
