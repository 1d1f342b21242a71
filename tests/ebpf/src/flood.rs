//! `flood_v4`, `flood_v6`: SYNs and ACKs in the names of hosts that are not there, each with another
//! source address, port and sequence number. For live frames of `BPF_PROG_TEST_RUN`, which keep what
//! was made of them the last time: a whole frame is written each time, from a template that the loader
//! puts in place.

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_TX},
    helpers::bpf_get_prandom_u32,
    macros::xdp,
    programs::XdpContext,
};
use core::ptr;

use crate::frame::Frame;

/// Ethernet, IPv4 and TCP headers.
const IPV4: usize = 14 + 20 + 20;
/// Ethernet, IPv6 and TCP headers.
const IPV6: usize = 14 + 40 + 20;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// An ACK with source port, sequence number and the last half of the source address 0, and right
/// checksums.
#[unsafe(no_mangle)]
static TEMPLATE_V4: [u8; IPV4] = [0; IPV4];
/// The same.
#[unsafe(no_mangle)]
static TEMPLATE_V6: [u8; IPV6] = [0; IPV6];

#[xdp]
fn flood_v4(context: XdpContext) -> u32 {
    let places = Places {
        source: 28,
        header_checksum: Some(24),
        tcp: 34,
    };
    send(&context, &TEMPLATE_V4, places).map_or(XDP_ABORTED, |()| XDP_TX)
}

#[xdp]
fn flood_v6(context: XdpContext) -> u32 {
    let places = Places {
        source: 36,
        header_checksum: None,
        tcp: 54,
    };
    send(&context, &TEMPLATE_V6, places).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// Where things are in a frame.
#[derive(Clone, Copy)]
struct Places {
    /// The last two bytes of the source address.
    source: usize,
    header_checksum: Option<usize>,
    tcp: usize,
}

#[inline(always)]
fn send<const N: usize>(context: &XdpContext, template: &[u8; N], places: Places) -> Option<()> {
    let mut frame = Frame::new(context);
    let frame = frame.head::<N>()?;
    for (to, from) in frame.iter_mut().zip(template) {
        // SAFETY: a read of what the loader wrote before the program was; volatile, since the compiler
        // knows zeros only.
        *to = unsafe { ptr::read_volatile(from) };
    }
    // SAFETY: the helper has no preconditions.
    let (ends, sequence) = unsafe { (bpf_get_prandom_u32(), bpf_get_prandom_u32()) };
    let [a, b, c, d] = ends.to_ne_bytes();
    // Ports from 1,024 on.
    let c = c | 0x04;
    let Places {
        source,
        header_checksum,
        tcp,
    } = places;
    (frame[source], frame[source + 1]) = (a, b);
    (frame[tcp], frame[tcp + 1]) = (c, d);
    let number = sequence.to_be_bytes();
    frame[tcp + 4..tcp + 8].copy_from_slice(&number);
    let address = word(a, b);
    if let Some(at) = header_checksum {
        subtract(frame, at, address);
    }
    let mut sum = address + word(c, d) + word(number[0], number[1]) + word(number[2], number[3]);
    if sequence & 1 == 0 {
        frame[tcp + 13] = SYN;
        // One word less an ACK's.
        sum += 0xffff - u32::from(ACK - SYN);
    }
    subtract(frame, tcp + 16, sum);
    Some(())
}

#[inline(always)]
fn word(high: u8, low: u8) -> u32 {
    u32::from(u16::from_be_bytes([high, low]))
}

/// Lowers the checksum at `at` by what was added to the packet (RFC 1624, with one's complements).
#[inline(always)]
fn subtract<const N: usize>(frame: &mut [u8; N], at: usize, added: u32) {
    let mut sum = u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]])) + added;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    let checksum = (!(sum as u16)).to_be_bytes();
    (frame[at], frame[at + 1]) = (checksum[0], checksum[1]);
}
