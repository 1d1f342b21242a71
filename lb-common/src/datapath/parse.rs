//! First stage: what is this packet? Reads headers at fixed places, in two steps: far enough to
//! know whether it is for a service (what can't be read that far passes: the kernel judges it),
//! then whether a packet for a service is sound (what is not is dropped).

use crate::{
    abi::{FlowKey, HopWord},
    net::{
        EtherType, EthernetHeader, Family, IpHeader, Packet, Piece, Ports, QuicHeader, QuicPacket,
        TcpFlags, TcpHeader, UdpHeader, Unreadable,
    },
};

use super::{
    exceptions::{Kind, Proof, Sighting},
    outcome::{DropReason, PassReason, Stop},
    state::Segment,
};

/// What an Ethernet frame for us carries.
pub(super) enum Link {
    Ipv4,
    Ipv6,
}

/// A packet whose ends are known, beside what else its IP header says.
pub(super) struct Parsed<A> {
    /// The ends.
    pub(super) key: FlowKey<A>,
    /// The rest.
    pub(super) facts: Facts,
}

/// What an IP header says beside the ends.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    /// Protocol of the transport header.
    pub(super) protocol: u8,
    /// Length of the IP packet, as its header says.
    pub(super) length: usize,
    /// TTL or hop limit.
    pub(super) hops: u8,
    /// ToS or traffic class.
    pub(super) traffic_class: u8,
}

/// Reads the Ethernet header of a frame that came in through `ingress`.
#[inline(always)]
pub(super) fn link<P: Packet>(packet: &P, ingress: HopWord) -> Result<Link, Stop> {
    if ingress.device() == 0 {
        return Err(PassReason::UnknownInterface.into());
    }
    let Some(ethernet) = packet.header::<EthernetHeader>(0) else {
        return Err(unread::<P>(PassReason::Truncated));
    };
    let link = carried(ethernet.ethertype())?;
    if !ingress.has_mac(ethernet.destination) {
        return Err(PassReason::OtherMac.into());
    }
    Ok(link)
}

/// What of this type is for us, if it is for our MAC address.
#[inline(always)]
pub(super) fn carried(ethertype: EtherType) -> Result<Link, Stop> {
    match ethertype {
        EtherType::Ipv4 => Ok(Link::Ipv4),
        EtherType::Ipv6 => Ok(Link::Ipv6),
        EtherType::Arp => Err(PassReason::Arp.into()),
        EtherType::Vlan => Err(Stop::Tagged),
        EtherType::Other => Err(PassReason::OtherEthertype.into()),
    }
}

/// Reads the IP header and the ports.
#[inline(always)]
pub(super) fn network<F: Family, P: Packet>(packet: &P) -> Result<Parsed<F::Address>, Stop> {
    let Some(ip) = packet.header::<F::Header>(EthernetHeader::LEN) else {
        return Err(unread::<P>(PassReason::Truncated));
    };
    let protocol = ip.transport().map_err(unreadable::<P>)?;
    let Some(ports) = packet.header::<Ports>(F::TRANSPORT) else {
        return Err(unread::<P>(PassReason::Truncated));
    };
    Ok(parsed::<F>(ip, *ports, protocol))
}

/// What an IP header, ports and protocol come to.
#[inline(always)]
pub(super) fn parsed<F: Family>(ip: &F::Header, ports: Ports, protocol: u8) -> Parsed<F::Address> {
    Parsed {
        key: FlowKey::new(
            ip.source(),
            ip.destination(),
            ports.source,
            ports.destination,
            protocol,
        ),
        facts: Facts {
            protocol,
            length: ip.total_length(),
            hops: ip.hops(),
            traffic_class: ip.traffic_class(),
        },
    }
}

/// Checks a packet that is for a service: its lengths agree and its hops are not used up.
/// Returns the TCP flags; none for UDP.
#[inline(always)]
pub(super) fn sound<F: Family, P: Packet>(packet: &P, facts: Facts) -> Result<TcpFlags, Stop> {
    // A frame may be longer than its packet (Ethernet pads to 60 bytes), never shorter.
    let headers = packet.transport::<F>() - EthernetHeader::LEN;
    if facts.length < headers || !packet.holds(EthernetHeader::LEN + facts.length) {
        return Err(DropReason::BadIpLength.into());
    }
    let payload = facts.length - headers;
    let flags = if packet.piece() == Piece::Later {
        TcpFlags::default()
    } else if facts.protocol == TcpHeader::PROTOCOL {
        tcp::<F, P>(packet, payload)?
    } else {
        udp::<F, P>(packet, payload)?
    };
    if facts.hops <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    Ok(flags)
}

/// What a recorded flow wants to know of a sound packet. Zeros where there is no TCP header.
#[inline(always)]
pub(super) fn segment<F: Family, P: Packet>(packet: &P, facts: Facts) -> Segment {
    let tcp = facts.protocol == TcpHeader::PROTOCOL && packet.piece() != Piece::Later;
    match packet.header::<TcpHeader>(packet.transport::<F>()) {
        Some(header) if tcp => Segment {
            protocol: facts.protocol,
            flags: header.flags(),
            sequence: header.sequence(),
            acknowledgement: header.acknowledgement(),
            padding: 0,
        },
        _ => Segment::default(),
    }
}

/// What a packet of a sound flow is to it, at the time `now`. Only asked where the slot is not
/// settled.
#[inline(always)]
pub(super) fn sighting<F: Family, P: Packet>(
    packet: &P,
    facts: Facts,
    quic: bool,
    now: u32,
) -> Sighting {
    let mut sighting = Sighting {
        kind: Kind::Data,
        proof: Proof::None,
        sequence: 0,
        now,
    };
    if packet.piece() == Piece::Later {
        sighting.kind = Kind::Peek;
    } else if facts.protocol == TcpHeader::PROTOCOL {
        if let Some(tcp) = packet.header::<TcpHeader>(packet.transport::<F>()) {
            (sighting.proof, sighting.sequence) = (Proof::Sequence, tcp.sequence());
            sighting.kind = tcp_kind(tcp.flags());
        }
    } else if quic
        && let payload = packet.transport::<F>() + UdpHeader::LEN
        && let Some(header) = packet.header::<QuicHeader>(payload)
    {
        match header.packet(EthernetHeader::LEN + facts.length - payload) {
            QuicPacket::Initial => sighting.kind = Kind::Open,
            QuicPacket::Handshake => sighting.proof = Proof::Handshake,
            QuicPacket::Other => {}
        }
    }
    sighting
}

#[inline(always)]
fn tcp_kind(flags: TcpFlags) -> Kind {
    if flags.opens() {
        Kind::Open
    } else if flags.closes() {
        Kind::Close
    } else {
        Kind::Data
    }
}

#[inline(always)]
fn tcp<F: Family, P: Packet>(packet: &P, payload: usize) -> Result<TcpFlags, Stop> {
    match packet.header::<TcpHeader>(packet.transport::<F>()) {
        Some(tcp) if (TcpHeader::LEN..=payload).contains(&tcp.payload()) => Ok(tcp.flags()),
        Some(_) => Err(DropReason::BadTcpHeader.into()),
        None => Err(unread::<P>(DropReason::BadTcpHeader)),
    }
}

#[inline(always)]
fn udp<F: Family, P: Packet>(packet: &P, payload: usize) -> Result<TcpFlags, Stop> {
    let Some(udp) = packet.header::<UdpHeader>(packet.transport::<F>()) else {
        return Err(unread::<P>(DropReason::BadUdpLength));
    };
    let whole = match packet.piece() {
        // The length is the datagram's, of which this is a part that has the header in it.
        Piece::First if payload >= UdpHeader::LEN => usize::MAX,
        _ => payload,
    };
    if (UdpHeader::LEN..=whole).contains(&udp.length()) {
        Ok(TcpFlags::default())
    } else {
        Err(DropReason::BadUdpLength.into())
    }
}

/// What becomes of a packet whose headers can't be read, as their IP header says.
#[inline(always)]
pub(super) fn unreadable<P: Packet>(why: Unreadable) -> Stop {
    match why {
        Unreadable::Truncated => PassReason::Truncated.into(),
        Unreadable::Version => PassReason::BadVersion.into(),
        Unreadable::HeaderLength => PassReason::BadHeaderLength.into(),
        Unreadable::Options => unread::<P>(PassReason::IpOptions),
        Unreadable::ExtensionHeader => unread::<P>(PassReason::ExtensionHeader),
        Unreadable::Fragment => unread::<P>(PassReason::FragmentWithoutFirst),
        Unreadable::Icmp => PassReason::Icmp.into(),
        Unreadable::Protocol => PassReason::OtherProtocol.into(),
    }
}

/// What becomes of a packet that can't be read: that is for the program to say that reads every
/// shape.
#[inline(always)]
fn unread<P: Packet>(stop: impl Into<Stop>) -> Stop {
    if P::PLAIN {
        Stop::Uncommon
    } else {
        stop.into()
    }
}
