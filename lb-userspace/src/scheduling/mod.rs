//! Schedulers: which backend gets which slot of a pool's table. Pure functions of weights, names
//! and availability, so that every node that has the same configuration builds the same table.

mod maglev;
mod turns;

pub use maglev::{Candidate, assign};
pub use turns::turns;
