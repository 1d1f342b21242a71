//! `sluice plan`: what a configuration would change, before it does.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    changes::{Tense, show},
    figures::whole_seconds,
    output::Format,
    wait,
};
use crate::{
    config::{self, Disk},
    control::{Client, PlanBody, SAMPLE_SECONDS},
};

/// Say what a configuration would change
///
/// Compares it with the one that the agent works by, and changes nothing: which services, pools and
/// backends are added, changed or removed; of each service the share of slots that go to another backend,
/// beside the least that could; what would need a restart. The exit status is 1 if the configuration
/// is not valid. The agent need not be able to read the files.
///
/// Which flows would be touched is not known where the hash alone says whose they are. With `--sample`
/// those that send anything in that time are counted; none moves by that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice plan\n  \
    sluice plan ./next.toml\n  \
    sluice plan --sample 5s ./next.toml\n  \
    sluice plan --output json ./next.toml | jq '.changes.slots'")]
pub(super) struct Arguments {
    /// The configuration [default: the agent's, as its files are now]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Count the live flows that would be touched for so long, up to a minute: `5s`
    #[arg(long, value_name = "TIME", value_parser = sample_seconds)]
    sample: Option<u64>,
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
    let (loaded, files) = config::record(&file, &Disk);
    loaded?;
    let body = PlanBody {
        files,
        sample_seconds: arguments.sample,
    };
    show(wait(client.plan(&body))?, Tense::Would, arguments.output)
}

/// A time that flows may be counted for, in whole seconds, no less than it.
fn sample_seconds(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let seconds = whole_seconds(time);
    if time > Duration::ZERO && SAMPLE_SECONDS.contains(&seconds) {
        return Ok(seconds);
    }
    let most = SAMPLE_SECONDS.end();
    Err(format!(
        "more than 0 s and no more than {most} s can be counted"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_counted_for_a_minute_at_most() {
        for (text, seconds) in [("5s", 5), ("1m", 60), ("300ms", 1)] {
            assert_eq!(sample_seconds(text), Ok(seconds));
        }
        for text in ["0s", "61s", "60001ms", "2h"] {
            let error = sample_seconds(text).unwrap_err();
            assert_eq!(error, "more than 0 s and no more than 60 s can be counted");
        }
        assert!(sample_seconds("5").is_err());
    }
}
