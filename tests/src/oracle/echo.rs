//! Echo requests for services' addresses. From docs/icmp.md.

use std::net::IpAddr;

use lb_common::datapath::{AnswerReason, DropReason, PassReason};

use super::{
    headers::{ETHERNET, HOPS, mend, short},
    icmp::Message,
    listening::Listens,
    made::{from_group, names_a_host},
    model::{End, Model},
    packet::Arrival,
    site::{Service, Site},
};

impl Site {
    /// The service that answers echo requests for an address; none at the addresses of prefixes.
    pub(super) fn echo(&self, address: IpAddr) -> Option<&Service> {
        let mut services = self.services.iter();
        services
            .find(|s| s.echo && !matches!(s.listens, Listens::Prefix(..)) && s.end.ip() == address)
    }
}

impl Model {
    /// What becomes of an echo request: it is turned around where its service has a backend, all others
    /// pass.
    pub(super) fn echo(&self, arrival: Arrival<'_>, message: &Message) -> End {
        let Some(service) = self.site.echo(message.ip.destination) else {
            return End::Pass(PassReason::Icmp);
        };
        if !names_a_host(message.ip.source) {
            return End::Pass(PassReason::Icmp);
        }
        // A table with any backend has one in every slot.
        if service.slots[0].current() == 0 {
            return End::Drop(DropReason::NoBackend);
        }
        if from_group(arrival.frame) {
            return End::Pass(PassReason::Icmp);
        }
        let mut frame = arrival.frame.to_vec();
        frame.copy_within(6..12, 0);
        frame[6..12].copy_from_slice(&arrival.ingress.mac);
        let (addresses, length, reply) = match message.ip.destination {
            IpAddr::V4(_) => (ETHERNET + 12, 4, 0),
            IpAddr::V6(_) => (ETHERNET + 8, 16, 129),
        };
        let both = &mut frame[addresses..addresses + 2 * length];
        both.rotate_left(length);
        match message.ip.destination {
            IpAddr::V4(_) => set_high(&mut frame, ETHERNET + 8, HOPS, ETHERNET + 10),
            IpAddr::V6(_) => frame[ETHERNET + 7] = HOPS,
        }
        let header = message.start();
        set_high(&mut frame, header, reply, header + 2);
        End::Answer(AnswerReason::EchoReply, frame)
    }
}

/// Sets the first byte of a field, which the sum at `check` covers.
fn set_high(frame: &mut [u8], at: usize, byte: u8, check: usize) {
    let before = short(frame, at).unwrap_or(0);
    frame[at] = byte;
    let after = short(frame, at).unwrap_or(0);
    mend(frame, check, before.into(), after.into());
}
