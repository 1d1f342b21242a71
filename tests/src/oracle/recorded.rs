//! Flows that are recorded: whether one goes on, what is noted of it, and its replies. From
//! docs/connections.md.

use lb_common::{
    abi::Direction,
    datapath::{DropReason, PassReason},
};

use super::{
    across::{carried, is_checked},
    headers::{Piece, hopped, translated},
    model::{End, Flow, Leaving, Model},
    opening::may_open,
    packet::{Packet, sound},
    progress::{Change, Entry, State, began, change, handshake},
    routes::Back,
    site::{Mode, Service},
};
use crate::cases::places::{Interface, Mac};

impl Model {
    /// A client's packet to a service whose recorded flows are rewritten.
    pub(super) fn client_recorded(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
    ) -> Result<Leaving, End> {
        sound(packet)?;
        let known = self.recorded_for(packet.flow, service);
        let goes_on = match known {
            Some(entry) => self.goes_on(packet.flow, service, entry)?,
            None => false,
        };
        if !goes_on {
            may_open(packet)?;
            self.admit_flow(packet, service)?;
            let chosen = self.choose(packet.flow, service)?;
            self.open(packet, service, chosen)?;
        }
        self.as_recorded(packet, known.is_none())
    }

    /// What is recorded of a flow, for packets to a service. What is of another one's replies goes.
    fn recorded_for(&mut self, flow: Flow, service: &Service) -> Option<Entry> {
        let entry = self.flows.get(&flow).copied()?;
        if entry.is_for(service) {
            return Some(entry);
        }
        self.met.push("another's replies".into());
        self.flows.remove(&flow);
        None
    }

    /// Whether a client's flow goes on as recorded. It does while its backend lives and its replies
    /// find back, which is looked after once a second, and always while it is young.
    fn goes_on(&mut self, flow: Flow, service: &Service, entry: Entry) -> Result<bool, End> {
        let lives = self.usable(Some(entry.backend));
        if !lives && let Some(end) = self.ended(entry.backend, service) {
            return Err(end);
        }
        if lives && entry.seen == self.now && !entry.young {
            return Ok(true);
        }
        let replies = entry.ends.back();
        let whole = self
            .flows
            .get(&replies)
            .is_some_and(|twin| twin.ends == flow.back());
        if lives && whole {
            return Ok(true);
        }
        if whole {
            self.flows.remove(&replies);
        }
        self.flows.remove(&flow);
        Ok(false)
    }

    /// A reply to one of our source addresses or, in `nat` mode, from a service's backend.
    pub(super) fn reply_recorded(&mut self, packet: &Packet<'_>) -> Result<Leaving, End> {
        if !self.flows.contains_key(&packet.flow) {
            let to_source = self.site.sources.contains(&packet.flow.destination.ip());
            return Err(if to_source {
                End::Drop(DropReason::UnknownFlow)
            } else {
                End::Pass(PassReason::NoFlow)
            });
        }
        sound(packet)?;
        self.as_recorded(packet, false)
    }

    /// A packet goes on as its flow's entry says.
    fn as_recorded(&mut self, packet: &Packet<'_>, opens: bool) -> Result<Leaving, End> {
        let entry = self.flows[&packet.flow];
        let (through, mac, mtu) = match entry.direction {
            Direction::In => {
                let backend = self.backend(entry.backend.index)?;
                let way = backend.way.way();
                way.ok_or(End::Drop(DropReason::NoNextHop))?
            }
            Direction::Out => {
                let client = entry.ends.destination.ip();
                let length = packet.length_to(client);
                let way = self.way_of_reply(packet.flow, entry, packet.arrival.ingress, length);
                way.map_err(|end| packet.fitted(end, client))?
            }
        };
        let frame = rewritten(packet, entry, (through, mac, mtu))?;
        // The way back may have been noted meanwhile.
        let entry = self.flows[&packet.flow];
        let begun = handshake(entry, packet, opens);
        let reopened = self.follow(packet, entry, false);
        let (id, index) = (entry.service, entry.backend.index);
        let opens = opens || reopened;
        self.count(id, index, entry.direction, &packet.headers, opens);
        if let Some(step) = begun {
            self.count_handshake(index, step);
        }
        let service = self.site.services.iter().find(|s| s.id == id).cloned();
        let service = service.expect("services stay");
        match entry.direction {
            Direction::In => self.meet(&service, &self.backend(index)?),
            Direction::Out if service.mode == Mode::Nat => {
                self.met.push("nat, tracked, replies".into());
            }
            Direction::Out => self.met.push("full-nat, replies".into()),
        }
        Ok(Leaving { frame, through })
    }

    /// The kernel is asked once a second, and for packets that are longer than it was asked for.
    /// While it does not know the neighbour, the way that the client's packets came is taken, unless a group
    /// is said to have sent them.
    pub(super) fn way_of_reply(
        &mut self,
        flow: Flow,
        entry: Entry,
        ingress: Interface,
        length: usize,
    ) -> Result<(Interface, Mac, usize), End> {
        let (mtu, asked) = entry.route;
        let client = entry.ends.destination.ip();
        if asked == Some(self.now) && length <= mtu {
            return Ok((entry.back.0, entry.back.1, mtu));
        }
        let (through, mac, mtu) = match self.way_back(ingress, length, client)? {
            Back::Resolved(through, mac, mtu) => (through, mac, mtu),
            Back::Silent(through, gateway) => {
                self.wanted.push((through.ifindex, gateway));
                let is_group = entry.back.1[0] & 1 != 0;
                if entry.back.0 != through || is_group {
                    return Err(End::Drop(DropReason::NoNeighbour));
                }
                (through, entry.back.1, mtu.max(length))
            }
        };
        if let Some(entry) = self.flows.get_mut(&flow) {
            entry.back = (through, mac);
            entry.route = (mtu, Some(self.now));
        }
        Ok((through, mac, mtu))
    }

    /// Whose a client's packet is, of a service whose recorded flows are not rewritten; and whether it
    /// opens a flow.
    pub(super) fn owner_recorded(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
    ) -> Result<(u32, bool), End> {
        if let Some(entry) = self.recorded_for(packet.flow, service) {
            if self.usable(Some(entry.backend)) {
                let reopened = self.follow(packet, entry, true);
                return Ok((entry.backend.index, reopened));
            }
            if let Some(end) = self.ended(entry.backend, service) {
                return Err(end);
            }
            self.flows.remove(&packet.flow);
        }
        may_open(packet)?;
        self.admit_flow(packet, service)?;
        let backend = self.choose(packet.flow, service)?;
        self.make_room(packet.flow, false)?;
        let entry = self.entry(packet, service, backend, packet.flow, Direction::In);
        self.flows.insert(packet.flow, entry);
        *self.active.entry(backend.index).or_default() += 1;
        Ok((backend.index, true))
    }

    /// Notes a packet in its flow's entries; whether it opens a flow that had ended once more.
    fn follow(&mut self, packet: &Packet<'_>, entry: Entry, one_way: bool) -> bool {
        if packet.headers.piece == Piece::Later {
            return false;
        }
        let segment = packet.segment;
        let change = change(entry, packet, one_way);
        let (state, now) = match change {
            Change::None => (entry.state, self.now),
            Change::To(state) => (state, self.now),
            Change::Commit => (State::Established, self.now),
            Change::Reopen => (State::Opening, self.now),
        };
        let (was, is) = (entry.state < State::Closing, state < State::Closing);
        *self.active.entry(entry.backend.index).or_default() += i64::from(is) - i64::from(was);
        let own = self.flows.get_mut(&packet.flow).expect("it was found");
        (own.seen, own.last, own.state) = (now, segment.sequence, state);
        if change == Change::Reopen {
            own.isn = began(segment);
        }
        if change == Change::None {
            return false;
        }
        let replies = entry.ends.back();
        let both = match self.flows.get_mut(&replies) {
            _ if one_way => true,
            Some(twin) if twin.ends == packet.flow.back() => {
                twin.state = state;
                if change == Change::To(State::Answered) {
                    twin.peer_isn = began(segment);
                }
                true
            }
            Some(_) | None => false,
        };
        if change == Change::Commit && both && entry.young {
            if !one_way {
                self.commit(replies);
            }
            self.commit(packet.flow);
        }
        change == Change::Reopen && !was
    }

    /// Has a flow be one of those whose clients are there, if there is room.
    fn commit(&mut self, flow: Flow) {
        let across = self.flows.get(&flow).is_some_and(|entry| entry.across);
        let room = self.crowd(flow, across, false) < self.site.flows;
        if let Some(entry) = self.flows.get_mut(&flow).filter(|_| room) {
            entry.young = false;
        }
    }

    /// Flows in one of the tables of this one's family. Those that may cross are in IPv6's.
    fn crowd(&self, flow: Flow, across: bool, young: bool) -> usize {
        let is_v4 = |flow: &Flow, across: bool| flow.source.is_ipv4() && !across;
        let v4 = is_v4(&flow, across);
        let all = self.flows.iter();
        all.filter(|(other, entry)| is_v4(other, entry.across) == v4 && entry.young == young)
            .count()
    }

    pub(super) fn make_room(&self, flow: Flow, across: bool) -> Result<(), End> {
        if self.crowd(flow, across, true) < self.site.flows {
            Ok(())
        } else {
            Err(End::Drop(DropReason::FlowTableFull))
        }
    }
}

/// The frame of a packet with the ends that its flow's entry says, if it fits its way.
fn rewritten(
    packet: &Packet<'_>,
    entry: Entry,
    (through, mac, mtu): (Interface, Mac, usize),
) -> Result<Vec<u8>, End> {
    let destination = entry.ends.destination.ip();
    if packet.length_to(destination) > mtu {
        return Err(packet.fitted(End::TooBig(mtu), destination));
    }
    let frame = hopped(packet.arrival.frame, through, mac);
    if !entry.across {
        return Ok(translated(frame, &packet.headers, entry.ends));
    }
    is_checked(packet, destination)?;
    Ok(carried(frame, &packet.headers, entry.ends))
}
