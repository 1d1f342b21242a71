//! The desired state: what the kernel's tables should hold, as one pure function of the
//! configuration, the next hops and the devices. (Health and operator overrides will be further
//! inputs.)
//!
//! - `ids` gives everything that the configuration names its index in the tables;
//! - `place` finds the services' positions;
//! - `desired` fills the tables;
//! - `ports` finds source ports that the host leaves free.

mod desired;
mod ids;
mod place;
mod ports;

pub use desired::{Hop, Inputs, Link, desired, shares};
pub use ids::{BackendId, Error, Ids};
pub use ports::source_ports;
