//! The texts that a configuration came from, and places in them.
//!
//! A [`Place`] is small and means something only beside its [`Sources`]; an [`Excerpt`] is the
//! copy of a place that can leave them. Excerpts never show the hash seed, which is a secret.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Every file that was read, the main one first.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
}

/// Which of the [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceId(usize);

/// A span of bytes in one source; orders as the files do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    source: SourceId,
    start: usize,
    end: usize,
}

impl Place {
    pub(super) fn new(source: SourceId, span: Range<usize>) -> Self {
        Self {
            source,
            start: span.start,
            end: span.end,
        }
    }

    /// Whether it begins before another place in the same file.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.source == other.source && self.start < other.start
    }

    /// Whether it shares text with another place, or ends where that begins.
    pub(super) fn touches(self, other: Self) -> bool {
        self.source == other.source && self.start <= other.end && other.start <= self.end
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub place: Place,
}

/// A place in a file and the text that stands there. A place that spans several lines is cut at
/// the end of its first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The file, as it was named or found.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The text at the place.
    pub text: String,
    /// The whole line.
    pub source: String,
    /// Where in `source` the text begins, in bytes.
    pub offset: usize,
}

impl Sources {
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> SourceId {
        self.files.push(Source { path, text });
        SourceId(self.files.len() - 1)
    }

    pub(super) fn text(&self, id: SourceId) -> &str {
        &self.source(id).text
    }

    fn path(&self, id: SourceId) -> &Path {
        &self.source(id).path
    }

    fn source(&self, id: SourceId) -> &Source {
        // Ids come from `add` of the same `Sources`, and nothing is ever removed.
        &self.files[id.0]
    }

    /// The text of a place, with what surrounds it in its line.
    pub(super) fn excerpt(&self, place: Place) -> Excerpt {
        let text = self.text(place.source);
        // Every slice below is cut at a character boundary: at one that was rounded to it, or at
        // a line break.
        let start = text.floor_char_boundary(place.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |newline| start + newline);
        let line = without_secret(text[line_start..line_end].trim_end_matches('\r'));

        // A place after the carriage return of a line counts as its end.
        let offset = (start - line_start).min(line.len());
        let end = text
            .ceil_char_boundary(place.end)
            .saturating_sub(line_start);
        let end = end.clamp(offset, line.len());
        Excerpt {
            file: self.path(place.source).display().to_string(),
            line: text[..start].matches('\n').count() + 1,
            column: line[..offset].chars().count() + 1,
            text: line[offset..end].to_owned(),
            offset,
            source: line,
        }
    }
}

/// The line with the value of a `seed` key hidden: who knows the seed can aim at one backend, and
/// diagnostics end up in logs. Goes by the text alone, since the line may not even be TOML. Keeps
/// every byte offset.
fn without_secret(line: &str) -> String {
    let value = line
        .find("seed")
        .and_then(|key| line[key..].find('=').map(|equals| key + equals + 1));
    let Some(value) = value else {
        return line.to_owned();
    };
    let (shown, hidden) = line.split_at(value);
    let hide = |c: char| if c.is_ascii_alphanumeric() { '*' } else { c };
    shown.chars().chain(hidden.chars().map(hide)).collect()
}
