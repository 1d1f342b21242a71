//! `verify`: what this kernel's verifier says about the packet programs. See `sluice_tests::verifier`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use sluice_tests::verifier;

/// Loads the packet programs and prints what the verifier says. Needs root.
#[derive(Parser)]
struct Arguments {
    /// How many instructions are accepted: lb-ebpf/verified.txt
    accepted: PathBuf,
}

fn main() -> ExitCode {
    match verify(&Arguments::parse().accepted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verify: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn verify(accepted: &Path) -> Result<()> {
    let named = || accepted.display().to_string();
    let text = fs::read_to_string(accepted).with_context(named)?;
    verifier::run(&text).with_context(named)
}
