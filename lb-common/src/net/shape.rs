//! Where the transport header is in an IP packet that need not be plain: behind IPv4 options, behind
//! IPv6 extension headers; and what of the packet a fragment holds.
//!
//! All walks are bounded. What can't be walked is told as [`Unreadable`]; so are packets that are
//! not at their destination yet (source routes), since their addresses do not say whose they are.
//!
//! Where a walk has come to is kept in the packet's layout: in the kernel that is memory of which
//! the verifier knows nothing, so that all rounds of a loop are one to it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    ethernet::EthernetHeader,
    ip::{Family, Ipv4, Ipv4Header, Ipv6, Ipv6Header, Unreadable},
    packet::{AnyShape, Piece},
};

/// What a packet's IP headers say beside its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Protocol of the transport header. In a later fragment over IPv6: of whatever the fragmented
    /// part begins with.
    pub protocol: u8,
    /// The number that a packet's fragments have in common (16 bits over IPv4), as it lies in
    /// memory; nothing if this is no fragment.
    pub id: u32,
}

/// Walks an IPv4 packet.
#[inline(always)]
pub(super) fn ipv4<P: AnyShape>(packet: &mut P) -> Result<Shape, Unreadable> {
    let header = packet.header::<Ipv4Header>(EthernetHeader::LEN);
    let header = header.ok_or(Unreadable::Truncated)?;
    let length = match (header.version_ihl >> 4, header.version_ihl & 0xf) {
        (4, 0..5) => return Err(Unreadable::HeaderLength),
        (4, words) => usize::from(words) * 4,
        _ => return Err(Unreadable::Version),
    };
    let fragment = u16::from_be_bytes(header.fragment);
    let (protocol, id) = (header.protocol, u16::from_ne_bytes(header.id).into());
    let piece = match (fragment & 0x1fff, fragment & 0x2000) {
        (0, 0) => Piece::Whole,
        (0, _) => Piece::First,
        _ => Piece::Later,
    };
    match protocol {
        6 | 17 => {}
        1 => return Err(Unreadable::Icmp),
        _ => return Err(Unreadable::Protocol),
    }
    let end = EthernetHeader::LEN + length;
    options(packet, end)?;
    packet.set_layout(end, piece);
    Ok(Shape { protocol, id })
}

/// Walks the options before `end` (RFC 791, section 3.1). Source routes can't be followed.
#[inline(always)]
fn options<P: AnyShape>(packet: &mut P, end: usize) -> Result<(), Unreadable> {
    const MAX: usize = 40;
    const END_OF_LIST: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    packet.set_layout(Ipv4::TRANSPORT, Piece::Whole);
    for _ in 0..MAX {
        let at = packet.transport::<Ipv4>();
        if at >= end {
            break;
        }
        let Some([kind, length]) = packet.header::<[u8; 2]>(at) else {
            return Err(Unreadable::Truncated);
        };
        let length = match *kind {
            END_OF_LIST => break,
            NO_OPERATION => 1,
            LOOSE_ROUTE | STRICT_ROUTE => return Err(Unreadable::Options),
            _ if *length < 2 => return Err(Unreadable::Options),
            _ => usize::from(*length),
        };
        packet.set_layout(at + length, Piece::Whole);
    }
    Ok(())
}

/// The start of an extension header (RFC 8200, sections 4.3, 4.4, 4.6).
///
/// ```text
///  0       1       2       3       4
/// +-------+-------+-------+-------+----
/// | next  |length | routing: type, segments left
/// +-------+-------+-------+-------+----
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ExtensionHeader {
    next: u8,
    /// In units of eight bytes, the first eight not counted.
    length: u8,
    kind: u8,
    segments_left: u8,
}

/// The fragment header (RFC 8200, section 4.5).
///
/// ```text
///  0       1       2               4                               8
/// +-------+-------+---------------+-------------------------------+
/// | next  |       |   offset   |M |              id               |
/// +-------+-------+---------------+-------------------------------+
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FragmentHeader {
    next: u8,
    reserved: u8,
    offset: [u8; 2],
    id: [u8; 4],
}

/// Extension headers that are walked at most.
const EXTENSION_HEADERS: usize = 8;

/// Bytes of extension headers that are walked at most.
const EXTENSION_BYTES: usize = 128;

/// Where the first extension header starts.
const START: usize = Ipv6::TRANSPORT;

/// Walks an IPv6 packet.
#[inline(always)]
pub(super) fn ipv6<P: AnyShape>(packet: &mut P) -> Result<Shape, Unreadable> {
    let header = packet.header::<Ipv6Header>(EthernetHeader::LEN);
    let header = header.ok_or(Unreadable::Truncated)?;
    if header.version_class_label[0] >> 4 != 6 {
        return Err(Unreadable::Version);
    }
    let mut shape = Shape {
        protocol: header.next_header,
        id: 0,
    };
    packet.set_layout(START, Piece::Whole);
    for n in 0..EXTENSION_HEADERS {
        match shape.protocol {
            6 | 17 => return Ok(shape),
            58 => return Err(Unreadable::Icmp),
            // Hop-by-hop options, which come first or not at all.
            0 if n > 0 => return Err(Unreadable::ExtensionHeader),
            // Those, routing, destination options.
            0 | 43 | 60 => extension(packet, &mut shape)?,
            44 => fragment(packet, &mut shape)?,
            // ESP, AH, no next header, mobility, HIP, shim6.
            50 | 51 | 59 | 135 | 139 | 140 => return Err(Unreadable::ExtensionHeader),
            _ => return Err(Unreadable::Protocol),
        }
        if packet.piece() == Piece::Later {
            return Ok(shape);
        }
        if packet.transport::<Ipv6>() > START + EXTENSION_BYTES {
            return Err(Unreadable::ExtensionHeader);
        }
    }
    Err(Unreadable::ExtensionHeader)
}

/// Walks on behind options or a routing header, which must have led the packet to its end.
#[inline(always)]
fn extension<P: AnyShape>(packet: &mut P, shape: &mut Shape) -> Result<(), Unreadable> {
    let at = packet.transport::<Ipv6>();
    let header = packet.header::<ExtensionHeader>(at);
    let header = header.ok_or(Unreadable::Truncated)?;
    if shape.protocol == 43 && header.segments_left != 0 {
        return Err(Unreadable::ExtensionHeader);
    }
    shape.protocol = header.next;
    let length = 8 * (1 + usize::from(header.length));
    packet.set_layout(at + length, packet.piece());
    Ok(())
}

/// Walks on behind a fragment header. One that says it is all of its packet is handled as if it
/// were not there (RFC 6946).
#[inline(always)]
fn fragment<P: AnyShape>(packet: &mut P, shape: &mut Shape) -> Result<(), Unreadable> {
    let at = packet.transport::<Ipv6>();
    let header = packet.header::<FragmentHeader>(at);
    let header = header.ok_or(Unreadable::Truncated)?;
    let offset = u16::from_be_bytes(header.offset);
    shape.protocol = header.next;
    shape.id = u32::from_ne_bytes(header.id);
    let piece = match (offset & 0xfff8, offset & 1) {
        (0, 0) => packet.piece(),
        (0, _) => Piece::First,
        _ => Piece::Later,
    };
    packet.set_layout(at + size_of::<FragmentHeader>(), piece);
    Ok(())
}
