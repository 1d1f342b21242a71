//! Echo requests for services' addresses. From docs/icmp.md.

use std::net::IpAddr;

use lb_common::datapath::{AnswerReason, DropReason, PassReason};

use super::{
    headers::{ETHERNET, mend, short},
    listening::Listens,
    model::{End, Model},
    packet::Arrival,
    site::{Service, Site},
};

/// Hops of what is made here.
const HOPS: u8 = 64;

impl Site {
    /// The service that answers echo requests for an address; none at the addresses of prefixes.
    pub(super) fn echo(&self, address: IpAddr) -> Option<&Service> {
        let mut services = self.services.iter();
        services
            .find(|s| s.echo && !matches!(s.listens, Listens::Prefix(..)) && s.end.ip() == address)
    }
}

impl Model {
    /// What becomes of a frame of ICMP: an echo request is turned around where its service has a
    /// backend, all else passes.
    pub(super) fn icmp(&self, arrival: Arrival<'_>) -> End {
        let Some((address, header)) = request(arrival.frame) else {
            return End::Pass(PassReason::Icmp);
        };
        let Some(service) = self.site.echo(address) else {
            return End::Pass(PassReason::Icmp);
        };
        // No frame comes from a group of stations.
        if arrival.frame[6] & 1 != 0 || !names_a_host(source(arrival.frame)) {
            return End::Pass(PassReason::Icmp);
        }
        // A table with any backend has one in every slot.
        if service.slots[0].current() == 0 {
            return End::Drop(DropReason::NoBackend);
        }
        let mut frame = arrival.frame.to_vec();
        frame.copy_within(6..12, 0);
        frame[6..12].copy_from_slice(&arrival.ingress.mac);
        let (addresses, length, reply) = match address {
            IpAddr::V4(_) => (ETHERNET + 12, 4, 0),
            IpAddr::V6(_) => (ETHERNET + 8, 16, 129),
        };
        let both = &mut frame[addresses..addresses + 2 * length];
        both.rotate_left(length);
        match address {
            IpAddr::V4(_) => set_high(&mut frame, ETHERNET + 8, HOPS, ETHERNET + 10),
            IpAddr::V6(_) => frame[ETHERNET + 7] = HOPS,
        }
        set_high(&mut frame, header, reply, header + 2);
        End::Answer(AnswerReason::EchoReply, frame)
    }
}

/// Whom an echo request is for, and where its ICMP header is; of those alone that are plain, and as long
/// as they say.
fn request(frame: &[u8]) -> Option<(IpAddr, usize)> {
    let ip = frame.get(ETHERNET..)?;
    let (destination, header, length, kind): (IpAddr, _, _, _) = if short(frame, 12)? == 0x0800 {
        let whole = short(ip, 6)? & 0x3fff == 0;
        let octets: [u8; 4] = ip.get(16..20)?.try_into().ok()?;
        let plain = ip[0] == 0x45 && whole && ip[9] == 1;
        (plain.then_some(octets)?.into(), 20, short(ip, 2)?.into(), 8)
    } else {
        let octets: [u8; 16] = ip.get(24..40)?.try_into().ok()?;
        let plain = ip[6] == 58;
        let length = 40 + usize::from(short(ip, 4)?);
        (plain.then_some(octets)?.into(), 40, length, 128)
    };
    let whole = length >= header + 8 && ip.len() >= length;
    let asks = whole && ip[header] == kind && ip[header + 1] == 0;
    asks.then_some((destination, ETHERNET + header))
}

fn source(frame: &[u8]) -> IpAddr {
    let ip = &frame[ETHERNET..];
    if ip[0] >> 4 == 4 {
        IpAddr::from([ip[12], ip[13], ip[14], ip[15]])
    } else {
        let octets: [u8; 16] = ip[8..24].try_into().expect("16 bytes");
        octets.into()
    }
}

/// Whether an address is one host's (RFC 6890; RFC 4291, section 2.4).
fn names_a_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => {
            !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
        }
    }
}

/// Sets the first byte of a field, which the sum at `check` covers.
fn set_high(frame: &mut [u8], at: usize, byte: u8, check: usize) {
    let before = short(frame, at).unwrap_or(0);
    frame[at] = byte;
    let after = short(frame, at).unwrap_or(0);
    mend(frame, check, before.into(), after.into());
}
