//! Does a change of backends break established flows? Thousands of live connections through Sluice,
//! each with a numbered message a second, while the pool changes; a few beside it as the measure.
//!
//! ```text
//!  client process                       agent                    echo processes, one a backend
//!  N connections ── service address ──► XDP ── mode ───────────► backend1 … backendB
//!  C controls ───── switch ────────────────────────────────────► control
//!       │                                 ▲ SIGHUP                    ▲ killed, link and all
//!       ▼ outcome (JSON)                  │                           │
//!   verdict ◄──────────── run ── script: add, drain, weigh, flip, kill, remove
//! ```
//!
//! ```text
//! mode      how packets reach the backends, and whether every flow is recorded
//! pool      the pool as it is now, and the agent's configuration
//! script    the changes, and when          plan      sizes, times and script of a run
//! site      the namespaces                 messages  what the processes say to each other
//! echo, client   the two processes         ends      starts and ends them
//! clock     one clock for all of them
//! flood     a process that sends what nobody asked for, if a plan says so
//! reload    has the agent take a change    run       all of it, in order
//! verdict   what broke; pure               summary   what a run found, for a reader
//! ```
//!
//! `restart` runs the same ends and the same network with other mishaps.
//!
//! Both ends are processes of their own, since each of 10,000 connections is a file in both.

mod client;
pub(crate) mod clock;
mod echo;
pub(crate) mod ends;
mod flood;
mod messages;
mod mode;
mod plan;
pub(crate) mod pool;
pub(crate) mod reload;
mod run;
mod script;
pub(crate) mod site;
mod summary;
mod verdict;

pub use client::{Order, run as run_client};
pub use echo::run as run_echo;
pub use flood::{Orders as FloodOrders, run as run_flood};
pub use mode::Mode;
pub use plan::Plan;
pub use run::{Programs, run};
pub use script::{Backend, Change, Step};
pub use summary::Summary;
pub use verdict::Verdict;
