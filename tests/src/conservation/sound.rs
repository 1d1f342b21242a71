//! What may come out: whatever went in, a frame that etherparse reads to its end, whose lengths agree
//! and which has a hop left; what carries [`MARK`] has right checksums everywhere. Outer headers are
//! ours and always have.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use etherparse::{
    IpNumber, Ipv4Slice, Ipv6Slice, LinkSlice, NetSlice, SlicedPacket, TcpSlice, TransportSlice,
    UdpSlice,
};

use crate::{
    addresses::{BACKENDS, Family, GATEWAY_BACK},
    cases::places::Mac,
};

use super::{
    site::{BACK_MAC, BACKEND_MAC, CLIENT_MAC, FRONT_MAC, GUE_PORT, SERVICES, address},
    traffic::{MARK, Side},
};

/// Checks a frame that came out at `side`; tells what it is: a service, a family and a direction.
pub(super) fn check(side: Side, frame: &[u8]) -> Result<String> {
    let packet = SlicedPacket::from_ethernet(frame).context("etherparse does not read it")?;
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else {
        bail!("no Ethernet header");
    };
    let [from, to]: [Mac; 2] = match side {
        Side::Clients => [FRONT_MAC, CLIENT_MAC],
        Side::Backends => [BACK_MAC, BACKEND_MAC],
    };
    ensure!(ethernet.source() == from, "from another MAC address");
    let marked = frame.windows(MARK.len()).any(|window| window == MARK);
    let kind = read(side, &packet, marked)?;
    // An answer may go where a frame said that it came from, if that is no group.
    let answer = !kind.starts_with(TO) && ethernet.destination()[0] & 1 == 0;
    ensure!(
        ethernet.destination() == to || answer,
        "to another MAC address"
    );
    Ok(kind)
}

/// How the name of a packet to one of the services begins.
const TO: &str = "to ";

/// Checks what is behind the Ethernet header.
fn read(side: Side, packet: &SlicedPacket<'_>, marked: bool) -> Result<String> {
    let net = packet.net.as_ref().context("not IP")?;
    let inner = match inner(net, packet.transport.as_ref())? {
        Some(inner) => inner,
        None => {
            whole(net, packet.transport.as_ref(), marked)?;
            return name(side, net, packet.transport.as_ref());
        }
    };
    ensure!(side == Side::Backends, "a tunnel to a client");
    let inside =
        SlicedPacket::from_ip(inner).context("etherparse does not read the inner packet")?;
    let inside_net = inside.net.context("nothing inside")?;
    let checked = whole(&inside_net, inside.transport.as_ref(), marked)?;
    outer(net, packet.transport.as_ref(), marked, checked)?;
    name(side, &inside_net, inside.transport.as_ref())
}

/// What a tunnel's packet has inside.
fn inner<'a>(
    net: &NetSlice<'a>,
    transport: Option<&TransportSlice<'a>>,
) -> Result<Option<&'a [u8]>> {
    if let Some(TransportSlice::Udp(udp)) = transport
        && udp.destination_port() == GUE_PORT
        && ours(net)
    {
        return Ok(Some(udp.payload()));
    }
    let payload = match net {
        NetSlice::Ipv4(ip) => ip.payload(),
        NetSlice::Ipv6(ip) => ip.payload(),
        NetSlice::Arp(_) => bail!("ARP"),
    };
    let tunnel = matches!(payload.ip_number, IpNumber::IPV4 | IpNumber::IPV6);
    Ok((tunnel && ours(net)).then_some(payload.payload))
}

/// Whether it is from the outer source address.
fn ours(net: &NetSlice<'_>) -> bool {
    let source = addresses(net).map(|(source, _)| source);
    source.is_some_and(|source| GATEWAY_BACK.both().contains(&source))
}

/// Outer headers, of our own making. A UDP checksum is made from the inner one, so right where that
/// is; around a packet that has none to rely on there may be none (RFC 6935).
fn outer(
    net: &NetSlice<'_>,
    transport: Option<&TransportSlice<'_>>,
    marked: bool,
    checked: bool,
) -> Result<()> {
    let hops = match net {
        NetSlice::Ipv4(ip) => {
            header_checksum(ip)?;
            ip.header().ttl()
        }
        NetSlice::Ipv6(ip) => ip.header().hop_limit(),
        NetSlice::Arp(_) => bail!("ARP"),
    };
    ensure!(hops > 0, "no hop left outside");
    match transport {
        Some(TransportSlice::Udp(udp)) if marked => udp_checksum(net, udp, !checked),
        _ => Ok(()),
    }
}

/// A packet without what is around it. Tells whether it has a transport checksum, in its usual place.
fn whole(net: &NetSlice<'_>, transport: Option<&TransportSlice<'_>>, marked: bool) -> Result<bool> {
    let (hops, plain) = match net {
        NetSlice::Ipv4(ip) => {
            if marked {
                header_checksum(ip)?;
            }
            let plain = !ip.is_payload_fragmented() && ip.header().options().is_empty();
            (ip.header().ttl(), plain)
        }
        NetSlice::Ipv6(ip) => {
            let plain = !ip.is_payload_fragmented() && ip.extensions().slice().is_empty();
            (ip.header().hop_limit(), plain)
        }
        NetSlice::Arp(_) => bail!("ARP"),
    };
    ensure!(hops > 0, "no hop left");
    let fragment = match net {
        NetSlice::Ipv4(ip) => ip.is_payload_fragmented(),
        NetSlice::Ipv6(ip) => ip.is_payload_fragmented(),
        NetSlice::Arp(_) => false,
    };
    let unchecked = matches!(transport, Some(TransportSlice::Udp(udp)) if udp.checksum() == 0);
    if !marked || fragment {
        return Ok(plain && !unchecked);
    }
    match transport.context("neither TCP, UDP nor ICMP")? {
        TransportSlice::Tcp(tcp) => tcp_checksum(net, tcp)?,
        TransportSlice::Udp(udp) => udp_checksum(net, udp, false)?,
        TransportSlice::Icmpv4(icmp) => {
            let right = icmp.icmp_type().calc_checksum(icmp.payload());
            ensure!(icmp.checksum() == right, "a wrong ICMP checksum");
        }
        TransportSlice::Icmpv6(icmp) => {
            let Some((IpAddr::V6(from), IpAddr::V6(to))) = addresses(net) else {
                bail!("ICMPv6 in IPv4");
            };
            let right = icmp.is_checksum_valid(from.octets(), to.octets());
            ensure!(right, "a wrong ICMPv6 checksum");
        }
        TransportSlice::Igmp(_) => bail!("IGMP"),
    }
    Ok(plain && !unchecked)
}

fn header_checksum(ip: &Ipv4Slice<'_>) -> Result<()> {
    // Over the bytes: etherparse's own header leaves the reserved flag out.
    let header = ip.header();
    let fields = header.slice().chunks_exact(2);
    let fields = fields.map(|field| u32::from(field[0]) << 8 | u32::from(field[1]));
    ensure!(
        fields.sum::<u32>() % 0xffff == 0,
        "a wrong IPv4 header checksum"
    );
    Ok(())
}

fn tcp_checksum(net: &NetSlice<'_>, tcp: &TcpSlice<'_>) -> Result<()> {
    let right = match addresses(net) {
        Some((IpAddr::V4(from), IpAddr::V4(to))) => {
            tcp.calc_checksum_ipv4(from.octets(), to.octets())?
        }
        Some((IpAddr::V6(from), IpAddr::V6(to))) => {
            tcp.calc_checksum_ipv6(from.octets(), to.octets())?
        }
        _ => bail!("two families"),
    };
    ensure!(tcp.checksum() == right, "a wrong TCP checksum");
    Ok(())
}

/// None at all is right over IPv4, and where it is `optional`.
fn udp_checksum(net: &NetSlice<'_>, udp: &UdpSlice<'_>, optional: bool) -> Result<()> {
    let (header, payload) = (udp.to_header(), udp.payload());
    let (right, optional) = match addresses(net) {
        Some((IpAddr::V4(from), IpAddr::V4(to))) => {
            let right = header.calc_checksum_ipv4_raw(from.octets(), to.octets(), payload)?;
            (right, true)
        }
        Some((IpAddr::V6(from), IpAddr::V6(to))) => {
            let right = header.calc_checksum_ipv6_raw(from.octets(), to.octets(), payload)?;
            (right, optional)
        }
        _ => bail!("two families"),
    };
    let fine = udp.checksum() == right || udp.checksum() == 0 && optional;
    ensure!(fine, "a wrong UDP checksum");
    Ok(())
}

fn addresses(net: &NetSlice<'_>) -> Option<(IpAddr, IpAddr)> {
    let v4 = |ip: &Ipv4Slice<'_>| {
        let header = ip.header();
        (
            header.source_addr().into(),
            header.destination_addr().into(),
        )
    };
    let v6 = |ip: &Ipv6Slice<'_>| {
        let header = ip.header();
        (
            header.source_addr().into(),
            header.destination_addr().into(),
        )
    };
    match net {
        NetSlice::Ipv4(ip) => Some(v4(ip)),
        NetSlice::Ipv6(ip) => Some(v6(ip)),
        NetSlice::Arp(_) => None,
    }
}

/// Whose packet it is, by addresses and ports.
fn name(side: Side, net: &NetSlice<'_>, transport: Option<&TransportSlice<'_>>) -> Result<String> {
    let (source, destination) = addresses(net).context("no addresses")?;
    let family = Family::of(source);
    let (address_of, port) = match (side, transport) {
        (Side::Clients, Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_))) => {
            return Ok(format!("ICMP to clients, {family}"));
        }
        (Side::Backends, Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_))) => {
            return Ok(format!("ICMP to backends, {family}"));
        }
        (Side::Clients, _) => (source, None),
        (Side::Backends, Some(TransportSlice::Tcp(tcp))) => {
            (destination, Some(tcp.destination_port()))
        }
        (Side::Backends, Some(TransportSlice::Udp(udp))) => {
            (destination, Some(udp.destination_port()))
        }
        (Side::Backends, _) => (destination, None),
    };
    let mut named = SERVICES.iter().enumerate();
    let service = named.find(|(index, service)| {
        let backend = BACKENDS.iter().any(|b| b.both().contains(&address_of));
        let (first, last) = service.ports;
        let asked = service.forward == "nat" && service.port.is_none();
        let by_port = match port.filter(|_| backend) {
            Some(port) if asked => (first..=last).contains(&port),
            port => port.is_some() && service.port == port,
        };
        by_port || address(*index).both().contains(&address_of)
    });
    Ok(match (service, side) {
        (Some((_, service)), Side::Clients) => format!("answers of {}, {family}", service.name),
        (Some((_, service)), Side::Backends) => format!("{TO}{}, {family}", service.name),
        (None, _) => format!("other, {family}"),
    })
}
