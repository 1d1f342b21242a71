//! `receipt`: a backend's receiving end that takes numbered datagrams, notes each number, and leaves
//! the rest to the kernel. What is inside an outer header is first taken out of it, as `decapsulate`
//! does: a datagram that came plain where it should have been inside one is no receipt.
//!
//! ```text
//! Ethernet | IP: no options | UDP | the word "numbered" | number
//!                             8     8                     8, network order
//! ```
//!
//! Frames to other hosts, which a switch floods, are left to the kernel, as everything else is.
//!
//! A number has one bit. It is set once for all, so that numbers may come in any order and from any
//! CPU. Datagrams whose checksum does not add up are no receipts either: no server would see them.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{Array, PerCpuArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use core::ptr;

use crate::{decapsulate, frame::Frame};

/// What marks a datagram as one of ours.
const MARK: [u8; 8] = *b"numbered";

/// The interface's MAC address, which the loader puts in place.
#[unsafe(no_mangle)]
static OWN_MAC: [u8; 6] = [0; 6];

/// A bit for each number that has come, 64 to a word.
#[btf_map]
static NUMBERS: Array<u64, { 1 << 17 }> = Array::new();

/// Numbered datagrams by [`Receipt`].
#[btf_map]
static RECEIPTS: PerCpuArray<u64, 3> = PerCpuArray::new();

/// What became of a numbered datagram; the harness reads the counters by these numbers.
#[derive(Clone, Copy)]
enum Receipt {
    /// Its number came for the first time.
    First = 0,
    /// Its number has come before.
    Again = 1,
    /// Its checksum is wrong, or its number is none that there is a bit for.
    Foreign = 2,
}

const ETHERNET: usize = 14;
const PROTOCOL_UDP: u8 = 17;
/// UDP header, mark and number.
const DATAGRAM: usize = 24;
/// From the addresses on, which the checksum covers.
const FROM_IPV4: usize = 8 + DATAGRAM;
const FROM_IPV6: usize = 32 + DATAGRAM;

#[xdp(frags)]
fn receipt(context: XdpContext) -> u32 {
    let mut frame = Frame::new(&context);
    let action = decapsulate::unpack(&mut frame);
    if action != XDP_PASS {
        return action;
    }
    let Some(receipt) = judge(&frame) else {
        return XDP_PASS;
    };
    if let Some(count) = RECEIPTS.get_ptr_mut(receipt as u32) {
        // SAFETY: the element belongs to this CPU, and this program is not interrupted by itself.
        unsafe { *count += 1 };
    }
    XDP_DROP
}

/// Notes the frame's number, if it carries a numbered datagram.
#[inline(always)]
fn judge(frame: &Frame<'_>) -> Option<Receipt> {
    // SAFETY: a read of what the loader wrote before the program was; volatile, since the compiler
    // knows zeros only.
    if frame.read::<6>(0)? != unsafe { ptr::read_volatile(&OWN_MAC) } {
        return None;
    }
    match frame.read::<2>(12)? {
        [0x08, 0x00] => ipv4(frame),
        [0x86, 0xdd] => ipv6(frame),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(frame: &Frame<'_>) -> Option<Receipt> {
    let header = frame.read::<12>(ETHERNET)?;
    let fragment = header[6] & 0x3f != 0 || header[7] != 0;
    if header[0] != 0x45 || fragment || header[9] != PROTOCOL_UDP {
        return None;
    }
    note(&frame.read::<FROM_IPV4>(ETHERNET + 12)?)
}

#[inline(always)]
fn ipv6(frame: &Frame<'_>) -> Option<Receipt> {
    let header = frame.read::<8>(ETHERNET)?;
    if header[6] != PROTOCOL_UDP {
        return None;
    }
    note(&frame.read::<FROM_IPV6>(ETHERNET + 8)?)
}

/// Notes the number of what a packet has from its addresses on.
#[inline(always)]
fn note<const N: usize>(packet: &[u8; N]) -> Option<Receipt> {
    let (_, datagram) = packet.split_last_chunk::<DATAGRAM>()?;
    if datagram[8..16] != MARK {
        return None;
    }
    let (_, number) = datagram.split_last_chunk::<8>()?;
    let number = u64::from_be_bytes(*number);
    let word = u32::try_from(number / 64).ok();
    let word = word.and_then(|word| NUMBERS.get_ptr_mut(word));
    let Some(word) = word.filter(|_| sums_up(packet, datagram)) else {
        return Some(Receipt::Foreign);
    };
    let bit = 1 << (number % 64);
    // SAFETY: an element of an array map, which nothing but this function changes.
    let before = unsafe { set(word, bit) };
    Some(if before & bit == 0 {
        Receipt::First
    } else {
        Receipt::Again
    })
}

/// Whether the addresses, the datagram and the rest of the pseudo-header add up to all ones (RFC 768).
#[inline(always)]
fn sums_up<const N: usize>(packet: &[u8; N], datagram: &[u8; DATAGRAM]) -> bool {
    let length = u32::from(u16::from_be_bytes([datagram[4], datagram[5]]));
    let mut sum = u32::from(PROTOCOL_UDP) + length;
    let mut at = 0;
    while at < N {
        sum += u32::from(packet[at]) << 8 | u32::from(packet[at + 1]);
        at += 2;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    length == DATAGRAM as u32 && sum == 0xffff
}

/// Sets bits in a word that other CPUs change as well; the word as it was. (Rust offers no such
/// operation on this target, which has the instruction.)
///
/// # Safety
///
/// `word` is valid and aligned, and changed in no other way meanwhile.
#[inline(always)]
unsafe fn set(word: *mut u64, bits: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = bits;
        // SAFETY: the caller's promise.
        unsafe {
            core::arch::asm!(
                "{value} = atomic_fetch_or((u64 *)({word} + 0), {value})",
                word = in(reg) word,
                value = inout(reg) value,
            );
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's promise.
    unsafe { core::sync::atomic::AtomicU64::from_ptr(word) }
        .fetch_or(bits, core::sync::atomic::Ordering::Relaxed)
}
