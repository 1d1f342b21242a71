//! Short commands that must succeed.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` to its end; an error holds what it wrote to stderr.
pub fn run(command: &mut Command) -> Result<()> {
    read(command).map(drop)
}

/// Runs `command` to its end and returns what it wrote to stdout.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}): {}", output.status, error.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("odd output of {command:?}"))
}

/// Runs `ip` with arguments that hold no blanks themselves.
pub fn ip(arguments: &str) -> Result<()> {
    read_ip(arguments).map(drop)
}

/// The same, for what it prints.
pub fn read_ip(arguments: &str) -> Result<String> {
    read(Command::new("ip").args(arguments.split_whitespace()))
}
