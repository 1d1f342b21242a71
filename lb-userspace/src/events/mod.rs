//! What happened on this host lately, for operators and their programs: a bounded list in memory, which can be followed.
//!
//! ```text
//!  vrrp, reloads, overrides, health ──► Events ──► log (the newest are kept)
//!                                          └─────► followers, each at its own pace
//! ```
//!
//! - `event`: what can happen;
//! - `log`: which events are kept, and what a reader has missed. Pure;
//! - `follow`: where they are told, and how they are followed.
//!
//! Who tells an event never waits for who reads it: a follower that is slow loses old events, and is told how many.

mod event;
mod follow;
mod log;

pub use event::{
    BackendEvent, Event, HookFailedEvent, MaintenanceEvent, OverrideEvent, ReloadEvent,
    ReloadFailedEvent, ResignEvent, VrrpEvent, What,
};
pub use follow::{Events, Follower, MOST_FOLLOWERS, TooMany};
pub use log::Batch;
