//! A frame in a plain vector, with room in front of it.

use lb_common::{
    abi::Tags,
    net::{Delta, Header, Packet, Trim, put_tags, sum},
};

/// A received frame on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPacket {
    buffer: Vec<u8>,
    start: usize,
}

impl HostPacket {
    /// A frame with `headroom` bytes in front of it.
    pub fn new(frame: &[u8], headroom: usize) -> Self {
        // What lies in front is not zero in a driver's buffer either.
        let mut buffer = vec![0xdd; headroom];
        buffer.extend_from_slice(frame);
        Self {
            buffer,
            start: headroom,
        }
    }

    /// The frame as it is now.
    pub fn frame(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Packet for HostPacket {
    fn len(&self) -> usize {
        self.frame().len()
    }

    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        T::ref_from_prefix(self.frame().get(offset..)?)
            .ok()
            .map(|(header, _)| header)
    }

    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        let bytes = self.buffer.get_mut(self.start..)?.get_mut(offset..)?;
        T::mut_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    fn grow(&mut self, bytes: usize) -> bool {
        match self.start.checked_sub(bytes) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    fn put_tags(&mut self, tags: Tags) -> bool {
        put_tags(self, tags)
    }
}

impl Trim for HostPacket {
    fn strip(&mut self, bytes: usize) -> bool {
        // The kernel leaves an Ethernet header at least (bpf_xdp_adjust_head, net/core/filter.c).
        let fits = bytes + 14 <= self.len();
        self.start += if fits { bytes } else { 0 };
        fits
    }

    fn sum(&self, at: usize, length: usize) -> Option<Delta> {
        sum(self, at, length)
    }

    fn cut(&mut self, length: usize) -> bool {
        let fits = (14..=self.len()).contains(&length);
        if fits {
            self.buffer.truncate(self.start + length);
        }
        fits
    }
}
