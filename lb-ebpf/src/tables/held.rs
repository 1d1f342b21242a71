//! Elements of maps that are held while a packet is decided on: read and written word by word, in an order that is safe
//! under whoever else does.

use core::ptr::NonNull;

use lb_common::{
    abi::{Address, Exception, FlowEntry, FlowState, HopWord},
    datapath::{HeldException, HeldFlow},
};

/// A held flow entry.
pub(crate) struct KernelFlow<A>(pub(super) NonNull<FlowEntry<A>>);

impl<A: Address> HeldFlow<A> for KernelFlow<A> {
    #[inline(always)]
    fn read(&self, into: &mut FlowEntry<A>) {
        let (from, to) = (
            self.0.as_ptr().cast::<u64>(),
            (&raw mut *into).cast::<u64>(),
        );
        // Downwards, so that the fingerprint, which is first, is read last: an element that is
        // recycled meanwhile is found by it.
        for word in (0..size_of::<FlowEntry<A>>() / 8).rev() {
            // SAFETY: both are a whole number of aligned words. The kernel keeps a looked-up
            // element's memory while the program runs; it may be reused for another flow, which
            // the caller finds by the fingerprint. Volatile, so that nothing is read again after
            // that check (and a copy as a whole would be a call of memmove, byte by byte).
            unsafe { to.add(word).write(from.add(word).read_volatile()) }
        }
    }

    #[inline(always)]
    fn set_seen(&self, now: u32, sequence: u32) {
        // SAFETY: as in `read`; single stores of aligned fields.
        unsafe {
            (&raw mut (*self.0.as_ptr()).last_seen).write_volatile(now);
            (&raw mut (*self.0.as_ptr()).last_seq).write_volatile(sequence);
        }
    }

    #[inline(always)]
    fn set_isn(&self, sequence: u32) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).isn).write_volatile(sequence) }
    }

    #[inline(always)]
    fn set_peer_isn(&self, sequence: u32) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).peer_isn).write_volatile(sequence) }
    }

    #[inline(always)]
    fn set_state(&self, state: FlowState) {
        // SAFETY: as in `read`; a single store of one byte.
        unsafe { (&raw mut (*self.0.as_ptr()).state).write_volatile(state as u8) }
    }

    #[inline(always)]
    fn set_route(&self, route: HopWord, mtu: u16, now: u32) {
        let entry = self.0.as_ptr();
        // SAFETY: as in `read`; single stores of aligned fields, the time last.
        unsafe {
            (&raw mut (*entry).route).write_volatile(route);
            (&raw mut (*entry).route_mtu).write_volatile(mtu);
            (&raw mut (*entry).route_seen).write_volatile(now);
        }
    }
}

/// A held exception.
pub(crate) struct KernelException(pub(super) NonNull<Exception>);

impl HeldException for KernelException {
    #[inline(always)]
    fn read(&self, into: &mut Exception) {
        let from = self.0.as_ptr();
        // SAFETY: aligned fields of an element whose memory the kernel keeps while the program
        // runs; should it be reused for another flow, the fingerprint, read last, says so.
        unsafe {
            into.owners = (&raw const (*from).owners).read_volatile();
            into.mark = (&raw const (*from).mark).read_volatile();
            into.seen = (&raw const (*from).seen).read_volatile();
            into.fingerprint = (&raw const (*from).fingerprint).read_volatile();
        }
    }

    #[inline(always)]
    fn set_owners(&self, owners: u64) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).owners).write_volatile(owners) }
    }

    #[inline(always)]
    fn set_mark(&self, mark: u64) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).mark).write_volatile(mark) }
    }

    #[inline(always)]
    fn set_seen(&self, seen: u64) {
        // SAFETY: as in `read`; a single store of an aligned field.
        unsafe { (&raw mut (*self.0.as_ptr()).seen).write_volatile(seen) }
    }
}
