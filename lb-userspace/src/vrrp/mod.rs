//! Floating IPs: virtual routers by VRRP, beside keepalived and like it.
//!
//! ```text
//!  packets ──► packet ──► instance, machine ──► adverts, addresses, announcements, roles
//!                           ▲      │
//!                  `now` ───┘      └──► the next deadline
//! ```
//!
//! - `packet`: adverts on the wire, and why one is none. Wire units are nowhere else;
//! - `timing`: how long routers wait for each other;
//! - `machine`: one virtual router: backup or master;
//! - `instance`: the virtual routers of an instance, one of each family, and which packets are for them;
//! - `group`: instances that move together, all or none;
//! - `tracking`: what else has to be well, and what it costs where it is not;
//! - `host`: whether this host can take part, and from which of its addresses;
//! - `traces`: what one that is killed leaves behind;
//! - `announce`: the frames that tell neighbours where an address is;
//! - `runner`: sends, listens, takes addresses and gives them up;
//! - `hooks`: tells what becomes of instances, by events and notify hooks;
//! - `snapshot`: what instances are, for views and metrics;
//! - `transition`: when an instance as a whole has changed, for events.
//!
//! All but `runner` and `hooks` is pure.

mod announce;
mod flapping;
mod group;
mod hooks;
mod host;
pub mod instance;
#[cfg(test)]
pub(crate) mod instance_tests;
#[cfg(test)]
mod lan_tests;
pub mod machine;
#[cfg(test)]
mod machine_tests;
pub mod packet;
#[cfg(test)]
mod packet_tests;
mod runner;
mod snapshot;
mod timing;
mod traces;
mod tracking;
mod transition;

pub use hooks::{Hooks, Notified};
pub use machine::Role;
pub use runner::{ResignError, Routers, Transitions, Views, clear};
pub use snapshot::{FamilyView, InstanceView, NotifyView, PeerView, TransitionView};
pub use traces::Traces;
pub use tracking::{Checked, DataPlaneFact, Facts};
pub use transition::Transition;
