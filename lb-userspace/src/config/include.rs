//! `include`: which files a main file draws in.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use super::{
    diagnostic::{Code, Finding, Quoted},
    files::Files,
    schema::{List, Value},
    source::Place,
    value::Pattern,
};

/// A file to include, and the pattern that names it.
pub(super) struct IncludedFile {
    pub path: PathBuf,
    pub named_at: Place,
}

/// The files that the patterns match: in the patterns' order, those of one pattern sorted, each
/// file once and the main file never.
pub(super) fn expand(
    main: &Path,
    patterns: &List<Pattern>,
    files: &impl Files,
    findings: &mut Vec<Finding>,
) -> Vec<IncludedFile> {
    let folder = main.parent().unwrap_or(Path::new(""));
    let mut expanded: Vec<IncludedFile> = Vec::new();
    for pattern in &patterns.items {
        let (text, named_at) = (&pattern.value.0, pattern.place);
        let found = match files.matching(folder, text) {
            Ok(found) => found,
            Err(error) => {
                let finding = Finding::error(Code::Unreadable, named_at, error.to_string());
                findings.push(finding.expected(Pattern::EXPECTED));
                continue;
            }
        };
        if found.is_empty() && !text.contains(['*', '?', '[']) {
            let message = format!("no file is named {}", Quoted(text));
            let finding = Finding::warning(Code::UnmatchedInclude, named_at, message);
            findings.push(finding.expected(format!("a file in {}", shown(folder).display())));
        }
        for path in found {
            let known = expanded
                .iter()
                .map(|file| file.path.as_path())
                .chain([main]);
            if !known.into_iter().any(|other| same(other, &path)) {
                expanded.push(IncludedFile { path, named_at });
            }
        }
    }
    expanded
}

/// What to say of an included file that can't be read.
pub(super) fn unreadable(file: &IncludedFile, error: &io::Error) -> Finding {
    let message = format!("can't read {}: {error}", file.path.display());
    Finding::error(Code::Unreadable, file.named_at, message).expected("files that can be read")
}

/// Whether two paths read the same but for `.` components.
fn same(one: &Path, other: &Path) -> bool {
    let named = |component: &Component<'_>| *component != Component::CurDir;
    one.components()
        .filter(named)
        .eq(other.components().filter(named))
}

fn shown(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}
