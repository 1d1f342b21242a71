//! The slot machine, tried out: does every established flow stay on its backend, whatever happens
//! in whichever order? What decides is the real thing (`lb_common::datapath::exceptions::decide`,
//! and the agent's rules in `lb_userspace::slots`); here are only the worlds that it is put into.
//!
//! ```text
//! checker     one slot, every order of events         simulation  a whole table, an hour of flows
//! events      what can happen next                    scenarios   what happens in the hour
//! effects     what it makes of the slot               trace       the flows' packets
//! packets     a packet, decided                       node        a table, exceptions, the agent
//! state       the slot and its flows, packed          soak        all of it, at length
//! agent       the agent's rules, asked of one slot
//! faults      what can be left out, or allowed beyond the promise: it must be found out
//! ```
//!
//! Not tried: two packets at once, or a packet during a change (a word is read once, and a grace
//! period passes before a slot settles); a pool of which nobody lives; several nodes.

pub mod agent;
pub mod checker;
mod effects;
pub mod events;
pub mod faults;
mod node;
pub mod packets;
pub mod scenarios;
pub mod simulation;
pub mod soak;
pub mod state;
pub mod trace;
