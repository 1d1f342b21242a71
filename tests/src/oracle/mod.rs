//! The oracle: another balancer, slow and plain, that has to agree with the packet path about every
//! frame of random stories.
//!
//! ```text
//!  seed ─► generate ─► story: a site, and what happens to it
//!                        │
//!          ┌─────────────┴──────────────┐
//!        tables: as maps              model, exceptions, recorded, headers
//!        host: the packet path                 │
//!          └────────► compare ◄────────────────┘      sound: what etherparse says of what leaves
//! ```
//! The model is written from what is documented, with the siphasher crate's hash; it calls nothing of
//! lb-common. Compared are verdict and reason, every byte that leaves, the device, every counter, what
//! goes unrecorded and which neighbours are asked for; so what was recorded shows in what comes later.

mod across;
mod admission;
mod choosing;
mod compare;
mod counterparts;
mod echo;
mod errors;
mod exceptions;
mod flaws;
pub mod fuzz;
mod generate;
mod groups;
mod hashed;
mod headers;
mod icmp;
mod listening;
mod made;
mod mishaps;
mod model;
mod modes;
mod notices;
mod opening;
mod packet;
mod packets;
mod ping;
mod progress;
mod quoted;
mod recorded;
mod routes;
mod site;
mod sites;
mod sound;
mod story;
mod tables;
mod tags;
mod tunnels;

pub use compare::{Met, check};
