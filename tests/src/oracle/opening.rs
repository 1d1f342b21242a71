//! New recorded flows: which source port one has, whom it takes that from, and what is written down of
//! it. From docs/modes.md and docs/connections.md.

use std::net::{IpAddr, SocketAddr};

use lb_common::{abi::Direction, datapath::DropReason};

use super::{
    across::mapped,
    headers::Piece,
    model::{End, Flow, Model, Name},
    packet::Packet,
    progress::{Entry, State, began},
    site::{Mode, Service, version},
};
use crate::{
    cases::{
        hashes::{flow_hash, scaled},
        places::{Mac, Protocol},
    },
    slots::trace::Dice,
};

impl Model {
    /// Records a flow and its replies, under a source port that is free.
    pub(super) fn open(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
        chosen: Name,
    ) -> Result<(), End> {
        let backend = self.backend(chosen.index)?;
        let (.., mtu) = backend.way.way().ok_or(End::Drop(DropReason::NoNextHop))?;
        if packet.length_to(backend.address) > mtu {
            return Err(packet.fitted(End::TooBig(mtu), backend.address));
        }
        let flow = packet.flow;
        let port = backend.port.unwrap_or(flow.destination.port());
        let to = SocketAddr::new(backend.address, port);
        let across = self.crosses(service);
        let hashed = if across { mapped(flow) } else { flow };
        let mut numbers = Dice::new(flow_hash(self.site.seed, hashed.into()));
        for _ in 0..8 {
            let source = if service.mode == Mode::Nat {
                flow.source
            } else {
                self.source(backend.address, numbers.roll())
            };
            let ends = Flow {
                source,
                destination: to,
                ..flow
            };
            if !self.claim(packet, service, chosen, ends.back())? {
                continue;
            }
            if let Err(full) = self.make_room(flow, across) {
                self.flows.remove(&ends.back());
                return Err(full);
            }
            let entry = self.entry(packet, service, chosen, ends, Direction::In);
            self.flows.insert(flow, entry);
            *self.active.entry(chosen.index).or_default() += 1;
            return Ok(());
        }
        Err(End::Drop(DropReason::NoSourcePort))
    }

    /// The address and port that a number gives.
    fn source(&self, backend: IpAddr, number: u64) -> SocketAddr {
        let sources = self.site.sources.iter();
        let sources: Vec<_> = sources
            .filter(|a| version(**a) == version(backend))
            .collect();
        let address = sources[scaled(number >> 32, sources.len() as u64) as usize];
        let (first, count) = self.site.ports;
        let offset = scaled(number & 0xffff_ffff, count.into()) as u16;
        SocketAddr::new(*address, first + offset)
    }

    /// Takes these replies for a flow, unless they are another's, which has not been silent for long
    /// enough.
    fn claim(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
        chosen: Name,
        replies: Flow,
    ) -> Result<bool, End> {
        let client = packet.flow.back();
        let mut young = true;
        if let Some(holder) = self.flows.get(&replies).copied() {
            if holder.ends == client {
                young = holder.young;
            } else if !self.vacate(replies, holder) {
                return Ok(false);
            }
        }
        if !self.flows.contains_key(&replies) {
            self.make_room(replies, self.crosses(service))?;
        }
        let entry = Entry {
            young,
            ..self.entry(packet, service, chosen, client, Direction::Out)
        };
        self.flows.insert(replies, entry);
        Ok(true)
    }

    /// Has a flow go that holds a source port, if it may; whether it may.
    fn vacate(&mut self, replies: Flow, holder: Entry) -> bool {
        let services = self.site.services.iter();
        let timeouts = services
            .clone()
            .find(|s| s.id == holder.service)
            .map(|s| s.timeouts);
        let Some(timeouts) = timeouts else {
            return false;
        };
        let limit = match (holder.state, replies.protocol) {
            (State::Closing | State::Reset, _) => 60,
            (_, Protocol::Udp) => timeouts.udp,
            (State::Opening | State::Answered, _) => timeouts.handshake,
            (State::Established, _) => timeouts.established,
        };
        let other = holder.ends.back();
        let seen = self.flows.get(&other).map_or(0, |entry| entry.seen);
        if self.now - seen.max(holder.seen) < limit {
            return false;
        }
        self.flows.remove(&other);
        self.flows.remove(&replies);
        true
    }

    pub(super) fn entry(
        &self,
        packet: &Packet<'_>,
        service: &Service,
        backend: Name,
        ends: Flow,
        direction: Direction,
    ) -> Entry {
        let from: Mac = packet.arrival.frame[6..12].try_into().expect("six bytes");
        Entry {
            ends,
            direction,
            service: service.id,
            backend,
            state: State::Opening,
            across: self.crosses(service),
            young: true,
            seen: self.now,
            last: packet.segment.sequence,
            isn: began(packet.segment),
            peer_isn: 0,
            back: (packet.arrival.ingress, from),
            route: (1280, None),
        }
    }
}

/// A later fragment opens no flow, nor does a reset.
pub(super) fn may_open(packet: &Packet<'_>) -> Result<(), End> {
    if packet.headers.piece == Piece::Later {
        Err(End::Drop(DropReason::FlowEvicted))
    } else if packet.segment.flags & 4 != 0 {
        Err(End::Drop(DropReason::ResetWithoutFlow))
    } else {
        Ok(())
    }
}
