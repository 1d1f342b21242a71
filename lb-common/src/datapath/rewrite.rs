//! Fourth stage: the headers that a packet leaves with.

use crate::{
    abi::{Address, Backend, FlowEntry, FlowHash, FlowKey, NextHop, Rewrite},
    net::{
        Delta, EthernetHeader, EthernetWords, Family, Icmp, IpHeader, Ipv4, Ipv6, Packet, Payload,
        Piece, Ports, TcpHeader, Transport, UdpHeader,
    },
};

use super::{
    outcome::{DropReason, Stop},
    parse::{Facts, Parsed},
    tables::Tables,
    tags,
};

/// Puts the packet, its hops less one, behind the headers that lead to its backend: an IP header of
/// either family and, with `gue`, a UDP header.
#[inline(always)]
pub(super) fn encapsulate<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: Facts,
    tunnel: Tunnel<'_>,
    next: NextHop,
) -> Result<(), Stop> {
    if tunnel.backend.version() == Ipv4::VERSION {
        wrap::<F, Ipv4, P, T>(packet, tables, facts, tunnel, next)
    } else {
        wrap::<F, Ipv6, P, T>(packet, tables, facts, tunnel, next)
    }
}

/// What outer headers are made from.
#[derive(Clone, Copy)]
pub(super) struct Tunnel<'a> {
    /// Whom they lead to.
    pub(super) backend: &'a Backend,
    /// The flow's hash.
    pub(super) hash: FlowHash,
    /// Whether there is a UDP header (GUE).
    pub(super) udp: bool,
}

/// [`encapsulate`] in an outer header of family `G`.
#[inline(always)]
fn wrap<F: Family, G: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: Facts,
    tunnel: Tunnel<'_>,
    next: NextHop,
) -> Result<(), Stop> {
    let overhead = if tunnel.udp {
        G::HEADER_LEN + UdpHeader::LEN
    } else {
        G::HEADER_LEN
    };
    fits(facts.length, overhead, next)?;
    let checked = tunnel.udp && G::VERSION == 6 && tunnel.backend.makes_checksums();
    let inside = take_hop::<F, P>(packet, facts, checked)?;
    if !packet.grow(overhead) {
        return Err(DropReason::NoHeadroom.into());
    }
    let (source, destination) = (
        tunnel.backend.outer_source(tunnel.hash),
        tunnel.backend.address(),
    );
    // The lengths fit 16 bits: all of it is no more than the MTU.
    let length = facts.length as u16;
    let class = facts.traffic_class;
    let payload = if tunnel.udp {
        let (protocol, length) = (UdpHeader::PROTOCOL, length + UdpHeader::LEN as u16);
        let payload = Payload {
            protocol,
            length,
            class,
        };
        let rest = inside.map(|inside| inside.and(G::Header::pseudo(payload, source, destination)));
        let header = packet
            .header_mut::<UdpHeader>(G::TRANSPORT)
            .ok_or(DropReason::Inconsistent)?;
        *header = UdpHeader::around(tunnel.ports(), length, rest);
        payload
    } else {
        Payload {
            protocol: F::PROTOCOL,
            length,
            class,
        }
    };
    let outer = packet
        .header_mut::<G::Header>(EthernetHeader::LEN)
        .ok_or(DropReason::Inconsistent)?;
    *outer = G::Header::around(payload, source, destination);
    link::<G, P, T>(packet, tables, next)
}

impl Tunnel<'_> {
    /// The ports of the UDP header: the source out of the flow's hash, so that what spreads by
    /// ports (links, receive queues) spreads flows; from the dynamic ones (RFC 6335, section 6).
    #[inline(always)]
    fn ports(&self) -> Ports {
        Ports {
            source: (0xc000 | self.hash.0 as u16).to_be_bytes(),
            destination: self.backend.outer_port(),
        }
    }
}

/// Takes a hop, and, if `checked`, tells what the packet then adds to a checksum around it: `None`
/// where that can't be told from its headers.
#[inline(always)]
fn take_hop<F: Family, P: Packet>(
    packet: &mut P,
    facts: Facts,
    checked: bool,
) -> Result<Option<Delta>, Stop> {
    let transport = packet.transport::<F>();
    // Nothing is known of what other headers and fragments add.
    let plain = transport == F::TRANSPORT && packet.piece() == Piece::Whole;
    if checked && plain && facts.protocol == Ipv4::ICMP {
        return inside_icmp::<F, P>(packet);
    }
    let checked = checked
        && plain
        && (facts.protocol == TcpHeader::PROTOCOL
            || facts.protocol == Ipv6::ICMP
            || packet
                .header::<UdpHeader>(transport)
                // Its checksum says nothing of bytes behind the datagram.
                .is_some_and(|udp| {
                    udp.is_checked() && udp.length() == facts.length - F::HEADER_LEN
                }));
    let inner = packet
        .header_mut::<F::Header>(EthernetHeader::LEN)
        .ok_or(DropReason::Inconsistent)?;
    inner.take_hop();
    Ok(checked.then(|| inner.checksum_inside()))
}

/// [`take_hop`] for a message of ICMP, which sums up to nothing without a pseudo-header, as its IP
/// header does.
#[inline(always)]
fn inside_icmp<F: Family, P: Packet>(packet: &mut P) -> Result<Option<Delta>, Stop> {
    let ip = packet
        .header_mut::<F::Header>(EthernetHeader::LEN)
        .ok_or(DropReason::Inconsistent)?;
    ip.take_hop();
    Ok(Some(Delta::NONE))
}

/// [`encapsulate`] where there is a UDP header. A function of its own in the kernel, as all but the
/// leanest modes are, so that the others do not pay for its stack.
#[inline(never)]
pub(super) fn encapsulate_udp<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    to: &Tunnel<'_>,
    next: &NextHop,
) -> Result<(), Stop> {
    encapsulate::<F, P, T>(packet, tables, *facts, *to, *next)
}

/// Where a packet goes.
pub(super) struct Towards<'a> {
    /// Whom to.
    pub(super) backend: &'a Backend,
    /// Which way.
    pub(super) next: NextHop,
}

/// Gives the packet another destination. A function of its own, as [`encapsulate_udp`] is.
#[inline(never)]
pub(super) fn redirect<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    parsed: &Parsed<F::Address>,
    to: &Towards<'_>,
) -> Result<(), Stop> {
    let port = to.backend.port(parsed.key.destination_port);
    let translation = Translation::to(&parsed.key, to.backend.address(), port);
    translate::<F, P, T>(packet, tables, parsed.facts, &translation, to.next)
}

/// Sends the packet on as it is, its hops less one, to the backend's MAC address.
#[inline(always)]
pub(super) fn pass_on<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: Facts,
    next: NextHop,
) -> Result<(), Stop> {
    fits(facts.length, 0, next)?;
    take_hop::<F, P>(packet, facts, false)?;
    link::<F, P, T>(packet, tables, next)
}

/// The ends that a packet leaves with, and what they change in its checksums.
pub(super) struct Translation<A> {
    /// The ends.
    pub(super) ends: Rewrite<A>,
    /// In the IPv4 header's.
    pub(super) addresses: Delta,
    /// In the TCP or UDP header's.
    pub(super) transport: Delta,
}

impl<A: Address> Translation<A> {
    /// That of a recorded flow.
    #[inline(always)]
    pub(super) fn of(entry: &FlowEntry<A>) -> Self {
        Self {
            ends: entry.rewrite(),
            addresses: Delta::from_folded(entry.address_delta),
            transport: Delta::from_folded(entry.transport_delta),
        }
    }

    /// That of a packet of this key, towards another destination.
    #[inline(always)]
    pub(super) fn to(key: &FlowKey<A>, destination: A, port: [u8; 2]) -> Self {
        let addresses = Delta::NONE.address(key.destination, destination);
        Self {
            ends: Rewrite {
                source: key.source,
                destination,
                source_port: key.source_port,
                destination_port: port,
            },
            addresses,
            transport: addresses.field(key.destination_port, port),
        }
    }

    /// That of a packet of this key, from another source.
    #[inline(always)]
    pub(super) fn from(key: &FlowKey<A>, source: A, port: [u8; 2]) -> Self {
        let addresses = Delta::NONE.address(key.source, source);
        Self {
            ends: Rewrite {
                source,
                destination: key.destination,
                source_port: port,
                destination_port: key.destination_port,
            },
            addresses,
            transport: addresses.field(key.source_port, port),
        }
    }
}

/// Gives the packet, its hops less one, other ends.
#[inline(always)]
pub(super) fn translate<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: Facts,
    translation: &Translation<F::Address>,
    next: NextHop,
) -> Result<(), Stop> {
    let ends = &translation.ends;
    fits_as::<F>(facts.length, ends.destination, next)?;
    checked_as::<F, P>(packet, facts, ends.destination)?;
    let ip = packet
        .header_mut::<F::Header>(EthernetHeader::LEN)
        .ok_or(DropReason::Inconsistent)?;
    ip.take_hop();
    ip.set_addresses(ends.source, ends.destination, translation.addresses);
    let ports = Ports {
        source: ends.source_port,
        destination: ends.destination_port,
    };
    let delta = translation.transport;
    if packet.piece() == Piece::Later {
        // The checksum of the whole packet is in the first fragment.
    } else if facts.protocol == TcpHeader::PROTOCOL {
        transport::<TcpHeader, F, P>(packet, ports, delta)?;
    } else {
        transport::<UdpHeader, F, P>(packet, ports, delta)?;
    }
    link::<F, P, T>(packet, tables, next)
}

/// Whether a packet has the checksum that it needs towards `destination`: over IPv6, UDP does not do
/// without (RFC 7915, section 4.5).
#[inline(always)]
fn checked_as<F: Family, P: Packet>(
    packet: &P,
    facts: Facts,
    destination: F::Address,
) -> Result<(), Stop> {
    if !F::ACROSS || facts.protocol != UdpHeader::PROTOCOL {
        return Ok(());
    }
    let ip = packet.header::<F::Header>(EthernetHeader::LEN);
    let udp = packet.header::<UdpHeader>(packet.transport::<F>());
    let (ip, udp) = ip.zip(udp).ok_or(DropReason::Inconsistent)?;
    if udp.is_checked() || !F::goes_over_to_ipv6(ip.source(), destination) {
        Ok(())
    } else {
        Err(DropReason::UncheckedDatagram.into())
    }
}

#[inline(always)]
fn transport<H, F, P>(packet: &mut P, ports: Ports, delta: Delta) -> Result<(), Stop>
where
    H: Transport + crate::net::Header,
    F: Family,
    P: Packet,
{
    let header = packet
        .header_mut::<H>(packet.transport::<F>())
        .ok_or(DropReason::Inconsistent)?;
    header.set_ports(ports, delta);
    Ok(())
}

/// Writes the Ethernet header towards the next hop, which its device's tags are put into at last.
#[inline(always)]
pub(super) fn link<F: Family, P: Packet, T: Tables>(
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
    tags::note(tables, device.tags);
    Ok(())
}

/// Whether an IP packet of this length, with `overhead` bytes around it, may go to the next hop.
#[inline(always)]
pub(super) fn fits(length: usize, overhead: usize, next: NextHop) -> Result<(), Stop> {
    if (length + overhead) as u64 > next.mtu {
        let mtu = next.mtu.saturating_sub(overhead as u64).min(0xffff) as u16;
        Err(Stop::TooBig { mtu })
    } else {
        Ok(())
    }
}

/// Whether an IP packet that is so long here may go to the next hop, as it is on the wire towards
/// `destination`.
#[inline(always)]
pub(super) fn fits_as<F: Family>(
    length: usize,
    destination: F::Address,
    next: NextHop,
) -> Result<(), Stop> {
    let fits = fits(F::on_wire(length, destination), 0, next);
    fits.map_err(|stop| stop.with_mtu(|mtu| F::from_wire(mtu, destination)))
}
