//! How verbs print: to a terminal or not, as a table or as JSON.

use std::{
    env,
    io::{self, ErrorKind, IsTerminal, Write},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::config::{Palette, Report, render};

/// How a listing is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people: large figures are rounded
    Table,
    /// For scripts: everything, exactly
    Json,
}

/// What the place that is printed to can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether colours mean anything there.
    pub(super) palette: Palette,
    /// Columns, if it has an edge.
    pub(super) width: Option<u16>,
}

impl Look {
    /// Of a file or a pipe.
    pub(super) const PLAIN: Self = Self {
        palette: Palette::Plain,
        width: None,
    };

    /// Of the standard output.
    pub(super) fn of_stdout() -> Self {
        if !io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        Self {
            palette: palette(),
            width: comfy_table::Table::new().width(),
        }
    }

    /// Of the standard error output.
    pub(super) fn of_stderr() -> Self {
        if !io::stderr().is_terminal() {
            return Self::PLAIN;
        }
        Self {
            palette: palette(),
            width: None,
        }
    }

    /// `text` in a style, if there are colours.
    pub(super) fn paint(self, style: anstyle::Style, text: &str) -> String {
        match self.palette {
            Palette::Coloured => format!("{style}{text}{style:#}"),
            Palette::Plain => text.to_owned(),
        }
    }
}

/// What a terminal's user wants: see no-color.org.
fn palette() -> Palette {
    let set = |variable| env::var_os(variable).is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    if set("NO_COLOR") || dumb {
        Palette::Plain
    } else {
        Palette::Coloured
    }
}

/// Prints to the standard output. A reader that has seen enough (`sluice services | head`) is no
/// failure.
pub(super) fn print(text: &str) -> Result<()> {
    print_on(text).map(drop)
}

/// The same; whether the reader wants more.
pub(super) fn print_on(text: &str) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        result => result
            .map(|()| true)
            .context("cannot write to the standard output"),
    }
}

/// Prints as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot write this as JSON")?;
    print(&(text + "\n"))
}

/// Says on the standard error output why a verb failed.
pub(super) fn complain(error: &anyhow::Error) {
    let text = match error.downcast_ref::<Report>() {
        Some(report) => render(&report.diagnostics, Look::of_stderr().palette),
        None => format!("sluice: {}\n", chain(error)),
    };
    // There is nowhere left to say that this failed.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// An error and its causes, without what is said already: some messages quote their cause.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_named_once() {
        let error = anyhow!("no route")
            .context("cannot send: no route")
            .context("failed");
        assert_eq!(chain(&error), "failed: cannot send: no route");
    }
}
