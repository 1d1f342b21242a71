//! `sluice run`: the agent.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use super::{DEFAULT_CONFIG, logging};
use crate::agent::{self, RunOptions};

/// Run the agent in the foreground
///
/// Reads the configuration, attaches the packet program, and balances until SIGTERM or SIGINT.
/// Logs to the standard error output; SLUICE_LOG sets what (debug, warn, lb_userspace::net=trace).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice run\n  \
    SLUICE_LOG=debug sluice run --config ./sluice.toml --control ./control.sock")]
pub(super) struct Arguments {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Runs until it is told to stop. `control` outweighs the configuration's.
pub(super) fn run(arguments: &Arguments, control: Option<PathBuf>) -> Result<ExitCode> {
    logging::init()?;
    agent::run(RunOptions {
        config: arguments.config.clone(),
        control,
    })?;
    Ok(ExitCode::SUCCESS)
}
