//! Echo requests, and what looks like one.

use std::net::IpAddr;

use etherparse::PacketBuilder;

use super::{
    flaws::Flaw,
    site::{Service, version},
    story::{Incoming, way},
};
use crate::cases::places::{ROUTER, UPLINK};

/// An ICMP message of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ping {
    /// Which client's.
    pub(super) client: u8,
    /// Which service's address it is for.
    pub(super) service: usize,
    /// 0: an echo request, 1: a reply, else a request of a code that there is not.
    pub(super) kind: u8,
    /// The bytes behind its header.
    pub(super) body: usize,
    /// Whether it says that a group of stations sent it.
    pub(super) group: bool,
    /// What is wrong with it.
    pub(super) flaw: Flaw,
}

impl Ping {
    /// The frame.
    pub(super) fn incoming(&self, service: &Service) -> Incoming {
        let to = service.end_for(self.client).ip();
        let from = version(to).client_number(way(self.client), 1);
        let mut router = ROUTER;
        router[0] |= u8::from(self.group);
        let ethernet = PacketBuilder::ethernet2(router, UPLINK.mac);
        let body = vec![0x5a; self.body];
        let code = self.kind & 2;
        let mut bytes = Vec::new();
        let written = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let kind = if self.kind == 1 { 0 } else { 8 };
                let ip = ethernet.ipv4(from.octets(), to.octets(), 7);
                ip.icmpv4_raw(kind, code, [1, 2, 3, 4])
                    .write(&mut bytes, &body)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let kind = if self.kind == 1 { 129 } else { 128 };
                let ip = ethernet.ipv6(from.octets(), to.octets(), 7);
                ip.icmpv6_raw(kind, code, [1, 2, 3, 4])
                    .write(&mut bytes, &body)
            }
            _ => unreachable!("a client is of its service's family"),
        };
        written.expect("a vector takes all");
        let ingress = self.flaw.strike(UPLINK, &mut bytes);
        Incoming {
            ingress,
            bytes,
            headroom: 256,
        }
    }
}
