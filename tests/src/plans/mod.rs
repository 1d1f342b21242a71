//! Representative plans, applied operation by operation to tables that hold or fail at named points.
//!
//! ```text
//! stories   what changes: a backend more, one less, another pool, …
//!    │
//! site      a configuration of every mode and both families ──► host   an agent in small: numbers, history of
//!    │                                                            │     slots, reconciler
//!    │                                                            ▼
//!    │                        point  ◄── latched   tables that hold before an operation, or half-way through it
//!    ▼                          │        faulty    tables that refuse one
//! traffic   known and new flows, sent at every point: is each where it belongs
//! ```
//! The tables below are real ones or collections; who runs the packets is the caller's ([`Path`]).

mod faulty;
mod host;
mod latched;
mod point;
mod site;
mod stories;
mod traffic;

pub use faulty::{Fault, Faulty, Way, faults};
pub use host::{Host, Shared};
pub use latched::{Latch, Latched};
pub use point::{Kind, Moment, Point};
pub use site::{CLIENTS, Mode, Site};
pub use stories::{Step, Story, everything_at_once, stories};
pub use traffic::{Left, Path, Traffic};
