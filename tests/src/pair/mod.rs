//! Does a pair of gateways keep connections when one of them is lost? Live connections through the one that has the service's
//! address, which is then lost: the other takes the address over, and goes on with the same backends, since a hash that both
//! compute determines them. Afterwards the first comes back, and takes the address again.
//!
//! ```text
//!            ┌─ gateway, priority 150 ─┐
//!  clients ──┤                         ├── backends
//!            └─ second, priority 100 ──┘
//! ```
//!
//! Network, connections and their verdict are those of `live`.
//!
//! ```text
//! gateway  one of the two: its configuration, its agent     case    what is lost, and when
//! run      all of it, in order                              report  what a run found, and what it should
//! ```

mod case;
mod gateway;
mod report;
mod run;

pub use case::{Case, Loss, Size, When};
pub use report::Report;
pub use run::run;
