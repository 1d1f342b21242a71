//! `sluice weight`: backends get another weight than the configuration's.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    output::Format,
    overridden::{Target, show},
    wait,
};
use crate::{
    control::{Client, WeightBody},
    model::Weight,
};

/// Give backends another weight than the configuration says, until that is undone
///
/// It outlives reloads and restarts of the agent. Flows that there are stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice weight web/web1 --to 10\n  \
    sluice weight --address 198.18.1.11 --to 10\n  \
    sluice weight web/web1 --undo            back to the configured one")]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// The weight, 0 to 10000
    #[arg(long, value_name = "WEIGHT", value_parser = weight, required_unless_present = "undo")]
    to: Option<Weight>,
    /// Back to the configured one
    #[arg(long, conflicts_with = "to")]
    undo: bool,
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Asks the agent and prints.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let body = WeightBody {
        who: arguments.target.who(),
        weight: arguments.to,
    };
    let weighed = wait(client.weigh(&body))??;
    show(&weighed, arguments.output)
}

fn weight(text: &str) -> Result<Weight, String> {
    let value = text.parse().ok().and_then(Weight::new);
    value.ok_or_else(|| format!("a weight is a number from 0 to {}", Weight::MAX))
}
