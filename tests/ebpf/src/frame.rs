//! Access to a frame's bytes with the bounds checks that the verifier asks for. The only file here
//! with pointers into packets.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_xdp_adjust_head, generated::bpf_xdp_get_buff_len},
    programs::XdpContext,
};

/// A frame on its way into the kernel.
pub(crate) struct Frame<'a> {
    context: &'a XdpContext,
}

impl<'a> Frame<'a> {
    /// The frame that a program was called for.
    pub(crate) fn new(context: &'a XdpContext) -> Self {
        Self { context }
    }

    /// Bytes from the Ethernet header on, in all parts of its buffer.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the context is the one that the kernel passed in.
        unsafe { bpf_xdp_get_buff_len(self.context.as_ptr().cast()) as usize }
    }

    /// `N` bytes at `offset`, if the frame has them.
    #[inline(always)]
    pub(crate) fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.context.data() + offset;
        if start + N > self.context.data_end() {
            return None;
        }
        // SAFETY: the `N` bytes at `start` lie within the packet, by the comparison above; an
        // array of bytes has no alignment and no invalid values.
        Some(unsafe { core::ptr::read(start as *const [u8; N]) })
    }

    /// Replaces `N` bytes at `offset`, if the frame has them.
    #[inline(always)]
    pub(crate) fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        let start = self.context.data() + offset;
        if start + N > self.context.data_end() {
            return None;
        }
        // SAFETY: as in `read`; the program has the frame for itself while it runs.
        unsafe { core::ptr::write(start as *mut [u8; N], bytes) };
        Some(())
    }

    /// The first `N` bytes, to be read and changed in place, if the frame has them.
    #[inline(always)]
    pub(crate) fn head<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let start = self.context.data();
        if start + N > self.context.data_end() {
            return None;
        }
        // SAFETY: as in `write`; the borrow of `self` makes it the only reference.
        Some(unsafe { &mut *(start as *mut [u8; N]) })
    }

    /// Takes `bytes` off the front of the frame.
    #[inline(always)]
    pub(crate) fn shrink(&mut self, bytes: i32) -> Option<()> {
        // SAFETY: the context is the one that the kernel called the program with. No pointer into
        // the packet outlives the call: `read` and `write` make theirs anew each time.
        let status = unsafe { bpf_xdp_adjust_head(self.context.as_ptr().cast(), bytes) };
        (status == 0).then_some(())
    }
}
