//! `sluice status`: is anything wrong, and what, on one screen.

use std::{fmt::Write, process::ExitCode};

use anyhow::Result;
use lb_common::datapath::DropReason;

use super::{
    figures::{count, duration, things},
    output::{Format, Look, print, print_json},
    table::{Column, Mood, Table, moody, plain},
    wait,
};
use crate::{
    config::Severity,
    control::{Body, Client, Status, Unsettled, VrrpRole},
    stats::{ExceptionsView, HoldUpCause, HoldUpView, InterfaceView, Mode, Problem},
};

/// Problems that are worth a line each; `--output json` has all.
const SHOWN_PROBLEMS: usize = 15;

/// Show whether anything is wrong, and what
///
/// Says what the agent finds wrong and what operators say of backends, which slots have not settled since a change and what holds them
/// up, then what each interface did with its packets, and why packets
/// were dropped since the agent was started. The exit status is 0 whenever the agent answers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice status\n  \
    sluice --control /run/sluice-test/control.sock status\n  \
    sluice status --output json | jq -e 'all(.problems[]; .severity == \"note\")'")]
pub(super) struct Arguments {
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Prints what the agent says.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let status = wait(client.status())??;
    match arguments.output {
        Format::Json => print_json(&Body::new(status))?,
        Format::Table => print(&text(&status, Look::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(status: &Status, look: Look) -> String {
    let parts = [
        problems(&status.problems, look),
        agent(status),
        slots(&status.unsettled, look),
        interfaces(&status.interfaces, look),
        drops(&status.interfaces, look),
    ];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("\n")
}

fn problems(problems: &[Problem], look: Look) -> String {
    let found = tally(problems, look);
    let head = match found.is_empty() {
        true => look.paint(Mood::Good.style(), "all is well"),
        false => found,
    };
    let colon = if problems.is_empty() { "" } else { ":" };
    let mut text = format!("{head}{colon}\n");
    for problem in problems.iter().take(SHOWN_PROBLEMS) {
        let word = match problem.severity {
            Severity::Error => look.paint(Mood::Bad.style(), "error"),
            Severity::Warning => look.paint(Mood::Poor.style(), "warning"),
            Severity::Note => "note".to_owned(),
        };
        // A `String` takes everything.
        let _ = writeln!(text, "  {word}: {}", problem.message);
    }
    if let Some(more @ 1..) = problems.len().checked_sub(SHOWN_PROBLEMS) {
        let _ = writeln!(text, "  and {more} more (--output json shows all)");
    }
    text
}

/// `1 error, 2 warnings`.
fn tally(problems: &[Problem], look: Look) -> String {
    let of = |severity| problems.iter().filter(|p| p.severity == severity).count();
    let counts = [
        (of(Severity::Error), "error", Mood::Bad),
        (of(Severity::Warning), "warning", Mood::Poor),
    ];
    let counts = counts.into_iter().filter(|(n, _, _)| *n > 0);
    let words = counts.map(|(n, word, mood)| look.paint(mood.style(), &things(n, word)));
    words.collect::<Vec<_>>().join(", ")
}

fn agent(status: &Status) -> String {
    let agent = &status.agent;
    let mut text = String::new();
    let lines = [
        (
            "agent",
            format!(
                "sluice {} (commit {}, layout {}), pid {}, up {}",
                agent.version,
                agent.commit,
                agent.layout,
                agent.pid,
                duration(agent.uptime_seconds)
            ),
        ),
        ("config", agent.config.clone()),
        ("stats", format!("http://{}/metrics", agent.stats)),
        ("seed", format!("fingerprint {}", agent.seed_fingerprint)),
        (
            "serves",
            format!(
                "{}, {}, {}",
                things(status.services, "service"),
                things(status.pools, "pool"),
                things(status.backends, "backend")
            ),
        ),
        ("vrrp", roles(&status.vrrp)),
        (
            "next hops",
            format!("{} unresolved", status.next_hops_unresolved),
        ),
        ("exceptions", exceptions(&status.exceptions)),
    ];
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        // A `String` takes everything.
        let _ = writeln!(text, "{name:11}{value}");
    }
    text
}

/// Empty if there are none.
fn roles(vrrp: &[VrrpRole]) -> String {
    let roles = vrrp.iter();
    let roles = roles.map(|VrrpRole { name, role }| format!("{name} {role}"));
    roles.collect::<Vec<_>>().join(", ")
}

/// Changes that slots are in; empty if all are settled.
fn slots(unsettled: &[Unsettled], look: Look) -> String {
    let columns = ["POOL", "FAMILY", "CHANGED"].map(Column::text);
    let figures = ["MOVING", "MIXED"].map(Column::figure);
    let why = [Column::text("HELD UP BY")];
    let mut table = Table::new(&[&columns[..], &figures, &why].concat(), look);
    for Unsettled { pool, slots } in unsettled {
        for change in &slots.changes {
            table.row(vec![
                plain(pool),
                plain(slots.family.to_string()),
                plain(format!("{} ago", duration(change.age_seconds))),
                plain(count(change.moving.into())),
                plain(count(change.mixed.into())),
                plain(change.held_up.map(held_up).unwrap_or_default()),
            ]);
        }
    }
    if unsettled.is_empty() {
        String::new()
    } else {
        table.text()
    }
}

fn held_up(by: HoldUpView) -> String {
    let what = match by.by {
        HoldUpCause::SettleTime => "settle time",
        HoldUpCause::UnrecordedData => "packets that were not recorded",
        HoldUpCause::UnrecordedOpens => "new flows that were not recorded",
    };
    format!("{what}: {} left", duration(by.seconds))
}

/// `923 of 65536`, of the fuller family.
fn exceptions(view: &ExceptionsView) -> String {
    let most = view.ipv4.max(view.ipv6);
    format!("{} of {} in the fuller family", count(most), view.limit)
}

fn interfaces(interfaces: &[InterfaceView], look: Look) -> String {
    let mut table = Table::new(
        &[
            Column::text("INTERFACE"),
            Column::text("MODE"),
            Column::figure("RECEIVED"),
            Column::figure("FORWARDED"),
            Column::figure("ANSWERED"),
            Column::figure("PASSED"),
            Column::figure("DROPPED"),
        ],
        look,
    );
    for interface in interfaces {
        let mode = match interface.mode {
            Mode::Native => plain("native"),
            Mode::Generic => moody(Mood::Poor, "generic"),
        };
        let verdicts = &interface.verdicts;
        table.row(vec![
            plain(&interface.name),
            mode,
            plain(count(verdicts.received)),
            plain(count(verdicts.forwarded)),
            plain(count(verdicts.answered_total())),
            plain(count(verdicts.passed_total())),
            plain(count(verdicts.dropped_total())),
        ]);
    }
    table.text()
}

/// Reasons that came up; empty if none did.
fn drops(interfaces: &[InterfaceView], look: Look) -> String {
    let columns = ["DROPPED ON", "REASON"].map(Column::text);
    let rest = [Column::figure("PACKETS"), Column::text("MEANING")];
    let mut table = Table::new(&[columns, rest].concat(), look);
    let mut some = false;
    for interface in interfaces {
        let dropped = interface.verdicts.dropped.iter();
        for (reason, packets) in dropped.filter(|(_, packets)| **packets > 0) {
            some = true;
            table.row(vec![
                plain(&interface.name),
                plain(reason),
                plain(count(*packets)),
                plain(meaning(reason)),
            ]);
        }
    }
    if some { table.text() } else { String::new() }
}

/// What a reason means. An agent of another version may have reasons that this binary lacks.
fn meaning(reason: &str) -> &'static str {
    let known = DropReason::ALL.iter().find(|known| known.name() == reason);
    known.map_or("", |known| known.help().trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::tests::assert_text, config::Palette, stats::sample};

    #[test]
    fn all_is_well() {
        assert_text("status", &text(&sample::healthy().into(), Look::PLAIN));
    }

    #[test]
    fn much_is_wrong() {
        assert_text(
            "status_troubled",
            &text(&sample::troubled().into(), Look::PLAIN),
        );
    }

    #[test]
    fn a_narrow_terminal_with_colours() {
        let look = Look {
            palette: Palette::Coloured,
            width: Some(72),
        };
        let text = text(&sample::troubled().into(), look);
        assert_text("status_coloured", &text.replace('\x1b', "␛"));
    }

    #[test]
    fn what_operators_say_is_no_problem() {
        let mut snapshot = sample::healthy();
        snapshot.pools[0].backends[0].overridden =
            sample::troubled().pools[1].backends[0].overridden;
        let text = text(&snapshot.into(), Look::PLAIN);
        let expected = "all is well:\n  note: backend web/web1 is drained by an operator\n";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn it_stays_on_one_screen() {
        let mut status = Status::from(sample::troubled());
        status.problems = status.problems.into_iter().cycle().take(100).collect();
        let text = text(&status, Look::PLAIN);
        assert!(text.contains("  and 85 more (--output json shows all)\n"));
    }
}
