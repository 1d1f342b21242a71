//! Fourth stage: the headers that a packet leaves with.

use crate::{
    abi::{Backend, FlowEntry, NextHop},
    net::{
        Delta, EthernetHeader, EthernetWords, Family, IpHeader, Packet, Ports, TcpHeader,
        Transport, UdpHeader,
    },
};

use super::{
    outcome::{DropReason, Stop},
    parse::Facts,
    tables::Tables,
};

/// Puts the packet, its hops less one, behind an outer header of the same family to `backend`.
#[inline(always)]
pub(super) fn encapsulate<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: Facts,
    backend: &Backend,
    next: NextHop,
) -> Result<(), Stop> {
    fits(facts.length + F::HEADER_LEN, next)?;
    let inner = packet
        .header_mut::<F::Header>(EthernetHeader::LEN)
        .ok_or(DropReason::Inconsistent)?;
    inner.take_hop();
    if !packet.grow(F::HEADER_LEN) {
        return Err(DropReason::NoHeadroom.into());
    }
    let outer = packet
        .header_mut::<F::Header>(EthernetHeader::LEN)
        .ok_or(DropReason::Inconsistent)?;
    // The length fits 16 bits: it is no more than the MTU.
    *outer = F::Header::around(
        facts.traffic_class,
        facts.length as u16,
        backend.source(),
        backend.address(),
    );
    link::<F, P, T>(packet, tables, next)
}

/// Gives the packet, its hops less one, the ends that its flow's entry names.
#[inline(always)]
pub(super) fn translate<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: Facts,
    entry: &FlowEntry<F::Address>,
    next: NextHop,
) -> Result<(), Stop> {
    fits(facts.length, next)?;
    let rewrite = entry.rewrite();
    let ip = packet
        .header_mut::<F::Header>(EthernetHeader::LEN)
        .ok_or(DropReason::Inconsistent)?;
    ip.take_hop();
    ip.set_addresses(
        rewrite.source,
        rewrite.destination,
        Delta::from_folded(entry.address_delta),
    );
    let ports = Ports {
        source: rewrite.source_port,
        destination: rewrite.destination_port,
    };
    let delta = Delta::from_folded(entry.transport_delta);
    if facts.protocol == TcpHeader::PROTOCOL {
        transport::<TcpHeader, F, P>(packet, ports, delta)?;
    } else {
        transport::<UdpHeader, F, P>(packet, ports, delta)?;
    }
    link::<F, P, T>(packet, tables, next)
}

#[inline(always)]
fn transport<H, F, P>(packet: &mut P, ports: Ports, delta: Delta) -> Result<(), Stop>
where
    H: Transport + crate::net::Header,
    F: Family,
    P: Packet,
{
    let header = packet
        .header_mut::<H>(F::TRANSPORT)
        .ok_or(DropReason::Inconsistent)?;
    header.set_ports(ports, delta);
    Ok(())
}

/// Writes the Ethernet header towards the next hop.
#[inline(always)]
fn link<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    next: NextHop,
) -> Result<(), Stop> {
    let device = tables
        .device(next.hop.device())
        .filter(|device| device.hop.device() != 0)
        .ok_or(DropReason::NoDevice)?;
    let ethernet = packet
        .header_mut::<EthernetWords>(0)
        .ok_or(DropReason::Inconsistent)?;
    ethernet.set(next.hop, device.hop, F::ETHERTYPE);
    Ok(())
}

/// Whether an IP packet of this length may go to the next hop.
#[inline(always)]
pub(super) fn fits(length: usize, next: NextHop) -> Result<(), Stop> {
    if length as u64 > next.mtu {
        Err(DropReason::TooBig.into())
    } else {
        Ok(())
    }
}
