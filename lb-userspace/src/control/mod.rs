//! The control socket: HTTP/1.1 with JSON on a Unix socket, guarded by its file mode.
//!
//! ```text
//!  sluice status ──► client ──HTTP──► socket ──► server ──► Source (the agent)
//!                       └────── api: paths, types, version ──────┘
//! ```
//!
//! `curl --unix-socket /run/sluice/control.sock http://sluice/api/v1/status` works too.

mod api;
mod client;
mod server;
mod socket;

pub use api::{API, Body, Pools, Services, Status, Unsettled, VERSION_HEADER};
pub use client::{Client, Error as ClientError};
pub use server::serve;
pub use socket::{Error as SocketError, Socket, bind};
