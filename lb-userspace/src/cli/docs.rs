//! `sluice docs KIND`: pages of the documentation that are made from the program's own types.
//! `cargo xtask docs` puts them in place; a test fails when one is stale.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Result;
use lb_common::datapath::{AnswerReason, DropReason, PassReason};

/// Print a page of the documentation
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(super) struct Arguments {
    /// Which page
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// docs/reasons.md
    Reasons,
}

/// Prints the page.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match arguments.kind {
        Kind::Reasons => print!("{}", reasons()),
    }
    Ok(ExitCode::SUCCESS)
}

fn reasons() -> String {
    let mut page = String::from(
        "<!-- Made by `cargo xtask docs`; change lb-common/src/datapath/outcome.rs. -->\n\n\
         # Reasons\n\n\
         Every packet that an interface receives is forwarded, answered, passed to the kernel or dropped, and\n\
         counted once: `sluice_interface_received_packets_total` = `…_forwarded_…` + all `…_answered_…{reason}` + all\n\
         `…_passed_…{reason}` + all `…_dropped_…{reason}`. One packet leaves for each that was forwarded or\n\
         answered. `sluice status` lists the drops.\n\n",
    );
    page.push_str("## Answered by a packet made here\n\n");
    let rows = AnswerReason::ALL.iter().map(|r| (r.name(), r.help()));
    table(&mut page, rows);
    page.push_str("\n## Passed to the kernel, untouched\n\n");
    let rows = PassReason::ALL.iter().map(|r| (r.name(), r.help()));
    table(&mut page, rows);
    page.push_str("\n## Dropped\n\n");
    let rows = DropReason::ALL.iter().map(|r| (r.name(), r.help()));
    table(&mut page, rows);
    page
}

fn table<'a>(page: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    page.push_str("| reason | what it means |\n|---|---|\n");
    for (name, help) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{name}` | {} |", help.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_reasons_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reasons.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, reasons(), "run `cargo xtask docs`");
    }
}
