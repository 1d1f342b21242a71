//! What can go wrong between the agent and the kernel.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, maps::xdp::XdpMapError, programs::ProgramError};
use lb_common::abi::TableId;

/// Why the kernel does not do what the agent asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object was refused whole.
    #[error("loading the packet program: {0}")]
    Load(#[from] EbpfError),
    /// The object lacks a part: agent and object are not of one build.
    #[error("the packet program has no {0} of this name or kind: a fault of this build")]
    Missing(&'static str),
    /// The verifier refused the program, or another program stands in the way.
    #[error("the packet program: {0}")]
    Program(#[from] ProgramError),
    /// A map can't be read or written.
    #[error("map {map}: {error}")]
    Map {
        /// Which one.
        map: &'static str,
        /// What went wrong.
        error: MapError,
    },
    /// What is recorded of flows can't be read or written.
    #[error("{what} recorded flows: {error}")]
    Elements {
        /// What was tried.
        what: &'static str,
        /// What went wrong.
        error: io::Error,
    },
    /// A device can't be a target.
    #[error("map REDIRECT: {0}")]
    Redirect(#[from] XdpMapError),
    /// A ring buffer can't be waited for.
    #[error("waiting for the ring buffer {ring}: {error}")]
    Ring {
        /// Which one.
        ring: &'static str,
        /// What went wrong.
        error: io::Error,
    },
    /// A slot table can't be mapped into memory.
    #[error("mapping a table of {slots} slots into memory: {error}")]
    Mmap {
        /// Its size.
        slots: u32,
        /// What went wrong.
        error: io::Error,
    },
    /// Slots were written to a table that was never made.
    #[error("slot table {0:?} was never made: a fault of ours")]
    NoTable(TableId),
    /// Something can't be pinned, or used that is.
    #[error("{path}: {error}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// What went wrong, with its causes.
        error: String,
    },
    /// A pinned map is not what this build makes.
    #[error(
        "{path} is of kind, key size, value size and entries {is:?}, and should be of {wanted:?}"
    )]
    Misfit {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        is: [u32; 4],
        /// What this build makes.
        wanted: [u32; 4],
    },
    /// Nothing can be pinned there.
    #[error(
        "{path} is in no BPF file system, where the tables and the program are kept while no agent runs: \
         mount one (`mount -t bpf bpf /sys/fs/bpf`), or set `pin` under [agent] to a folder in one"
    )]
    NoBpfFileSystem {
        /// Where something was to be.
        path: PathBuf,
    },
    /// Another process holds the folder.
    #[error("{path} is another agent's{}: one of them at a time", of(*holder))]
    Held {
        /// The folder.
        path: PathBuf,
        /// Whose it is, if known.
        holder: Option<u32>,
    },
    /// Two of one host's interfaces have numbers that the program can't tell apart.
    #[error("interface {name} has the number {ifindex}, above the {limit} that can be served")]
    InterfaceNumber {
        /// Its name.
        name: String,
        /// The kernel's number.
        ifindex: u32,
        /// One more than the highest possible.
        limit: u32,
    },
    /// Another XDP program runs on the interface.
    #[error(
        "interface {name} has another XDP program already: detach it first (`ip link set dev {name} xdp off`; \
         one that another agent left: `sluice detach --pin FOLDER`), or find whose it is \
         (`bpftool net show dev {name}`)"
    )]
    Busy {
        /// The interface.
        name: String,
    },
    /// An interface that comes to others can't be as they are.
    #[error(
        "the driver of interface {name} does not take the program ({error}), and no driver of the others \
         passes packets on to such a one: `sluice detach` and a start of the agent have it run in the stack on \
         all of them, and end the connections that it keeps"
    )]
    NoDriverSupport {
        /// The interface.
        name: String,
        /// The driver's answer.
        error: String,
    },
    /// Neither native nor generic XDP works on the interface.
    #[error("attaching to interface {name}: native: {native}; generic: {generic}")]
    Attach {
        /// The interface.
        name: String,
        /// The driver's answer.
        native: String,
        /// The stack's answer.
        generic: String,
    },
    /// HZ did not come out as any value that Linux can be built with.
    #[error("the kernel's clock ticks {measured:.0} times a second, which is no known HZ")]
    Clock {
        /// Ticks a second as measured.
        measured: f64,
    },
}

/// Which process that is.
fn of(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
