//! The control socket: HTTP/1.1 with JSON on a Unix socket, guarded by its file mode.
//!
//! ```text
//!  sluice status ──► client ──HTTP──► socket ──► server ──► Source (the agent's view)
//!  sluice reload        │                          │└─────► actions ──► the agent
//!                       └── api: paths, types, version ──┘
//! ```
//!
//! `curl --unix-socket /run/sluice/control.sock http://sluice/api/v1/status` works too.

mod actions;
mod api;
mod client;
mod events;
mod server;
mod socket;

pub use actions::{
    Action, Actions, Answer, Asked, Asker, Done, Request, Requests, Unheard, channel,
};
pub use api::{
    API, Body, DrainBody, EventLine, Happened, Maintained, MaintenanceBody, Overridden, PlanBody,
    Planned, Pools, Refusal, ResignBody, Resigned, SAMPLE_SECONDS, Services, Status, Unsettled,
    VERSION_HEADER, Vrrp, VrrpRole, WeightBody, Who,
};
pub use client::{Client, Error as ClientError};
pub use server::serve;
pub use socket::{Error as SocketError, Socket, bind};
