//! ICMP and ICMPv6 messages: what one that comes in is, and the headers of those made here. What an
//! error of one family is in the other is `across`'s business.
//! Whose flow an error speaks of is not told here.
//!
//! ```text
//!  0       1       2               4                               8
//! +-------+-------+---------------+-------------------------------+
//! | type  | code  |   checksum    | MTU, or identifier + sequence | quote or payload …
//! +-------+-------+---------------+-------------------------------+
//! ```

mod across;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    checksum::Delta,
    ip::{Family, Ipv4, Ipv6},
};

pub use across::Said;

/// The header of every message of both families (RFC 792; RFC 4443, section 2.1).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcmpHeader {
    kind: u8,
    code: u8,
    checksum: [u8; 2],
    rest: [u8; 4],
}

/// What a message is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An echo request.
    EchoRequest,
    /// An error: the packet that it speaks of does not fit.
    TooBig {
        /// The largest that does, bytes.
        mtu: u16,
    },
    /// Another error.
    Error,
    /// Anything else: neighbour discovery, redirects, echo replies.
    Other,
}

/// An error that is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The packet does not fit (RFC 1191, section 4; RFC 4443, section 3.2).
    TooBig {
        /// The largest that does, bytes.
        mtu: u16,
    },
    /// Its hops are used up (RFC 792; RFC 4443, section 3.3).
    Expired,
    /// Nobody serves its port (RFC 792; RFC 4443, section 3.1).
    PortUnreachable,
}

/// A family's control messages.
pub trait Icmp: Family {
    /// Their protocol number.
    const ICMP: u8;
    /// Type of an echo reply.
    const ECHO_REPLY: u8;
    /// The longest quote that is made here, bytes; a multiple of four. With its headers it makes 576
    /// bytes (RFC 1812, section 4.3.2.3) or 1280 (RFC 4443, section 2.4 (c)).
    const QUOTE: usize;

    /// What a message of this type and code is; `rest` are the four bytes behind its checksum.
    fn message(kind: u8, code: u8, rest: [u8; 4]) -> Message;

    /// Type, code and the four bytes behind the checksum of an error.
    fn error(error: Error) -> (u8, u8, [u8; 4]);

    /// What an error about a packet of `length` bytes is in the other family; `None` if it has no
    /// counterpart there.
    fn across(error: &IcmpHeader, length: usize) -> Option<Said>;

    /// What the checksum of a message covers beside it.
    fn covers(pseudo: Delta) -> Delta;
}

impl IcmpHeader {
    /// Length, bytes.
    pub const LEN: usize = 8;

    /// What the message is.
    #[inline(always)]
    pub fn message<F: Icmp>(&self) -> Message {
        F::message(self.kind, self.code, self.rest)
    }

    /// An error's header; `pseudo` is what a pseudo-header adds to its checksum, `quote` what the
    /// quote does.
    #[inline(always)]
    pub fn error<F: Icmp>(error: Error, pseudo: Delta, quote: Delta) -> Self {
        let (kind, code, rest) = F::error(error);
        let [a, b, c, d] = rest;
        // The fields change from all zeros, whose complements add a multiple of 0xffff: nothing.
        let sum = F::covers(pseudo)
            .and(quote)
            .field([0; 2], [kind, code])
            .field([0; 2], [a, b])
            .field([0; 2], [c, d]);
        Self {
            kind,
            code,
            checksum: sum.complete(),
            rest,
        }
    }

    /// Makes an echo request its reply.
    #[inline(always)]
    pub fn reply<F: Icmp>(&mut self) {
        let (old, new) = ([self.kind, self.code], [F::ECHO_REPLY, self.code]);
        self.kind = F::ECHO_REPLY;
        self.checksum = Delta::NONE.field(old, new).apply(self.checksum);
    }

    /// The header that says this, with the checksum of another one, to be mended.
    #[inline(always)]
    pub fn saying(said: Said, checksum: [u8; 2]) -> Self {
        let [kind, code] = said.kind;
        Self {
            kind,
            code,
            checksum,
            rest: said.rest.to_be_bytes(),
        }
    }

    /// The message's checksum.
    #[inline(always)]
    pub fn checksum(&self) -> [u8; 2] {
        self.checksum
    }

    /// What all but the checksum adds to it.
    #[inline(always)]
    pub fn sum(&self) -> Delta {
        let [a, b, c, d] = self.rest;
        Delta::NONE
            .field([0; 2], [self.kind, self.code])
            .field([0; 2], [a, b])
            .field([0; 2], [c, d])
    }

    /// Mends the checksum after the message, or the pseudo-header that it covers, has changed.
    #[inline(always)]
    pub fn mend(&mut self, delta: Delta) {
        self.checksum = delta.apply(self.checksum);
    }
}

impl Icmp for Ipv4 {
    const ICMP: u8 = 1;
    const ECHO_REPLY: u8 = 0;
    const QUOTE: usize = 576 - 20 - IcmpHeader::LEN;

    #[inline(always)]
    fn message(kind: u8, code: u8, rest: [u8; 4]) -> Message {
        match (kind, code) {
            (8, 0) => Message::EchoRequest,
            (3, 4) => Message::TooBig {
                mtu: u16::from_be_bytes([rest[2], rest[3]]),
            },
            // Destination unreachable, time exceeded, parameter problem. Source quench is to be
            // ignored (RFC 6633), a redirect is for who routes.
            (3 | 11 | 12, _) => Message::Error,
            _ => Message::Other,
        }
    }

    #[inline(always)]
    fn error(error: Error) -> (u8, u8, [u8; 4]) {
        match error {
            Error::TooBig { mtu } => {
                let [a, b] = mtu.to_be_bytes();
                (3, 4, [0, 0, a, b])
            }
            Error::Expired => (11, 0, [0; 4]),
            Error::PortUnreachable => (3, 3, [0; 4]),
        }
    }

    #[inline(always)]
    fn across(error: &IcmpHeader, length: usize) -> Option<Said> {
        across::to_ipv6(error, length)
    }

    #[inline(always)]
    fn covers(_: Delta) -> Delta {
        Delta::NONE
    }
}

impl Icmp for Ipv6 {
    const ICMP: u8 = 58;
    const ECHO_REPLY: u8 = 129;
    const QUOTE: usize = 1280 - 40 - IcmpHeader::LEN;

    #[inline(always)]
    fn message(kind: u8, code: u8, rest: [u8; 4]) -> Message {
        match (kind, code) {
            (128, 0) => Message::EchoRequest,
            (2, _) => Message::TooBig {
                mtu: u32::from_be_bytes(rest).min(0xffff) as u16,
            },
            // Below 128 are errors (RFC 4443, section 2.1): destination unreachable, time exceeded,
            // parameter problem; no other is known.
            (1 | 3 | 4, _) => Message::Error,
            _ => Message::Other,
        }
    }

    #[inline(always)]
    fn error(error: Error) -> (u8, u8, [u8; 4]) {
        match error {
            Error::TooBig { mtu } => (2, 0, u32::from(mtu).to_be_bytes()),
            Error::Expired => (3, 0, [0; 4]),
            Error::PortUnreachable => (1, 4, [0; 4]),
        }
    }

    #[inline(always)]
    fn across(error: &IcmpHeader, _: usize) -> Option<Said> {
        across::to_ipv4(error)
    }

    #[inline(always)]
    fn covers(pseudo: Delta) -> Delta {
        pseudo
    }
}

const _: () = assert!(Ipv4::QUOTE.is_multiple_of(4) && Ipv6::QUOTE.is_multiple_of(4));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let v4 = |kind, code, rest| Ipv4::message(kind, code, rest);
        let v6 = |kind, code, rest| Ipv6::message(kind, code, rest);
        assert_eq!(v4(8, 0, [0; 4]), Message::EchoRequest);
        assert_eq!(v6(128, 0, [0; 4]), Message::EchoRequest);
        assert_eq!(v4(3, 4, [9, 9, 5, 0xdc]), Message::TooBig { mtu: 1500 });
        assert_eq!(v6(2, 0, [0, 0, 5, 0xdc]), Message::TooBig { mtu: 1500 });
        assert_eq!(v6(2, 0, [1, 0, 0, 0]), Message::TooBig { mtu: 65_535 });
        assert_eq!(v4(3, 1, [0; 4]), Message::Error);
        assert_eq!(v6(1, 4, [0; 4]), Message::Error);
        // A redirect, source quench, an echo reply; neighbour discovery.
        for kind in [5, 4, 0] {
            assert_eq!(v4(kind, 0, [0; 4]), Message::Other);
        }
        for kind in 133..=137 {
            assert_eq!(v6(kind, 0, [0; 4]), Message::Other);
        }
    }

    #[test]
    fn an_error_says_what_its_message_is() {
        let error = Error::TooBig { mtu: 1400 };
        let header = IcmpHeader::error::<Ipv4>(error, Delta::NONE, Delta::NONE);
        assert_eq!(header.message::<Ipv4>(), Message::TooBig { mtu: 1400 });
        let header = IcmpHeader::error::<Ipv6>(error, Delta::NONE, Delta::NONE);
        assert_eq!(header.message::<Ipv6>(), Message::TooBig { mtu: 1400 });
    }
}
