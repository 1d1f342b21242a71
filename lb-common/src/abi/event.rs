//! What the packet path asks the agent for, through a ring buffer.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A client's next hop has no neighbour entry: please resolve it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct NeighbourWanted {
    /// The next hop's address; of IPv4, the mapped one.
    pub address: [u8; 16],
    /// The kernel's number of the device that leads to it.
    pub ifindex: u32,
    /// 4 or 6.
    pub family: u8,
    /// Zeros.
    pub padding: [u8; 3],
}
