//! Short commands that must succeed.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` to its end; an error holds what it wrote to stderr.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}): {}", output.status, error.trim());
    }
    Ok(())
}

/// Runs `ip` with arguments that hold no blanks themselves.
pub fn ip(arguments: &str) -> Result<()> {
    run(Command::new("ip").args(arguments.split_whitespace()))
}
