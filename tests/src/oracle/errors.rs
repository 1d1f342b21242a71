//! ICMP errors that come in: whom they go to, and what they quote then. From docs/icmp.md; RFC 5508,
//! sections 4.2 and 4.3; RFC 5927, section 4.1.
//!
//! ```text
//! about a packet of the backend's:  ──► the flow's backend, in its service's mode
//! about one that was rewritten:     ──► the flow's client
//! about one behind our header:      ──► its client, as one made here about the packet inside
//! ```

use std::net::IpAddr;

use lb_common::{
    abi::Direction,
    datapath::{DropReason, PassReason},
};

use super::{
    counterparts::{self, across, counterpart},
    exceptions::{Kind, Proof, Sighting},
    hashed::{fits, slot},
    headers::hopped,
    icmp::{Message, plain},
    listening::Target,
    made::{Envelope, Error, longest},
    model::{End, Flow, Leaving, Model},
    modes::digit,
    packet::Arrival,
    quoted::{LEAST, Quote, read, requoted},
    site::{Mode, Service},
    tunnels::{Outer, wrapped},
};
use crate::cases::places::{Interface, Mac};

/// How near numbers have to be.
const NEAR: u32 = 1 << 20;

/// No link takes less (RFC 791, section 3.2).
const SMALLEST: usize = 68;

/// How an error goes on.
struct Way {
    hop: (Interface, Mac, usize),
    service: u32,
    backend: u32,
    direction: Direction,
    headers: How,
}

/// With which headers.
enum How {
    /// Those that it has.
    Same,
    /// Others around them.
    Around(Outer),
    /// The ends that an answer to the quoted packet would get.
    Between(Flow),
}

impl Model {
    /// What becomes of an error.
    pub(super) fn error(
        &mut self,
        arrival: Arrival<'_>,
        message: &Message,
    ) -> Result<Leaving, End> {
        let none = End::Pass(PassReason::Icmp);
        let quote = Quote::of(arrival.frame, message).ok_or(none.clone())?;
        let way = match quote.answer() {
            Some(answer) => self.way_of_error(arrival.ingress, message, &quote, answer),
            None => Err(none.clone()),
        };
        match way {
            Ok(way) => self.sent_on(arrival, message, &quote, way),
            Err(end) if end == none => self.told_inside(arrival, message, &quote),
            Err(end) => Err(end),
        }
    }

    /// Where packets of this flow go, which answer the quoted one.
    fn way_of_error(
        &mut self,
        ingress: Interface,
        message: &Message,
        quote: &Quote<'_>,
        answer: Flow,
    ) -> Result<Way, End> {
        match self.site.target(answer) {
            Target::Service(service) if service.is_steered() => {
                self.error_to_backend(quote, answer, &service)
            }
            Target::Reply(service, index) if !service.tracked => {
                let client = answer.destination.ip();
                let back = self.way_back(ingress, message.ip.length, client)?;
                Ok(Way {
                    hop: self.resolved(back)?,
                    service: service.id,
                    backend: index,
                    direction: Direction::Out,
                    headers: How::Between(service.answers(answer)),
                })
            }
            Target::Service(service) => {
                let entry = self.flows.get(&answer);
                if entry.is_some_and(|entry| !entry.is_for(&service)) {
                    return Err(End::Pass(PassReason::Icmp));
                }
                self.error_as_recorded(ingress, message, quote, answer)
            }
            Target::Source | Target::Reply(..) => {
                self.error_as_recorded(ingress, message, quote, answer)
            }
            Target::Nobody => Err(End::Pass(PassReason::Icmp)),
        }
    }

    /// To the backend of a flow that is not rewritten by its record.
    fn error_to_backend(
        &mut self,
        quote: &Quote<'_>,
        answer: Flow,
        service: &Service,
    ) -> Result<Way, End> {
        let index = self.whose_error(answer, service, quote.acknowledged())?;
        let backend = self.backend(index)?;
        let headers = match self.outer(answer, &backend) {
            Some(outer) => How::Around(outer),
            None if backend.mode == Mode::Nat => How::Between(backend.towards(answer)),
            None => How::Same,
        };
        Ok(Way {
            hop: backend.way.way().ok_or(End::Drop(DropReason::NoNextHop))?,
            service: service.id,
            backend: index,
            direction: Direction::In,
            headers,
        })
    }

    /// Whose a client's flow is, of which nothing is noted; `next`: what its client sends next.
    fn whose_error(
        &mut self,
        flow: Flow,
        service: &Service,
        next: Option<u32>,
    ) -> Result<u32, End> {
        if !service.tracked {
            let hash = self.hash(flow, service);
            let slot = service.slots[slot(hash, service.slots.len())];
            let sighting = Sighting {
                kind: Kind::Peek,
                proof: next.map_or(Proof::None, |_| Proof::Sequence),
                sequence: next.unwrap_or(0),
            };
            return self.owner(flow, service, slot, sighting);
        }
        let entry = self.flows.get(&flow).copied();
        let entry = entry.filter(|entry| entry.is_for(service));
        let entry = entry.ok_or(End::Pass(PassReason::Icmp))?;
        if let Some(next) = next {
            near(next, entry.last)?;
        }
        if self.usable(Some(entry.backend)) {
            Ok(entry.backend.index)
        } else {
            Err(End::Pass(PassReason::Icmp))
        }
    }

    /// To the other end of a recorded flow, whose other entry has seen the quoted packet.
    fn error_as_recorded(
        &mut self,
        ingress: Interface,
        message: &Message,
        quote: &Quote<'_>,
        answer: Flow,
    ) -> Result<Way, End> {
        let entry = self.flows.get(&answer).copied();
        let entry = entry.ok_or(End::Pass(PassReason::Icmp))?;
        let twin = self.flows.get(&entry.ends.back());
        let twin = twin.ok_or(End::Pass(PassReason::Icmp))?;
        if quote.ip.protocol == 6 {
            near(quote.sequence(), twin.last)?;
        }
        let hop = match entry.direction {
            Direction::In => {
                let way = self.backend(entry.backend.index)?.way.way();
                way.ok_or(End::Drop(DropReason::NoNextHop))?
            }
            Direction::Out => {
                let length = message.length_to(entry.ends.destination.ip());
                self.way_of_reply(answer, entry, ingress, length)?
            }
        };
        Ok(Way {
            hop,
            service: entry.service,
            backend: entry.backend.index,
            direction: entry.direction,
            headers: How::Between(entry.ends),
        })
    }

    /// Sends an error on, about which nothing is made.
    fn sent_on(
        &mut self,
        arrival: Arrival<'_>,
        message: &Message,
        quote: &Quote<'_>,
        way: Way,
    ) -> Result<Leaving, End> {
        if message.ip.hops <= 1 {
            return Err(End::Drop(DropReason::TtlExpired));
        }
        let (through, mac, mtu) = way.hop;
        let outer = match &way.headers {
            How::Around(outer) => Some(outer),
            How::Same | How::Between(_) => None,
        };
        let towards = match &way.headers {
            How::Between(ends) => ends.destination.ip(),
            How::Same | How::Around(_) => message.ip.destination,
        };
        fits(message.length_to(towards), outer, mtu, arrival.headroom)?;
        let frame = hopped(arrival.frame, through, mac);
        let frame = match &way.headers {
            How::Same => frame,
            How::Around(outer) => wrapped(&frame, &message.ip, outer),
            How::Between(ends) if message.goes_across(towards) => {
                let said = counterpart(message, quote.ip.length);
                let said = said.ok_or(End::Drop(DropReason::CrossingShape))?;
                if message.length_to(towards) > message.ip.length + arrival.headroom {
                    return Err(End::Drop(DropReason::NoHeadroom));
                }
                let (from, to) = (digit(message.ip.source), digit(towards));
                self.met.push(counterparts::met(from, to));
                let link = [through.mac, mac];
                across(arrival.frame, message, quote, (link, *ends, said))
            }
            How::Between(ends) => requoted(frame, message, quote, *ends),
        };
        let (service, backend) = (way.service, way.backend);
        self.count(service, backend, way.direction, &message.ip, false);
        let mode = self.backend(backend)?.mode.name();
        self.met.push(match way.direction {
            Direction::In => format!("error to a backend, {mode}"),
            Direction::Out => format!("error to a client, {mode}"),
        });
        Ok(Leaving { frame, through })
    }

    /// Tells the client of a packet, quoted behind the headers that it got here, that it does not fit.
    fn told_inside(
        &mut self,
        arrival: Arrival<'_>,
        message: &Message,
        quote: &Quote<'_>,
    ) -> Result<Leaving, End> {
        let (short_one, around) = match quote.ip.protocol {
            4 | 41 => (PassReason::TunnelError, quote.ip.before),
            17 => (PassReason::Icmp, quote.ip.before + 8),
            _ => return Err(End::Pass(PassReason::Icmp)),
        };
        let inside = &quote.bytes[around..];
        let needed = match inside.first().map(|byte| byte >> 4) {
            Some(4) => 20 + LEAST,
            Some(6) => 40 + LEAST,
            Some(_) | None => return Err(End::Pass(PassReason::Icmp)),
        };
        if inside.len() < needed {
            return Err(End::Pass(short_one));
        }
        let none = End::Pass(PassReason::Icmp);
        let request = read(inside).and_then(|ip| ip.flow());
        let request = request.ok_or(none.clone())?;
        let service = match self.site.target(request) {
            Target::Service(service) if service.is_steered() => service,
            Target::Service(_) | Target::Source | Target::Reply(..) | Target::Nobody => {
                return Err(none);
            }
        };
        let index = self.whose_error(request, &service, None)?;
        let backend = self.backend(index)?;
        if backend.address != quote.ip.destination {
            return Err(none);
        }
        let mtu = message.fitting();
        if mtu < SMALLEST + around {
            return Err(End::Pass(PassReason::TunnelError));
        }
        let client = request.source.ip();
        let back = self.way_back(arrival.ingress, longest(client), client)?;
        let (through, mac, _) = self.resolved(back)?;
        let envelope = Envelope {
            link: [through.mac, mac],
            source: request.destination.ip(),
            destination: client,
        };
        let said = plain(inside).map_or(0, |ip| ip.length);
        let packet = &inside[..inside.len().min(said)];
        let frame = self.told(&envelope, Error::TooBig(mtu - around), packet);
        let frame = frame.ok_or(End::Drop(DropReason::ErrorLimit))?;
        self.count(service.id, index, Direction::Out, &message.ip, false);
        let (mode, inner, outer) = (backend.mode.name(), digit(client), digit(backend.address));
        self.met
            .push(format!("error from {mode}, {inner} in {outer}"));
        Ok(Leaving { frame, through })
    }
}

impl Message {
    /// The length that the packet should have had that an error speaks of; 0: it does not say.
    fn fitting(&self) -> usize {
        match (self.ip.source, self.kind, self.code) {
            (IpAddr::V4(_), 3, 4) => (self.rest & 0xffff) as usize,
            (IpAddr::V6(_), 2, _) => self.rest.min(0xffff) as usize,
            _ => 0,
        }
    }
}

fn near(number: u32, last: u32) -> Result<(), End> {
    if (number.wrapping_sub(last) as i32).unsigned_abs() < NEAR {
        Ok(())
    } else {
        Err(End::Drop(DropReason::ErrorNumbers))
    }
}

/// What errors may do.
pub(super) fn kinds() -> impl Iterator<Item = String> {
    let modes = ["full-nat", "nat", "dsr", "ipip", "gue"];
    let to_backends = modes.map(|mode| format!("error to a backend, {mode}"));
    let to_clients = ["full-nat", "nat"].map(|mode| format!("error to a client, {mode}"));
    let pairs = [(4, 4), (4, 6), (6, 4), (6, 6)].into_iter();
    let from_tunnels = pairs.flat_map(|(inner, outer)| {
        ["ipip", "gue"].map(|mode| format!("error from {mode}, {inner} in {outer}"))
    });
    to_backends
        .into_iter()
        .chain(to_clients)
        .chain(from_tunnels)
        .chain(counterparts::kinds())
}
