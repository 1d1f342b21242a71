//! `sluice undrain`: backends get new flows again.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    output::Format,
    overridden::{Target, show},
    wait,
};
use crate::control::Client;

/// Give drained backends new flows again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice undrain web/web1\n  \
    sluice undrain --address 198.18.1.11")]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Asks the agent and prints.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let undrained = wait(client.undrain(&arguments.target.who()))??;
    show(&undrained, arguments.output)
}
