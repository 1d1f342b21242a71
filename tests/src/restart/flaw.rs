//! What can be wrong with a configuration: each of these has to be refused.

use std::fmt;

use crate::live::pool::Pool;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is no TOML.
    Unclosed,
    /// It has a value that there is not.
    UnknownMode,
    /// It has two backends of one name.
    TwoOfAName,
    /// Its service names a pool that is not there.
    NoPool,
}

impl Flaw {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [
        Self::Unclosed,
        Self::UnknownMode,
        Self::TwoOfAName,
        Self::NoPool,
    ];

    /// The pool's file with it.
    pub(super) fn spoil(self, pool: &Pool) -> String {
        let text = pool.to_string();
        match self {
            Self::Unclosed => text + "\n[[pool.backend]\n",
            Self::UnknownMode => text.replace("forward = \"", "forward = \"pigeon-"),
            Self::TwoOfAName => {
                let last = text.rfind("\n[[pool.backend]]").unwrap_or(0);
                let backend = text[last..].to_owned();
                text + &backend
            }
            Self::NoPool => String::new(),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unclosed => "an open bracket",
            Self::UnknownMode => "an unknown mode",
            Self::TwoOfAName => "two backends of one name",
            Self::NoPool => "no pool",
        })
    }
}
