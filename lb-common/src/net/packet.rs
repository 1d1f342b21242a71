//! The packet path's only way to a frame: bounded views of its headers.
//!
//! There are two kinds of view. A plain one reads frames whose headers lie at constant offsets, and
//! leaves all others to one that reads every shape ([`AnyShape`]): tags, options, extension headers,
//! fragments, frames in several parts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::abi::Tags;

use super::{
    checksum::Delta,
    ethernet::{EthernetWords, OneTag, TaggedHeader, TwoTags},
    icmp::Icmp as _,
    ip::{Family, Ipv6},
};

/// A header: plain bytes of any alignment.
pub trait Header: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {}

impl<T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned> Header for T {}

/// What of an IP packet a frame holds (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    #[default]
    Whole,
    /// Its first fragment, which has the transport header.
    First,
    /// Another fragment, which has none.
    Later,
}

/// What the headers of an IP packet say beside its ends, as far as they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where the next header starts in the frame: the transport header in the end, or the data of a
    /// later fragment.
    pub transport: usize,
    /// That header's protocol number. In a later fragment over IPv6: the number of whatever the
    /// fragmented part begins with.
    pub protocol: u8,
    /// What of the packet is there.
    pub piece: Piece,
    /// The number that a packet's fragments have in common (16 bits over IPv4), as it lies in
    /// memory.
    pub id: u32,
    /// Where a TCP segment says how large ones its sender takes; 0: it was not looked for, or does
    /// not say.
    pub segment_size: usize,
}

/// A received frame.
pub trait Packet {
    /// Whether it is only shown where its headers lie at constant offsets.
    const PLAIN: bool = true;

    /// Where its transport header starts, or the data of a later fragment.
    #[inline(always)]
    fn transport<F: Family>(&self) -> usize {
        F::TRANSPORT
    }

    /// What of an IP packet it holds.
    #[inline(always)]
    fn piece(&self) -> Piece {
        Piece::Whole
    }

    /// Where it says how large TCP segments its sender takes, if that was found.
    #[inline(always)]
    fn segment_size(&self) -> Option<usize> {
        None
    }

    /// Its length in bytes, the Ethernet header included.
    fn len(&self) -> usize;

    /// Whether it has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has this many bytes, those counted that can't be read through here (buffers of
    /// large frames may have several parts).
    fn holds(&self, bytes: usize) -> bool {
        bytes <= self.len()
    }

    /// A view of the header at `offset`, or `None` if the frame ends before it does.
    fn header<T: Header>(&self, offset: usize) -> Option<&T>;

    /// A writable view of the header at `offset`, or `None` if the frame ends before it does.
    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T>;

    /// Puts `bytes` undefined bytes in front of the frame; offsets count from the new start.
    /// `false`, and nothing is changed, if there is no room.
    fn grow(&mut self, bytes: usize) -> bool;

    /// Puts one tag or two into the frame, with [`put_tags`] in some way; `false` if there is no room.
    fn put_tags(&mut self, tags: Tags) -> bool;
}

/// Puts one tag or two into a frame, behind its addresses; `false` if there is no room.
#[inline(always)]
pub fn put_tags<P: Packet>(packet: &mut P, tags: Tags) -> bool {
    put(packet, tags).is_some()
}

#[inline(always)]
fn put<P: Packet>(packet: &mut P, tags: Tags) -> Option<()> {
    let ethernet = packet.header::<EthernetWords>(0)?;
    let header = TaggedHeader {
        addresses: ethernet.addresses(),
        tags,
        ethertype: ethernet.ethertype(),
    };
    packet.grow(tags.length()).then_some(())?;
    if tags.count() == 1 {
        *packet.header_mut::<OneTag>(0)? = header.into();
    } else {
        *packet.header_mut::<TwoTags>(0)? = header.into();
    }
    Some(())
}

/// A received frame that another one is made of, in which parts of it are left out.
pub trait Trim: Packet {
    /// Takes the first `bytes` bytes away; offsets count from the new start. `false`, and nothing is
    /// changed, if that can't be.
    fn strip(&mut self, bytes: usize) -> bool;

    /// Cuts the frame off behind its first `length` bytes. `false`, and nothing is changed, if it has
    /// no more or that can't be.
    fn cut(&mut self, length: usize) -> bool;

    /// What [`sum`] says; asked for here, the kernel's verifier walks it once.
    fn sum(&self, at: usize, length: usize) -> Option<Delta>;
}

/// The last byte at which what is summed may start.
const LAST_START: usize = 255;

/// What `length` bytes at `at` add to a checksum: whole words, no more than an ICMP error quotes. `None` if the frame
/// has not as many there.
#[inline(always)]
pub fn sum<P: Packet>(packet: &P, at: usize, length: usize) -> Option<Delta> {
    if at > LAST_START {
        return None;
    }
    let mut sum = Delta::NONE;
    for n in 0..Ipv6::QUOTE / 4 {
        if n * 4 >= length {
            break;
        }
        let [a, b, c, d] = *packet.header::<[u8; 4]>(at + n * 4)?;
        sum = sum.field([0; 2], [a, b]).field([0; 2], [c, d]);
    }
    Some(sum)
}

/// A received frame of any shape. What is written to it counts only once it is
/// [committed](AnyShape::commit), so that one that passes is untouched.
pub trait AnyShape: Packet {
    /// What is known of it so far.
    fn layout(&self) -> Layout;

    /// Sets what is known of it.
    fn set_layout(&mut self, layout: Layout);

    /// Makes the frame as it is shown the one that leaves; `false` if that can't be done.
    fn commit(&mut self) -> bool;
}
