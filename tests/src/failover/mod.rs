//! How long an address is unserved when the host that has it fails: two hosts share one, a client asks whoever has it a
//! thousand times a second, and things happen to the first host, many times each. The same for two of ours and for two
//! keepalived.
//!
//! ```text
//!  client ── probe: numbered datagrams to the address that moves ──┐
//!                                                                  ├ switch, whose cables can be cut
//!  host 1, priority 150: agent or keepalived, echo ────────────────┤
//!  host 2, priority 100: the same ─────────────────────────────────┤
//!  backend, of a service at the address ───────────────────────────┘
//! ```
//!
//! Ours are gateways besides: each datagram to the hosts is followed by one to a service in mode `ipip`, and it is noted which of
//! those have come to its backend.
//!
//! Over IPv4, to the group. Between two runs everything goes back to where it was: host 1 has the address.
//!
//! ```text
//! plan     which events, how often each       event     what happens, and what becomes right again
//! router   what moves the address             cables    the switch's ports
//! probe    the datagrams and their answers    owners    who has the address, and when
//! outcome  what a run comes to; pure          row       what many runs come to, and whether that is good; pure
//! gateways the service and its backend            hang      an agent that says nothing more
//! site     all of these put together          run       all runs, in order
//! ```

mod cables;
mod event;
mod gateways;
mod hang;
mod interval;
mod outcome;
mod owners;
mod plan;
mod probe;
mod router;
mod row;
mod run;
mod site;

pub use event::Event;
pub use interval::Interval;
pub use outcome::Outcome;
pub use plan::Plan;
pub use router::Product;
pub use row::{Row, heading};
pub use run::run;
