//! The kernel's side: the packet program, its maps, and the devices that it runs on.
//!
//! - `program` loads it, `constants` says what it is told then; `attachments` says where it runs, `pins` what outlives the agent; `plane` is all of
//!   this together;
//! - `tables` writes its maps, behind the trait [`KernelTables`]; [`FakeTables`] is the same
//!   without a kernel; `read` has what is in them;
//! - `exceptions` dumps and sweeps the flows that a change of slots recorded; `elements` has the
//!   system calls for that; `older` carries what tables before these have recorded;
//! - `probed` says whom probes are for, by the ports that they come from;
//! - `counters` reads what it counted, `rings` what it asks for and logs;
//! - `mapped` is the one place that maps slot tables into memory, `wire` the one that tells aya
//!   which types go over the line.

mod attachments;
mod constants;
mod counters;
mod elements;
mod error;
mod exceptions;
mod fake;
mod flows;
mod mapped;
mod older;
mod pins;
mod plane;
mod probed;
mod program;
mod read;
mod rings;
mod tables;
mod wire;

pub use attachments::{Attachment, Mode};
pub use constants::{Constants, Features, Sizes};
pub use counters::CounterReader;
pub use error::Error;
pub use exceptions::{ExceptionKey, ExceptionTables};
pub use fake::FakeTables;
pub use flows::{FlowTables, SweptFlows};
pub use older::{Carried, OlderTables};
pub use pins::{Identity, Pins, TableSet};
pub use plane::{DataPlane, detach, new_tables};
pub use probed::ProbedPorts;
pub use program::{
    OBJECT, Program, check_number, link_crossing_programs, link_probe_programs, link_programs,
};
pub use read::{read, slots};
pub use rings::{ProgramLog, WantedNeighbours};
pub use tables::{KernelTables, MapTables};
pub use wire::Wire;
