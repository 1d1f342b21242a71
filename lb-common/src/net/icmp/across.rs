//! What an error of one family is in the other: the IP/ICMP translation algorithm (RFC 7915, sections
//! 4.2 and 5.2). Addresses, quoted headers and checksums are not its business.

use super::IcmpHeader;
use crate::net::mapped::Mapped;

/// An ICMP header but for its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Type and code.
    pub kind: [u8; 2],
    /// The four bytes behind the checksum.
    pub rest: u32,
}

impl Said {
    #[inline(always)]
    const fn new(kind: u8, code: u8, rest: u32) -> Option<Self> {
        let kind = [kind, code];
        Some(Self { kind, rest })
    }
}

/// The least MTU of IPv6 (RFC 8200, section 5), bytes.
const LEAST_IPV6: u32 = 1280;

/// The least MTU of IPv4 (RFC 791, section 3.2), bytes.
const LEAST_IPV4: u32 = 68;

/// What the two families' headers differ in length, bytes.
const LONGER: u32 = Mapped::LONGER as u32;

/// Likely MTUs of links that IPv6 takes, of which a router that names none has one (RFC 1191, section 7.1).
const PLATEAUS: [u32; 6] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492];

/// What an ICMP error about a packet of `length` bytes is in ICMPv6; `None` if it has no counterpart.
#[inline(always)]
pub(super) fn to_ipv6(header: &IcmpHeader, length: usize) -> Option<Said> {
    match (header.kind, header.code) {
        // Protocol unreachable: the next header is at fault.
        (3, 2) => Said::new(4, 1, 6),
        (3, 3) => Said::new(1, 4, 0),
        (3, 4) => {
            let mtu = match u32::from_be_bytes(header.rest) & 0xffff {
                0 => likely(length as u32),
                mtu => mtu,
            };
            Said::new(2, 0, (mtu + LONGER).max(LEAST_IPV6))
        }
        (3, 9 | 10 | 13 | 15) => Said::new(1, 1, 0),
        (3, 0 | 1 | 5..=8 | 11 | 12) => Said::new(1, 0, 0),
        (11, code) => Said::new(3, code, 0),
        (12, 0 | 2) => Said::new(4, 0, pointer_to_ipv6(header.rest[0])?),
        _ => None,
    }
}

/// What an ICMPv6 error is in ICMP; `None` if it has no counterpart.
#[inline(always)]
pub(super) fn to_ipv4(header: &IcmpHeader) -> Option<Said> {
    let rest = u32::from_be_bytes(header.rest);
    match (header.kind, header.code) {
        (1, 0 | 2 | 3) => Said::new(3, 1, 0),
        (1, 1) => Said::new(3, 10, 0),
        (1, 4) => Said::new(3, 3, 0),
        (2, _) => {
            let mtu = rest.min(0xffff);
            Said::new(3, 4, mtu.saturating_sub(LONGER).max(LEAST_IPV4))
        }
        (3, code) => Said::new(11, code, 0),
        (4, 0) => Said::new(12, 0, pointer_to_ipv4(rest)? << 24),
        (4, 1) => Said::new(3, 2, 0),
        _ => None,
    }
}

/// The largest plateau below the length of a packet that did not fit.
#[inline(always)]
fn likely(length: u32) -> u32 {
    let mut below = PLATEAUS.into_iter().filter(|plateau| *plateau < length);
    below.next().unwrap_or(LEAST_IPV6 - LONGER)
}

/// The byte of IPv6's header that says what this one of IPv4's does (RFC 7915, figure 3).
#[inline(always)]
fn pointer_to_ipv6(pointer: u8) -> Option<u32> {
    match pointer {
        0 | 1 => Some(pointer.into()),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    }
}

/// The byte of IPv4's header that says what this one of IPv6's does (RFC 7915, figure 6).
#[inline(always)]
fn pointer_to_ipv4(pointer: u32) -> Option<u32> {
    match pointer {
        0 | 1 => Some(pointer),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, code: u8, rest: u32) -> IcmpHeader {
        IcmpHeader {
            kind,
            code,
            checksum: [0; 2],
            rest: rest.to_be_bytes(),
        }
    }

    fn up(kind: u8, code: u8, rest: u32) -> Option<(u8, u8, u32)> {
        let said = to_ipv6(&header(kind, code, rest), 1500)?;
        Some((said.kind[0], said.kind[1], said.rest))
    }

    fn down(kind: u8, code: u8, rest: u32) -> Option<(u8, u8, u32)> {
        let said = to_ipv4(&header(kind, code, rest))?;
        Some((said.kind[0], said.kind[1], said.rest))
    }

    #[test]
    fn unreachable_destinations_keep_what_is_wrong_with_them() {
        for code in [0, 1, 5, 6, 7, 8, 11, 12] {
            assert_eq!(up(3, code, 0), Some((1, 0, 0)), "{code}");
        }
        for code in [9, 10, 13, 15] {
            assert_eq!(up(3, code, 0), Some((1, 1, 0)), "{code}");
        }
        assert_eq!(up(3, 2, 0), Some((4, 1, 6)));
        assert_eq!(up(3, 3, 0), Some((1, 4, 0)));
        assert_eq!([up(3, 14, 0), up(3, 16, 0)], [None; 2]);
        for code in [0, 2, 3] {
            assert_eq!(down(1, code, 0), Some((3, 1, 0)), "{code}");
        }
        assert_eq!(down(1, 1, 0), Some((3, 10, 0)));
        assert_eq!(down(1, 4, 0), Some((3, 3, 0)));
        assert_eq!(down(4, 1, 6), Some((3, 2, 0)));
        assert_eq!([down(1, 5, 0), down(4, 2, 40), down(100, 0, 0)], [None; 3]);
    }

    #[test]
    fn what_fits_is_longer_in_ipv6() {
        assert_eq!(up(3, 4, 1400), Some((2, 0, 1420)));
        assert_eq!(up(3, 4, 576), Some((2, 0, 1280)));
        // Nothing but the MTU is in these bytes of old.
        assert_eq!(up(3, 4, 0xffff_0000 | 1400), Some((2, 0, 1420)));
        assert_eq!(down(2, 0, 1420), Some((3, 4, 1400)));
        assert_eq!(down(2, 0, 1_000_000), Some((3, 4, 65_515)));
        assert_eq!(down(2, 0, 1), Some((3, 4, 68)));
    }

    #[test]
    fn routers_that_do_not_say_what_fits_are_guessed() {
        let guess = |length| to_ipv6(&header(3, 4, 0), length).map(|said| said.rest);
        let guessed = [65_535, 32_000, 9_000, 1_500, 1_492, 0].map(guess);
        let wanted = [32_020, 17_934, 8_186, 1_512, 1_280, 1_280];
        assert_eq!(guessed, wanted.map(Some));
    }

    #[test]
    fn what_is_used_up_stays() {
        assert_eq!(
            [up(11, 0, 7), up(11, 1, 7)],
            [Some((3, 0, 0)), Some((3, 1, 0))]
        );
        assert_eq!(
            [down(3, 0, 7), down(3, 1, 7)],
            [Some((11, 0, 0)), Some((11, 1, 0))]
        );
    }

    #[test]
    fn pointers_point_to_the_same_field() {
        let up = |pointer: u32| up(12, 0, pointer << 24).map(|said| said.2);
        let down = |pointer| down(4, 0, pointer).map(|said| said.2 >> 24);
        for (ipv4, ipv6) in [(0, 0), (1, 1), (2, 4), (8, 7), (9, 6), (12, 8), (16, 24)] {
            assert_eq!(up(ipv4), Some(ipv6), "{ipv4}");
            assert_eq!(down(ipv6), Some(ipv4), "{ipv6}");
        }
        assert_eq!([3, 15, 19].map(up), [Some(4), Some(8), Some(24)]);
        assert_eq!([5, 23, 39].map(down), [Some(2), Some(12), Some(16)]);
        // Number, flags and checksum; the flow label, and what is behind the header.
        assert_eq!([4, 5, 6, 7, 10, 11, 20].map(up), [None; 7]);
        assert_eq!([2, 3, 40, u32::MAX].map(down), [None; 4]);
        assert_eq!(super::to_ipv6(&header(12, 1, 0), 0), None);
    }
}
