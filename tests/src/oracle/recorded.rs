//! Flows that are recorded: who gets a new one, which source port it has, how far it has come, and its
//! replies. From docs/connections.md and the configuration's reference.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::{
    abi::Direction,
    datapath::{DropReason, PassReason},
};

use super::{
    headers::{Piece, hopped, translated},
    model::{Back, End, Flow, Leaving, Model, Name, Packet, SLOTS, Segment, opens, sound},
    site::{Mode, Scheduler, Service, version},
};
use crate::{
    cases::{
        hashes::{flow_hash, scaled},
        places::{Interface, Mac, Protocol},
    },
    slots::trace::Dice,
};

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Opening,
    Answered,
    Established,
    Closing,
    Reset,
}

/// One direction of a recorded flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The ends that its packets leave with.
    ends: Flow,
    direction: Direction,
    service: u32,
    backend: Name,
    state: State,
    /// Whether its client has not shown yet that it is there.
    young: bool,
    seen: u64,
    last: u32,
    isn: u32,
    peer_isn: u32,
    /// Of replies: where the first packet came from.
    back: (Interface, Mac),
    /// Of replies: up to which length the way back was looked up, and when.
    route: (usize, Option<u64>),
}

/// What a packet makes of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    To(State),
    Commit,
    Reopen,
}

/// Near enough to be of the same flow.
const WINDOW: u32 = 65_536;

impl Model {
    /// A client's packet to a service whose recorded flows are rewritten.
    pub(super) fn client_recorded(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
    ) -> Result<Leaving, End> {
        sound(packet)?;
        let known = self.flows.get(&packet.flow).copied();
        let goes_on = match known {
            Some(entry) => self.goes_on(packet.flow, service, entry)?,
            None => false,
        };
        if !goes_on {
            may_open(packet)?;
            let chosen = self.choose(packet.flow, service)?;
            self.open(packet, service, chosen)?;
        }
        let entry = self.flows[&packet.flow];
        let backend = self.backend(entry.backend.index)?;
        let (through, mac, mtu) = backend.way.way().ok_or(End::Drop(DropReason::NoNextHop))?;
        if packet.headers.length > mtu {
            return Err(End::Drop(DropReason::TooBig));
        }
        let frame = hopped(packet.arrival.frame, through, mac);
        let frame = translated(frame, &packet.headers, entry.ends);
        let reopened = self.follow(packet, entry, false);
        let opens = known.is_none() || reopened;
        let (id, index) = (entry.service, entry.backend.index);
        self.count(id, index, Direction::In, &packet.headers, opens);
        self.meet(service, &backend);
        Ok(Leaving { frame, through })
    }

    /// Whether a client's flow goes on as recorded. It does while its backend lives and its replies
    /// find back, which is looked after once a second, and always while it is young.
    fn goes_on(&mut self, flow: Flow, service: &Service, entry: Entry) -> Result<bool, End> {
        let lives = self.usable(Some(entry.backend));
        if !lives && service.resets {
            return Err(End::Drop(DropReason::BackendGone));
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
        let Some(entry) = self.flows.get(&packet.flow).copied() else {
            let to_source = self.site.sources.contains(&packet.flow.destination.ip());
            return Err(if to_source {
                End::Drop(DropReason::UnknownFlow)
            } else {
                End::Pass(PassReason::NoFlow)
            });
        };
        sound(packet)?;
        let (through, mac, mtu) = match entry.direction {
            Direction::In => {
                let backend = self.backend(entry.backend.index)?;
                let way = backend.way.way();
                way.ok_or(End::Drop(DropReason::NoNextHop))?
            }
            Direction::Out => self.way_of_reply(packet, entry)?,
        };
        if packet.headers.length > mtu {
            return Err(End::Drop(DropReason::TooBig));
        }
        let frame = hopped(packet.arrival.frame, through, mac);
        let frame = translated(frame, &packet.headers, entry.ends);
        // The way back may have been noted meanwhile.
        let entry = self.flows[&packet.flow];
        let reopened = self.follow(packet, entry, false);
        let (id, index) = (entry.service, entry.backend.index);
        self.count(id, index, entry.direction, &packet.headers, reopened);
        let services = &self.site.services;
        let mode = services.iter().find(|s| s.id == id).map(|s| s.mode);
        self.met.push(match mode {
            Some(Mode::Nat) => "nat, tracked, replies".into(),
            _ => "full-nat, replies".into(),
        });
        Ok(Leaving { frame, through })
    }

    /// The kernel is asked once a second, and for packets that are longer than it was asked for.
    /// While it does not know the neighbour, the way that the client's packets came is taken.
    fn way_of_reply(
        &mut self,
        packet: &Packet<'_>,
        entry: Entry,
    ) -> Result<(Interface, Mac, usize), End> {
        let (mtu, asked) = entry.route;
        if asked == Some(self.now) && packet.headers.length <= mtu {
            return Ok((entry.back.0, entry.back.1, mtu));
        }
        let client = entry.ends.destination.ip();
        let (through, mac, mtu) = match self.way_back(packet, client)? {
            Back::Resolved(through, mac, mtu) => (through, mac, mtu),
            Back::Silent(through, gateway) => {
                self.wanted.push((through.ifindex, gateway));
                if entry.back.0 != through {
                    return Err(End::Drop(DropReason::NoNeighbour));
                }
                (through, entry.back.1, mtu.max(packet.headers.length))
            }
        };
        if let Some(entry) = self.flows.get_mut(&packet.flow) {
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
        if let Some(entry) = self.flows.get(&packet.flow).copied() {
            if self.usable(Some(entry.backend)) {
                let reopened = self.follow(packet, entry, true);
                return Ok((entry.backend.index, reopened));
            }
            if service.resets {
                return Err(End::Drop(DropReason::BackendGone));
            }
            self.flows.remove(&packet.flow);
        }
        may_open(packet)?;
        let backend = self.choose(packet.flow, service)?;
        self.make_room(packet.flow)?;
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
        let room = self.crowd(flow, false) < self.site.flows;
        if let Some(entry) = self.flows.get_mut(&flow).filter(|_| room) {
            entry.young = false;
        }
    }

    /// Flows of this one's family in one of the tables.
    fn crowd(&self, flow: Flow, young: bool) -> usize {
        let v4 = flow.source.is_ipv4();
        let all = self.flows.iter();
        all.filter(|(other, entry)| other.source.is_ipv4() == v4 && entry.young == young)
            .count()
    }

    fn make_room(&self, flow: Flow) -> Result<(), End> {
        if self.crowd(flow, true) < self.site.flows {
            Ok(())
        } else {
            Err(End::Drop(DropReason::FlowTableFull))
        }
    }

    /// The backend of a new flow.
    fn choose(&mut self, flow: Flow, service: &Service) -> Result<Name, End> {
        let client = (service.id, prefix(flow.source.ip(), service.prefix));
        let kept = self.affinities.get(&client).copied();
        let kept = kept.filter(|(name, since)| {
            let recent = service
                .affinity
                .is_some_and(|limit| self.now - since < limit);
            let weight = self.site.backends.get(&name.index).map_or(0, |b| b.weight);
            recent && self.usable(Some(*name)) && weight > 0 && self.has_room(name.index)
        });
        let chosen = match kept {
            Some((name, _)) => name,
            None => self.schedule(flow, service)?,
        };
        if service.affinity.is_some() {
            self.affinities.insert(client, (chosen, self.now));
        }
        Ok(chosen)
    }

    /// Up to eight slots are looked at, until one has a living backend with room.
    fn schedule(&mut self, flow: Flow, service: &Service) -> Result<Name, End> {
        let hash = self.hash(flow, service);
        let mut places = Dice::new(hash);
        // The first of them is for source ports alone.
        places.roll();
        let (mut first, mut why) = (None, DropReason::NoBackend);
        for n in 0..8 {
            let place = match service.scheduler {
                Scheduler::RoundRobin => {
                    let turn = self.turns.entry(service.id).or_default();
                    *turn += 1;
                    (*turn - 1) % SLOTS
                }
                Scheduler::Hash | Scheduler::LeastConnections if n == 0 => {
                    scaled(hash >> 32, SLOTS)
                }
                Scheduler::Hash | Scheduler::LeastConnections => scaled(places.roll() >> 32, SLOTS),
            };
            let index = service.slots[place as usize % service.slots.len()].current();
            if index == 0 {
                break;
            }
            if Some(index) == first || !self.site.backends[&index].alive {
                continue;
            }
            if !self.has_room(index) {
                why = DropReason::MaxFlows;
                continue;
            }
            let Some(other) = first else {
                first = Some(index);
                if service.scheduler == Scheduler::LeastConnections {
                    continue;
                }
                break;
            };
            first = Some(self.less_loaded(other, index));
            break;
        }
        let name = first.and_then(|index| self.name(index));
        name.ok_or(End::Drop(why))
    }

    fn less_loaded(&self, a: u32, b: u32) -> u32 {
        let load = |index| {
            (self.flows_of(index) + 1) as f64 / f64::from(self.site.backends[&index].weight)
        };
        if load(b) < load(a) { b } else { a }
    }

    fn has_room(&self, index: u32) -> bool {
        let limit = self.site.backends[&index].max_flows;
        limit == 0 || self.flows_of(index) < i64::from(limit)
    }

    fn flows_of(&self, index: u32) -> i64 {
        self.active.get(&index).copied().unwrap_or(0)
    }

    /// Records a flow and its replies, under a source port that is free.
    fn open(&mut self, packet: &Packet<'_>, service: &Service, chosen: Name) -> Result<(), End> {
        let backend = self.backend(chosen.index)?;
        let (.., mtu) = backend.way.way().ok_or(End::Drop(DropReason::NoNextHop))?;
        if packet.headers.length > mtu {
            return Err(End::Drop(DropReason::TooBig));
        }
        let flow = packet.flow;
        let port = backend.port.unwrap_or(service.end.port());
        let to = SocketAddr::new(backend.address, port);
        let mut numbers = Dice::new(flow_hash(self.site.seed, flow.into()));
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
            if let Err(full) = self.make_room(flow) {
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
            self.make_room(replies)?;
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

    fn entry(
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

/// The number that a side began with, if this is the first that is seen of it.
fn began(segment: Segment) -> u32 {
    let syn = segment.flags & 2 != 0;
    segment.sequence.wrapping_sub(u32::from(!syn))
}

/// A later fragment opens no flow, nor does a reset.
fn may_open(packet: &Packet<'_>) -> Result<(), End> {
    if packet.headers.piece == Piece::Later {
        Err(End::Drop(DropReason::FlowEvicted))
    } else if packet.segment.flags & 4 != 0 {
        Err(End::Drop(DropReason::ResetWithoutFlow))
    } else {
        Ok(())
    }
}

/// What a packet makes of its flow: opening, answered, established, closing or reset.
fn change(entry: Entry, packet: &Packet<'_>, one_way: bool) -> Change {
    let Segment {
        flags,
        sequence,
        acknowledgement,
    } = packet.segment;
    let inwards = entry.direction == Direction::In;
    let udp = packet.flow.protocol == Protocol::Udp;
    if opens(flags) && inwards {
        return match entry.state {
            State::Opening | State::Answered if sequence != entry.isn => Change::Reopen,
            State::Opening | State::Answered | State::Established => Change::None,
            State::Closing | State::Reset => Change::Reopen,
        };
    }
    // A refusal has no number of its own.
    let refusal = entry.state == State::Opening && !inwards && flags & 0x14 == 0x14;
    let (number, last) = if refusal {
        (acknowledgement, entry.isn)
    } else {
        (sequence, entry.last)
    };
    let distance = (number.wrapping_sub(last) as i32).unsigned_abs();
    if flags & 5 != 0 && distance < WINDOW {
        let ended = if flags & 4 != 0 {
            State::Reset
        } else {
            State::Closing
        };
        return if entry.state < ended {
            Change::To(ended)
        } else {
            Change::None
        };
    }
    let after = |number: u32, first: u32| (1..=WINDOW).contains(&number.wrapping_sub(first));
    let follows = udp || after(sequence, entry.isn);
    let answers = udp || after(acknowledgement, entry.peer_isn);
    match (entry.state, inwards) {
        (State::Opening, false) => Change::To(State::Answered),
        (State::Opening, true) if one_way && follows => Change::Commit,
        (State::Answered, true) if follows && answers => Change::Commit,
        _ => Change::None,
    }
}

/// The first bits of an address.
fn prefix(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}
