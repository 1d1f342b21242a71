//! What is made here in the place of a packet: an ICMP error about it, or a TCP reset; and how many of
//! them. From docs/icmp.md; RFC 9293, section 3.10.7.1.

use std::{collections::HashMap, net::IpAddr};

use etherparse::IpNumber;
use lb_common::datapath::{AnswerReason, DropReason};

use super::{
    headers::{ETHERNET, HOPS, anew},
    icmp::{self, HEADER, number},
    listening::{Target, first_bits},
    model::{End, Model},
    packet::Packet,
};
use crate::cases::{
    frame::{ACK, FIN, RST, SYN},
    messages,
    places::Mac,
};

/// Frames that may be made here in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rates {
    /// ICMP errors.
    pub(super) errors: u32,
    /// ICMP errors towards one /24 or /64.
    pub(super) errors_per_source: u32,
    /// TCP resets.
    pub(super) resets: u32,
    /// TCP resets towards one /24 or /64.
    pub(super) resets_per_source: u32,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Error,
    Reset,
}

/// Why nothing is made.
const ONE_HAD_ENOUGH: &str = "nothing made: enough for one";
/// Why nothing is made.
const ALL_HAD_ENOUGH: &str = "nothing made: enough for all";

/// When frames of a kind were last made, towards one prefix or to all, and how many in that second.
pub(super) struct Spent(HashMap<(Kind, Option<IpAddr>), (u64, u32)>);

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The packet does not fit; what does.
    TooBig(usize),
    /// Its hops are used up.
    Expired,
    /// Nobody serves its port.
    PortUnreachable,
}

/// How a frame that is made here leaves: from one MAC address to another, from one address to another.
#[derive(Clone, Copy)]
pub(super) struct Envelope {
    pub(super) link: [Mac; 2],
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

impl Spent {
    /// Nothing was made.
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Takes one of so many a second, if there is one left.
    fn take(&mut self, of: (Kind, Option<IpAddr>), rate: u32, now: u64) -> bool {
        let (second, made) = self.0.entry(of).or_insert((now, 0));
        if *second != now {
            (*second, *made) = (now, 0);
        }
        let may = *made < rate;
        *made += u32::from(may);
        may
    }
}

impl Model {
    /// What becomes of a packet that ends so: it may be answered. Only plain ones are.
    pub(super) fn answered(&mut self, packet: &Packet<'_>, end: End) -> End {
        let rejects = || match self.site.target(packet.flow) {
            Target::Service(service) => service.rejects,
            Target::Source | Target::Reply(..) | Target::Nobody => false,
        };
        let tells = |error| (error, false);
        let (reason, (error, resets)) = match end {
            End::TooBig(mtu) => (AnswerReason::ToldTooBig, tells(Error::TooBig(mtu))),
            End::Drop(DropReason::TtlExpired) => (AnswerReason::ToldExpired, tells(Error::Expired)),
            End::Drop(DropReason::NoBackend) if rejects() => {
                (AnswerReason::Rejected, (Error::PortUnreachable, true))
            }
            End::Drop(DropReason::BackendGone) => {
                (AnswerReason::Reset, (Error::PortUnreachable, true))
            }
            end => return end,
        };
        let (frame, headers) = (packet.arrival.frame, &packet.headers);
        if !headers.is_plain() || from_group(frame) {
            return end;
        }
        let from = frame[6..12].try_into().expect("six bytes");
        let envelope = Envelope {
            link: [packet.arrival.ingress.mac, from],
            source: headers.destination,
            destination: headers.source,
        };
        let resets = resets && headers.protocol == 6;
        let made = match resets {
            true => self.reset(packet, &envelope),
            false => self.told(
                &envelope,
                error,
                &frame[ETHERNET..ETHERNET + headers.length],
            ),
        };
        // The IP and ICMP headers go in front of the packet.
        let room = resets || packet.arrival.headroom >= headers.before + HEADER;
        let Some(made) = made.filter(|_| room) else {
            return end;
        };
        let version = if headers.source.is_ipv4() { 4 } else { 6 };
        let what = if resets { "a reset" } else { "an error" };
        self.met
            .push(format!("{} {version}, {what}", reason.name()));
        End::Answer(reason, made)
    }

    /// An error about a packet, if one may be made. It quotes so much that it is 576 bytes long (RFC 1812,
    /// section 4.3.2.3) or 1280 (RFC 4443, section 2.4), whole words alone.
    pub(super) fn told(&mut self, to: &Envelope, error: Error, packet: &[u8]) -> Option<Vec<u8>> {
        let rates = self.site.rates;
        let rates = (rates.errors_per_source, rates.errors);
        self.may_make(Kind::Error, to.destination, rates)
            .then_some(())?;
        let most = longest(to.destination) - header(to.destination) - HEADER;
        let quote = &packet[..packet.len().min(most) & !3];
        let protocol = IpNumber(number(to.source));
        let length = HEADER + quote.len();
        let ends = [to.source, to.destination];
        let ip = anew(ends, protocol, (0, HOPS), length);
        let fields = error.fields(to.source);
        Some(icmp::frame(to.link, ends, &ip, fields, quote))
    }

    /// The reset that answers a segment, if one may be made. None answers a reset.
    fn reset(&mut self, packet: &Packet<'_>, to: &Envelope) -> Option<Vec<u8>> {
        let (segment, headers) = (packet.segment, &packet.headers);
        let has = |flag| segment.flags & flag != 0;
        let rates = self.site.rates;
        let rates = (rates.resets_per_source, rates.resets);
        let may = !has(RST) && self.may_make(Kind::Reset, to.destination, rates);
        may.then_some(())?;
        let start = ETHERNET + headers.before;
        let offset = usize::from(packet.arrival.frame[start + 12] >> 4) * 4;
        let payload = (headers.length - headers.before - offset) as u32;
        let taken = payload + u32::from(has(SYN)) + u32::from(has(FIN));
        let numbers = match has(ACK) {
            true => (segment.acknowledgement, None),
            false => (0, Some(segment.sequence.wrapping_add(taken))),
        };
        let ends = [packet.flow.destination, packet.flow.source];
        Some(messages::reset(to.link, ends, numbers))
    }

    /// Whether one more may be made towards this address: the rate of its prefix is asked first, so that who
    /// gets no more takes nothing of what all share.
    fn may_make(&mut self, kind: Kind, to: IpAddr, (of_one, of_all): (u32, u32)) -> bool {
        let prefix = first_bits(to, if to.is_ipv4() { 24 } else { 64 });
        if !names_a_host(to) {
            return false;
        }
        let enough = if !self.spent.take((kind, Some(prefix)), of_one, self.now) {
            Some(ONE_HAD_ENOUGH)
        } else if !self.spent.take((kind, None), of_all, self.now) {
            Some(ALL_HAD_ENOUGH)
        } else {
            None
        };
        self.met.extend(enough.map(String::from));
        enough.is_none()
    }
}

impl Error {
    /// Type, code and the rest of the header, over the family of an address.
    fn fields(self, address: IpAddr) -> (u8, u8, u32) {
        match (self, address) {
            (Self::TooBig(mtu), IpAddr::V4(_)) => (3, 4, mtu as u32 & 0xffff),
            (Self::TooBig(mtu), IpAddr::V6(_)) => (2, 0, mtu as u32),
            (Self::Expired, IpAddr::V4(_)) => (11, 0, 0),
            (Self::Expired, IpAddr::V6(_)) => (3, 0, 0),
            (Self::PortUnreachable, IpAddr::V4(_)) => (3, 3, 0),
            (Self::PortUnreachable, IpAddr::V6(_)) => (1, 4, 0),
        }
    }
}

/// The longest error towards an address.
pub(super) fn longest(to: IpAddr) -> usize {
    if to.is_ipv4() { 576 } else { 1280 }
}

fn header(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// Whether a frame says that a group of stations sent it: none comes from one.
pub(super) fn from_group(frame: &[u8]) -> bool {
    frame[6] & 1 != 0
}

/// Whether an address is one host's (RFC 6890; RFC 4291, section 2.4).
pub(super) fn names_a_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => {
            !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
        }
    }
}

/// What is made of what, over which family.
pub(super) fn kinds() -> impl Iterator<Item = String> {
    let kinds = [
        (AnswerReason::ToldTooBig, "an error"),
        (AnswerReason::ToldExpired, "an error"),
        (AnswerReason::Rejected, "an error"),
        (AnswerReason::Rejected, "a reset"),
        (AnswerReason::Reset, "an error"),
        (AnswerReason::Reset, "a reset"),
    ];
    let both = kinds
        .into_iter()
        .flat_map(|kind| [4, 6].map(|version| (kind, version)));
    let made = both.map(|((reason, what), version)| format!("{} {version}, {what}", reason.name()));
    made.chain([ONE_HAD_ENOUGH, ALL_HAD_ENOUGH].map(String::from))
}
