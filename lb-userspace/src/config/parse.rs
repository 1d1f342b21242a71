//! From the text of one file to its tables. Syntax errors don't stop it: what TOML can make of
//! the rest is read too.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use super::{
    diagnostic::{Code, Finding},
    echo::Damage,
    read,
    schema::Table,
    source::{Place, SourceId},
};

/// One unclosed bracket can make a syntax error of every line below it.
const MOST_SYNTAX_ERRORS: usize = 20;

/// Reads a text. Adds everything that is wrong with it to the findings, and what makes them
/// doubtful to the damage.
pub(super) fn parse<T: Table>(
    source: SourceId,
    text: &str,
    findings: &mut Vec<Finding>,
    damage: &mut Damage,
) -> T {
    let (tree, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| (span(error).start, span(error).end));
    let place = |span| Place::new(source, span);

    damage.syntax |= !errors.is_empty();
    damage
        .headers
        .extend(broken_header(text, &errors).map(place));
    let unclosed = [
        unclosed_array(tree.get_ref(), &errors),
        unclosed_inline_table(&errors),
    ];
    if let Some(unclosed) = unclosed
        .into_iter()
        .flatten()
        .min_by_key(|found| found.span.start)
    {
        errors.retain(|error| span(error).start < unclosed.span.start);
        let bracket = place(unclosed.span);
        damage.unclosed.push(bracket);
        let finding = Finding::error(Code::Syntax, bracket, unclosed.message);
        findings.push(finding.expected(unclosed.expected));
    }
    findings.extend(syntax(source, text, &errors));
    read::table(source, tree.get_ref(), place(0..0), findings)
}

/// A bracket that makes nonsense of all that follows.
struct Unclosed {
    span: Range<usize>,
    message: &'static str,
    expected: &'static str,
}

/// The first error in a line that begins like a header.
fn broken_header(text: &str, errors: &[Error]) -> Option<Range<usize>> {
    let in_header = |error: &&Error| {
        let before = &text[..text.floor_char_boundary(span(error).start)];
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        text[line..].trim_start().starts_with('[')
    };
    errors.iter().find(in_header).map(span)
}

/// The first array that runs to the end of the file because its bracket isn't closed.
fn unclosed_array(tree: &DeTable<'_>, errors: &[Error]) -> Option<Unclosed> {
    let says_so = |error: &&Error| error.message().starts_with("unclosed array, ");
    let end = errors.iter().find(says_so).map(span)?.start;
    let mut reaching = Vec::new();
    tree.values()
        .for_each(|value| brackets(value, end, &mut reaching));
    let span = reaching.into_iter().min_by_key(|span| span.start)?;
    Some(Unclosed {
        span,
        message: "an array that is never closed",
        expected: "`]`",
    })
}

/// Where the text stops to look like an inline table although that is never closed. (The tree
/// doesn't tell where it opens.)
fn unclosed_inline_table(errors: &[Error]) -> Option<Unclosed> {
    let says = |error: &Error, what| error.message().starts_with(what);
    errors
        .iter()
        .find(|error| says(error, "unclosed inline table, "))?;
    let stops = |error: &&Error| {
        says(error, "missing comma between key-value pairs")
            || says(error, "missing key for inline table element")
    };
    let span = errors.iter().find(stops).map(span)?;
    let message = "an inline table that is never closed";
    Some(Unclosed {
        span,
        message,
        expected: "`}` before this",
    })
}

/// Collects the spans of arrays that reach an offset.
fn brackets(value: &Spanned<DeValue<'_>>, end: usize, reaching: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Array(entries) => entries.iter().for_each(|v| brackets(v, end, reaching)),
        DeValue::Table(table) => {
            return table.values().for_each(|v| brackets(v, end, reaching));
        }
        _ => return,
    }
    if value.span().end >= end {
        reaching.push(value.span());
    }
}

fn syntax(source: SourceId, text: &str, errors: &[Error]) -> Vec<Finding> {
    let newlines: Vec<usize> = text.match_indices('\n').map(|(offset, _)| offset).collect();
    let line = |error: &Error| newlines.partition_point(|newline| *newline < span(error).start);

    let kept: Vec<&Error> = errors
        .chunk_by(|a, b| line(a) == line(b))
        .flat_map(without_echoes)
        .collect();

    let shown = kept.iter().take(MOST_SYNTAX_ERRORS);
    let mut findings: Vec<Finding> = shown.map(|error| finding(source, error)).collect();
    let more = kept.len() - findings.len();
    if let Some(last) = findings.last_mut().filter(|_| more > 0) {
        last.help = Some(format!(
            "{more} more lines can't be read, likely because of this"
        ));
    }
    findings
}

/// Of the errors in one line those that point at something: the others only echo them. If none
/// does, the first.
fn without_echoes(line: &[Error]) -> Vec<&Error> {
    let pointed: Vec<_> = line
        .iter()
        .filter(|error| !span(error).is_empty())
        .collect();
    if pointed.is_empty() {
        line.iter().take(1).collect()
    } else {
        pointed
    }
}

fn finding(source: SourceId, error: &Error) -> Finding {
    let place = Place::new(source, span(error));
    // `toml` says what it expected at the end of its message.
    match error.message().split_once(", expected ") {
        Some((message, "literal string")) => {
            Finding::error(Code::Syntax, place, message).expected("quotation marks around it")
        }
        Some((message, "nothing")) => Finding::error(Code::Syntax, place, message),
        Some((message, expected)) => {
            Finding::error(Code::Syntax, place, message).expected(expected)
        }
        None => Finding::error(Code::Syntax, place, error.message()),
    }
}

fn span(error: &Error) -> Range<usize> {
    error.span().unwrap_or(0..0)
}
