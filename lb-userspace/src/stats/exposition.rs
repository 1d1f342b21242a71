//! Prometheus's text format 0.0.4: families of series, each with its help, its kind and its lines. What families there are
//! is not known here. Pure.

use std::fmt::{Display, Write};

use super::snapshot::Snapshot;

/// A family: all series of one name.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) samples: fn(&Snapshot, &mut Samples),
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// The lines of one family.
pub(super) struct Samples<'a> {
    name: &'static str,
    text: &'a mut String,
}

/// The whole page.
pub(super) fn page(families: &[Family], snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for family in families {
        let (name, help, kind) = (family.name, family.help, family.kind.word());
        write_to(
            &mut text,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
        let samples = &mut Samples {
            name,
            text: &mut text,
        };
        (family.samples)(snapshot, samples);
    }
    text
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

impl Samples<'_> {
    /// Adds a line.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        let mut before = '{';
        for (key, value) in labels {
            write_to(
                self.text,
                format_args!("{before}{key}=\"{}\"", Escaped(value)),
            );
            before = ',';
        }
        let end = if labels.is_empty() { "" } else { "}" };
        write_to(self.text, format_args!("{end} {value}\n"));
    }
}

/// A label's value, as the format wants it: backslash, quote and line feed escaped.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

/// Appends; a `String` takes everything.
fn write_to(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}
