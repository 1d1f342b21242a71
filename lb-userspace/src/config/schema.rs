//! What a part of the configuration says about itself so that it can be read: how a value is
//! written and what it can be, and which keys a table has.

use serde::de::DeserializeOwned;

use super::{
    diagnostic::Code,
    read::Fields,
    source::{At, Place},
};

/// A value of one key, or one entry of an array.
pub(super) trait Value: Sized {
    /// How it is written.
    type Form: Form;
    /// What it is, in words; reads on after "expected".
    const EXPECTED: &'static str;
    /// The code of an error about it.
    const CODE: Code = Code::BadValue;
    /// The words that it can be, if it is one of few.
    const WORDS: &'static [&'static str] = &[];

    /// The value of what is written, or what is wrong with it.
    fn read(form: Self::Form) -> Result<Self, String>;
}

/// A TOML type that values are written in.
pub(super) trait Form: DeserializeOwned {
    /// The name that `toml` gives it.
    const TYPE: &'static str;
}

impl Form for String {
    const TYPE: &'static str = "string";
}

impl Form for i64 {
    const TYPE: &'static str = "integer";
}

impl Form for bool {
    const TYPE: &'static str = "boolean";
}

/// A table of the configuration.
pub(super) trait Table: Sized {
    /// How it is headed.
    const HEADER: &'static str;

    /// Asks for every key that the table can have.
    fn read(fields: &mut Fields<'_>) -> Self;
}

/// The entries of an array that could be read.
#[derive(Debug)]
pub(super) struct List<T> {
    pub items: Vec<At<T>>,
    /// Where the array stands; `None` if it was left out.
    pub place: Option<Place>,
    /// Whether nothing is missing from `items` because of an error.
    pub whole: bool,
}

impl<T> List<T> {
    /// What stands for an array that could not be read at all.
    pub(super) fn broken() -> Self {
        Self {
            items: Vec::new(),
            place: None,
            whole: false,
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.items.iter().map(|item| &item.value)
    }
}

/// A key that may be left out.
#[derive(Debug)]
pub(super) enum Written<T> {
    /// It was left out.
    Not,
    /// It could not be read, which was reported.
    Broken,
    /// It was written, there.
    As(At<T>),
}

impl<T> Written<T> {
    /// What was written, if it could be read.
    pub(super) fn value(&self) -> Option<&At<T>> {
        match self {
            Self::As(at) => Some(at),
            Self::Not | Self::Broken => None,
        }
    }
}
