//! What is counted for each service and each backend, on each CPU apart.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the backend.
    In = 0,
    /// From the backend to the client (only modes whose replies pass here).
    Out = 1,
}

/// One packet, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Which way it goes.
    pub direction: Direction,
    /// Its IP packet's length as received.
    pub bytes: u64,
    /// Whether it opens a flow. (Where flows are not recorded: whether it is a SYN.)
    pub opens: bool,
}

/// Counters of a service or a backend on one CPU.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Counters {
    /// Packets from clients.
    pub packets_in: u64,
    /// IP bytes from clients.
    pub bytes_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// IP bytes to clients.
    pub bytes_out: u64,
    /// Flows opened.
    pub new_flows: u64,
}

impl Counters {
    /// Counts a packet.
    #[inline(always)]
    pub fn add(&mut self, traffic: Traffic) {
        match traffic.direction {
            Direction::In => {
                self.packets_in += 1;
                self.bytes_in += traffic.bytes;
            }
            Direction::Out => {
                self.packets_out += 1;
                self.bytes_out += traffic.bytes;
            }
        }
        if traffic.opens {
            self.new_flows += 1;
        }
    }
}

impl core::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.new_flows += other.new_flows;
    }
}
