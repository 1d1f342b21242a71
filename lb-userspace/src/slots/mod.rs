//! Who owns which slot of the hash-determined services, and who owned it before: the agent's side
//! of "just enough state". Pure but for `runner`, `begin` and `files`: no file, socket, clock, random source or
//! log call.
//!
//! ```text
//!  configuration, health ──► Table ──► History ──► slot words
//!                              │          ▲  ▲
//!                              ▼          │  │ settle
//!                     log: Base, Entry    │  └─────── sweep ──► deletions, rewrites
//!                              │          │             ▲
//!                              └── fold ──┘             └─ a dump of the exceptions
//! ```
//!
//! - `machine`: one table's words: which word follows which; `resize`: a table in place of another;
//! - `epochs`: when a change is over for flows that are not recorded, and what holds it up;
//! - `grace`: which slots no packet in flight takes for moving any more;
//! - `watch`: slots whose flows are recorded to be counted, while none moves;
//! - `sweep`: which slots are settled, and which exceptions go; `judge`: the verdict on one;
//! - `table`: a history together with what its owners are made from, which says what to log;
//! - `log`: that as text; `fold`: a restarted agent makes the same words of it;
//! - `runner`: all tables of an agent, with their logs (`files`) and the exceptions in the kernel; `begin`: how one
//!   of them begins;
//! - `indices`: numbers of backends, not given to another while anything names the one before.

mod begin;
mod epochs;
mod files;
mod fold;
mod grace;
mod indices;
mod judge;
mod log;
mod machine;
mod resize;
mod runner;
mod sweep;
mod table;
#[cfg(test)]
mod testing;
mod watch;

pub use epochs::{EpochStatus, HoldUp, OPEN_WAIT, Waits};
pub use fold::{Absence, Error as FoldError};
pub use grace::GraceMark;
pub use indices::{Assignment, Error as IndexError, Indices};
pub use judge::{CLOSING_TIME, Dumped, Jiffies, Reason};
pub use log::{
    Backends, Base, Clock, Entry, Error as LogError, Health, Inputs, Log, MixedSlots, MovingSlots,
    Read, Started, UnixTime,
};
pub use machine::{Changed, History, Owners};
pub use resize::Busy;
pub use runner::{Runner, Shape, SlotOf, SweepContext, Swept, TableStatus, Wanted, Watch};
pub use sweep::{Deletion, Rewrite, Sweep, Tally, sweep};
pub use table::{Assign, Table};
