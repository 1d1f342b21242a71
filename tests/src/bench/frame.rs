//! Packets of flow number `n`, built by etherparse, which Sluice shares nothing with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, NetSlice, PacketBuilder, SlicedPacket,
    TcpHeader, TransportSlice,
};

use super::site::{Mac, ROUTER, UPLINK};

/// What the segments carry: it makes the IPv4 frames as short as Ethernet's may be, 60 bytes.
const PAYLOAD: [u8; 6] = [0; 6];

/// Both ends of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// What a TCP segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Asks for a connection.
    Syn,
    /// Grants it.
    SynAck,
    /// Belongs to one.
    Ack,
}

/// The client of flow `n`: an address for each of the first 65,536, then their next ports.
pub(super) fn client(n: u32, ipv4: bool) -> SocketAddr {
    let (low, port) = (n as u16, 40_000 + (n >> 16) as u16);
    let [a, b] = low.to_be_bytes();
    let ip = if ipv4 {
        IpAddr::from(Ipv4Addr::new(10, 1, a, b))
    } else {
        IpAddr::from(Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, low))
    };
    SocketAddr::new(ip, port)
}

/// Writes a TCP segment, as the router sends it, into `frame`.
pub(super) fn tcp(frame: &mut Vec<u8>, ends: Ends, segment: Segment) -> Result<()> {
    let Ends {
        source,
        destination,
    } = ends;
    // Either side's first number is 1.
    let sequence = if segment == Segment::Ack { 2 } else { 1 };
    let mut header = TcpHeader::new(source.port(), destination.port(), sequence, 1024);
    (header.syn, header.ack) = (segment != Segment::Ack, segment != Segment::Syn);
    header.acknowledgment_number = if header.ack { 2 } else { 0 };
    let link = PacketBuilder::ethernet2(ROUTER, UPLINK);
    let packet = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
        (from, to) => bail!("{from} and {to} are of two families"),
    };
    frame.clear();
    packet.tcp_header(header).write(frame, &PAYLOAD)?;
    Ok(())
}

/// Writes an ARP request of the router's.
pub(super) fn arp(frame: &mut Vec<u8>, from: Ipv4Addr, to: Ipv4Addr) -> Result<()> {
    const ANYBODY: Mac = [0xff; 6];
    let request = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &ROUTER,
        &from.octets(),
        &[0; 6],
        &to.octets(),
    )?;
    frame.clear();
    PacketBuilder::ethernet2(ROUTER, ANYBODY)
        .arp(request)
        .write(frame)?;
    frame.resize(60, 0);
    Ok(())
}

/// The ends of the packet that answers the one in `frame`.
pub(super) fn answer(frame: &[u8]) -> Result<Ends> {
    let packet = SlicedPacket::from_ethernet(frame)?;
    let (from, to) = match packet.net.context("no IP packet")? {
        NetSlice::Ipv4(ip) => (
            IpAddr::V4(ip.header().source_addr()),
            IpAddr::V4(ip.header().destination_addr()),
        ),
        NetSlice::Ipv6(ip) => (
            IpAddr::V6(ip.header().source_addr()),
            IpAddr::V6(ip.header().destination_addr()),
        ),
        NetSlice::Arp(_) => bail!("ARP"),
    };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
        bail!("no TCP segment")
    };
    Ok(Ends {
        source: SocketAddr::new(to, tcp.destination_port()),
        destination: SocketAddr::new(from, tcp.source_port()),
    })
}
