//! A frame of any shape, as the kernel's window shows it: its first bytes, and nothing is changed
//! until the change is committed.

use lb_common::{
    abi::Tags,
    net::{AnyShape, Family, Header, Layout, Packet, Piece, put_tags},
};

use super::packet::HostPacket;

/// Bytes of a frame that are shown.
const SHOWN: usize = 256;

/// A received frame of any shape on the host.
#[derive(Clone, Debug)]
pub struct HostWindow {
    packet: HostPacket,
    shown: HostPacket,
    /// Bytes behind those shown.
    hidden: usize,
    layout: Layout,
}

impl HostWindow {
    /// A window on this frame.
    pub fn new(packet: HostPacket) -> Self {
        Self {
            shown: packet.clone(),
            hidden: packet.len().saturating_sub(SHOWN),
            packet,
            layout: Layout::default(),
        }
    }

    /// The frame as it leaves or passes.
    pub fn frame(&self) -> &[u8] {
        self.packet.frame()
    }

    fn shows<T>(&self, offset: usize) -> bool {
        offset + size_of::<T>() + self.hidden <= self.shown.len()
    }
}

impl Packet for HostWindow {
    const PLAIN: bool = false;

    fn transport<F: Family>(&self) -> usize {
        self.layout.transport
    }

    fn piece(&self) -> Piece {
        self.layout.piece
    }

    fn segment_size(&self) -> Option<usize> {
        Some(self.layout.segment_size).filter(|at| *at != 0)
    }

    fn len(&self) -> usize {
        self.shown.len()
    }

    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        let shown = self.shows::<T>(offset);
        self.shown.header(offset).filter(|_| shown)
    }

    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        let shown = self.shows::<T>(offset);
        self.shown.header_mut(offset).filter(|_| shown)
    }

    fn grow(&mut self, bytes: usize) -> bool {
        self.shown.grow(bytes)
    }

    fn put_tags(&mut self, tags: Tags) -> bool {
        put_tags(self, tags)
    }
}

impl AnyShape for HostWindow {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    fn commit(&mut self) -> bool {
        self.packet = self.shown.clone();
        true
    }
}
