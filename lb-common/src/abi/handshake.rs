//! How backends answer those who ask for a TCP connection, on each CPU apart. Counted where replies pass here, and
//! by the packets that begin a flow alone: what goes on costs nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A step of a connection's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A client's SYN goes to the backend.
    Asked,
    /// The backend answers it with SYN and ACK.
    Answered,
    /// The backend answers it with a reset.
    Refused,
}

/// Counters of a backend on one CPU.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Handshakes {
    /// SYNs that went to it; of recorded flows not those that were sent again.
    pub syns: u64,
    /// Of these, answered with SYN and ACK.
    pub answered: u64,
    /// Of these, answered with a reset.
    pub refused: u64,
}

impl Handshakes {
    /// Counts a step.
    #[inline(always)]
    pub fn add(&mut self, step: Handshake) {
        match step {
            Handshake::Asked => self.syns += 1,
            Handshake::Answered => self.answered += 1,
            Handshake::Refused => self.refused += 1,
        }
    }
}

impl core::ops::AddAssign for Handshakes {
    fn add_assign(&mut self, other: Self) {
        self.syns += other.syns;
        self.answered += other.answered;
        self.refused += other.refused;
    }
}
