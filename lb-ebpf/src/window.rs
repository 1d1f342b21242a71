//! Frames of any shape: a copy of their first bytes, in a map, is what is read and written. Headers
//! may lie in any part of a frame's buffer, and at offsets that only the packet tells, which the
//! verifier takes in a map where it knows their bounds. What passes is untouched, since the copy is
//! written back only if the frame leaves.

use aya_ebpf::{
    EbpfContext as _,
    btf_maps::PerCpuArray,
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes,
    },
    macros::btf_map,
    programs::XdpContext,
};
use lb_common::{
    abi::Tags,
    net::{AnyShape, Family, Header, Layout, Packet, Piece, put_tags},
};

use crate::helpers;

/// Room in front of the copy: an outer IPv6 header, a UDP header and two tags at most.
const FRONT: u32 = 64;

/// Bytes of a frame that are copied at most: Ethernet, tags, all IP headers that are walked, TCP.
const COPIED: u32 = 256;

/// Room for the longest copy at the last place where it may start, as the verifier sees it. It moves back
/// when headers are put in front.
const SIZE: usize = (FRONT + FRONT + COPIED) as usize;

/// The copy of a frame's first bytes.
#[repr(C)]
struct Window {
    /// Where the frame starts in `bytes`.
    start: u32,
    /// Where the copy ends.
    end: u32,
    /// Length of the frame as it came.
    length: u32,
    /// What is known of it; `transport` counts from `start`.
    layout: Layout,
    bytes: [u8; SIZE],
}

#[btf_map]
static WINDOW: PerCpuArray<Window, 1> = PerCpuArray::new();

/// A received frame of any shape.
pub(crate) struct XdpWindow<'a> {
    ctx: &'a XdpContext,
    window: &'a mut Window,
}

impl<'a> XdpWindow<'a> {
    /// Copies the frame's first bytes; `None` if the kernel does not allow that.
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Option<Self> {
        let window = WINDOW.get_ptr_mut(0)?;
        // SAFETY: this CPU's own element, which no other program uses meanwhile. It holds zeros at
        // first and then what is written here, so that its layout is a valid one.
        let window = unsafe { &mut *window };
        // SAFETY: the context is the one that the kernel passed in.
        let length = unsafe { bpf_xdp_get_buff_len(ctx.as_ptr().cast()) };
        let copied = helpers::at_most(length.min(COPIED.into()), COPIED.into())?;
        // SAFETY: as above; the copy fits behind `FRONT`.
        let error = unsafe {
            let to = window.bytes.as_mut_ptr().add(FRONT as usize);
            bpf_xdp_load_bytes(ctx.as_ptr().cast(), 0, to.cast(), copied as u32)
        };
        if error != 0 {
            return None;
        }
        window.start = FRONT;
        window.end = FRONT + copied as u32;
        window.length = length as u32;
        window.layout = Layout::default();
        Some(Self { ctx, window })
    }

    /// The index of a `T` at `offset`, if the copy holds one there.
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<usize> {
        let index = helpers::opaque(u64::from(self.window.start) + offset as u64) as usize;
        let end = index + size_of::<T>();
        // The second comparison is the verifier's, which does not know the window's end.
        (end <= self.window.end as usize && index <= SIZE - size_of::<T>()).then_some(index)
    }
}

impl Packet for XdpWindow<'_> {
    const PLAIN: bool = false;

    #[inline(always)]
    fn transport<F: Family>(&self) -> usize {
        self.layout().transport
    }

    #[inline(always)]
    fn piece(&self) -> Piece {
        self.layout().piece
    }

    #[inline(always)]
    fn segment_size(&self) -> Option<usize> {
        Some(self.layout().segment_size).filter(|at| *at != 0)
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.window.length as usize
    }

    #[inline(always)]
    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        let index = self.at::<T>(offset)?;
        // SAFETY: within `bytes`; `T` takes any bytes at any alignment, and only this program
        // writes to the window, through `&mut self`.
        Some(unsafe { &*self.window.bytes.as_ptr().add(index).cast() })
    }

    #[inline(always)]
    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        let index = self.at::<T>(offset)?;
        // SAFETY: as in `header`; the borrow of `self` makes it the only reference.
        Some(unsafe { &mut *self.window.bytes.as_mut_ptr().add(index).cast() })
    }

    #[inline(always)]
    fn grow(&mut self, bytes: usize) -> bool {
        let Some(start) = self.window.start.checked_sub(bytes as u32) else {
            return false;
        };
        // SAFETY: the context is the one that the kernel passed in; nothing refers to the frame.
        let failed = unsafe { bpf_xdp_adjust_head(self.ctx.as_ptr().cast(), -(bytes as i32)) } != 0;
        if failed {
            return false;
        }
        self.window.start = start;
        true
    }

    #[inline(always)]
    fn put_tags(&mut self, tags: Tags) -> bool {
        put_tags(self, tags)
    }
}

impl AnyShape for XdpWindow<'_> {
    #[inline(always)]
    fn layout(&self) -> Layout {
        let layout = &raw const self.window.layout;
        // SAFETY: fields by reference. Volatile, so that the verifier sees memory of which it knows
        // nothing, and not what was stored last.
        unsafe {
            Layout {
                transport: (&raw const (*layout).transport).read_volatile(),
                protocol: (&raw const (*layout).protocol).read_volatile(),
                piece: (&raw const (*layout).piece).read_volatile(),
                id: (&raw const (*layout).id).read_volatile(),
                segment_size: (&raw const (*layout).segment_size).read_volatile(),
            }
        }
    }

    #[inline(always)]
    fn set_layout(&mut self, layout: Layout) {
        self.window.layout = layout;
    }

    #[inline(always)]
    fn commit(&mut self) -> bool {
        let (start, end) = (self.window.start, self.window.end);
        let length = end.wrapping_sub(start).into();
        let start = helpers::opaque(start.into());
        if start > FRONT.into() {
            return false;
        }
        let Some(length) = helpers::at_most(length, (FRONT + COPIED).into()) else {
            return false;
        };
        // SAFETY: start and length are within `bytes`, by their bounds above.
        let error = unsafe {
            let from = self.window.bytes.as_mut_ptr().add(start as usize);
            bpf_xdp_store_bytes(self.ctx.as_ptr().cast(), 0, from.cast(), length as u32)
        };
        error == 0
    }
}
