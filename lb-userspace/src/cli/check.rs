//! `sluice check`: is a configuration valid, and does it fit this host.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use serde::Serialize;

use super::{
    DEFAULT_CONFIG,
    figures::things,
    output::{Look, print, print_json},
    wait,
};
use crate::{
    config::{self, Code, Diagnostic, Disk, Loaded, Palette, Severity, host, render},
    host_facts,
    model::Config,
    net::Host,
    state::Ids,
};

/// Say all that is wrong with a configuration
///
/// Needs no agent and changes nothing. The exit status is 0 if the configuration is valid, 1 if it
/// is not. What depends on this host, such as an interface that is not there, is a warning; with
/// --host it is an error, as in `sluice run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice check\n  \
    sluice check --host ./sluice.toml\n  \
    sluice check --output json ./sluice.toml | jq -r '.diagnostics[].code'")]
pub(super) struct Arguments {
    /// The configuration
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    file: PathBuf,
    /// Fail as well if this host is not ready for it
    #[arg(long)]
    host: bool,
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people: each finding as a picture
    Text,
    /// For scripts
    Json,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Findings {
    file: String,
    /// Whether the configuration itself is valid.
    valid: bool,
    /// Whether nothing at all is an error.
    ok: bool,
    /// What it holds, if it is valid.
    content: Option<Content>,
    diagnostics: Vec<Diagnostic>,
    /// Why this host could not be looked at.
    host_unknown: Option<String>,
}

#[derive(Debug, Serialize)]
struct Content {
    services: usize,
    pools: usize,
    backends: usize,
}

/// Checks and prints.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let severity = if arguments.host {
        Severity::Error
    } else {
        Severity::Warning
    };
    let findings = examine(&arguments.file, severity)?;
    match arguments.output {
        Format::Json => print_json(&findings)?,
        Format::Text => print(&text(&findings, Look::of_stdout().palette))?,
    }
    Ok(if findings.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `severity` is that of what this host lacks.
fn examine(file: &Path, severity: Severity) -> Result<Findings> {
    let mut findings = Findings {
        file: file.display().to_string(),
        valid: false,
        ok: false,
        content: None,
        diagnostics: Vec::new(),
        host_unknown: None,
    };
    let Loaded {
        config,
        warnings,
        notes,
        places,
    } = match config::load(file, &Disk) {
        Ok(loaded) => loaded,
        Err(report) => {
            findings.diagnostics = report.diagnostics;
            return Ok(findings);
        }
    };
    // What fits no table is no valid configuration either.
    if let Err(error) = Ids::assign(&config) {
        let diagnostic = Diagnostic::new(Severity::Error, Code::TooLarge, error.to_string());
        findings.diagnostics = vec![diagnostic];
        return Ok(findings);
    }
    findings.valid = true;
    findings.content = Some(Content::of(&config));
    findings.diagnostics = warnings;
    findings.diagnostics.extend(notes);
    let facts = async {
        let network = Host::read().await?;
        host_facts::read(&network, &config).await
    };
    match wait(facts)? {
        Ok(facts) => {
            let more = host::check(&config, &places, &facts, severity);
            findings.diagnostics.extend(more);
        }
        Err(error) => findings.host_unknown = Some(error.to_string()),
    }
    let fails = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    let unknown = findings.host_unknown.is_some() && severity == Severity::Error;
    findings.ok = !unknown && !findings.diagnostics.iter().any(fails);
    Ok(findings)
}

fn text(findings: &Findings, palette: Palette) -> String {
    let file = &findings.file;
    let mut text = render(&findings.diagnostics, palette);
    if let Some(error) = &findings.host_unknown {
        text += &format!("this host could not be looked at: {error}\n");
    }
    text + &match &findings.content {
        Some(content) if findings.ok => format!(
            "{file}: ok: {}, {}, {}\n",
            things(content.services, "service"),
            things(content.pools, "pool"),
            things(content.backends, "backend")
        ),
        Some(_) => format!("{file}: valid, but this host is not ready for it\n"),
        None => format!("{file}: not valid\n"),
    }
}

impl Content {
    fn of(config: &Config) -> Self {
        Self {
            services: config.services.len(),
            pools: config.pools.len(),
            backends: config.pools.iter().map(|pool| pool.backends.len()).sum(),
        }
    }
}
