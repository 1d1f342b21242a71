//! `sluice reload`: has the agent take its configuration's files as they are now.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    changes::{Tense, show},
    output::Format,
    wait,
};
use crate::control::Client;

/// Have the agent read its configuration again
///
/// Prints what has changed. A configuration that can't be taken leaves everything as it is: what is
/// wrong with it is printed, and the exit status is 1. Established connections stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice plan && sluice reload\n  \
    sluice reload || sluice status")]
pub(super) struct Arguments {
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Asks the agent and prints.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    show(wait(client.reload())?, Tense::Did, arguments.output)
}
