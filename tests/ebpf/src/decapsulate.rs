//! `decapsulate`: a backend's receiving end of mode `ipip`, for kernels without an ipip device.
//!
//! ```text
//! before  Ethernet | outer IP: to one of my own addresses, protocol 4 or 41 | inner IP: to a service
//! after   Ethernet                                                          | inner IP: to a service
//! ```
//!
//! It is no more lenient than the kernel's device: the outer header is judged as the kernel judges
//! one (version, lengths, checksum), since the kernel does not get to see it. A frame to a service
//! address that did not come inside such a header is dropped: plain routing can't pass for
//! balancing. Everything else is the kernel's.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{HashMap, PerCpuArray},
    macros::{btf_map, xdp},
    programs::XdpContext,
};

use crate::frame::Frame;

/// An address in network order; IPv4 as `::ffff:a.b.c.d`. In words: bytes would need `memset`.
type Address = [u32; 4];

/// What an address is to this backend.
#[btf_map]
static ROLES: HashMap<Address, u32, 16> = HashMap::new();

/// The backend's own address, where the balancer sends to.
const OWN: u32 = 1;
/// A service's address, which clients send to.
const SERVICE: u32 = 2;

/// Frames by [`Outcome`].
#[btf_map]
static OUTCOMES: PerCpuArray<u64, 4> = PerCpuArray::new();

/// What became of a frame; the harness reads the counters by these numbers.
#[derive(Clone, Copy)]
enum Outcome {
    /// The outer header came off.
    Decapsulated = 0,
    /// To a service address, but not (or not rightly) in an outer header.
    Refused = 1,
    /// The outer header is one that the kernel would have dropped.
    Malformed = 2,
    /// None of this program's business.
    Other = 3,
}

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_IPV6: u8 = 41;

#[xdp]
fn decapsulate(context: XdpContext) -> u32 {
    let mut frame = Frame::new(&context);
    let outcome = judge(&mut frame);
    if let Some(count) = OUTCOMES.get_ptr_mut(outcome as u32) {
        // SAFETY: the element belongs to this CPU, and this program is not interrupted by itself.
        unsafe { *count += 1 };
    }
    match outcome {
        Outcome::Decapsulated | Outcome::Other => XDP_PASS,
        Outcome::Refused | Outcome::Malformed => XDP_DROP,
    }
}

#[inline(always)]
fn judge(frame: &mut Frame<'_>) -> Outcome {
    match frame.read::<2>(12) {
        Some([0x08, 0x00]) => ipv4(frame),
        Some([0x86, 0xdd]) => ipv6(frame),
        Some(_) | None => Outcome::Other,
    }
}

#[inline(always)]
fn ipv4(frame: &mut Frame<'_>) -> Outcome {
    let Some(outer) = frame.read::<IPV4>(ETHERNET) else {
        return Outcome::Other;
    };
    match role(mapped([outer[16], outer[17], outer[18], outer[19]])) {
        Some(SERVICE) => return Outcome::Refused,
        Some(OWN) if outer[9] == PROTOCOL_IPV4 => {}
        Some(_) | None => return Outcome::Other,
    }
    let Some(inner) = frame.read::<IPV4>(ETHERNET + IPV4) else {
        return Outcome::Malformed;
    };
    // Fragments and options are not this tool's; the balancer makes neither.
    let fragment = outer[6] & 0x3f != 0 || outer[7] != 0;
    let length = usize::from(u16::from_be_bytes([outer[2], outer[3]]));
    let inner_length = usize::from(u16::from_be_bytes([inner[2], inner[3]]));
    let sound = outer[0] == 0x45 && !fragment && outer[8] > 0 && sums_up(&outer);
    if !sound
        || inner[0] >> 4 != 4
        || length != inner_length + IPV4
        || length + ETHERNET > frame.len()
    {
        return Outcome::Malformed;
    }
    if role(mapped([inner[16], inner[17], inner[18], inner[19]])) != Some(SERVICE) {
        return Outcome::Refused;
    }
    strip::<{ IPV4 as i32 }>(frame)
}

#[inline(always)]
fn ipv6(frame: &mut Frame<'_>) -> Outcome {
    let Some(outer) = frame.read::<IPV6>(ETHERNET) else {
        return Outcome::Other;
    };
    match role(destination(&outer)) {
        Some(SERVICE) => return Outcome::Refused,
        Some(OWN) if outer[6] == PROTOCOL_IPV6 => {}
        Some(_) | None => return Outcome::Other,
    }
    let Some(inner) = frame.read::<IPV6>(ETHERNET + IPV6) else {
        return Outcome::Malformed;
    };
    let length = usize::from(u16::from_be_bytes([outer[4], outer[5]]));
    let inner_length = usize::from(u16::from_be_bytes([inner[4], inner[5]]));
    let sound = outer[0] >> 4 == 6 && outer[7] > 0 && inner[0] >> 4 == 6;
    if !sound || length != inner_length + IPV6 || length + IPV6 + ETHERNET > frame.len() {
        return Outcome::Malformed;
    }
    if role(destination(&inner)) != Some(SERVICE) {
        return Outcome::Refused;
    }
    strip::<{ IPV6 as i32 }>(frame)
}

/// Takes the outer header away; the Ethernet header moves up to the inner one. Its type stays
/// right, since both headers are of one family.
#[inline(always)]
fn strip<const HEADER: i32>(frame: &mut Frame<'_>) -> Outcome {
    let Some(ethernet) = frame.read::<ETHERNET>(0) else {
        return Outcome::Malformed;
    };
    match frame.shrink(HEADER).and_then(|()| frame.write(0, ethernet)) {
        Some(()) => Outcome::Decapsulated,
        None => Outcome::Malformed,
    }
}

#[inline(always)]
fn role(address: Address) -> Option<u32> {
    // SAFETY: the harness writes the map before it attaches the program, and never after.
    unsafe { ROLES.get(address) }.copied()
}

#[inline(always)]
fn mapped(address: [u8; 4]) -> Address {
    [0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes(address)]
}

/// The destination of an IPv6 header.
#[inline(always)]
fn destination(header: &[u8; IPV6]) -> Address {
    let word = |at: usize| {
        u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    [word(24), word(28), word(32), word(36)]
}

/// Whether a header with its checksum adds up to all ones (RFC 1071).
#[inline(always)]
fn sums_up(header: &[u8; IPV4]) -> bool {
    let mut sum = 0;
    let mut at = 0;
    while at < IPV4 {
        sum += u32::from(header[at]) << 8 | u32::from(header[at + 1]);
        at += 2;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}
