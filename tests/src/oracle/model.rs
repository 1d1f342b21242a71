//! The balancer once more: slow, of plain collections, written from slots.md and the documentation.
//! It says what has to become of a frame. From lb-common it takes names (reasons, counters), no rule;
//! the flow hash is the siphasher crate's.
//!
//! ```text
//! model       a frame's way through the stages; the modes that record nothing
//! exceptions  whose a flow is while its slot is not settled
//! recorded    flows that are recorded, and their replies
//! ```
//! Time goes by whole seconds. What it leaves out: the limit of fragmented packets per source; ICMP, all of
//! which passes here; packets made here, whose limits are 0 in every site; the MSS clamp, which is off.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use lb_common::{
    abi::{Counters, Direction, Recorded},
    datapath::{DropReason, Egress, Outcome, PassReason},
};

use super::{
    exceptions::{Budget, Exception, Kind, Proof, Sighting},
    headers::{
        ETHERNET, Headers, Outer, Piece, hopped, long, read_v4, read_v6, short, translated, wrapped,
    },
    recorded::Entry,
    site::{Backend, Mode, Service, Site, version},
};
use crate::cases::{
    case::Ends,
    hashes::{flow_hash, outer_port, outer_source, scaled, source_hash},
    places::{
        CLOSED, FOREIGN, Interface, Mac, Protocol, ROUTER, SIDE, SIDE_ROUTER, UPLINK, Version, Way,
    },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It passes.
    Pass(PassReason),
    /// It is dropped.
    Drop(DropReason),
}

/// A frame that comes in.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    /// Through which interface.
    pub(super) ingress: Interface,
    /// Its bytes.
    pub(super) frame: &'a [u8],
    /// Room in front of it.
    pub(super) headroom: usize,
}

/// A frame whose headers were read.
pub(super) struct Packet<'a> {
    pub(super) arrival: Arrival<'a>,
    pub(super) headers: Headers,
    pub(super) flow: Flow,
    /// Of TCP.
    pub(super) segment: Segment,
}

/// What a TCP header says; zeros of others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
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

    /// Takes these for what was counted.
    pub(super) fn set_counts(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// What has to become of a frame.
    pub(super) fn handle(&mut self, arrival: Arrival<'_>) -> Answer {
        self.wanted.clear();
        self.unrecorded.clear();
        self.met.clear();
        let end = self.way(arrival);
        let (outcome, leaving) = match end {
            Ok(leaving) if leaving.through == arrival.ingress => {
                (Outcome::Forward(Egress::Transmit), Some(leaving))
            }
            Ok(leaving) => (Outcome::Forward(Egress::Redirect), Some(leaving)),
            Err(End::Pass(reason)) => (Outcome::Pass(reason), None),
            Err(End::Drop(reason)) => (Outcome::Drop(reason), None),
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
        let mut packet = self.read(arrival)?;
        let first = (packet.headers.piece == Piece::First).then_some(packet.flow);
        let leaving = self.whose(&mut packet)?;
        if let Some(flow) = first {
            self.remember(&packet.headers, flow);
        }
        Ok(leaving)
    }

    /// What is it? What can't be read passes.
    fn read<'a>(&self, arrival: Arrival<'a>) -> Result<Packet<'a>, End> {
        let frame = arrival.frame;
        if arrival.ingress == FOREIGN {
            return Err(End::Pass(PassReason::UnknownInterface));
        }
        if frame.len() < ETHERNET {
            return Err(End::Pass(PassReason::Truncated));
        }
        let read = match short(frame, 12) {
            Some(0x0800) => read_v4,
            Some(0x86dd) => read_v6,
            Some(0x0806) => return Err(End::Pass(PassReason::Arp)),
            Some(0x8100 | 0x88a8 | 0x9100) => return Err(End::Pass(PassReason::Vlan)),
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
        let flow = packet.flow;
        let services = self.site.services.clone();
        let mut named = services.iter();
        let found = named.find(|s| s.end == flow.destination && s.protocol == flow.protocol);
        if let Some(service) = found {
            return if service.tracked && service.mode.translates() {
                self.client_recorded(packet, service)
            } else {
                self.client(packet, service)
            };
        }
        if self.site.sources.contains(&flow.destination.ip()) {
            let (first, count) = self.site.ports;
            let port = flow.destination.port();
            let ours = port >= first && u32::from(port) < u32::from(first) + u32::from(count);
            if !ours {
                return Err(End::Pass(PassReason::NoFlow));
            }
            return self.reply_recorded(packet);
        }
        if self.site.own.contains(&flow.destination.ip()) {
            return Err(End::Pass(PassReason::NoService));
        }
        for service in services
            .iter()
            .filter(|s| s.mode == Mode::Nat && s.protocol == flow.protocol)
        {
            for (index, end) in self.site.answering(service) {
                if end == flow.source {
                    return if service.tracked {
                        self.reply_recorded(packet)
                    } else {
                        self.reply(packet, service, index)
                    };
                }
            }
        }
        Err(End::Pass(PassReason::NoService))
    }

    /// A packet for a service whose packets go on as they are, or within others, or whose replies
    /// need no record.
    fn client(&mut self, packet: &Packet<'_>, service: &Service) -> Result<Leaving, End> {
        sound(packet)?;
        let hash = self.hash(packet.flow, service);
        let (index, opens) = if service.tracked {
            self.owner_recorded(packet, service)?
        } else {
            let slot = service.slots[slot(hash, service.slots.len())];
            let sighting = sighting(packet, service);
            let owner = self.owner(packet.flow, service, slot, sighting)?;
            (owner, opens(packet.segment.flags))
        };
        let backend = self.backend(index)?;
        let (through, mac, mtu) = backend.way.way().ok_or(End::Drop(DropReason::NoNextHop))?;
        let outer = self.outer(packet, service, &backend);
        let overhead = outer.as_ref().map_or(0, overhead);
        if packet.headers.length + overhead > mtu {
            return Err(End::Drop(DropReason::TooBig));
        }
        if overhead > packet.arrival.headroom {
            return Err(End::Drop(DropReason::NoHeadroom));
        }
        let mut frame = hopped(packet.arrival.frame, through, mac);
        if let Some(outer) = &outer {
            frame = wrapped(&frame, &packet.headers, outer);
        } else if service.mode == Mode::Nat {
            let port = backend.port.unwrap_or(service.end.port());
            let destination = SocketAddr::new(backend.address, port);
            let ends = Flow {
                destination,
                ..packet.flow
            };
            frame = translated(frame, &packet.headers, ends);
        }
        self.count(service.id, index, Direction::In, &packet.headers, opens);
        self.meet(service, &backend);
        Ok(Leaving { frame, through })
    }

    /// The headers that go around a packet.
    fn outer(&self, packet: &Packet<'_>, service: &Service, backend: &Backend) -> Option<Outer> {
        let whole = flow_hash(self.site.seed, packet.flow.into());
        let (hash, entropy, udp) = match backend.mode {
            Mode::Ipip { entropy } => (self.hash(packet.flow, service), entropy, None),
            Mode::Gue {
                entropy,
                port,
                checksum,
            } => (whole, entropy, Some(([outer_port(whole), port], checksum))),
            Mode::FullNat | Mode::Nat | Mode::Dsr => return None,
        };
        Some(Outer {
            source: outer_source(version(backend.address).own(), entropy, hash),
            destination: backend.address,
            udp,
        })
    }

    /// What a backend answers in `nat` mode, of a flow that is not recorded.
    fn reply(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
        index: u32,
    ) -> Result<Leaving, End> {
        sound(packet)?;
        let client = packet.flow.destination.ip();
        let (through, mac, _) = match self.way_back(packet, client)? {
            Back::Resolved(through, mac, mtu) => (through, mac, mtu),
            Back::Silent(through, gateway) => {
                self.wanted.push((through.ifindex, gateway));
                return Err(End::Drop(DropReason::NoNeighbour));
            }
        };
        let frame = hopped(packet.arrival.frame, through, mac);
        let ends = Flow {
            source: service.end,
            ..packet.flow
        };
        let frame = translated(frame, &packet.headers, ends);
        self.count(service.id, index, Direction::Out, &packet.headers, false);
        self.met.push("nat, replies".into());
        Ok(Leaving { frame, through })
    }

    /// The kernel's route to a client.
    pub(super) fn way_back(&self, packet: &Packet<'_>, client: IpAddr) -> Result<Back, End> {
        if packet.arrival.ingress == CLOSED {
            return Err(End::Drop(DropReason::ForwardingDisabled));
        }
        let version = version(client);
        let gateway = |interface: Interface, host| version.link(interface.ifindex as u8, host);
        let (back, mtu) = match way_of(client) {
            None | Some(Way::Nowhere | Way::Unreachable) => {
                return Err(End::Drop(DropReason::NoRoute));
            }
            Some(Way::Router) => (Back::Resolved(UPLINK, ROUTER, 1500), 1500),
            Some(Way::Narrow) => (Back::Resolved(UPLINK, ROUTER, 1400), 1400),
            Some(Way::Aside) => (Back::Resolved(SIDE, SIDE_ROUTER, 1500), 1500),
            Some(Way::Silent) => (Back::Silent(UPLINK, gateway(UPLINK, 99)), 1500),
            Some(Way::SilentAside) => (Back::Silent(SIDE, gateway(SIDE, 99)), 1500),
            Some(Way::Foreign) => (Back::Resolved(FOREIGN, ROUTER, 1500), 1500),
        };
        match back {
            _ if packet.headers.length > mtu => Err(End::Drop(DropReason::TooBig)),
            Back::Resolved(FOREIGN, ..) => Err(End::Drop(DropReason::NoDevice)),
            back => Ok(back),
        }
    }

    /// The hash that chooses a flow's slot.
    pub(super) fn hash(&self, flow: Flow, service: &Service) -> u64 {
        hash(self.site.seed, flow, service.prefix)
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

    pub(super) fn meet(&mut self, service: &Service, backend: &Backend) {
        let inner = digit(service.end.ip());
        let mode = service.mode.name();
        self.met.push(if service.mode.wraps() {
            format!("{mode} {inner} in {}", digit(backend.address))
        } else {
            format!("{mode} {inner}")
        });
        if service.tracked {
            self.met.push(format!("{mode}, tracked"));
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

/// How the kernel leads to a client.
pub(super) enum Back {
    /// Through this interface, to this MAC address, packets up to this length.
    Resolved(Interface, Mac, usize),
    /// Through this interface, to a gateway that is not resolved.
    Silent(Interface, IpAddr),
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

/// Is a packet of a service sound?
pub(super) fn sound(packet: &Packet<'_>) -> Result<(), End> {
    let Packet {
        arrival, headers, ..
    } = packet;
    let (frame, transport) = (arrival.frame, ETHERNET + headers.before);
    if headers.length < headers.before || frame.len() < ETHERNET + headers.length {
        return Err(End::Drop(DropReason::BadIpLength));
    }
    let payload = headers.length - headers.before;
    match (headers.piece, headers.protocol) {
        (Piece::Later, _) => {}
        (_, 6) => {
            let offset = frame
                .get(transport + 12)
                .map_or(0, |byte| usize::from(byte >> 4) * 4);
            if frame.len() < transport + 20 || offset < 20 || offset > payload {
                return Err(End::Drop(DropReason::BadTcpHeader));
            }
        }
        (piece, _) => {
            let length = usize::from(short(frame, transport + 4).unwrap_or(0));
            let cut = frame.len() < transport + 8;
            if cut || length < 8 || piece == Piece::Whole && length > payload {
                return Err(End::Drop(DropReason::BadUdpLength));
            }
        }
    }
    if headers.hops <= 1 {
        return Err(End::Drop(DropReason::TtlExpired));
    }
    Ok(())
}

/// What a packet is to its flow.
fn sighting(packet: &Packet<'_>, service: &Service) -> Sighting {
    let (segment, headers) = (packet.segment, &packet.headers);
    let (kind, proof) = if headers.piece == Piece::Later {
        (Kind::Peek, Proof::None)
    } else if headers.protocol == 6 {
        let kind = if opens(segment.flags) {
            Kind::Open
        } else if segment.flags & 5 != 0 {
            Kind::Close
        } else {
            Kind::Data
        };
        (kind, Proof::Sequence)
    } else if service.quic {
        quic(packet)
    } else {
        (Kind::Data, Proof::None)
    };
    Sighting {
        kind,
        proof,
        sequence: segment.sequence,
    }
}

/// Initial packets open, Handshake and 0-RTT ones prove; of unknown versions, long headers in
/// datagrams of 1,200 bytes open.
fn quic(packet: &Packet<'_>) -> (Kind, Proof) {
    let other = (Kind::Data, Proof::None);
    let start = ETHERNET + packet.headers.before + 8;
    let end = ETHERNET + packet.headers.length;
    let (Some(first), Some(version)) = (
        packet.arrival.frame.get(start),
        long(packet.arrival.frame, start + 1),
    ) else {
        return other;
    };
    if first & 0x80 == 0 {
        return other;
    }
    let kind = first >> 4 & 3;
    match (version, kind) {
        (1, 0) | (0x6b33_43cf, 1) => (Kind::Open, Proof::None),
        (1, 1 | 2) | (0x6b33_43cf, 2 | 3) => (Kind::Data, Proof::Handshake),
        (1 | 0x6b33_43cf, _) => other,
        _ if end.saturating_sub(start) >= 1200 => (Kind::Open, Proof::None),
        _ => other,
    }
}

/// SYN without ACK, RST, FIN.
pub(super) fn opens(flags: u8) -> bool {
    flags & 0b1_0111 == 0b0_0010
}

/// The hash of a flow, or of so many bits of its client's address.
pub(super) fn hash(seed: [u8; 16], flow: Flow, prefix: u8) -> u64 {
    match prefix {
        0 => flow_hash(seed, flow.into()),
        bits => source_hash(seed, flow.source.ip(), bits),
    }
}

/// The slot of a hash among so many that are there over and over again.
pub(super) fn slot(hash: u64, slots: usize) -> usize {
    scaled(hash >> 32, SLOTS) as usize % slots
}

fn overhead(outer: &Outer) -> usize {
    let ip = if outer.source.is_ipv4() { 20 } else { 40 };
    ip + if outer.udp.is_some() { 8 } else { 0 }
}

fn fragment(headers: &Headers) -> Fragments {
    let protocol = if headers.source.is_ipv4() {
        headers.protocol
    } else {
        0
    };
    (headers.source, headers.destination, headers.id, protocol)
}

/// How the kernel routes to a client, if it does.
fn way_of(client: IpAddr) -> Option<Way> {
    let ways = [
        Way::Router,
        Way::Nowhere,
        Way::Silent,
        Way::SilentAside,
        Way::Aside,
        Way::Foreign,
        Way::Narrow,
        Way::Unreachable,
    ];
    let net = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
        IpAddr::V6(address) => address.to_bits() >> 64,
    };
    let version = version(client);
    ways.into_iter()
        .find(|way| net(version.client_number(*way, 0)) == net(client))
}

fn digit(address: IpAddr) -> u8 {
    match version(address) {
        Version::V4 => 4,
        Version::V6 => 6,
    }
}

/// All that has to be met of modes.
pub(super) fn modes() -> BTreeMap<String, u64> {
    let mut modes = Vec::new();
    for inner in [4, 6] {
        for mode in ["full-nat", "nat", "dsr"] {
            modes.push(format!("{mode} {inner}"));
        }
        for outer in [4, 6] {
            for mode in ["ipip", "gue"] {
                modes.push(format!("{mode} {inner} in {outer}"));
            }
        }
    }
    for mode in ["full-nat", "nat", "dsr", "ipip", "gue"] {
        modes.push(format!("{mode}, tracked"));
    }
    for mode in ["full-nat", "nat"] {
        modes.push(format!("{mode}, replies"));
    }
    modes.push("nat, tracked, replies".into());
    for phase in ["settled", "moving", "mixed"] {
        for kind in ["opens", "goes on", "closes", "only looks"] {
            modes.push(format!("{phase}: {kind}"));
        }
    }
    modes.push("one packet".into());
    modes.into_iter().map(|mode| (mode, 0)).collect()
}
