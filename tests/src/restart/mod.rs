//! Does a restart of the agent lose a packet? Numbered datagrams of many flows at a steady rate, and
//! connections beside them, while the agent is killed, stopped, started, reloaded and misled; then which
//! numbers are missing, and which connections broke.
//!
//! ```text
//!  sender ─┐                           agent: killed, started, …      ┌► receipt: a bit a number
//!          ├─ service address ──► XDP ── mode ──► backends' interfaces ┤
//!  clients ┘                                                          └► echo processes
//! ```
//!
//! The same without mishaps comes first, on the same network: it has to lose nothing, or the rate is too
//! high for this machine and the run is an error. Network, connections and their verdict are those of
//! `live`.
//!
//! ```text
//! size     how much of everything            script   what happens, and when: mishaps, shuffled
//! flaw     what is wrong with configurations  agent    carries mishaps out
//! sender   the datagrams                     sink     where they end: what BPF has noted of them
//! tally    what is missing; pure             report   what a run found, for a reader
//! run      all of it, in order
//! ```

mod agent;
mod flaw;
mod report;
mod run;
mod script;
mod sender;
mod sink;
mod size;
mod tally;

pub use flaw::Flaw;
pub use report::{Phase, Report};
pub use run::{Programs, run};
pub use script::{Mishap, Step};
pub use size::Size;
pub use tally::Tally;
