//! Which findings say something, and which only echo a syntax error: where brackets don't close
//! or headers can't be read, TOML's best guess puts keys where nobody wrote them.

use super::{
    diagnostic::{Code, Finding},
    source::Place,
};

/// What could not be read, over all files.
#[derive(Default)]
pub(super) struct Damage {
    /// Whether any file has a syntax error at all.
    pub syntax: bool,
    /// Where brackets open that never close: all below was read as their contents.
    pub unclosed: Vec<Place>,
    /// Headers that can't be read: the keys below them went astray.
    pub headers: Vec<Place>,
}

impl Damage {
    /// Removes the echoes.
    pub(super) fn silence(&self, findings: &mut Vec<Finding>) {
        let syntax = findings
            .iter()
            .filter(|finding| finding.code == Code::Syntax);
        let broken: Vec<Place> = syntax.filter_map(|finding| finding.at).collect();
        // What could not be read at all leaves as much out as what can't be parsed.
        let lost = |finding: &Finding| matches!(finding.code, Code::Unreadable | Code::NotATable);
        let incomplete = self.syntax || findings.iter().any(lost);

        findings.retain(|finding| {
            let Some(at) = finding.at else {
                return true;
            };
            let garbage = self.unclosed.iter().any(|bracket| bracket.is_before(at));
            let astray = self.headers.iter().any(|header| header.is_before(at));
            let guessed = astray || broken.iter().any(|syntax| syntax.touches(at));
            let absent = incomplete && finding.code.is_absence();
            !garbage && (finding.code == Code::Syntax || !guessed && !absent)
        });
    }
}
