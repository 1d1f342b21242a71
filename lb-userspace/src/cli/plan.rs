//! `sluice plan`: what a configuration would change, before it does.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

use super::{
    changes::{Tense, show},
    output::Format,
    wait,
};
use crate::{
    config::{self, Disk},
    control::Client,
};

/// Say what a configuration would change
///
/// Compares it with the one that the agent works by, and changes nothing: which services, pools and
/// backends are added, changed or removed; of each service the share of slots that go to another backend,
/// beside the least that could; what would need a restart. The exit status is 1 if the configuration
/// is not valid. The agent need not be able to read the files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice plan\n  \
    sluice plan ./next.toml\n  \
    sluice plan --output json ./next.toml | jq '.changes.slots'")]
pub(super) struct Arguments {
    /// The configuration [default: the agent's, as its files are now]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Asks the agent and prints.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let file = match &arguments.file {
        Some(file) => std::path::absolute(file).context("finding the configuration")?,
        None => wait(client.status())??.agent.config.into(),
    };
    let (loaded, recorded) = config::record(&file, &Disk);
    loaded?;
    show(
        wait(client.plan(&recorded))?,
        Tense::Would,
        arguments.output,
    )
}
