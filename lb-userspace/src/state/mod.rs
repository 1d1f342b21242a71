//! The desired state: what the kernel's tables should hold, as one pure function of the
//! configuration, the next hops, the devices, the backends' health and what operators say.
//!
//! - `registry` gives everything that a configuration names its number in the tables, the one that
//!   it has had: `ids`. `named` says what is the same from one configuration to the next, and
//!   `numbers`, `ranges` and `slot_tables` what is used again, and when;
//! - `admission` says who may use services;
//! - `backends` fills backends' entries;
//! - `contenders` says who may own slots: who lives, and of whom the priority is best;
//! - `crossing` says which pools have flows between families, and did before;
//! - `place` finds the services' positions;
//! - `echo` says who answers echo requests;
//! - `desired` fills the tables, all but the slots: of those it says who is to own them (`owners`),
//!   while `slots` knows who did;
//! - `tracking` has what services need that record their flows;
//! - `servers` says whom connection ids name;
//! - `removed` says which services have flows that outlive them, and has them beside a configuration's own;
//! - `replies` says whom the ports of `nat` backends answer for;
//! - `ways` holds next hops that were lost, while flows are kept that go there; `standings` does the same for backends
//!   that are down, or drained by an operator;
//! - `ports` finds source ports that the host leaves free;
//! - `probes` has what probes through services need in the tables.

mod admission;
mod backends;
mod contenders;
mod crossing;
mod desired;
mod echo;
#[cfg(test)]
pub(crate) mod fixtures;
mod groups;
mod ids;
mod named;
mod numbers;
mod owners;
mod pairs;
mod place;
mod ports;
mod probes;
mod ranges;
mod registry;
mod removed;
mod replies;
mod servers;
mod slot_tables;
mod standings;
mod tracking;
mod ways;

pub use contenders::Contender;
pub use desired::{Desired, Hop, Inputs, Link, Vlan, desired, shares};
pub use ids::{BackendId, Error, Ids, PoolFamily};
pub use named::Identity;
pub use owners::{Memo, Owners};
pub use ports::source_ports;
pub use registry::Registry;
pub use removed::{removed, with_removed};
pub use standings::{Standings, Time};
pub use ways::Ways;
