//! Diagnostics as pictures for a terminal: the line, what is wrong with it, and what was expected.

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str,
};

use super::{
    diagnostic::{Diagnostic, Severity},
    source::Excerpt,
};

/// Whether a picture may use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// For files, pipes and logs.
    Plain,
    /// For terminals.
    Coloured,
}

/// All diagnostics, each as a picture of its own, and a last line that counts them. Empty if
/// there are none.
pub fn render(diagnostics: &[Diagnostic], palette: Palette) -> String {
    let renderer = match palette {
        Palette::Plain => Renderer::plain(),
        Palette::Coloured => Renderer::styled(),
    };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&[group(diagnostic)]));
        text.push_str("\n\n");
    }
    text.push_str(&summary(diagnostics));
    text
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level
        .primary_title(&diagnostic.message)
        .id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    if let Some(at) = &diagnostic.at {
        let label = diagnostic
            .expected
            .as_ref()
            .map(|expected| format!("expected {expected}"));
        group = group.element(snippet(at, AnnotationKind::Primary, label));
    }
    for related in &diagnostic.related {
        let label = Some(related.message.clone());
        group = group.element(snippet(&related.at, AnnotationKind::Context, label));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
    }
    group
}

fn snippet(
    at: &Excerpt,
    kind: AnnotationKind,
    label: Option<String>,
) -> Snippet<'_, Annotation<'_>> {
    // An excerpt may come from another process: a span that doesn't fit would panic in there.
    let span = at.offset..at.offset + at.text.len();
    let span = if at.source.get(span.clone()).is_some() {
        span
    } else {
        0..0
    };
    let label = label.map(|label| normalize_untrusted_str(&label));
    Snippet::source(&at.source)
        .line_start(at.line)
        .path(&at.file)
        .annotation(kind.span(span).label(label))
}

fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity, word| {
        let n = diagnostics
            .iter()
            .filter(|d| d.severity == severity)
            .count();
        match n {
            0 => None,
            1 => Some(format!("1 {word}")),
            n => Some(format!("{n} {word}s")),
        }
    };
    let counts = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note"),
    ];
    match counts {
        [None, None, None] => String::new(),
        counts => counts.into_iter().flatten().collect::<Vec<_>>().join(", ") + "\n",
    }
}
