//! Running a program to its end, with errors that say which.

use std::{
    ffi::OsStr,
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

/// Runs `command` on our own terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs `command` silently; what it wrote is in the error if it fails.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed ({}):\n{}",
            shown(command),
            output.status,
            tail(&log)
        );
    }
    Ok(output)
}

/// The command line, without paths before the program and without the text of scripts.
fn shown(command: &Command) -> String {
    let program = command.get_program();
    let words = [program].into_iter().chain(command.get_args());
    let shown: Vec<_> = words
        .map(OsStr::to_string_lossy)
        .map(|word| abridged(&word))
        .collect();
    format!("`{}`", shown.join(" "))
}

fn abridged(word: &str) -> String {
    match word.split_once('\n') {
        Some(_) => "…".to_owned(),
        None => word.to_owned(),
    }
}

/// A verifier's log has thousands of lines; the reason stands at the end.
fn tail(log: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
