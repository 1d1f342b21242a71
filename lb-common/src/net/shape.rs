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
    packet::{AnyShape, Layout, Piece},
    transport::TcpHeader,
};

/// Walks an IPv4 packet.
#[inline(always)]
pub(super) fn ipv4<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable> {
    let header = packet.header::<Ipv4Header>(EthernetHeader::LEN);
    let header = header.ok_or(Unreadable::Truncated)?;
    let length = match (header.version_ihl >> 4, header.version_ihl & 0xf) {
        (4, 0..5) => return Err(Unreadable::HeaderLength),
        (4, words) => usize::from(words) * 4,
        _ => return Err(Unreadable::Version),
    };
    let fragment = u16::from_be_bytes(header.fragment);
    let protocol = header.protocol;
    let id = u16::from_ne_bytes(header.id).into();
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
    let transport = EthernetHeader::LEN + length;
    options(packet, transport)?;
    packet.set_layout(Layout {
        transport,
        protocol,
        piece,
        id,
        segment_size: 0,
    });
    Ok(())
}

/// Walks the options before `end` (RFC 791, section 3.1). Source routes can't be followed.
#[inline(always)]
fn options<P: AnyShape>(packet: &mut P, end: usize) -> Result<(), Unreadable> {
    const MAX: usize = 40;
    const END_OF_LIST: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    go_to(packet, Ipv4::TRANSPORT);
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
        go_to(packet, at + length);
    }
    Ok(())
}

#[inline(always)]
fn go_to<P: AnyShape>(packet: &mut P, transport: usize) {
    packet.set_layout(Layout {
        transport,
        ..Layout::default()
    });
}

/// Finds where a segment with SYN says how large ones its sender takes (MSS; RFC 9293, section 3.2),
/// of a packet that was walked. A function of its own in the kernel, for the sake of its stack.
#[inline(never)]
pub fn find_segment_size<P: AnyShape>(packet: &mut P) {
    const MAX: usize = 40;
    const END_OF_LIST: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const SEGMENT_SIZE: u8 = 2;
    let mut layout = packet.layout();
    if layout.protocol != TcpHeader::PROTOCOL || layout.piece == Piece::Later {
        return;
    }
    let start = layout.transport;
    let Some(tcp) = packet.header::<TcpHeader>(start) else {
        return;
    };
    if !tcp.flags().synchronizes() {
        return;
    }
    let end = start + tcp.payload();
    go_to(packet, start + TcpHeader::LEN);
    for _ in 0..MAX {
        let at = packet.layout().transport;
        if at + 4 > end {
            break;
        }
        let Some([kind, length]) = packet.header::<[u8; 2]>(at) else {
            break;
        };
        let length = match (*kind, *length) {
            (END_OF_LIST, _) | (_, 0) => break,
            (NO_OPERATION, _) => 1,
            (SEGMENT_SIZE, 4) => {
                layout.segment_size = at + 2;
                break;
            }
            (_, length) => usize::from(length),
        };
        go_to(packet, at + length);
    }
    packet.set_layout(layout);
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
pub(super) fn ipv6<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable> {
    let header = packet.header::<Ipv6Header>(EthernetHeader::LEN);
    let header = header.ok_or(Unreadable::Truncated)?;
    if header.version_class_label[0] >> 4 != 6 {
        return Err(Unreadable::Version);
    }
    let protocol = header.next_header;
    packet.set_layout(Layout {
        transport: START,
        protocol,
        ..Layout::default()
    });
    for n in 0..EXTENSION_HEADERS {
        match packet.layout().protocol {
            6 | 17 => return Ok(()),
            58 => return Err(Unreadable::Icmp),
            // Hop-by-hop options, which come first or not at all.
            0 if n > 0 => return Err(Unreadable::ExtensionHeader),
            // Those, routing, destination options.
            0 | 43 | 60 => extension(packet)?,
            44 => fragment(packet)?,
            // ESP, AH, no next header, mobility, HIP, shim6.
            50 | 51 | 59 | 135 | 139 | 140 => return Err(Unreadable::ExtensionHeader),
            _ => return Err(Unreadable::Protocol),
        }
        if packet.piece() == Piece::Later {
            return Ok(());
        }
        if packet.transport::<Ipv6>() > START + EXTENSION_BYTES {
            return Err(Unreadable::ExtensionHeader);
        }
    }
    Err(Unreadable::ExtensionHeader)
}

/// Walks on behind options or a routing header, which must have led the packet to its end.
#[inline(always)]
fn extension<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable> {
    let mut layout = packet.layout();
    let header = packet.header::<ExtensionHeader>(layout.transport);
    let header = header.ok_or(Unreadable::Truncated)?;
    if layout.protocol == 43 && header.segments_left != 0 {
        return Err(Unreadable::ExtensionHeader);
    }
    layout.protocol = header.next;
    layout.transport += 8 * (1 + usize::from(header.length));
    packet.set_layout(layout);
    Ok(())
}

/// Walks on behind a fragment header. One that says it is all of its packet is handled as if it
/// were not there (RFC 6946).
#[inline(always)]
fn fragment<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable> {
    let mut layout = packet.layout();
    let header = packet.header::<FragmentHeader>(layout.transport);
    let header = header.ok_or(Unreadable::Truncated)?;
    let offset = u16::from_be_bytes(header.offset);
    layout.protocol = header.next;
    layout.id = u32::from_ne_bytes(header.id);
    match (offset & 0xfff8, offset & 1) {
        (0, 0) => {}
        (0, _) => layout.piece = Piece::First,
        _ => layout.piece = Piece::Later,
    }
    layout.transport += size_of::<FragmentHeader>();
    packet.set_layout(layout);
    Ok(())
}
