//! How verbs print what a configuration changes, or changed, or why it can't be taken.

use std::{fmt::Write, process::ExitCode};

use anyhow::{Result, anyhow};

use super::{
    figures::things,
    output::{Format, Look, print, print_json},
    table::{Column, Mood, Table, moody, plain},
};
use crate::{
    changes::{Change, Changes, Difference, Kind, Said, SlotsMoved},
    config::Report,
    control::{Body, ClientError, Planned},
};

/// Entries of a list that are named; of more, only how many there are.
const NAMED: usize = 4;

/// Whether the changes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tense {
    /// They would be.
    Would,
    /// They are.
    Did,
}

/// Prints what the agent answered.
pub(super) fn show(
    answered: Result<Planned, ClientError>,
    tense: Tense,
    format: Format,
) -> Result<ExitCode> {
    let planned = answered.map_err(refused)?;
    for warning in &planned.warnings {
        eprintln!("warning: {warning}");
    }
    match format {
        Format::Json => print_json(&Body::new(planned))?,
        Format::Table => print(&text(&planned.changes, tense, Look::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A configuration that the agent refuses is shown as `sluice check` would.
fn refused(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Refused { diagnostics, .. } if !diagnostics.is_empty() => {
            Report { diagnostics }.into()
        }
        error => anyhow!(error),
    }
}

fn text(changes: &Changes, tense: Tense, look: Look) -> String {
    if changes.is_empty() {
        return match tense {
            Tense::Would => "nothing would change\n".into(),
            Tense::Did => "nothing has changed\n".into(),
        };
    }
    let mut text = String::new();
    for difference in &changes.agent {
        let _ = writeln!(text, "~ agent: {}", said(difference));
    }
    for (what, list) in [
        ("service", &changes.services),
        ("pool", &changes.pools),
        ("backend", &changes.backends),
        ("vrrp", &changes.vrrp),
    ] {
        list.iter().for_each(|change| line(&mut text, what, change));
    }
    if !changes.slots.is_empty() {
        let _ = write!(text, "\n{}", slots(&changes.slots, look));
    }
    for key in &changes.restart {
        let _ = writeln!(text, "\nneeds a restart of the agent: {key}");
    }
    text
}

fn line(text: &mut String, what: &str, Change { name, kind }: &Change) {
    let _ = match kind {
        Kind::Added => writeln!(text, "+ {what} {name}"),
        Kind::Removed => writeln!(text, "- {what} {name}"),
        Kind::Changed { differences } => {
            let said: Vec<String> = differences.iter().map(said).collect();
            writeln!(text, "~ {what} {name}: {}", said.join("; "))
        }
    };
}

fn said(Difference { key, said }: &Difference) -> String {
    match said {
        Said::Value { from, to } => format!("{key} {from} → {to}"),
        Said::List { added, removed } => {
            let parts = [('+', added), ('-', removed)].map(|(sign, entries)| listed(sign, entries));
            format!("{key}{}", parts.concat())
        }
    }
}

fn listed(sign: char, entries: &[String]) -> String {
    if entries.len() > NAMED {
        return format!(" {sign}{} entries", entries.len());
    }
    let entries = entries.iter().map(|entry| format!(" {sign}{entry}"));
    entries.collect()
}

fn slots(moved: &[SlotsMoved], look: Look) -> String {
    let mut table = Table::new(
        &[
            Column::text("SERVICE"),
            Column::text("FAMILY"),
            Column::figure("SLOTS MOVE"),
            Column::figure("AT LEAST"),
            Column::text("LIVE FLOWS TOUCHED"),
        ],
        look,
    );
    for moved in moved {
        let percent = |share: f64| plain(format!("{:.2} %", share * 100.0));
        table.row(vec![
            plain(&moved.service),
            plain(moved.family.to_string()),
            percent(moved.share),
            percent(moved.least),
            touched(moved).map_or_else(|| moody(Mood::Poor, "unknown: no state"), plain),
        ]);
    }
    table.text()
}

/// The flows that would be touched, if that is known.
fn touched(moved: &SlotsMoved) -> Option<String> {
    if moved.tracked {
        return Some("none: recorded".into());
    }
    let seen = moved.seen?;
    let least = if seen.at_least { "at least " } else { "" };
    let flows = things(usize::try_from(seen.flows).unwrap_or(usize::MAX), "flow");
    Some(format!("{least}{flows} seen in {} s", seen.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{changes::Seen, cli::tests::assert_text, model::Family};

    fn moved(family: Family, tracked: bool) -> SlotsMoved {
        SlotsMoved {
            service: "web".into(),
            family,
            tracked,
            share: 0.12518,
            least: 0.125,
            seen: None,
        }
    }

    fn counted(family: Family, flows: u64, at_least: bool) -> SlotsMoved {
        SlotsMoved {
            seen: Some(Seen {
                flows,
                seconds: 5,
                at_least,
            }),
            ..moved(family, false)
        }
    }

    #[test]
    fn changes_are_listed_by_what_they_are_of() {
        let list = |added: usize, removed: usize| {
            let entries = |n| (0..n).map(|n| format!("198.18.{n}.0/24")).collect();
            Difference::of_list("access.deny", entries(added), entries(removed))
        };
        let differences = vec![
            Difference::of_value("scheduler", "maglev", "source-hash"),
            list(2, 1),
        ];
        let changes = Changes {
            agent: vec![list(5, 0)],
            services: vec![
                Change::new("web2", Kind::Added),
                Change::new("web", Kind::Changed { differences }),
            ],
            pools: vec![Change::new("old", Kind::Removed)],
            backends: vec![Change::new(
                "web/web1",
                Kind::Changed {
                    differences: vec![Difference::of_value("weight", "100", "50")],
                },
            )],
            vrrp: vec![Change::new("gateway", Kind::Added)],
            slots: vec![
                moved(Family::Ipv4, false),
                moved(Family::Ipv6, true),
                counted(Family::Ipv4, 12, false),
                counted(Family::Ipv6, 1, true),
            ],
            restart: vec!["agent.flows".into()],
        };
        assert_text("changes", &text(&changes, Tense::Would, Look::PLAIN));
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let none = Changes::default();
        assert_eq!(
            text(&none, Tense::Would, Look::PLAIN),
            "nothing would change\n"
        );
        assert_eq!(
            text(&none, Tense::Did, Look::PLAIN),
            "nothing has changed\n"
        );
    }
}
