//! QUIC, as far as it can be told from outside which packets open a connection (RFC 8999; RFC 9000,
//! section 17.2; RFC 9369, section 3.2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The start of a long header.
///
/// ```text
///  0       1                               5
/// +-------+-------------------------------+----
/// |1.tt...|            version            | connection ids …
/// +-------+-------------------------------+----
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct QuicHeader {
    first: u8,
    version: [u8; 4],
}

/// The start of a packet, as far as a long header's first connection id: the one that its receiver is
/// to know it by. A short header has that id behind its first byte, and does not say how long it is.
///
/// ```text
///  0       1                               5        6
/// +-------+-------------------------------+--------+----
/// |1.tt...|            version            | length | connection id …
/// +-------+-------------------------------+--------+----
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct QuicLongHeader {
    start: QuicHeader,
    id_length: u8,
}

/// Where the connection id lies that a packet's receiver is to know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationId {
    /// Bytes before it.
    pub offset: usize,
    /// How many octets it has at most.
    pub octets: u8,
}

/// What a QUIC packet is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuicPacket {
    /// It opens one.
    Initial,
    /// A client sends it only once it was answered, or to a server that it knows: Handshake, 0-RTT.
    Handshake,
    /// Any other.
    Other,
}

impl QuicHeader {
    const LONG: u8 = 0x80;
    const VERSION_1: [u8; 4] = [0, 0, 0, 1];
    const VERSION_2: [u8; 4] = [0x6b, 0x33, 0x43, 0xcf];
    /// A datagram with a client's Initial is padded to this many bytes (RFC 9000, section 14.1).
    const INITIAL_LEN: usize = 1200;

    /// What the first packet of a datagram is, given the length of the datagram's payload. Of
    /// versions that are not known, every long header counts as Initial in a datagram that is long
    /// enough.
    #[inline(always)]
    pub fn packet(&self, datagram: usize) -> QuicPacket {
        if self.first & Self::LONG == 0 {
            return QuicPacket::Other;
        }
        let kind = self.first >> 4 & 3;
        let version = u32::from_ne_bytes(self.version);
        let kind = if version == u32::from_ne_bytes(Self::VERSION_1) {
            kind
        } else if version == u32::from_ne_bytes(Self::VERSION_2) {
            // Version 2 counts Retry, Initial, 0-RTT, Handshake.
            kind.wrapping_sub(1) & 3
        } else if datagram >= Self::INITIAL_LEN {
            0
        } else {
            3
        };
        match kind {
            0 => QuicPacket::Initial,
            1 | 2 => QuicPacket::Handshake,
            _ => QuicPacket::Other,
        }
    }
}

impl QuicLongHeader {
    /// As many octets as connection ids have (RFC 9000, section 17.2).
    const LONGEST_ID: u8 = 20;

    /// Where the receiver's connection id lies, in a packet of any version (RFC 8999, section 5).
    #[inline(always)]
    pub fn destination(&self) -> DestinationId {
        if self.start.first & QuicHeader::LONG == 0 {
            DestinationId {
                offset: 1,
                octets: Self::LONGEST_ID,
            }
        } else {
            DestinationId {
                offset: size_of::<Self>(),
                octets: self.id_length,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, version: u32, datagram: usize) -> QuicPacket {
        let version = version.to_be_bytes();
        QuicHeader { first, version }.packet(datagram)
    }

    #[test]
    fn both_versions_are_told_apart_by_their_type_bits() {
        use QuicPacket::{Handshake, Initial, Other};
        for (version, kinds) in [
            (1, [Initial, Handshake, Handshake, Other]),
            (0x6b33_43cf, [Other, Initial, Handshake, Handshake]),
        ] {
            for (bits, kind) in (0u8..).zip(kinds) {
                assert_eq!(packet(0xc0 | bits << 4, version, 1200), kind);
            }
        }
    }

    #[test]
    fn a_long_datagram_of_an_unknown_version_opens() {
        assert_eq!(packet(0xc0, 0xff00_001d, 1200), QuicPacket::Initial);
        assert_eq!(packet(0xf0, 0xff00_001d, 1200), QuicPacket::Initial);
        assert_eq!(packet(0xc0, 0xff00_001d, 1199), QuicPacket::Other);
    }

    #[test]
    fn the_receivers_id_comes_first() {
        let of = |first, id_length| {
            let version = [0xff, 0, 0, 29];
            let start = QuicHeader { first, version };
            let id = QuicLongHeader { start, id_length }.destination();
            (id.offset, id.octets)
        };
        assert_eq!(of(0xc0, 8), (6, 8));
        assert_eq!(of(0x80, 0), (6, 0));
        assert_eq!(of(0x7f, 8), (1, 20));
    }

    #[test]
    fn a_short_header_opens_nothing() {
        assert_eq!(packet(0x40, 1, 1200), QuicPacket::Other);
    }
}
