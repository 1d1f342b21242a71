//! Sluice's agent and command line.
//!
//! ```text
//! config ──► model ──► state ──► plan ──► kernel        cli ──► agent ──► runners and servers
//! (files)    (plain)   (wanted   (what    (tables behind
//!                       tables)   to do)   a trait)
//! ```
//!
//! Arrows point one way. `canary`, `layouts`, `model`, `scheduling`, `state`, `plan` and `changes` are pure: no file, socket,
//! clock, random source or log call. `agent` wires the parts and decides nothing.

pub mod agent;
pub mod canary;
pub mod changes;
pub mod cli;
pub mod config;
pub mod control;
pub mod events;
pub mod flows;
pub mod health;
pub mod host_facts;
mod http;
pub mod kernel;
pub mod layouts;
pub mod model;
pub mod net;
pub mod overrides;
pub mod plan;
mod process;
pub mod reconcile;
mod replace;
pub mod scheduling;
pub mod seed;
pub mod select;
pub mod slots;
pub mod state;
mod state_file;
pub mod stats;
mod unix_time;
pub mod vrrp;
