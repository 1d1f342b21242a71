//! Flows whose ends are of both families: every packet of them stands as one of IPv6, in which IPv4
//! addresses are mapped ones (RFC 4291, section 2.5.5.2). So one code serves all four pairs, and a flow
//! has one entry for each direction, whatever its ends are.
//!
//! ```text
//! IPv4:  198.18.0.10  ──►  ::ffff:198.18.0.10  ──►  198.18.0.10
//! IPv6:  fd00:18::10  ──►  fd00:18::10         ──►  fd00:18::10
//!        as it came        as it is rewritten       as it leaves
//! ```
//! Both families' pseudo-headers come to the same sum of fields, and a mapped address to that of the
//! IPv4 one (0xffff is nothing): so that a packet is mapped changes no TCP or UDP checksum. When that
//! is done, and undone, is the packet path's business.

use super::{
    ip::{Family, Ipv4, Ipv6, Ipv6Header, Unreadable},
    packet::AnyShape,
};
use crate::abi::Ipv6Address;

/// IPv6 that stands for either family.
#[derive(Clone, Copy, Debug)]
pub struct Mapped;

impl Mapped {
    /// How much longer a mapped packet is than one of IPv4, bytes.
    pub const LONGER: usize = Ipv6::HEADER_LEN - Ipv4::HEADER_LEN;
}

impl Family for Mapped {
    type Address = Ipv6Address;
    type Header = Ipv6Header;
    const PROTOCOL: u8 = Ipv6::PROTOCOL;
    const ETHERTYPE: [u8; 2] = Ipv6::ETHERTYPE;
    const HEADER_LEN: usize = Ipv6::HEADER_LEN;
    const VERSION: u8 = Ipv6::VERSION;
    const ACROSS: bool = true;

    #[inline(always)]
    fn walk<P: AnyShape>(packet: &mut P) -> Result<(), Unreadable> {
        Ipv6::walk(packet)
    }

    #[inline(always)]
    fn on_wire(length: usize, end: Ipv6Address) -> usize {
        match end.unmapped() {
            Some(_) => length.wrapping_sub(Self::LONGER),
            None => length,
        }
    }

    #[inline(always)]
    fn from_wire(length: u16, destination: Ipv6Address) -> u16 {
        match destination.unmapped() {
            Some(_) => length.saturating_add(Self::LONGER as u16),
            None => length,
        }
    }

    #[inline(always)]
    fn goes_over_to_ipv6(source: Ipv6Address, destination: Ipv6Address) -> bool {
        source.unmapped().is_some() && destination.unmapped().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Ipv4Address;

    #[test]
    fn only_packets_of_mapped_ends_are_shorter_on_a_wire() {
        let mapped = Ipv6Address::mapped(Ipv4Address::from_bytes([198, 18, 0, 1]));
        let real = Ipv6Address::from_bytes([0xfd; 16]);
        assert_eq!(Mapped::on_wire(1520, mapped), 1500);
        assert_eq!(Mapped::on_wire(1500, real), 1500);
        assert_eq!(Mapped::from_wire(1500, mapped), 1520);
        assert_eq!(Mapped::from_wire(1500, real), 1500);
        assert_eq!(Mapped::from_wire(u16::MAX, mapped), u16::MAX);
        let over = |from, to| Mapped::goes_over_to_ipv6(from, to);
        assert_eq!(
            [
                over(mapped, real),
                over(real, mapped),
                over(mapped, mapped),
                over(real, real)
            ],
            [true, false, false, false]
        );
        assert_eq!(Ipv6::on_wire(1520, mapped), 1520);
    }
}
