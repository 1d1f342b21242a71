//! What the configuration says to good and bad files. Every picture is a snapshot beside this
//! file; a new one is read by eye before it is kept.

mod example;
mod health;
mod host;
mod includes;
mod keys;
mod mistakes;
mod properties;
mod vrrp;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::{Files, Loaded, MatchError, Palette, Report, load, render};

/// A small configuration without a mistake, for the cases to spoil.
const GOOD: &str = r#"
[agent]
interfaces = ["eth0"]

[[service]]
name = "web"
listen = ["198.18.0.10:80/tcp"]
pool = "web"

[[pool]]
name = "web"
source = ["198.18.1.254"]

[[pool.backend]]
name = "web1"
address = "198.18.1.11:8080"
weight = 50
"#;

/// Files in memory; one without a text can't be read.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, Option<String>>);

impl Memory {
    fn new(files: &[(&str, &str)]) -> Self {
        let text = |(path, text): &(&str, &str)| (path.into(), Some((*text).to_owned()));
        Self(files.iter().map(text).collect())
    }

    fn unreadable(mut self, path: &str) -> Self {
        self.0.insert(path.into(), None);
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        let file = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.clone().ok_or(io::ErrorKind::PermissionDenied)?)
    }

    fn matching(&self, folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, MatchError> {
        let pattern = glob::Pattern::new(&folder.join(pattern).to_string_lossy())?;
        Ok(self
            .0
            .keys()
            .filter(|path| pattern.matches_path(path))
            .cloned()
            .collect())
    }
}

/// Loads one text as `sluice.toml`.
fn load_text(text: &str) -> Result<Loaded, Report> {
    load(
        Path::new("sluice.toml"),
        &Memory::new(&[("sluice.toml", text)]),
    )
}

/// What `check` prints of a configuration.
fn printed(loaded: &Result<Loaded, Report>) -> String {
    match loaded {
        Ok(loaded) => {
            let found = [loaded.warnings.as_slice(), &loaded.notes].concat();
            format!("valid\n\n{}", render(&found, Palette::Plain))
        }
        Err(report) => render(&report.diagnostics, Palette::Plain),
    }
}

/// Compares with the snapshot of that name, whatever crate and module this is.
fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
