//! IPv4 and IPv6 behind one trait, so that every stage is written once.
//!
//! A header is read where its length is the plain one. Options, extension headers and fragments
//! are told apart here ([`Unreadable`]); what lies behind them is found by `shape`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    checksum::Delta,
    ethernet::EthernetHeader,
    packet::{AnyShape, Header},
    shape,
};
use crate::abi::{Address, Ipv4Address, Ipv6Address};

/// Hops of what starts here (IANA, IP Option Numbers: the recommended TTL).
const HOPS: u8 = 64;

/// An address family.
pub trait Family: Copy + 'static {
    /// Its addresses.
    type Address: Address;
    /// Its header.
    type Header: Header + IpHeader<Self::Address>;

    /// Its protocol number inside another IP header.
    const PROTOCOL: u8;
    /// Its Ethernet type, network order.
    const ETHERTYPE: [u8; 2];
    /// Length of its plain header, bytes.
    const HEADER_LEN: usize;
    /// Where the transport header starts in a frame.
    const TRANSPORT: usize = EthernetHeader::LEN + Self::HEADER_LEN;
    /// 4 or 6.
    const VERSION: u8;

    /// Whether its packets stand for those of either family ([`Mapped`](super::Mapped)).
    const ACROSS: bool = false;

    /// Walks to the transport header of a packet that need not be plain: sets its layout.
    fn walk<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable>;

    /// How long a packet is on the wire, bytes, that is `length` long here and comes from, or goes
    /// to, `end`.
    #[inline(always)]
    fn on_wire(length: usize, _end: Self::Address) -> usize {
        length
    }

    /// How long a packet is here, bytes, that goes to `destination` and is `length` long on the wire.
    #[inline(always)]
    fn from_wire(length: u16, _destination: Self::Address) -> u16 {
        length
    }

    /// Whether a packet that came from `source` goes on to `destination` over IPv6, but came over
    /// IPv4.
    #[inline(always)]
    fn goes_over_to_ipv6(_source: Self::Address, _destination: Self::Address) -> bool {
        false
    }
}

/// IPv4.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4;

/// IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6;

impl Family for Ipv4 {
    type Address = Ipv4Address;
    type Header = Ipv4Header;
    const PROTOCOL: u8 = 4;
    const ETHERTYPE: [u8; 2] = [0x08, 0x00];
    const HEADER_LEN: usize = 20;
    const VERSION: u8 = 4;

    #[inline(always)]
    fn walk<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable> {
        shape::ipv4(packet)
    }
}

impl Family for Ipv6 {
    type Address = Ipv6Address;
    type Header = Ipv6Header;
    const PROTOCOL: u8 = 41;
    const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
    const HEADER_LEN: usize = 40;
    const VERSION: u8 = 6;

    #[inline(always)]
    fn walk<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable> {
        shape::ipv6(packet)
    }
}

/// Why the transport header can't be read behind an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The frame ends too early.
    Truncated,
    /// The version is not the one that the Ethernet type says.
    Version,
    /// An IPv4 header length below 20 bytes.
    HeaderLength,
    /// IPv4 options.
    Options,
    /// An IPv6 extension header.
    ExtensionHeader,
    /// A fragment.
    Fragment,
    /// ICMP or ICMPv6.
    Icmp,
    /// Another protocol than TCP and UDP.
    Protocol,
}

/// What the stages ask of an IP header.
pub trait IpHeader<A> {
    /// The protocol of the transport header right behind, which is [TCP](super::TcpHeader) or
    /// [UDP](super::UdpHeader).
    fn transport(&self) -> Result<u8, Unreadable>;
    /// Source address.
    fn source(&self) -> A;
    /// Destination address.
    fn destination(&self) -> A;
    /// Length of the whole packet, this header included, as it says itself.
    fn total_length(&self) -> usize;
    /// TTL or hop limit.
    fn hops(&self) -> u8;
    /// ToS or traffic class, its ECN bits included.
    fn traffic_class(&self) -> u8;
    /// Takes one from the hops, which must not be 0, and mends the header's checksum.
    fn take_hop(&mut self);
    /// Protocol of what is right behind it.
    fn protocol(&self) -> u8;
    /// The header's own checksum; zeros where there is none.
    fn checksum(&self) -> [u8; 2];
    /// Sets the hops, and mends the header's checksum.
    fn set_hops(&mut self, hops: u8);
    /// Sends it back to where it came from, with all the hops that there are.
    fn turn_around(&mut self);
    /// Whether an address names one host, so that it may be answered (RFC 1122, section 3.2.2; RFC
    /// 4443, section 2.4 (e)).
    fn names_a_host(address: A) -> bool;
    /// Sets both addresses; `delta` is what that changes in the header's checksum.
    fn set_addresses(&mut self, source: A, destination: A, delta: Delta);
    /// What this packet adds to the checksum of a message around it, if its own are right: its
    /// TCP or UDP checksum makes transport header and payload sum up to the complement of its
    /// pseudo-header (local checksum offload, Documentation/networking/checksum-offloads.rst).
    fn checksum_inside(&self) -> Delta;
    /// The header that goes around a payload: not to be fragmented.
    fn around(payload: Payload, source: A, destination: A) -> Self;
    /// What the pseudo-header of a message between these ends adds to its checksum (RFC 9293,
    /// section 3.1; RFC 8200, section 8.1).
    fn pseudo(payload: Payload, source: A, destination: A) -> Delta;
}

/// What an IP header goes around.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    /// Its protocol number.
    pub protocol: u8,
    /// Its length, bytes.
    pub length: u16,
    /// ToS or traffic class: with `ipip` (RFC 2003, RFC 2473) that of the packet inside, its ECN
    /// bits included (RFC 6040, normal mode).
    pub class: u8,
}

/// IPv4 (RFC 791, section 3.1).
///
/// ```text
///  0       1       2               4               6               8
/// +---+---+-------+---------------+---------------+-+-+-+---------+
/// |ver|ihl|  tos  | total length  |      id       |  flags offset |
/// +---+---+-------+---------------+---------------+---------------+
/// |  ttl  | proto |   checksum    |            source             |
/// +-------+-------+---------------+-------------------------------+
/// |          destination          | options …
/// +-------------------------------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    pub(super) version_ihl: u8,
    tos: u8,
    total_length: [u8; 2],
    pub(super) id: [u8; 2],
    pub(super) fragment: [u8; 2],
    ttl: u8,
    pub(super) protocol: u8,
    checksum: [u8; 2],
    source: [u8; 4],
    destination: [u8; 4],
}

impl Ipv4Header {
    /// What it says of fragments: number, flags and offset.
    #[inline(always)]
    pub fn fragmentation(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.id, self.fragment);
        [a, b, c, d]
    }

    /// Says this of fragments, with this checksum.
    #[inline(always)]
    pub fn set_fragmentation(&mut self, fragmentation: [u8; 4], checksum: [u8; 2]) {
        let [a, b, c, d] = fragmentation;
        (self.id, self.fragment, self.checksum) = ([a, b], [c, d], checksum);
    }
}

impl IpHeader<Ipv4Address> for Ipv4Header {
    #[inline(always)]
    fn transport(&self) -> Result<u8, Unreadable> {
        if self.version_ihl != 0x45 {
            return Err(match (self.version_ihl >> 4, self.version_ihl & 0xf) {
                (4, 0..5) => Unreadable::HeaderLength,
                (4, _) => Unreadable::Options,
                _ => Unreadable::Version,
            });
        }
        // More fragments, or an offset.
        if u16::from_be_bytes(self.fragment) & 0x3fff != 0 {
            return Err(Unreadable::Fragment);
        }
        match self.protocol {
            6 | 17 => Ok(self.protocol),
            1 => Err(Unreadable::Icmp),
            _ => Err(Unreadable::Protocol),
        }
    }

    #[inline(always)]
    fn source(&self) -> Ipv4Address {
        Ipv4Address::from_bytes(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Ipv4Address {
        Ipv4Address::from_bytes(self.destination)
    }

    #[inline(always)]
    fn total_length(&self) -> usize {
        usize::from(u16::from_be_bytes(self.total_length))
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.ttl
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        self.tos
    }

    #[inline(always)]
    fn take_hop(&mut self) {
        self.set_hops(self.ttl.wrapping_sub(1));
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.protocol
    }

    #[inline(always)]
    fn checksum(&self) -> [u8; 2] {
        self.checksum
    }

    #[inline(always)]
    fn set_hops(&mut self, hops: u8) {
        let old = [self.ttl, self.protocol];
        self.ttl = hops;
        let delta = Delta::NONE.field(old, [self.ttl, self.protocol]);
        self.checksum = delta.apply(self.checksum);
    }

    #[inline(always)]
    fn turn_around(&mut self) {
        // That the addresses change places changes no sum.
        (self.source, self.destination) = (self.destination, self.source);
        self.set_hops(HOPS);
    }

    #[inline(always)]
    fn names_a_host(address: Ipv4Address) -> bool {
        // Not 0/8, 127/8, and from 224/4 on neither multicast, reserved nor broadcast (RFC 6890).
        let [first, ..] = address.to_bytes();
        !matches!(first, 0 | 127 | 224..)
    }

    #[inline(always)]
    fn set_addresses(&mut self, source: Ipv4Address, destination: Ipv4Address, delta: Delta) {
        self.source = source.to_bytes();
        self.destination = destination.to_bytes();
        self.checksum = delta.apply(self.checksum);
    }

    #[inline(always)]
    fn checksum_inside(&self) -> Delta {
        // The header with its checksum sums up to nothing. Less the pseudo-header:
        let length = u16::from_be_bytes(self.total_length).wrapping_sub(20);
        Delta::NONE
            .address(self.source(), Ipv4Address::ZERO)
            .address(self.destination(), Ipv4Address::ZERO)
            .field([0, self.protocol], [0; 2])
            .field(length.to_be_bytes(), [0; 2])
    }

    #[inline(always)]
    fn pseudo(payload: Payload, source: Ipv4Address, destination: Ipv4Address) -> Delta {
        pseudo(payload, source, destination)
    }

    #[inline(always)]
    fn around(payload: Payload, source: Ipv4Address, destination: Ipv4Address) -> Self {
        let mut header = Self {
            version_ihl: 0x45,
            tos: payload.class,
            total_length: payload.length.wrapping_add(20).to_be_bytes(),
            id: [0; 2],
            fragment: [0x40, 0],
            ttl: HOPS,
            protocol: payload.protocol,
            checksum: [0; 2],
            source: source.to_bytes(),
            destination: destination.to_bytes(),
        };
        // The fields change from all zeros, whose complements add a multiple of 0xffff: nothing.
        header.checksum = Delta::NONE
            .field([0; 2], [header.version_ihl, header.tos])
            .field([0; 2], header.total_length)
            .field([0; 2], header.fragment)
            .field([0; 2], [header.ttl, header.protocol])
            .address(Ipv4Address::ZERO, source)
            .address(Ipv4Address::ZERO, destination)
            .complete();
        header
    }
}

/// IPv6 (RFC 8200, section 3).
///
/// ```text
///  0                               4               6       7       8
/// +---+-------+-------------------+---------------+-------+-------+
/// |ver| class |    flow label     | payload length| next  | hops  |
/// +---+-------+-------------------+---------------+-------+-------+
/// |                          source (16 bytes)                    |
/// |                       destination (16 bytes)                  |
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    pub(super) version_class_label: [u8; 4],
    payload_length: [u8; 2],
    pub(super) next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

impl IpHeader<Ipv6Address> for Ipv6Header {
    #[inline(always)]
    fn transport(&self) -> Result<u8, Unreadable> {
        if self.version_class_label[0] >> 4 != 6 {
            return Err(Unreadable::Version);
        }
        match self.next_header {
            6 | 17 => Ok(self.next_header),
            58 => Err(Unreadable::Icmp),
            44 => Err(Unreadable::Fragment),
            // Hop-by-hop, routing, ESP, AH, no next header, destination options, mobility, HIP,
            // shim6 (IANA, IPv6 Extension Header Types).
            0 | 43 | 50 | 51 | 59 | 60 | 135 | 139 | 140 => Err(Unreadable::ExtensionHeader),
            _ => Err(Unreadable::Protocol),
        }
    }

    #[inline(always)]
    fn source(&self) -> Ipv6Address {
        Ipv6Address::from_bytes(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Ipv6Address {
        Ipv6Address::from_bytes(self.destination)
    }

    #[inline(always)]
    fn total_length(&self) -> usize {
        usize::from(u16::from_be_bytes(self.payload_length)) + 40
    }

    #[inline(always)]
    fn hops(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn traffic_class(&self) -> u8 {
        (u16::from_be_bytes([self.version_class_label[0], self.version_class_label[1]]) >> 4) as u8
    }

    #[inline(always)]
    fn take_hop(&mut self) {
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.next_header
    }

    #[inline(always)]
    fn checksum(&self) -> [u8; 2] {
        [0; 2]
    }

    #[inline(always)]
    fn set_hops(&mut self, hops: u8) {
        self.hop_limit = hops;
    }

    #[inline(always)]
    fn turn_around(&mut self) {
        (self.source, self.destination) = (self.destination, self.source);
        self.set_hops(HOPS);
    }

    #[inline(always)]
    fn names_a_host(address: Ipv6Address) -> bool {
        // Neither multicast, unspecified nor loopback (RFC 4291, section 2.4).
        let (first, second) = (address.words().0, address.words().1);
        first as u8 != 0xff && !(first == 0 && matches!(u64::from_be(second.to_le()), 0 | 1))
    }

    #[inline(always)]
    fn set_addresses(&mut self, source: Ipv6Address, destination: Ipv6Address, _: Delta) {
        self.source = source.to_bytes();
        self.destination = destination.to_bytes();
    }

    #[inline(always)]
    fn checksum_inside(&self) -> Delta {
        // The addresses and the length are in header and pseudo-header both: what remains.
        let [a, b, c, d] = self.version_class_label;
        Delta::NONE
            .field([0; 2], [a, b])
            .field([0; 2], [c, d])
            .field([0, self.next_header], [self.next_header, self.hop_limit])
    }

    #[inline(always)]
    fn pseudo(payload: Payload, source: Ipv6Address, destination: Ipv6Address) -> Delta {
        pseudo(payload, source, destination)
    }

    #[inline(always)]
    fn around(payload: Payload, source: Ipv6Address, destination: Ipv6Address) -> Self {
        let class = payload.class;
        Self {
            version_class_label: [0x60 | class >> 4, class << 4, 0, 0],
            payload_length: payload.length.to_be_bytes(),
            next_header: payload.protocol,
            hop_limit: HOPS,
            source: source.to_bytes(),
            destination: destination.to_bytes(),
        }
    }
}

/// Both families' pseudo-headers come to the same sum of fields.
#[inline(always)]
fn pseudo<A: Address>(payload: Payload, source: A, destination: A) -> Delta {
    Delta::NONE
        .address(A::ZERO, source)
        .address(A::ZERO, destination)
        .field([0; 2], [0, payload.protocol])
        .field([0; 2], payload.length.to_be_bytes())
}
