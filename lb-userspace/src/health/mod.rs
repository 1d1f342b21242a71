//! Health: asks backends whether they can take what is sent to them, and says who is available with which
//! weight.
//!
//! ```text
//!  Config ─► targets ─► runner ──run──► checks/{tcp,http,grpc,udp,dns,icmp,exec}
//!                        │  ▲              │ outcome
//!                        │  └──────────────┘
//!                        ├─► machine   one check of one target: when it runs, up or down
//!       counters ──────► ├─► passive   one backend: what its clients' connections come to
//!                        ├─► member    one backend: all of its checks; damping, slow start, agents
//!                        ├─► pool      which backends count: panic, minimum
//!                        └─► snapshot, history, log
//! ```
//!
//! `machine`, `passive`, `member`, `pool`, `advice`, `outcome`, `targets`, `history`, `snapshot` and `backends` are
//! pure: results and `now` in, transitions and deadlines out. What becomes of the flows of a backend
//! that is down is not decided here, nor who of several tiers answers.

mod advice;
mod backends;
mod before;
pub mod checks;
mod history;
mod machine;
mod member;
mod observation;
mod outcome;
mod passive;
mod pool;
mod probing;
mod runner;
mod running;
mod snapshot;
mod targets;
#[cfg(test)]
pub(crate) mod testing;

pub use advice::{Advice, Share};
pub use before::Before;
pub use history::Entry;
pub use machine::{Cause, Status};
pub use member::State;
pub use observation::Observation;
pub use outcome::{Failure, Outcome, Phase, Serving, Unknown};
pub use pool::{Mode, Tally};
pub use probing::{Probing, Progress};
pub use runner::Monitor;
pub use snapshot::{CheckView, Counted, Counts, MemberView, PassiveView, PoolView, Snapshot};
pub use targets::{ByService, MemberId, MemberTargets, PoolTargets, Run, Target, Targets};
