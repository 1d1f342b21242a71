//! TCP and UDP headers, as far as forwarding needs them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::Delta;

/// The first four bytes of both.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ports {
    /// Source port, network order.
    pub source: [u8; 2],
    /// Destination port, network order.
    pub destination: [u8; 2],
}

/// What rewriting asks of a transport header.
pub trait Transport {
    /// Sets both ports; `delta` is what addresses and ports change in the checksum.
    fn set_ports(&mut self, ports: Ports, delta: Delta);

    /// The checksum; zeros: there is none.
    fn checksum(&self) -> [u8; 2];
}

/// TCP (RFC 9293, section 3.1).
///
/// ```text
///  0               2               4                               8
/// +---------------+---------------+-------------------------------+
/// |  source port  |   dest port   |            sequence           |
/// +---------------+---------------+---+---+-------+---------------+
/// |        acknowledgement        |off|   | flags |    window     |
/// +---------------+---------------+---+---+-------+---------------+
/// |   checksum    |    urgent     | options …
/// +---------------+---------------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpHeader {
    ports: Ports,
    sequence: [u8; 4],
    acknowledgement: [u8; 4],
    offset: u8,
    flags: u8,
    window: [u8; 2],
    checksum: [u8; 2],
    urgent: [u8; 2],
}

/// The flags of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct TcpFlags(u8);

impl TcpHeader {
    /// Protocol number.
    pub const PROTOCOL: u8 = 6;
    /// Length without options, bytes.
    pub const LEN: usize = 20;

    /// Where its payload starts, bytes from its own start.
    #[inline(always)]
    pub fn payload(&self) -> usize {
        usize::from(self.offset >> 4) * 4
    }

    /// Its sequence number.
    #[inline(always)]
    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes(self.sequence)
    }

    /// Its acknowledgement number.
    #[inline(always)]
    pub fn acknowledgement(&self) -> u32 {
        u32::from_be_bytes(self.acknowledgement)
    }

    /// The reset that answers it, if it may be answered (RFC 9293, section 3.10.7.1). `length`:
    /// that of header and payload; `pseudo`: what the reset's pseudo-header adds to its checksum.
    #[inline(always)]
    pub fn reset(&self, length: usize, pseudo: Delta) -> Option<Self> {
        if self.flags().resets() {
            return None;
        }
        let ports = Ports {
            source: self.ports.destination,
            destination: self.ports.source,
        };
        let (sequence, acknowledgement, flags) = if self.flags().acknowledges() {
            (self.acknowledgement, [0; 4], TcpFlags::RST)
        } else {
            let after = self.sequence().wrapping_add(self.occupies(length));
            ([0; 4], after.to_be_bytes(), TcpFlags::RST | TcpFlags::ACK)
        };
        let mut reset = Self {
            ports,
            sequence,
            acknowledgement,
            offset: 5 << 4,
            flags,
            window: [0; 2],
            checksum: [0; 2],
            urgent: [0; 2],
        };
        let ([a, b, c, d], [e, f, g, h]) = (sequence, acknowledgement);
        // The fields change from all zeros, whose complements add a multiple of 0xffff: nothing.
        reset.checksum = pseudo
            .field([0; 2], ports.source)
            .field([0; 2], ports.destination)
            .field([0; 2], [a, b])
            .field([0; 2], [c, d])
            .field([0; 2], [e, f])
            .field([0; 2], [g, h])
            .field([0; 2], [reset.offset, reset.flags])
            .complete();
        Some(reset)
    }

    /// Changes its checksum.
    #[inline(always)]
    pub fn mend(&mut self, delta: Delta) {
        self.checksum = delta.apply(self.checksum);
    }

    /// How many sequence numbers it takes: SEG.LEN (RFC 9293, section 3.3.1).
    #[inline(always)]
    fn occupies(&self, length: usize) -> u32 {
        let flag = |flag| u32::from(self.flags & flag != 0);
        let payload = length.saturating_sub(self.payload()) as u32;
        payload + flag(TcpFlags::SYN) + flag(TcpFlags::FIN)
    }

    /// Its flags.
    #[inline(always)]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.flags)
    }
}

impl TcpFlags {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// SYN without ACK, RST, FIN: a connection is asked for.
    #[inline(always)]
    pub fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// FIN or RST: the connection ends.
    #[inline(always)]
    pub fn closes(self) -> bool {
        self.0 & (Self::FIN | Self::RST) != 0
    }

    /// ACK.
    #[inline(always)]
    pub fn acknowledges(self) -> bool {
        self.0 & Self::ACK != 0
    }

    /// SYN: the options say what its sender can do.
    #[inline(always)]
    pub fn synchronizes(self) -> bool {
        self.0 & Self::SYN != 0
    }

    /// SYN and ACK, without RST: who was asked for a connection is there.
    #[inline(always)]
    pub fn accepts(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST) == Self::SYN | Self::ACK
    }

    /// RST and ACK: a connection is refused, or reset.
    #[inline(always)]
    pub fn refuses(self) -> bool {
        self.0 & (Self::RST | Self::ACK) == Self::RST | Self::ACK
    }

    /// RST.
    #[inline(always)]
    pub fn resets(self) -> bool {
        self.0 & Self::RST != 0
    }
}

impl Transport for TcpHeader {
    #[inline(always)]
    fn set_ports(&mut self, ports: Ports, delta: Delta) {
        self.ports = ports;
        self.checksum = delta.apply(self.checksum);
    }

    #[inline(always)]
    fn checksum(&self) -> [u8; 2] {
        self.checksum
    }
}

/// UDP (RFC 768).
///
/// ```text
///  0               2               4               6               8
/// +---------------+---------------+---------------+---------------+
/// |  source port  |   dest port   |    length     |   checksum    |
/// +---------------+---------------+---------------+---------------+
/// ```
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpHeader {
    ports: Ports,
    length: [u8; 2],
    checksum: [u8; 2],
}

impl UdpHeader {
    /// Protocol number.
    pub const PROTOCOL: u8 = 17;
    /// Length, bytes.
    pub const LEN: usize = 8;

    /// Length of header and payload, as it says itself.
    #[inline(always)]
    pub fn length(&self) -> usize {
        usize::from(u16::from_be_bytes(self.length))
    }
}

impl UdpHeader {
    /// A header whose checksum covers what `rest` sums up: pseudo-header and payload; `None`: it has
    /// none.
    #[inline(always)]
    pub fn around(ports: Ports, length: u16, rest: Option<Delta>) -> Self {
        let length = length.to_be_bytes();
        let own = |rest: Delta| {
            let all = rest
                .field([0; 2], ports.source)
                .field([0; 2], ports.destination);
            sent(all.field([0; 2], length).complete())
        };
        Self {
            ports,
            length,
            checksum: rest.map_or([0; 2], own),
        }
    }

    /// Whether it has a checksum.
    #[inline(always)]
    pub fn is_checked(&self) -> bool {
        self.checksum != [0; 2]
    }
}

/// 0 says that there is no checksum; one that comes out as 0 is sent as its equal 0xffff.
#[inline(always)]
fn sent(checksum: [u8; 2]) -> [u8; 2] {
    match checksum {
        [0, 0] => [0xff; 2],
        checksum => checksum,
    }
}

impl Transport for UdpHeader {
    #[inline(always)]
    fn set_ports(&mut self, ports: Ports, delta: Delta) {
        self.ports = ports;
        if self.is_checked() {
            self.checksum = sent(delta.apply(self.checksum));
        }
    }

    #[inline(always)]
    fn checksum(&self) -> [u8; 2] {
        self.checksum
    }
}
