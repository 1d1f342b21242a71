//! Floating IPs: virtual routers by VRRP, beside keepalived and like it.
//!
//! ```text
//!  adverts ──► packet ──► machine ──► adverts, addresses, announcements, roles
//!                           ▲  │
//!                  `now` ───┘  └──► the next deadline
//! ```
//!
//! - `packet`: adverts on the wire, and why one is none. Wire units are nowhere else;
//! - `timing`: how long routers wait for each other;
//! - `machine`: one virtual router: backup or master.
//!
//! All of it is pure: who sends, listens and has addresses is not here.

#[cfg(test)]
mod lan_tests;
pub mod machine;
#[cfg(test)]
mod machine_tests;
pub mod packet;
#[cfg(test)]
mod packet_tests;
mod timing;
