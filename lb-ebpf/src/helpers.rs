//! Kernel helpers that are neither packets nor maps: the clock, the interface, the route look-up.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as FibLookup, xdp_md,
    },
    btf_maps::PerCpuArray,
    helpers::generated::{bpf_fib_lookup, bpf_jiffies64},
    macros::btf_map,
    programs::XdpContext,
};
use lb_common::{
    abi::{Address, MacAddress, Rewrite},
    datapath::{DropReason, Leaving},
    net::Family,
};

/// The kernel's tick counter, low half. The call is inlined by the verifier.
#[inline(always)]
pub fn jiffies() -> u32 {
    // SAFETY: takes nothing and reads a counter.
    unsafe { bpf_jiffies64() as u32 }
}

/// Adds to a word that other CPUs add to as well. (Rust offers no atomic addition on this target,
/// which has the instruction.)
///
/// # Safety
///
/// `word` is valid and aligned, and changed in no other way meanwhile.
#[inline(always)]
pub(crate) unsafe fn atomic_add(word: *mut u64, n: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!("lock *(u64 *)({word} + 0) += {n}", word = in(reg) word, n = in(reg) n);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's promise.
    unsafe { core::sync::atomic::AtomicU64::from_ptr(word) }
        .fetch_add(n, core::sync::atomic::Ordering::Relaxed);
}

/// The same number, of which the compiler knows nothing: so it keeps the comparison that follows, on
/// the register that is used then, which is where the verifier looks for bounds.
#[inline(always)]
pub(crate) fn opaque(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    let number = {
        let mut number = number;
        // SAFETY: moves a register onto itself. (Without an instruction two line numbers have one
        // address, which the verifier refuses.)
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
        number
    };
    number
}

/// The number, if it is from 1 to `most`: held against each end by itself, since of both the compiler makes one
/// comparison of another register, which not every verifier takes for one of this.
#[inline(always)]
pub(crate) fn at_most(number: u64, most: u64) -> Option<u64> {
    let number = opaque(number);
    if number > most {
        return None;
    }
    let number = opaque(number);
    (number >= opaque(1)).then_some(number)
}

/// The kernel's number of the device that the packet came from.
#[inline(always)]
pub(crate) fn ingress_ifindex(ctx: &XdpContext) -> u32 {
    let md = ctx.as_ptr().cast::<xdp_md>();
    // SAFETY: an XDP program's context is an `xdp_md` as long as it runs.
    unsafe { (*md).ingress_ifindex }
}

/// Room for the parameters of a route look-up: in a map, since the verifier takes no misaligned
/// access to the stack, which is how the compiler clears part of a struct.
#[btf_map]
static FIB: PerCpuArray<FibLookup, 1> = PerCpuArray::new();

/// The kernel's answer to a route look-up, its interfaces by the kernel's numbers.
pub(crate) struct Fib<A> {
    /// Without a neighbour: the next hop's address.
    pub(crate) address: A,
    pub(crate) mac: MacAddress,
    pub(crate) mtu: u16,
    pub(crate) ifindex: u32,
    /// `BPF_FIB_LKUP_RET_*`, or a negative error number.
    code: i64,
}

/// What a [`Fib`] says.
pub(crate) enum FibAnswer {
    Found,
    NoNeighbour,
    TooBig,
    None(DropReason),
}

impl<A> Fib<A> {
    #[inline(always)]
    pub(crate) fn answer(&self) -> FibAnswer {
        match self.code as u32 {
            BPF_FIB_LKUP_RET_SUCCESS => FibAnswer::Found,
            BPF_FIB_LKUP_RET_NO_NEIGH => FibAnswer::NoNeighbour,
            BPF_FIB_LKUP_RET_FRAG_NEEDED => FibAnswer::TooBig,
            BPF_FIB_LKUP_RET_FWD_DISABLED => FibAnswer::None(DropReason::ForwardingDisabled),
            _ => FibAnswer::None(DropReason::NoRoute),
        }
    }
}

/// Asks the kernel for the way of a packet that came from the device `ifindex` and leaves with these ends
/// (`bpf_xdp_fib_lookup` in net/core/filter.c).
#[inline(always)]
pub(crate) fn route<F: Family>(
    ctx: &XdpContext,
    ifindex: u32,
    ends: &Rewrite<F::Address>,
    leaving: Leaving,
) -> Option<Fib<F::Address>> {
    let lookup = FIB.get_ptr_mut(0)?;
    // SAFETY: this CPU's own element, which no other program uses meanwhile; all-zero is a valid
    // value of this plain struct of integers and unions of them.
    let lookup = unsafe {
        lookup.write_bytes(0, 1);
        &mut *lookup
    };
    lookup.family = if F::VERSION == 4 { 2 } else { 10 };
    lookup.l4_protocol = leaving.protocol;
    lookup.sport = u16::from_ne_bytes(ends.source_port);
    lookup.dport = u16::from_ne_bytes(ends.destination_port);
    lookup.__bindgen_anon_1.tot_len = leaving.length;
    lookup.ifindex = ifindex;
    if F::VERSION == 4 {
        lookup.__bindgen_anon_2.tos = leaving.traffic_class;
    }
    lookup.__bindgen_anon_3.ipv6_src = words(ends.source);
    lookup.__bindgen_anon_4.ipv6_dst = words(ends.destination);
    // SAFETY: context and parameters are valid for the call; the size is the parameters' own.
    let code = unsafe {
        bpf_fib_lookup(
            ctx.as_ptr(),
            &raw mut *lookup,
            size_of::<FibLookup>() as i32,
            0,
        )
    };
    // SAFETY: every variant of these unions is made of integers, and all of it is set.
    let (address, mtu) = unsafe {
        (
            lookup.__bindgen_anon_4.ipv6_dst,
            lookup.__bindgen_anon_1.mtu_result,
        )
    };
    Some(Fib {
        address: from_words(address),
        mac: MacAddress(lookup.dmac),
        mtu,
        ifindex: lookup.ifindex,
        code,
    })
}

/// An address as route look-ups have it: IPv4 in the first word.
#[inline(always)]
fn from_words<A: Address>([a, b, c, d]: [u32; 4]) -> A {
    let double = |low: u32, high: u32| u64::from(low.to_le()) | u64::from(high.to_le()) << 32;
    A::from_words(double(a, b), double(c, d))
}

#[inline(always)]
fn words<A: Address>(address: A) -> [u32; 4] {
    let (low, high) = address.words();
    [low, low >> 32, high, high >> 32].map(|word| (word as u32).to_le())
}
