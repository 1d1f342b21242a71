//! The balancer once more: slow, of plain collections, written from slots.md and the documentation.
//! It says what has to become of a frame. From lb-common it takes names (reasons, counters), no rule;
//! the flow hash is the siphasher crate's.
//!
//! ```text
//! model ─► packet            a frame's way through the stages; what was read of it
//!       ├► hashed            flows that are not rewritten by a record
//!       │   └► exceptions    whose one is while its slot is not settled
//!       ├► recorded, across  flows that are, and their replies
//!       │   ├► choosing      who gets a new one
//!       │   ├► opening       its source port, and its entries
//!       │   └► progress      how far it has come
//!       ├► admission         who may use a service
//!       ├► listening         what services listen on
//!       ├► icmp              messages
//!       │   ├► echo          services' addresses answer
//!       │   └► errors        about packets of flows: whom they go to
//!       ├► made              what goes back in the place of a packet
//!       ├► tags, tunnels     VLAN tags, headers around packets
//!       └► routes, modes     the kernel's routes; names of what was met
//! ```
//! Time goes by whole seconds. What it leaves out: the limit of fragmented packets per source; the MSS clamp,
//! which is off; errors about flows that may cross families, which stories are without
//! ([`Model::is_left_out`]).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    abi::{Counters, Direction, Fate, Handshake, Recorded},
    datapath::{AnswerReason, DropReason, Egress, Outcome, PassReason},
};

use super::{
    across::may_cross,
    admission::Tokens,
    exceptions::{Budget, Exception},
    headers::{ETHERNET, Headers, Piece, long, read_v4, read_v6, short},
    listening::Target,
    made::Spent,
    packet::{Arrival, Packet, Segment},
    progress::Entry,
    site::{Backend, Service, Site},
    tags::{TAG, untagged},
};
use crate::cases::{
    case::Ends,
    hashes::{flow_hash, source_hash},
    places::{FOREIGN, Interface, Protocol},
    ring::Counts,
};

/// Slots of every table.
pub(super) const SLOTS: u64 = 1021;

/// What identifies a flow in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    /// Where its packets come from.
    pub(super) source: SocketAddr,
    /// Where they go.
    pub(super) destination: SocketAddr,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
}

/// Why a packet is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It passes.
    Pass(PassReason),
    /// It is dropped.
    Drop(DropReason),
    /// It is dropped as of a backend that is gone, which nobody is told of.
    Ended,
    /// It is dropped, since it does not fit; the longest that does.
    TooBig(usize),
    /// This frame goes back.
    Answer(AnswerReason, Vec<u8>),
}

/// What has to become of a frame.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Verdict and reason.
    pub(super) outcome: Outcome,
    /// The frame as it leaves.
    pub(super) frame: Option<Vec<u8>>,
    /// The device that it leaves through.
    pub(super) device: Option<u16>,
    /// The neighbours that the agent is asked for.
    pub(super) wanted: Vec<(u32, IpAddr)>,
    /// What went unrecorded.
    pub(super) unrecorded: Vec<(u32, Recorded)>,
    /// What was met on the way: modes, phases.
    pub(super) met: Vec<String>,
}

/// A frame on its way out.
pub(super) struct Leaving {
    pub(super) frame: Vec<u8>,
    pub(super) through: Interface,
}

/// A backend by its index and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) index: u32,
    pub(super) generation: u8,
}

/// What fragments of a packet have in common: addresses, number, and the protocol over IPv4.
type Fragments = (IpAddr, IpAddr, u32, u8);

/// What the first one says: ports, protocol; and when it came.
type First = ([u16; 2], u8, u64);

/// The balancer.
pub(super) struct Model {
    pub(super) site: Site,
    pub(super) now: u64,
    pub(super) exceptions: HashMap<Flow, Exception>,
    pub(super) budget: Budget,
    pub(super) flows: HashMap<Flow, Entry>,
    pub(super) affinities: HashMap<(u32, IpAddr), (Name, u64)>,
    pub(super) active: HashMap<u32, i64>,
    pub(super) turns: HashMap<u32, u64>,
    fragments: HashMap<Fragments, First>,
    pub(super) tokens: Tokens,
    pub(super) spent: Spent,
    counts: Counts,
    pub(super) wanted: Vec<(u32, IpAddr)>,
    pub(super) unrecorded: Vec<(u32, Recorded)>,
    pub(super) met: Vec<String>,
}

impl Model {
    /// A balancer that has seen nothing.
    pub(super) fn new(site: Site) -> Self {
        Self {
            site,
            now: 1000,
            exceptions: HashMap::new(),
            budget: Budget::default(),
            flows: HashMap::new(),
            affinities: HashMap::new(),
            active: HashMap::new(),
            turns: HashMap::new(),
            fragments: HashMap::new(),
            tokens: Tokens::new(),
            spent: Spent::new(),
            counts: Counts::default(),
            wanted: Vec::new(),
            unrecorded: Vec::new(),
            met: Vec::new(),
        }
    }

    /// It is told something else; what it has recorded stays.
    pub(super) fn set_site(&mut self, site: Site) {
        self.site = site;
    }

    /// Time passes.
    pub(super) fn advance(&mut self, seconds: u32) {
        self.now += u64::from(seconds);
    }

    /// What is recorded of a flow goes.
    pub(super) fn forget(&mut self, flow: Flow) {
        if self.flows.remove(&flow).is_none() {
            self.exceptions.remove(&flow);
        }
    }

    /// What was counted.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What has to become of a frame.
    pub(super) fn handle(&mut self, arrival: Arrival<'_>) -> Answer {
        self.wanted.clear();
        self.unrecorded.clear();
        self.met.clear();
        let end = self.way(arrival);
        let through = arrival.ingress;
        let (outcome, leaving) = match end {
            Ok(leaving) if leaving.through == through => {
                (Outcome::Forward(Egress::Transmit), Some(leaving))
            }
            Ok(leaving) => (Outcome::Forward(Egress::Redirect), Some(leaving)),
            Err(End::Pass(reason)) => (Outcome::Pass(reason), None),
            Err(End::Drop(reason)) => (Outcome::Drop(reason), None),
            Err(End::TooBig(_)) => (Outcome::Drop(DropReason::TooBig), None),
            Err(End::Ended) => (Outcome::Drop(DropReason::BackendGone), None),
            Err(End::Answer(reason, frame)) => {
                (Outcome::Answer(reason), Some(Leaving { frame, through }))
            }
        };
        let counter = (arrival.ingress.device, outcome.name());
        *self.counts.outcomes.entry(counter).or_default() += 1;
        Answer {
            outcome,
            device: leaving.as_ref().map(|leaving| leaving.through.device),
            frame: leaving.map(|leaving| leaving.frame),
            wanted: std::mem::take(&mut self.wanted),
            unrecorded: std::mem::take(&mut self.unrecorded),
            met: std::mem::take(&mut self.met),
        }
    }

    fn way(&mut self, arrival: Arrival<'_>) -> Result<Leaving, End> {
        if arrival.ingress == FOREIGN {
            return Err(End::Pass(PassReason::UnknownInterface));
        }
        let Some(frame) = untagged(arrival.frame).map_err(End::Pass)? else {
            return self.way_untagged(arrival);
        };
        let leaving = self.way_untagged(Arrival {
            frame: &frame,
            headroom: arrival.headroom + TAG,
            ..arrival
        })?;
        self.met.push("a priority's tag".into());
        Ok(leaving)
    }

    fn way_untagged(&mut self, arrival: Arrival<'_>) -> Result<Leaving, End> {
        let mut packet = match self.read(arrival) {
            Err(End::Pass(PassReason::Icmp)) => return self.message(arrival),
            read => read?,
        };
        let first = (packet.headers.piece == Piece::First).then_some(packet.flow);
        let whose = self.whose(&mut packet);
        let leaving = whose.map_err(|end| self.answered(&packet, end))?;
        if let Some(flow) = first {
            self.remember(&packet.headers, flow);
        }
        Ok(leaving)
    }

    /// What is it? What can't be read passes.
    pub(super) fn read<'a>(&self, arrival: Arrival<'a>) -> Result<Packet<'a>, End> {
        let frame = arrival.frame;
        if frame.len() < ETHERNET {
            return Err(End::Pass(PassReason::Truncated));
        }
        let read = match short(frame, 12) {
            Some(0x0800) => read_v4,
            Some(0x86dd) => read_v6,
            Some(0x0806) => return Err(End::Pass(PassReason::Arp)),
            _ => return Err(End::Pass(PassReason::OtherEthertype)),
        };
        if frame[..6] != arrival.ingress.mac {
            return Err(End::Pass(PassReason::OtherMac));
        }
        let mut headers = read(frame).map_err(End::Pass)?;
        if headers.piece == Piece::Later {
            let first = self.fragments.get(&fragment(&headers));
            let Some((ports, protocol, _)) = first.filter(|(.., seen)| self.now - seen < 30) else {
                return Err(End::Pass(PassReason::FragmentWithoutFirst));
            };
            (headers.ports, headers.protocol) = (*ports, *protocol);
        }
        let flow = headers.flow().ok_or(End::Pass(PassReason::OtherProtocol))?;
        let transport = ETHERNET + headers.before;
        let tcp = headers.protocol == 6 && headers.piece != Piece::Later;
        let segment = match (long(frame, transport + 4), long(frame, transport + 8)) {
            (Some(sequence), Some(acknowledgement)) if tcp => Segment {
                sequence,
                acknowledgement,
                flags: frame.get(transport + 13).copied().unwrap_or(0),
            },
            _ => Segment::default(),
        };
        Ok(Packet {
            arrival,
            headers,
            flow,
            segment,
        })
    }

    /// For 30 seconds, what is remembered stays.
    fn remember(&mut self, headers: &Headers, flow: Flow) {
        let now = self.now;
        let ports = [flow.source.port(), flow.destination.port()];
        let new = (ports, headers.protocol, now);
        let known = self.fragments.entry(fragment(headers)).or_insert(new);
        if now - known.2 >= 30 {
            *known = new;
        }
    }

    /// Whose is it? A service's, ours, or a backend's port's that answers for a service.
    fn whose(&mut self, packet: &mut Packet<'_>) -> Result<Leaving, End> {
        match self.site.target(packet.flow) {
            Target::Service(service) => self.towards_service(packet, &service),
            Target::Source => {
                let (first, count) = self.site.ports;
                let port = packet.flow.destination.port();
                let ours = port >= first && u32::from(port) < u32::from(first) + u32::from(count);
                if !ours {
                    return Err(End::Pass(PassReason::NoFlow));
                }
                if self.site.crossing {
                    may_cross(packet)?;
                }
                self.reply_recorded(packet)
            }
            Target::Reply(service, _) if service.tracked => self.reply_recorded(packet),
            Target::Reply(service, index) => self.reply(packet, &service, index),
            Target::Nobody => Err(End::Pass(PassReason::NoService)),
        }
    }

    fn towards_service(&mut self, packet: &Packet<'_>, service: &Service) -> Result<Leaving, End> {
        self.admit(packet, service)?;
        if self.crosses(service) {
            may_cross(packet)?;
        }
        if service.is_steered() {
            self.client(packet, service)
        } else {
            self.client_recorded(packet, service)
        }
    }

    /// The hash that chooses a flow's slot.
    pub(super) fn hash(&self, flow: Flow, service: &Service) -> u64 {
        let (flow, prefix) = self.hashed(flow, service);
        hash(self.site.seed, flow, prefix)
    }

    /// The backend of this index.
    pub(super) fn backend(&self, index: u32) -> Result<Backend, End> {
        if index == 0 {
            return Err(End::Drop(DropReason::NoBackend));
        }
        let backend = self.site.backends.get(&index).cloned();
        backend.ok_or(End::Drop(DropReason::Inconsistent))
    }

    /// The name of the backend that has this index now.
    pub(super) fn name(&self, index: u32) -> Option<Name> {
        let backend = self.site.backends.get(&index)?;
        Some(Name {
            index,
            generation: backend.generation,
        })
    }

    /// Whether a backend lives and is still the same.
    pub(super) fn usable(&self, name: Option<Name>) -> bool {
        let Some(name) = name else { return false };
        let backend = self.site.backends.get(&name.index);
        backend.is_some_and(|b| b.alive && b.generation == name.generation)
    }

    /// Why a packet ends whose flow's backend is not usable; `None`: it goes to another.
    pub(super) fn ended(&self, name: Name, service: &Service) -> Option<End> {
        let backend = self.site.backends.get(&name.index);
        let same = backend.filter(|backend| backend.generation == name.generation);
        let gone = End::Drop(DropReason::BackendGone);
        match same.map_or(Fate::Service, |backend| backend.fate) {
            Fate::Drop => Some(End::Ended),
            Fate::Reset => Some(gone),
            Fate::Service => service.resets.then_some(gone),
        }
    }

    /// Counts how a backend's connection begins.
    pub(super) fn count_handshake(&mut self, backend: u32, step: Handshake) {
        let handshakes = self.counts.handshakes.entry(backend).or_default();
        match step {
            Handshake::Asked => handshakes.syns += 1,
            Handshake::Answered => handshakes.answered += 1,
            Handshake::Refused => handshakes.refused += 1,
        }
    }

    pub(super) fn count(
        &mut self,
        service: u32,
        backend: u32,
        direction: Direction,
        headers: &Headers,
        opens: bool,
    ) {
        let add = |counters: &mut Counters| {
            let bytes = headers.length as u64;
            match direction {
                Direction::In => {
                    counters.packets_in += 1;
                    counters.bytes_in += bytes;
                }
                Direction::Out => {
                    counters.packets_out += 1;
                    counters.bytes_out += bytes;
                }
            }
            counters.new_flows += u64::from(opens);
        };
        add(self.counts.services.entry(service).or_default());
        add(self.counts.backends.entry(backend).or_default());
    }
}

impl From<Flow> for Ends {
    fn from(flow: Flow) -> Self {
        Self {
            source: flow.source,
            destination: flow.destination,
            protocol: flow.protocol,
        }
    }
}

impl Flow {
    /// The packets that answer.
    pub(super) fn back(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ..self
        }
    }
}

/// The hash of a flow, or of so many bits of its client's address.
pub(super) fn hash(seed: [u8; 16], flow: Flow, prefix: u8) -> u64 {
    match prefix {
        0 => flow_hash(seed, flow.into()),
        bits => source_hash(seed, flow.source.ip(), bits),
    }
}

fn fragment(headers: &Headers) -> Fragments {
    let protocol = if headers.source.is_ipv4() {
        headers.protocol
    } else {
        0
    };
    (headers.source, headers.destination, headers.id, protocol)
}
