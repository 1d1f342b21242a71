//! `decapsulate`: a backend's receiving end of modes `ipip` and `gue`, for kernels without ipip and
//! fou devices.
//!
//! ```text
//! before  Ethernet | outer IP: to one of my own addresses | inner IP: to a service
//! after   Ethernet                                        | inner IP: to a service
//!
//! ipip    the outer header's protocol is 4 or 41
//! gue     it is 17, and a UDP header to port 6080 is between the two (GUE variant 1:
//!         draft-ietf-intarea-gue-09, section 4)
//! ```
//!
//! It is no more lenient than the kernel's devices: the outer header is judged as the kernel judges
//! one (version, lengths, checksum), since the kernel does not get to see it. One thing is left to
//! the packet cases: whether an outer UDP checksum is right; over IPv6 it has to be there. A frame to
//! a service address that did not come inside such headers is dropped: plain routing can't pass for
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

/// The backend's own address, where the balancer sends IP in IP.
const OWN: u32 = 1;
/// A service's address, which clients send to.
const SERVICE: u32 = 2;
/// The backend's own address, where the balancer sends IP in UDP.
const OWN_GUE: u32 = 3;

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
const UDP: usize = 8;
const PROTOCOL_UDP: u8 = 17;
const GUE_PORT: [u8; 2] = 6080_u16.to_be_bytes();

#[xdp(frags)]
fn decapsulate(context: XdpContext) -> u32 {
    unpack(&mut Frame::new(&context))
}

/// Takes a frame out of its outer header, if it is in one, and counts; what is to become of it.
#[inline(always)]
pub(crate) fn unpack(frame: &mut Frame<'_>) -> u32 {
    let outcome = judge(frame);
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
        Some(SERVICE) => Outcome::Refused,
        Some(OWN) if outer[9] == PROTOCOL_IPV4 => open4::<IPV4>(frame, &outer),
        Some(OWN_GUE) if outer[9] == PROTOCOL_UDP => match udp::<{ ETHERNET + IPV4 }>(frame) {
            Some(header) if !header.is_sound(outer_length4(&outer), IPV4) => Outcome::Malformed,
            Some(_) => open4::<{ IPV4 + UDP }>(frame, &outer),
            None => Outcome::Other,
        },
        Some(_) | None => Outcome::Other,
    }
}

/// Takes `HEADERS` bytes of IPv4 and perhaps UDP away.
#[inline(always)]
fn open4<const HEADERS: usize>(frame: &mut Frame<'_>, outer: &[u8; IPV4]) -> Outcome {
    let Some(inner) = frame.read::<IPV4>(ETHERNET + HEADERS) else {
        return Outcome::Malformed;
    };
    // Fragments and options are not this tool's; the balancer makes neither.
    let fragment = outer[6] & 0x3f != 0 || outer[7] != 0;
    let length = outer_length4(outer);
    let inner_length = usize::from(u16::from_be_bytes([inner[2], inner[3]]));
    let sound = outer[0] == 0x45 && !fragment && outer[8] > 0 && sums_up(outer);
    if !sound
        || inner[0] >> 4 != 4
        || length != inner_length + HEADERS
        || length + ETHERNET > frame.len()
    {
        return Outcome::Malformed;
    }
    if role(mapped([inner[16], inner[17], inner[18], inner[19]])) != Some(SERVICE) {
        return Outcome::Refused;
    }
    strip::<HEADERS>(frame)
}

#[inline(always)]
fn outer_length4(outer: &[u8; IPV4]) -> usize {
    usize::from(u16::from_be_bytes([outer[2], outer[3]]))
}

#[inline(always)]
fn ipv6(frame: &mut Frame<'_>) -> Outcome {
    let Some(outer) = frame.read::<IPV6>(ETHERNET) else {
        return Outcome::Other;
    };
    match role(destination(&outer)) {
        Some(SERVICE) => Outcome::Refused,
        Some(OWN) if outer[6] == PROTOCOL_IPV6 => open6::<IPV6>(frame, &outer),
        Some(OWN_GUE) if outer[6] == PROTOCOL_UDP => match udp::<{ ETHERNET + IPV6 }>(frame) {
            Some(header)
                if !header.is_sound(outer_length6(&outer), IPV6) || !header.has_checksum =>
            {
                Outcome::Malformed
            }
            Some(_) => open6::<{ IPV6 + UDP }>(frame, &outer),
            None => Outcome::Other,
        },
        Some(_) | None => Outcome::Other,
    }
}

/// Takes `HEADERS` bytes of IPv6 and perhaps UDP away.
#[inline(always)]
fn open6<const HEADERS: usize>(frame: &mut Frame<'_>, outer: &[u8; IPV6]) -> Outcome {
    let Some(inner) = frame.read::<IPV6>(ETHERNET + HEADERS) else {
        return Outcome::Malformed;
    };
    let length = outer_length6(outer);
    let inner_length = IPV6 + usize::from(u16::from_be_bytes([inner[4], inner[5]]));
    let sound = outer[0] >> 4 == 6 && outer[7] > 0 && inner[0] >> 4 == 6;
    if !sound || length != inner_length + HEADERS || length + ETHERNET > frame.len() {
        return Outcome::Malformed;
    }
    if role(destination(&inner)) != Some(SERVICE) {
        return Outcome::Refused;
    }
    strip::<HEADERS>(frame)
}

/// The length of the whole packet.
#[inline(always)]
fn outer_length6(outer: &[u8; IPV6]) -> usize {
    IPV6 + usize::from(u16::from_be_bytes([outer[4], outer[5]]))
}

/// What a UDP header to GUE's port says.
struct Udp {
    length: usize,
    has_checksum: bool,
}

impl Udp {
    /// Whether it fits a packet of this length with `before` bytes before it.
    #[inline(always)]
    fn is_sound(&self, length: usize, before: usize) -> bool {
        self.length + before == length
    }
}

/// The UDP header at `AT`, if it is to GUE's port.
#[inline(always)]
fn udp<const AT: usize>(frame: &Frame<'_>) -> Option<Udp> {
    let header = frame.read::<UDP>(AT)?;
    ([header[2], header[3]] == GUE_PORT).then(|| Udp {
        length: usize::from(u16::from_be_bytes([header[4], header[5]])),
        has_checksum: header[6] != 0 || header[7] != 0,
    })
}

/// Takes the outer headers away; the Ethernet header moves up to the inner one. Its type stays
/// right, since both IP headers are of one family.
#[inline(always)]
fn strip<const HEADERS: usize>(frame: &mut Frame<'_>) -> Outcome {
    let Some(ethernet) = frame.read::<ETHERNET>(0) else {
        return Outcome::Malformed;
    };
    match frame
        .shrink(HEADERS as i32)
        .and_then(|()| frame.write(0, ethernet))
    {
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
