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
    icmp::Icmp,
    ip::{Family, Ipv4, Ipv6, Ipv6Header, Unreadable},
    packet::AnyShape,
};
use crate::abi::{Ipv4Address, Ipv6Address};

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

/// A family that packets of such flows have on a wire.
pub trait Side: Icmp {
    /// The other one.
    type Other: Side;

    /// What an address of this family is as one of [`Mapped`].
    fn map(address: Self::Address) -> Ipv6Address;

    /// Whether an address of [`Mapped`] is one of this family.
    fn has(address: Ipv6Address) -> bool;

    /// What an address of [`Mapped`] is in this family, if it is one of it.
    fn unmap(address: Ipv6Address) -> Self::Address;
}

impl Side for Ipv4 {
    type Other = Ipv6;

    #[inline(always)]
    fn map(address: Ipv4Address) -> Ipv6Address {
        Ipv6Address::mapped(address)
    }

    #[inline(always)]
    fn has(address: Ipv6Address) -> bool {
        address.unmapped().is_some()
    }

    #[inline(always)]
    fn unmap(address: Ipv6Address) -> Ipv4Address {
        address.tail()
    }
}

impl Side for Ipv6 {
    type Other = Ipv4;

    #[inline(always)]
    fn map(address: Ipv6Address) -> Ipv6Address {
        address
    }

    #[inline(always)]
    fn has(address: Ipv6Address) -> bool {
        address.unmapped().is_none()
    }

    #[inline(always)]
    fn unmap(address: Ipv6Address) -> Ipv6Address {
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_one_side() {
        let v4 = Ipv4Address::from_bytes([198, 18, 0, 1]);
        let v6 = Ipv6Address::from_bytes([0xfd; 16]);
        let mapped = Ipv4::map(v4);
        assert_eq!((Ipv4::has(mapped), Ipv6::has(mapped)), (true, false));
        assert_eq!(Ipv4::unmap(mapped), v4);
        assert_eq!((Ipv4::has(v6), Ipv6::has(v6)), (false, true));
        assert_eq!(Ipv6::unmap(Ipv6::map(v6)), v6);
    }

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
