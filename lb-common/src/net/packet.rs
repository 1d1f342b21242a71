//! The packet path's only way to a frame: bounded views of headers at fixed offsets.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A header: plain bytes of any alignment.
pub trait Header: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {}

impl<T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned> Header for T {}

/// A received frame.
pub trait Packet {
    /// Its length in bytes, the Ethernet header included.
    fn len(&self) -> usize;

    /// Whether it has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has this many bytes, those counted that can't be read through here (buffers of
    /// large frames may have several parts).
    fn holds(&self, bytes: usize) -> bool {
        bytes <= self.len()
    }

    /// A view of the header at `offset`, or `None` if the frame ends before it does.
    fn header<T: Header>(&self, offset: usize) -> Option<&T>;

    /// A writable view of the header at `offset`, or `None` if the frame ends before it does.
    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T>;

    /// Puts `bytes` undefined bytes in front of the frame; offsets count from the new start.
    /// `false`, and nothing is changed, if there is no room.
    fn grow(&mut self, bytes: usize) -> bool;
}
