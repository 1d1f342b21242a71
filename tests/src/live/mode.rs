//! How packets reach the backends, and whether every flow is recorded: what a run is made for.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result};

use crate::decapsulator::Tunnel;

/// A pool's `forward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Whole packets inside an IP header.
    Ipip,
    /// Whole packets inside UDP.
    Gue,
    /// Another MAC address, and nothing else.
    Dsr,
    /// Another destination; the answers come back through the gateway.
    Nat,
    /// Both ends rewritten.
    FullNat,
}

impl Forward {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::Dsr => "dsr",
            Self::Nat => "nat",
            Self::FullNat => "full-nat",
        }
    }

    /// What packets to the backends travel in, if in anything.
    pub(crate) fn tunnel(self) -> Option<Tunnel> {
        match self {
            Self::Ipip => Some(Tunnel::Ip),
            Self::Gue => Some(Tunnel::Gue),
            Self::Dsr | Self::Nat | Self::FullNat => None,
        }
    }
}

/// A forwarding mode, with or without a record of every flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// The pool's mode.
    pub forward: Forward,
    /// Whether the service records every flow, by `tracking = "full"` or since the mode needs it.
    pub tracked: bool,
}

impl Mode {
    /// Those whose flows the hash determines, then those that record every flow.
    pub const ALL: [Self; 9] = [
        Self::new(Forward::Ipip, false),
        Self::new(Forward::Gue, false),
        Self::new(Forward::Dsr, false),
        Self::new(Forward::Nat, false),
        Self::new(Forward::FullNat, true),
        Self::new(Forward::Ipip, true),
        Self::new(Forward::Gue, true),
        Self::new(Forward::Dsr, true),
        Self::new(Forward::Nat, true),
    ];

    const fn new(forward: Forward, tracked: bool) -> Self {
        Self { forward, tracked }
    }
}

/// `ipip`, `ipip-tracked`; `full-nat` is tracked in any case.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.tracked && self.forward != Forward::FullNat;
        f.write_str(self.forward.name())?;
        f.write_str(if asked { "-tracked" } else { "" })
    }
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(|mode| mode.to_string()).join(", ");
        let mut found = Self::ALL.into_iter();
        found
            .find(|mode| mode.to_string() == name)
            .with_context(|| format!("no mode {name:?}; there are {}", known()))
    }
}
