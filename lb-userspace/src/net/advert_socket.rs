//! Sends and receives packets of one IP protocol on one device: to and from a multicast group, or hosts by their
//! addresses. What they mean is not known here.
//!
//! Two sockets: one that is bound to the address that packets are sent from would not hear the group.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt,
    sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo},
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket};

use super::resolution::IfIndex;

/// Room for the largest packet that is read whole.
const ROOM: usize = 8192;

/// Octets of an IPv4 header without options.
const IPV4_HEADER: usize = 20;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The device's name, and its index.
    pub device: (&'a str, IfIndex),
    /// This host's address on it.
    pub source: IpAddr,
    /// The IP protocol.
    pub protocol: u8,
    /// The group that is listened to, if one is.
    pub group: Option<IpAddr>,
    /// The hop limit of what is sent.
    pub hop_limit: u8,
}

/// A packet that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Whom it is from.
    pub source: IpAddr,
    /// Whom it is to.
    pub destination: IpAddr,
    /// Its TTL or hop limit.
    pub hop_limit: u8,
    /// What is behind its IP header.
    pub payload: Vec<u8>,
}

/// The sockets.
#[derive(Debug)]
pub struct AdvertSocket {
    listens: UdpSocket,
    sends: Socket,
    device: IfIndex,
    is_ipv6: bool,
}

impl AdvertSocket {
    /// Opens them. Needs CAP_NET_RAW and a tokio runtime.
    pub fn open(line: &Line<'_>) -> io::Result<Self> {
        let listens = socket(line)?;
        let sends = socket(line)?;
        // It hears too, what nobody reads: the least buffer there is.
        sends.set_recv_buffer_size(0)?;
        let IfIndex(index) = line.device.1;
        let hops = u32::from(line.hop_limit);
        match line.source {
            IpAddr::V4(source) => {
                if let Some(IpAddr::V4(group)) = line.group {
                    listens.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
                }
                sends.set_ttl_v4(hops)?;
                sends.set_multicast_ttl_v4(hops)?;
                sends.set_multicast_loop_v4(false)?;
                sends.bind(&SocketAddr::from((source, 0)).into())?;
            }
            IpAddr::V6(source) => {
                if let Some(IpAddr::V6(group)) = line.group {
                    listens.join_multicast_v6(&group, index)?;
                }
                setsockopt(&listens, Ipv6RecvHopLimit, &true)?;
                setsockopt(&listens, Ipv6RecvPacketInfo, &true)?;
                sends.set_unicast_hops_v6(hops)?;
                sends.set_multicast_hops_v6(hops)?;
                sends.set_multicast_loop_v6(false)?;
                sends.set_multicast_if_v6(index)?;
                sends.bind(&SocketAddrV6::new(source, 0, 0, index).into())?;
            }
        }
        Ok(Self {
            // Waiting for packets is the same for a raw socket.
            listens: UdpSocket::from_std(listens.into())?,
            sends,
            device: line.device.1,
            is_ipv6: line.source.is_ipv6(),
        })
    }

    /// Sends a packet.
    pub fn send(&self, payload: &[u8], to: IpAddr) -> io::Result<()> {
        let to: SocketAddr = match to {
            IpAddr::V4(to) => (to, 0).into(),
            IpAddr::V6(to) => SocketAddrV6::new(to, 0, 0, self.device.0).into(),
        };
        self.sends.send_to(payload, &to.into()).map(drop)
    }

    /// The next packet. Cancel-safe.
    pub async fn receive(&self) -> io::Result<Packet> {
        loop {
            let read = self
                .listens
                .async_io(Interest::READABLE, || received(&self.listens, self.is_ipv6));
            if let Some(packet) = read.await? {
                return Ok(packet);
            }
        }
    }
}

fn socket(line: &Line<'_>) -> io::Result<Socket> {
    let domain = match line.source {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let protocol = Protocol::from(i32::from(line.protocol));
    let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
    socket.bind_device(Some(line.device.0.as_bytes()))?;
    Ok(socket)
}

/// A packet, unless it can't be told where it came from.
fn received(socket: &UdpSocket, is_ipv6: bool) -> io::Result<Option<Packet>> {
    let mut room = [0; ROOM];
    let mut parts = [IoSliceMut::new(&mut room)];
    let mut told = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
    let descriptor = socket.as_raw_fd();
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrIn6>(descriptor, &mut parts, Some(&mut told), flags)?;
    let length = message.bytes;
    if !is_ipv6 {
        return Ok(of_ipv4(&room[..length.min(ROOM)]));
    }
    let source = message.address.map(|address| address.ip());
    let (mut destination, mut hop_limit) = (None, None);
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
            _ => {}
        }
    }
    let (Some(source), Some(destination), Some(hop_limit)) = (source, destination, hop_limit)
    else {
        return Ok(None);
    };
    Ok(Some(Packet {
        source: source.into(),
        destination: destination.into(),
        hop_limit,
        payload: room[..length.min(ROOM)].to_vec(),
    }))
}

/// The header comes along (raw(7)).
fn of_ipv4(packet: &[u8]) -> Option<Packet> {
    let header = packet.first_chunk::<IPV4_HEADER>()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Some(Packet {
        source: address(12).into(),
        destination: address(16).into(),
        hop_limit: header[8],
        payload: packet.get(length.max(IPV4_HEADER)..)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_header_says_whom_it_is_from() {
        let mut packet = vec![0; 28];
        packet[0] = 0x46;
        packet[8] = 255;
        packet[12..16].copy_from_slice(&[198, 18, 0, 2]);
        packet[16..20].copy_from_slice(&[224, 0, 0, 18]);
        packet[24..].copy_from_slice(&[1, 2, 3, 4]);
        let expected = Packet {
            source: "198.18.0.2".parse().unwrap(),
            destination: "224.0.0.18".parse().unwrap(),
            hop_limit: 255,
            payload: vec![1, 2, 3, 4],
        };
        assert_eq!(of_ipv4(&packet), Some(expected));
        assert_eq!(of_ipv4(&packet[..19]), None);
        assert_eq!(of_ipv4(&packet[..23]), None);
    }
}
