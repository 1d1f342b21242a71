//! What the agent shows of itself: a [`Snapshot`] of its state and counters, made on request, and
//! the read-only HTTP endpoint that serves it to monitoring.
//!
//! ```text
//!  Source (the agent) ──► Snapshot ──► metrics ──► server: /metrics, /healthz, /readyz
//!                             ├──────► problems
//!                             └──────► control: /api/v1/…
//! ```
//!
//! `snapshot` (with `health`), `problems`, `metrics` and `exposition`, its format, are pure; only `server` does I/O.

mod exposition;
mod health;
mod metrics;
mod problems;
#[cfg(test)]
pub(crate) mod sample;
mod server;
mod snapshot;

pub use health::{CheckView, HealthMode, HealthView, HistoryView, PassiveView, PoolHealthView};
pub use metrics::text;
pub use problems::{Problem, ProblemCode, problems};
pub use server::serve;
pub use snapshot::{
    AddressView, AgentView, BackendView, ChangeView, CountersView, ExceptionsView, FallbackView,
    HandshakesView, HoldUpCause, HoldUpView, InterfaceView, Mode, NextHopView, PoolView, Readiness,
    RemainingView, RemovedView, ServiceView, SlotsView, Snapshot, Source, Verdicts,
};
