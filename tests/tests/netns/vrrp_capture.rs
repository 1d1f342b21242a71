//! What a host says of addresses that move, as it is on the wire: adverts, read by the agent's codec, and what tells neighbours
//! where addresses are, read by etherparse.

use std::net::IpAddr;

use etherparse::{ArpOperation, Icmpv6Type, LinkSlice, NetSlice, SlicedPacket, TransportSlice};
use lb_userspace::vrrp::packet::{Advert, Checksum, Received};
use sluice_tests::{
    link::End,
    wire::{Buffer, Wire},
};

/// Of VRRP, in IP headers.
const VRRP: u8 = 112;

/// Sees what comes out of a host.
pub(super) struct Capture(Wire);

/// What a host said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Adverts, in order.
    pub(super) adverts: Vec<Seen>,
    /// Addresses of gratuitous ARP and unsolicited neighbour advertisements, in order.
    pub(super) announced: Vec<IpAddr>,
    /// Addresses that it said it has, to who asked, in order.
    pub(super) answered: Vec<IpAddr>,
}

/// An advert as it was on the wire.
#[derive(Debug)]
pub(super) struct Seen {
    /// Whether its Ethernet header is to a group.
    pub(super) is_to_group: bool,
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) hop_limit: u8,
    pub(super) advert: Advert,
    pub(super) checksum: Checksum,
}

impl Capture {
    /// On the other end of a host's link.
    pub(super) fn open(end: End<'_>) -> Self {
        Self(Wire::open(end).unwrap())
    }

    /// All that was seen. A frame that can't be read is an error, and so is one that was missed.
    pub(super) fn end(mut self) -> Said {
        let (mut said, mut buffer) = (Said::default(), Buffer::default());
        while let Some(frame) = self.0.receive(&mut buffer).unwrap() {
            said.hear(&SlicedPacket::from_ethernet(frame).unwrap());
        }
        let (_, missed) = self.0.seen().unwrap();
        assert_eq!(missed, 0);
        said
    }
}

impl Said {
    fn hear(&mut self, packet: &SlicedPacket<'_>) {
        let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else {
            panic!("no Ethernet header");
        };
        let (from, to, hop_limit, payload): (IpAddr, IpAddr, _, _) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let header = ip.header();
                let ends = (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                );
                (ends.0, ends.1, header.ttl(), ip.payload())
            }
            Some(NetSlice::Ipv6(ip)) => {
                let header = ip.header();
                let ends = (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                );
                (ends.0, ends.1, header.hop_limit(), ip.payload())
            }
            Some(NetSlice::Arp(arp)) => return self.hear_arp(arp),
            _ => return,
        };
        if let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport
            && let Icmpv6Type::NeighborAdvertisement(advertisement) = icmp.icmp_type()
        {
            let target: [u8; 16] = icmp.payload()[..16].try_into().unwrap();
            let list = match advertisement.solicited {
                true => &mut self.answered,
                false => &mut self.announced,
            };
            list.push(IpAddr::from(target));
        }
        if payload.ip_number.0 != VRRP {
            return;
        }
        let received = Received {
            source: from,
            destination: to,
            hop_limit,
            payload: payload.payload,
        };
        let (advert, checksum) = Advert::read(&received).unwrap();
        self.adverts.push(Seen {
            is_to_group: ethernet.destination()[0] & 1 == 1,
            from,
            to,
            hop_limit,
            advert,
            checksum,
        });
    }

    /// Of an address to itself: gratuitous (RFC 5227, section 3).
    fn hear_arp(&mut self, arp: &etherparse::ArpPacketSlice<'_>) {
        let [sender, target] = [arp.sender_protocol_addr(), arp.target_protocol_addr()];
        let Ok(address) = <[u8; 4]>::try_from(sender) else {
            return;
        };
        match arp.operation() {
            ArpOperation::REQUEST | ArpOperation::REPLY if sender == target => {
                self.announced.push(address.into());
            }
            ArpOperation::REPLY => self.answered.push(address.into()),
            _ => {}
        }
    }
}
