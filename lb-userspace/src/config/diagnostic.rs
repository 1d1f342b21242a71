//! What `check` says about a configuration: plain data that can be rendered for a terminal
//! (`render`), printed as JSON, or sent over the control socket and rendered there.
//!
//! While files are being read a diagnostic holds places in the loaded sources
//! (`Diagnostic<Place>`, a [`Finding`]); what leaves this module holds copies of the text
//! ([`Excerpt`]), so that a reader needs no file.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::source::{Excerpt, Place, Sources};

/// One thing that is wrong with a configuration, or looks so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic<P = Excerpt> {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// Which rule is broken: stable, for scripts.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; only a main file that can't be read has no place.
    pub at: Option<P>,
    /// What should stand there; reads on after "expected".
    pub expected: Option<String>,
    /// What to try.
    pub help: Option<String>,
    /// Other places that play a part, such as the first of two equal names.
    pub related: Vec<Related<P>>,
}

/// Another place that a diagnostic speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related<P = Excerpt> {
    /// Where.
    pub at: P,
    /// The part that it plays.
    pub message: String,
}

/// A diagnostic whose places are still offsets into the sources.
pub(super) type Finding = Diagnostic<Place>;

/// Whether a configuration can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It can't be used.
    Error,
    /// It can, but is likely not what was meant.
    Warning,
    /// It can; this follows from it.
    Note,
}

/// The rule that a diagnostic is about. The text form is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A file can't be read, or an include pattern can't be followed.
    Unreadable,
    /// Not TOML.
    Syntax,
    /// A key that means nothing in its table.
    UnknownKey,
    /// A key that belongs into the main file.
    MisplacedKey,
    /// A key that must be there.
    MissingKey,
    /// A value of another TOML type than the key takes.
    WrongType,
    /// A table, or an array of tables, that is written as something else.
    NotATable,
    /// A value that the key doesn't take.
    BadValue,
    /// An address, port or protocol that can't be.
    BadAddress,
    /// An array that needs an entry.
    EmptyList,
    /// A name that is taken.
    DuplicateName,
    /// An address that is taken.
    DuplicateAddress,
    /// A service names a pool that isn't there.
    UnknownPool,
    /// A service is named that is not there.
    UnknownService,
    /// A service's pool has no backend that its mode can reach.
    NoBackend,
    /// All backends that could answer have weight 0.
    ZeroWeight,
    /// A full-nat pool has no address to connect from.
    MissingSource,
    /// An address has two roles that exclude each other.
    AddressConflict,
    /// A backend's port differs from the service's in a mode that can't map ports.
    PortMismatch,
    /// A key that excludes another one, or the mode or protocol that it stands beside.
    KeyConflict,
    /// A key that does nothing here.
    IdleKey,
    /// Every flow of the service is recorded, which isn't obvious.
    Tracked,
    /// No service uses the pool.
    UnusedPool,
    /// An include that names one file, which isn't there.
    UnmatchedInclude,
    /// This host has no such interface.
    MissingInterface,
    /// An interface is a VLAN device whose frames can't be handled as it is.
    VlanDevice,
    /// There is more of something than the kernel's tables hold.
    TooLarge,
    /// The kernel does not forward what comes in by an interface.
    NotForwarding,
    /// Packets to the address don't reach this host.
    ForeignAddress,
    /// A backend address is this host's own.
    OwnBackend,
}

impl Code {
    /// Its stable text form: the one that serde writes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown-key",
            Self::MisplacedKey => "misplaced-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::NotATable => "not-a-table",
            Self::BadValue => "bad-value",
            Self::BadAddress => "bad-address",
            Self::EmptyList => "empty-list",
            Self::DuplicateName => "duplicate-name",
            Self::DuplicateAddress => "duplicate-address",
            Self::UnknownPool => "unknown-pool",
            Self::UnknownService => "unknown-service",
            Self::NoBackend => "no-backend",
            Self::ZeroWeight => "zero-weight",
            Self::MissingSource => "missing-source",
            Self::AddressConflict => "address-conflict",
            Self::PortMismatch => "port-mismatch",
            Self::KeyConflict => "key-conflict",
            Self::IdleKey => "idle-key",
            Self::Tracked => "tracked",
            Self::UnusedPool => "unused-pool",
            Self::UnmatchedInclude => "unmatched-include",
            Self::MissingInterface => "missing-interface",
            Self::VlanDevice => "vlan-device",
            Self::TooLarge => "too-large",
            Self::NotForwarding => "not-forwarding",
            Self::ForeignAddress => "foreign-address",
            Self::OwnBackend => "own-backend",
        }
    }

    /// Whether it reports that something is *not* there. Where not everything could be read, that
    /// may only echo why.
    pub(super) fn is_absence(self) -> bool {
        match self {
            Self::MissingKey
            | Self::EmptyList
            | Self::UnknownPool
            | Self::UnknownService
            | Self::NoBackend
            | Self::ZeroWeight
            | Self::MissingSource
            | Self::IdleKey
            | Self::UnusedPool => true,
            Self::Unreadable
            | Self::Syntax
            | Self::UnknownKey
            | Self::MisplacedKey
            | Self::WrongType
            | Self::NotATable
            | Self::BadValue
            | Self::BadAddress
            | Self::DuplicateName
            | Self::DuplicateAddress
            | Self::AddressConflict
            | Self::PortMismatch
            | Self::KeyConflict
            | Self::Tracked
            | Self::UnmatchedInclude
            | Self::MissingInterface
            | Self::VlanDevice
            | Self::TooLarge
            | Self::NotForwarding
            | Self::ForeignAddress
            | Self::OwnBackend => false,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<P> Diagnostic<P> {
    /// A diagnostic without a place.
    pub(crate) fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            at: None,
            expected: None,
            help: None,
            related: Vec::new(),
        }
    }

    pub(super) fn error(code: Code, at: P, message: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            ..Self::new(Severity::Error, code, message)
        }
    }

    pub(super) fn warning(code: Code, at: P, message: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            ..Self::new(Severity::Warning, code, message)
        }
    }

    pub(super) fn note(code: Code, at: P, message: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            ..Self::new(Severity::Note, code, message)
        }
    }

    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds "did you mean" if there is something to suggest.
    pub(super) fn suggest(mut self, suggestion: Option<&str>) -> Self {
        if let Some(suggestion) = suggestion {
            self.help = Some(format!("did you mean `{suggestion}`?"));
        }
        self
    }

    pub(super) fn related(mut self, at: P, message: impl Into<String>) -> Self {
        let message = message.into();
        self.related.push(Related { at, message });
        self
    }
}

impl Finding {
    /// Copies the text of every place out of the sources.
    pub(super) fn locate(self, sources: &Sources) -> Diagnostic {
        let related = self.related.into_iter().map(|related| Related {
            at: sources.excerpt(related.at),
            message: related.message,
        });
        Diagnostic {
            severity: self.severity,
            code: self.code,
            message: self.message,
            at: self.at.map(|place| sources.excerpt(place)),
            expected: self.expected,
            help: self.help,
            related: related.collect(),
        }
    }
}

/// Text from a file as messages show it: in backticks, control characters escaped, not too long.
pub(super) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        if self.0.is_empty() {
            return f.write_str("\"\"");
        }
        let shown = &self.0[..self.0.floor_char_boundary(MOST)];
        let rest = if shown.len() < self.0.len() {
            "…"
        } else {
            ""
        };
        write!(f, "`")?;
        for c in shown.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_debug())?
            } else {
                write!(f, "{c}")?
            }
        }
        write!(f, "{rest}`")
    }
}
