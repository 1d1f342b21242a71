//! Where the parts of a resolved configuration were written, for checks that come after it, such
//! as those that know this host.

use std::{collections::HashMap, fmt};

use super::source::Excerpt;

/// A part of a [`Config`](crate::model::Config), by the indices that it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// An entry of `agent.interfaces`.
    Interface(usize),
    /// An entry of `agent.probe_sources`.
    ProbeSource(usize),
    /// The interface of an entry of `vrrp`.
    VrrpInterface(usize),
    /// The interface of an entry of an instance's `track`.
    TrackedInterface {
        /// The entry of `vrrp`.
        vrrp: usize,
        /// The entry of its `track`.
        index: usize,
    },
    /// An entry of a service's `listen`.
    Listen {
        /// The service.
        service: usize,
        /// The entry.
        index: usize,
    },
    /// An entry of a pool's `source`.
    Source {
        /// The pool.
        pool: usize,
        /// The entry.
        index: usize,
    },
    /// One of a backend's addresses.
    Address {
        /// The pool.
        pool: usize,
        /// The backend.
        backend: usize,
        /// The entry.
        index: usize,
    },
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(index) => write!(f, "agent.interfaces[{index}]"),
            Self::ProbeSource(index) => write!(f, "agent.probe_sources[{index}]"),
            Self::VrrpInterface(index) => write!(f, "vrrp[{index}].interface"),
            Self::TrackedInterface { vrrp, index } => {
                write!(f, "vrrp[{vrrp}].track[{index}].interface")
            }
            Self::Listen { service, index } => write!(f, "service[{service}].listen[{index}]"),
            Self::Source { pool, index } => write!(f, "pool[{pool}].source[{index}]"),
            Self::Address {
                pool,
                backend,
                index,
            } => {
                write!(f, "pool[{pool}].backend[{backend}].address[{index}]")
            }
        }
    }
}

/// The place of every [`Item`] of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    places: HashMap<Item, Excerpt>,
}

impl Places {
    /// Where an item was written; `None` for one that the configuration doesn't have.
    pub fn at(&self, item: Item) -> Option<&Excerpt> {
        self.places.get(&item)
    }
}

impl FromIterator<(Item, Excerpt)> for Places {
    fn from_iter<I: IntoIterator<Item = (Item, Excerpt)>>(items: I) -> Self {
        Self {
            places: items.into_iter().collect(),
        }
    }
}
