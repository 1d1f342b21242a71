//! Errors whose packet had other ends where they go, in the family that they came in: RFC 5508,
//! sections 4.2 and 4.3. Where they go is not told here.

use crate::{
    abi::{Address, FlowKey, NextHop},
    net::{
        Delta, EthernetHeader, Icmp, IcmpHeader, IpHeader, Packet, Ports, TcpHeader, Transport,
        UdpHeader,
    },
};

use super::{
    super::{
        outcome::{DropReason, Stop},
        parse::Facts,
        rewrite,
        tables::Tables,
    },
    end, start, transport,
};

/// The ends of an answer to the quoted packet.
pub(super) struct Translated<'a, A> {
    /// As it comes.
    pub(super) answer: &'a FlowKey<A>,
    /// As it leaves.
    pub(super) ends: &'a FlowKey<A>,
}

/// Gives the error the ends that an answer would get, and the quoted packet those that it had where
/// the error goes. Who sent the error is hidden where the flow's own end would be.
#[inline(never)]
pub(super) fn headers<F: Icmp, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    to: &Translated<'_, F::Address>,
    next: &NextHop,
) -> Result<(), Stop> {
    rewrite::fits(facts.length, 0, *next)?;
    let quoted = ports::<F::Address, P>(packet, transport::<F>(), end(facts), to);
    let delta = addresses::<F, P>(packet, to).and(quoted);
    packet
        .header_mut::<IcmpHeader>(F::TRANSPORT)
        .ok_or(DropReason::Inconsistent)?
        .mend(delta);
    rewrite::link::<F, P, T>(packet, tables, *next)
}

/// Changes the addresses; what that changes in the error's checksum, the quoted ports' apart.
#[inline(always)]
fn addresses<F: Icmp, P: Packet>(packet: &mut P, to: &Translated<'_, F::Address>) -> Delta {
    let (answer, ends) = (to.answer, to.ends);
    let mut outside = Delta::NONE;
    if let Some(ip) = packet.header_mut::<F::Header>(EthernetHeader::LEN) {
        let source = if ends.source == answer.source {
            ip.source()
        } else {
            ends.source
        };
        outside = Delta::NONE
            .address(ip.source(), source)
            .address(ip.destination(), ends.destination);
        ip.take_hop();
        ip.set_addresses(source, ends.destination, outside);
    }
    let mut inside = quoted_addresses(to);
    if let Some(ip) = packet.header_mut::<F::Header>(start::<F>()) {
        let before = ip.checksum();
        ip.set_addresses(ends.destination, ends.source, inside);
        inside = inside.field(before, ip.checksum());
    }
    F::covers(outside).and(inside)
}

/// What the quoted packet's new addresses change in a checksum over them.
#[inline(always)]
fn quoted_addresses<A: Address>(to: &Translated<'_, A>) -> Delta {
    Delta::NONE
        .address(to.answer.destination, to.ends.destination)
        .address(to.answer.source, to.ends.source)
}

/// Changes the ports of the quoted packet, whose transport header is at `at` in an error that ends at
/// `end`, and the checksum behind them as far as it is quoted; what that changes in the error's.
#[inline(always)]
pub(super) fn ports<A: Address, P: Packet>(
    packet: &mut P,
    at: usize,
    end: usize,
    to: &Translated<'_, A>,
) -> Delta {
    let (answer, ends) = (to.answer, to.ends);
    let ports = Ports {
        source: ends.destination_port,
        destination: ends.source_port,
    };
    let delta = Delta::NONE
        .field(answer.destination_port, ports.source)
        .field(answer.source_port, ports.destination);
    let all = quoted_addresses(to).and(delta);
    if answer.protocol == UdpHeader::PROTOCOL {
        return delta.and(checked::<UdpHeader, P>(packet, at, ports, all));
    }
    if at + TcpHeader::LEN <= end {
        return delta.and(checked::<TcpHeader, P>(packet, at, ports, all));
    }
    if let Some(quoted) = packet.header_mut::<Ports>(at) {
        *quoted = ports;
    }
    delta
}

/// Changes ports and checksum of a transport header; what the latter changes in a checksum over it.
#[inline(always)]
fn checked<H: Transport + crate::net::Header, P: Packet>(
    packet: &mut P,
    at: usize,
    ports: Ports,
    all: Delta,
) -> Delta {
    let Some(header) = packet.header_mut::<H>(at) else {
        return Delta::NONE;
    };
    let before = header.checksum();
    header.set_ports(ports, all);
    Delta::NONE.field(before, header.checksum())
}
