//! Packet pointers: the only code that touches a frame's bytes.

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};
use lb_common::{
    abi::Tags,
    net::{self, Delta, Header, Packet, Trim},
};

/// A received frame, by the bounds that the kernel gave.
pub(crate) struct XdpPacket<'a> {
    ctx: &'a XdpContext,
    start: usize,
    end: usize,
}

impl<'a> XdpPacket<'a> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self {
            ctx,
            start: ctx.data(),
            end: ctx.data_end(),
        }
    }

    /// Moves the frame's start; `false` if that can't be.
    #[inline(always)]
    fn move_start(&mut self, bytes: i32) -> bool {
        // SAFETY: the context is the one that the kernel passed in. No reference into the frame
        // outlives the borrow of `self`.
        let moved = unsafe { bpf_xdp_adjust_head(self.ctx.as_ptr().cast(), bytes) } == 0;
        self.refresh();
        moved
    }

    /// Takes the bounds that the kernel gives now. To the verifier the ones before are no bounds any more,
    /// even where nothing was moved.
    #[inline(always)]
    fn refresh(&mut self) {
        (self.start, self.end) = (self.ctx.data(), self.ctx.data_end());
    }

    /// The address of a `T` at `offset`, if the frame holds one there.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<usize> {
        let start = self.start + offset;
        // In this form the verifier recognises the comparison with the packet's end.
        if start + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: no frame lies at address 0. Said, so that `Option<&T>` needs no check for it.
        unsafe { core::hint::assert_unchecked(start != 0) };
        Some(start)
    }
}

/// Puts tags into a frame; 1, or 0 if there is no room. A global function to the kernel, whose verifier
/// walks it once, and for which no bounds of the frame need to be known where it is called.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn put_tags(ctx: *mut xdp_md, tags: u64) -> u32 {
    let ctx = XdpContext::new(ctx);
    u32::from(net::put_tags(
        &mut XdpPacket::new(&ctx),
        Tags::from_word(tags),
    ))
}

/// What a part of a frame adds to a checksum, or more than 16 bits can say; likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sum(ctx: *mut xdp_md, at: u32, length: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let sum = net::sum(&XdpPacket::new(&ctx), at as usize, length as usize);
    sum.map_or(u32::MAX, |sum| sum.folded().into())
}

impl Packet for XdpPacket<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn holds(&self, bytes: usize) -> bool {
        // The helper costs more than all of the checks around it: only frames in parts need it.
        // SAFETY: the context is the one that the kernel passed in.
        bytes <= self.len()
            || bytes as u64 <= unsafe { bpf_xdp_get_buff_len(self.ctx.as_ptr().cast()) }
    }

    #[inline(always)]
    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        let address = self.at::<T>(offset)?;
        // SAFETY: the bytes lie within the frame, `T` takes any bytes at any alignment, and only
        // this program writes to the frame, through `&mut self`.
        Some(unsafe { &*(address as *const T) })
    }

    #[inline(always)]
    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        let address = self.at::<T>(offset)?;
        // SAFETY: as in `header`; the borrow of `self` makes it the only reference.
        Some(unsafe { &mut *(address as *mut T) })
    }

    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> bool {
        self.move_start(-(bytes as i32))
    }

    #[inline(always)]
    fn put_tags(&mut self, tags: Tags) -> bool {
        put_tags(self.ctx.as_ptr().cast(), tags.word()) != 0
    }
}

impl Trim for XdpPacket<'_> {
    #[inline(always)]
    fn strip(&mut self, bytes: usize) -> bool {
        self.move_start(bytes as i32)
    }

    #[inline(always)]
    fn sum(&self, at: usize, length: usize) -> Option<Delta> {
        let sum = sum(self.ctx.as_ptr().cast(), at as u32, length as u32);
        u16::try_from(sum).ok().map(Delta::from_folded)
    }

    #[inline(always)]
    fn cut(&mut self, length: usize) -> bool {
        // SAFETY: the context is the one that the kernel passed in. No reference into the frame
        // outlives the borrow of `self`.
        let failed = unsafe {
            let more = bpf_xdp_get_buff_len(self.ctx.as_ptr().cast()) as i32 - length as i32;
            more < 0 || bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), -more) != 0
        };
        self.refresh();
        !failed
    }
}
