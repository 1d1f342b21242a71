//! Reads tables of a spanned TOML tree key by key and collects everything that is wrong, where
//! serde alone would stop at the first error.
//!
//! A [`Table`] asks its [`Fields`] for keys; what it never asked for is unknown, what it needed
//! and did not get is missing. Each value by itself goes through serde into its [`Form`] and then
//! becomes a [`Value`]. `None` always means: already reported, or left out where that is allowed.

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    diagnostic::{Code, Finding, Quoted},
    schema::{Form, List, Table, Value, Written},
    source::{At, Place, SourceId},
    suggest::closest,
};

/// The keys of one table while it is read.
pub(super) struct Fields<'a> {
    header: &'static str,
    source: SourceId,
    place: Place,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
    /// Keys that are needed and not there, with what they should hold.
    missing: Vec<(&'static str, String)>,
    misplaced: &'static [&'static str],
    findings: &'a mut Vec<Finding>,
}

/// Reads a whole table, and reports its unknown and missing keys.
pub(super) fn table<T: Table>(
    source: SourceId,
    table: &DeTable<'_>,
    place: Place,
    findings: &mut Vec<Finding>,
) -> T {
    let mut fields = Fields {
        header: T::HEADER,
        source,
        place,
        table,
        known: Vec::new(),
        missing: Vec::new(),
        misplaced: &[],
        findings,
    };
    let value = T::read(&mut fields);
    fields.finish();
    value
}

impl<'a> Fields<'a> {
    /// Where the table stands: its header, or its braces.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// A value that must be there.
    pub(super) fn required<T: Value>(&mut self, key: &'static str) -> Option<At<T>> {
        match self.find(key) {
            Some(value) => self.value(key, value),
            None => self.miss(key, T::EXPECTED),
        }
    }

    /// A value that may be left out.
    pub(super) fn optional<T: Value>(&mut self, key: &'static str) -> Option<At<T>> {
        let value = self.find(key)?;
        self.value(key, value)
    }

    /// A value that may be left out, where the rules must know whether it was.
    pub(super) fn written<T: Value>(&mut self, key: &'static str) -> Written<T> {
        match self.find(key) {
            Some(value) => self.value(key, value).map_or(Written::Broken, Written::As),
            None => Written::Not,
        }
    }

    /// A value that has a default.
    pub(super) fn or<T: Value>(&mut self, key: &'static str, default: T) -> Option<T> {
        match self.find(key) {
            Some(value) => self.value(key, value).map(|at| at.value),
            None => Some(default),
        }
    }

    /// An array that may be left out or empty.
    pub(super) fn list<T: Value>(&mut self, key: &'static str) -> List<T> {
        match self.find(key) {
            Some(value) => self.entries(key, value),
            None => List {
                items: Vec::new(),
                place: None,
                whole: true,
            },
        }
    }

    /// An array that must hold something.
    pub(super) fn required_list<T: Value>(&mut self, key: &'static str) -> List<T> {
        match self.find(key) {
            Some(value) => {
                let list = self.entries(key, value);
                self.refuse_empty::<T>(key, list)
            }
            None => self.miss(key, T::EXPECTED).unwrap_or_else(List::broken),
        }
    }

    /// An array that must be there, and may be empty.
    pub(super) fn present_list<T: Value>(&mut self, key: &'static str) -> List<T> {
        match self.find(key) {
            Some(value) => self.entries(key, value),
            None => self.miss(key, T::EXPECTED).unwrap_or_else(List::broken),
        }
    }

    /// One value, or an array that must hold something.
    pub(super) fn one_or_more<T: Value>(&mut self, key: &'static str) -> List<T> {
        match self.find(key) {
            Some(value) if value.get_ref().type_str() == T::Form::TYPE => {
                let place = Place::new(self.source, value.span());
                match self.value(key, value) {
                    Some(item) => List {
                        items: vec![item],
                        place: Some(place),
                        whole: true,
                    },
                    None => List::broken(),
                }
            }
            _ => self.required_list(key),
        }
    }

    /// One value or several, which may be left out.
    pub(super) fn optional_one_or_more<T: Value>(&mut self, key: &'static str) -> Option<List<T>> {
        self.find(key)?;
        Some(self.one_or_more(key))
    }

    /// A table, `[key]`, that must be there.
    pub(super) fn required_table<T: Table>(&mut self, key: &'static str) -> Option<T> {
        match self.find(key) {
            Some(value) => self.table(key, value),
            None => self.miss(key, &format!("a table, `{}`", T::HEADER)),
        }
    }

    /// A table, `[key]` or `key = { … }`, that may be left out.
    pub(super) fn optional_table<T: Table>(&mut self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        self.table(key, value)
    }

    /// Tables, `[[key]]`, any number.
    pub(super) fn tables<T: Table>(&mut self, key: &'static str) -> Vec<T> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let Some(entries) = value.get_ref().as_array() else {
            let expected = format!("`{}` before each entry", T::HEADER);
            self.report_type(Code::NotATable, key, value, expected);
            return Vec::new();
        };
        entries
            .iter()
            .filter_map(|entry| self.table(key, entry))
            .collect()
    }

    /// Names the table more exactly, for what is said of its keys.
    pub(super) fn headed(&mut self, header: &'static str) {
        self.header = header;
    }

    /// Names keys that are not to be called unknown, since one that can't be read decides whether they
    /// are.
    pub(super) fn know(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// Names keys that are refused because they belong into the main file.
    pub(super) fn refuse(&mut self, keys: &'static [&'static str]) {
        self.misplaced = keys;
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        // A key that may be written in two ways is asked for twice.
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    fn miss<T>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        self.missing.push((key, expected.to_owned()));
        None
    }

    fn value<T: Value>(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<At<T>> {
        let place = Place::new(self.source, value.span());
        if value.get_ref().type_str() != T::Form::TYPE {
            self.report_type(Code::WrongType, key, value, T::EXPECTED.to_owned());
            return None;
        }
        let form = T::Form::deserialize(ValueDeserializer::from(value.clone()));
        let read = match form {
            Ok(form) => T::read(form),
            // Of the right type, and still nothing that serde takes.
            Err(_) => Err(format!("a number in `{key}` that is out of range")),
        };
        match read {
            Ok(value) => Some(At { value, place }),
            Err(message) => {
                let word = value.get_ref().as_str();
                let meant = word.and_then(|word| closest(word, T::WORDS.iter().copied()));
                let finding = Finding::error(T::CODE, place, message);
                self.findings
                    .push(finding.expected(T::EXPECTED).suggest(meant));
                None
            }
        }
    }

    fn entries<T: Value>(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> List<T> {
        let Some(entries) = value.get_ref().as_array() else {
            let expected = format!("an array, `[…]`, each entry {}", T::EXPECTED);
            self.report_type(Code::WrongType, key, value, expected);
            return List::broken();
        };
        let items: Vec<_> = entries
            .iter()
            .filter_map(|entry| self.value(key, entry))
            .collect();
        let whole = items.len() == entries.len();
        List {
            items,
            place: Some(Place::new(self.source, value.span())),
            whole,
        }
    }

    fn refuse_empty<T: Value>(&mut self, key: &str, mut list: List<T>) -> List<T> {
        let empty = list.whole && list.items.is_empty();
        if let Some(place) = list.place.filter(|_| empty) {
            let finding = Finding::error(Code::EmptyList, place, format!("`{key}` is empty"));
            self.findings
                .push(finding.expected(format!("at least one entry: {}", T::EXPECTED)));
            list.whole = false;
        }
        list
    }

    fn table<T: Table>(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let Some(fields) = value.get_ref().as_table() else {
            let expected = format!("a table, `{}`", T::HEADER);
            self.report_type(Code::NotATable, key, value, expected);
            return None;
        };
        let place = Place::new(self.source, value.span());
        Some(table(self.source, fields, place, self.findings))
    }

    fn report_type(
        &mut self,
        code: Code,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: String,
    ) {
        let found = match value.get_ref().type_str() {
            found @ ("integer" | "array") => format!("an {found}"),
            found => format!("a {found}"),
        };
        let place = Place::new(self.source, value.span());
        let finding = Finding::error(code, place, format!("{found} in `{key}`"));
        self.findings.push(finding.expected(expected));
    }

    fn finish(mut self) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let place = Place::new(self.source, key.span());
            let finding = if self.misplaced.contains(&name) {
                misplaced(name, place)
            } else {
                let meant = closest(name, self.known.iter().copied());
                // The key is there, only misspelt: once is enough.
                self.missing.retain(|(missing, _)| Some(*missing) != meant);
                self.unknown(name, place).suggest(meant)
            };
            self.findings.push(finding);
        }
        for (key, expected) in self.missing {
            let message = format!("{} has no `{key}`", self.header);
            let finding = Finding::error(Code::MissingKey, self.place, message);
            self.findings
                .push(finding.expected(format!("`{key}` in here: {expected}")));
        }
    }

    fn unknown(&self, name: &str, place: Place) -> Finding {
        let keys: Vec<_> = self.known.iter().map(|key| format!("`{key}`")).collect();
        let message = format!("unknown key {} in {}", Quoted(name), self.header);
        let expected = format!("one of {}", keys.join(", "));
        Finding::error(Code::UnknownKey, place, message).expected(expected)
    }
}

fn misplaced(name: &str, place: Place) -> Finding {
    let message = format!("`{name}` in an included file");
    Finding::error(Code::MisplacedKey, place, message)
        .expected("only services and pools in an included file")
        .help(format!("move `{name}` into the main file"))
}
