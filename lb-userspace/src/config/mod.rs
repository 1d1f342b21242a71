//! The configuration: from files to [`model::Config`](crate::model::Config), or to everything
//! that is wrong with them at once.
//!
//! ```text
//!  files ─► parse, read ─► raw ───────► check ───────► resolve ─► Loaded: model::Config,
//!           TOML tree,     tables as    rules over                places and warnings
//!           each value     written      more than one
//!              │                           │
//!              └───────► findings ◄────────┘◄── notes on what came out
//!                           └─► echo ─► diagnostics ─► Report, render
//! ```
//!
//! Every stage goes on after an error and leaves out what it could not read; what only follows
//! from an error that is reported already is not. Reading files is all in `files`; the rest is
//! pure. What depends on the host is [`host`]'s.

mod address;
mod check;
mod diagnostic;
mod echo;
mod files;
pub mod host;
mod include;
mod number;
mod parse;
mod places;
mod probe;
mod raw;
mod read;
mod record;
mod render;
mod resolve;
mod schema;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod value;
mod vlans;
mod vrrp;

use std::{fmt, io, path::Path};

pub use self::{
    address::AddressError,
    diagnostic::{Code, Diagnostic, Related, Severity},
    files::{Disk, Files, MatchError},
    places::{Item, Places},
    record::{Recorded, record},
    render::{Palette, render},
    source::Excerpt,
};
use self::{
    diagnostic::Finding,
    echo::Damage,
    raw::{Included, Main},
    schema::Table,
    source::Sources,
};
use crate::model::Config;

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What looks wrong in it, in the order of the files.
    pub warnings: Vec<Diagnostic>,
    /// What follows from it and isn't obvious, in the order of the files.
    pub notes: Vec<Diagnostic>,
    /// Where its parts were written.
    pub places: Places,
}

/// Why a configuration can't be used: every error in it, and the warnings, in the order of the
/// files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// At least one of them is an error.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(&self.diagnostics, Palette::Plain).trim_end())
    }
}

impl std::error::Error for Report {}

/// Loads a main file and the files that it includes.
pub fn load(path: &Path, files: &impl Files) -> Result<Loaded, Report> {
    let text = files.read(path).map_err(|error| unreadable(path, &error))?;
    let mut loading = Loading::default();
    let Main {
        include,
        agent,
        access,
        vrrp,
        mut balancing,
    } = loading.parse(path, text);
    let included = include::expand(path, &include, files, &mut loading.findings);
    for file in included {
        match files.read(&file.path) {
            Ok(text) => {
                let Included(more) = loading.parse(&file.path, text);
                balancing.append(more);
            }
            Err(error) => loading.findings.push(include::unreadable(&file, &error)),
        }
    }
    check::check(
        agent.as_ref(),
        access.as_ref(),
        &vrrp,
        &balancing,
        &mut loading.findings,
    );

    let agent_and_config = agent.and_then(|agent| {
        Some((
            resolve::config(&agent, access.as_ref(), &vrrp, &balancing)?,
            agent,
        ))
    });
    let is_error = |found: &Finding| found.severity == Severity::Error;
    match &agent_and_config {
        Some((config, _)) if !loading.findings.iter().any(is_error) => {
            check::tracking(config, &balancing, &mut loading.findings);
            check::ports(config, &balancing, &mut loading.findings);
            check::through(config, &balancing, &mut loading.findings);
        }
        _ => {}
    }
    let (diagnostics, sources) = loading.finish();
    let refused = diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error);
    match agent_and_config {
        Some((config, agent)) if !refused => {
            let places = resolve::places(&agent, &vrrp, &balancing, &sources);
            let is_note = |found: &Diagnostic| found.severity == Severity::Note;
            let (notes, warnings) = diagnostics.into_iter().partition(is_note);
            Ok(Loaded {
                config,
                warnings,
                notes,
                places,
            })
        }
        _ => Err(Report { diagnostics }),
    }
}

/// What is gathered while files are loaded.
#[derive(Default)]
struct Loading {
    sources: Sources,
    findings: Vec<Finding>,
    damage: Damage,
}

impl Loading {
    fn parse<T: Table>(&mut self, path: &Path, text: String) -> T {
        let source = self.sources.add(path.to_owned(), text);
        let text = self.sources.text(source);
        parse::parse(source, text, &mut self.findings, &mut self.damage)
    }

    /// All diagnostics in the order of the files.
    fn finish(self) -> (Vec<Diagnostic>, Sources) {
        let Self {
            sources,
            mut findings,
            damage,
        } = self;
        damage.silence(&mut findings);
        findings.sort_by_key(|finding| finding.at);
        let diagnostics = findings.into_iter().map(|finding| finding.locate(&sources));
        (diagnostics.collect(), sources)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Report {
    let message = format!("can't read {}: {error}", path.display());
    Report {
        diagnostics: vec![Diagnostic::new(Severity::Error, Code::Unreadable, message)],
    }
}
