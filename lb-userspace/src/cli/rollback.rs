//! `sluice rollback`: has the agent go back to the configuration before.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    changes::{Tense, show},
    output::Format,
    wait,
};
use crate::control::Client;

/// Have the agent go back to the configuration before
///
/// It is kept as its files were, whatever they say now. They are not written: until they are, the next
/// reload or restart takes what they say, and `sluice status` warns of that. Once more goes back
/// to where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice rollback\n  \
    sluice reload && ./smoke-test || sluice rollback")]
pub(super) struct Arguments {
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Asks the agent and prints.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    show(wait(client.rollback())?, Tense::Did, arguments.output)
}
