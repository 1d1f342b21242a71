//! `sluice events`: what happened on this host lately, and what happens.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use humantime::format_rfc3339_millis;

use super::{
    output::{Format, print, print_json, print_on},
    wait,
};
use crate::{
    control::{Body, Client, EventLine, Happened},
    events::Event,
};

/// List what happened on this host lately, or follow what happens
///
/// Roles of [[vrrp]], backends that go up and down, reloads, and what operators said. The agent keeps the newest 1024
/// events, since its start; where older ones are missing, that is said.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice events\n  \
    sluice events --follow --output json | jq --unbuffered 'select(.kind == \"vrrp\")'")]
pub(super) struct Arguments {
    /// Print events as they happen, until the agent ends (with status 1, then)
    #[arg(long)]
    follow: bool,
    /// Only events after the one with this number; with --follow, print those first
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    /// How to print; followed events are one JSON object a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    if arguments.follow {
        return follow(arguments, client);
    }
    let happened = wait(client.events(arguments.since.unwrap_or(0)))??;
    match arguments.output {
        Format::Table => print(&text(happened))?,
        Format::Json => print_json(&Body::new(happened))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn follow(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let mut printed = Ok(true);
    wait(client.follow(arguments.since, |line| {
        printed = print_line(&line, arguments.output);
        matches!(printed, Ok(true))
    }))??;
    match printed? {
        true => bail!("the agent has ended, and its events with it"),
        false => Ok(ExitCode::SUCCESS),
    }
}

fn print_line(line: &EventLine, output: Format) -> Result<bool> {
    let text = match output {
        Format::Table => said(line),
        Format::Json => serde_json::to_string(line)?,
    };
    print_on(&(text + "\n"))
}

fn text(happened: Happened) -> String {
    let Happened { missed, events } = happened;
    let gap = (missed > 0).then_some(EventLine::Gap { missed });
    let lines = gap
        .into_iter()
        .chain(events.into_iter().map(EventLine::Event));
    lines.map(|line| said(&line) + "\n").collect()
}

fn said(line: &EventLine) -> String {
    match line {
        EventLine::Event(Event {
            sequence,
            unix_ms,
            what,
        }) => {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(*unix_ms);
            format!("{} {sequence:>5}  {what}", format_rfc3339_millis(at))
        }
        EventLine::Gap { missed } => format!("({missed} events before are kept no more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{MaintenanceEvent, What};

    #[test]
    fn a_line_for_each_and_for_what_is_missing() {
        let events = vec![Event {
            sequence: 77,
            unix_ms: 1_700_000_000_123,
            what: What::Maintenance(MaintenanceEvent { on: true }),
        }];
        let said = text(Happened { missed: 76, events });
        let expected = "(76 events before are kept no more)\n\
                        2023-11-14T22:13:20.123Z    77  maintenance is on\n";
        assert_eq!(said, expected);
    }
}
