//! ICMP errors that quote a packet of ours: they go where an answer to that packet would go, to the
//! flow's backend or to its client, and quote the packet as it was there.
//!
//! ```text
//! about a packet of the backend's:  some router ──► service ──► the flow's backend
//! about one that was rewritten:     some router ──► our address ──► the flow's client
//! about one with a header around:   some router ──► our address ──► its client, as an error made
//!                                                                   here about the packet inside
//! ```
//! The quoted packet's ends, reversed, are those of an answer, by which services and flows are
//! found. An error only speaks of a flow: nothing is recorded. What is of no flow of ours passes.

use crate::{
    abi::{
        Address, Direction, FlowKey, Forward, HopWord, NextHop, Rewrite, Service, ServiceKind,
        ServiceTraits, Traffic,
    },
    net::{
        Delta, Error, EthernetHeader, Family, Icmp, IcmpHeader, IpHeader, Ipv4, Ipv6, Message,
        Packet, Ports, TcpHeader, Transport, Trim, UdpHeader, Unreadable,
    },
};

use super::{
    choose, decide,
    exceptions::{Kind, Proof, Sighting},
    flow, forward, made,
    outcome::{DropReason, Egress, PassReason, Stop},
    parse::Facts,
    rewrite::{self, Tunnel},
    service,
    state::Segment,
    tables::{FamilyTables, HeldFlow, Leaving, Scratch, Tables},
    unsettled,
};

/// The bytes of a transport header that every quote has to have (RFC 792).
const LEAST: usize = 8;

/// Sends an error to whom the packet that it quotes concerns.
#[inline(always)]
pub(super) fn relay<F, P, T>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    message: Message,
) -> Result<Egress, Stop>
where
    F: Icmp,
    P: Trim,
    T: FamilyTables<F> + FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let mut inner = None;
    let work = |scratch: &mut Scratch<F::Address>| {
        inner = read::<F, P>(packet, facts, &mut scratch.key)?;
        scratch.segment = segment::<F, P>(packet, facts, scratch.key.protocol);
        by_flow::<F, P, T>(packet, tables, facts, scratch)
    };
    let relayed = FamilyTables::<F>::with_scratch(tables, work)
        .unwrap_or(Err(DropReason::Inconsistent.into()));
    let Some(inner) = inner.filter(|_| relayed == Err(Stop::Pass(PassReason::Icmp))) else {
        return relayed;
    };
    let mut inside = Inside {
        at: inner,
        mtu: match message {
            Message::TooBig { mtu } => mtu,
            Message::Error | Message::EchoRequest | Message::Other => 0,
        },
        service: 0,
        backend: 0,
        hop: HopWord::NONE,
    };
    let header = packet.header::<u8>(inner).ok_or(PassReason::Icmp)?;
    match header >> 4 {
        4 => tunnelled::<F, Ipv4, P, T>(packet, tables, facts, &mut inside),
        6 => tunnelled::<F, Ipv6, P, T>(packet, tables, facts, &mut inside),
        _ => Err(PassReason::Icmp.into()),
    }
}

/// Sends an error on to where packets of the key `scratch.key` go, which answer the quoted one;
/// [`PassReason::Icmp`] if there is no such flow. A function of its own in the kernel, as others here
/// are, for the sake of its small stack.
#[inline(never)]
fn by_flow<F: Icmp, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    scratch: &mut Scratch<F::Address>,
) -> Result<Egress, Stop> {
    let service = service::find::<F, T>(tables, &scratch.key).map_err(|_| PassReason::Icmp)?;
    if service.crosses() && !flow::is_unmapped::<F, T>(tables, service, &scratch.key) {
        // The packet as it was at the flow's other end may be of the other family.
        return Err(PassReason::Icmp.into());
    }
    let mut way = Way::default();
    match service.kind() {
        ServiceKind::Service if service.is_steered() => {
            // It is the backend's, so what it acknowledges is what comes next from the client.
            let segment = &scratch.segment;
            let next = segment.flags.acknowledges();
            let next = next.then_some(segment.acknowledgement);
            way.backend = owner::<F, T>(tables, scratch, service, next)?;
            way.service = service.id();
            to_backend::<F, T>(tables, scratch, &mut way)?;
        }
        ServiceKind::Reverse if !service.tracked() => {
            way.service = service.id();
            to_client::<F, T>(tables, facts, scratch, service, &mut way)?;
        }
        ServiceKind::Service | ServiceKind::Source | ServiceKind::Reverse => {
            to_other_end::<F, T>(tables, facts, scratch, &mut way)?;
        }
        ServiceKind::Own | ServiceKind::Group | ServiceKind::Empty => {
            return Err(PassReason::Icmp.into());
        }
    }
    // Nothing is made about an error, so one whose hops are used up just ends.
    if facts.hops <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    match way.headers {
        Headers::Translated => translate::<F, P, T>(packet, tables, facts, scratch, way.next)?,
        Headers::Around => wrap::<F, P, T>(packet, tables, facts, scratch, &way)?,
        Headers::Same => rewrite::pass_on::<F, P, T>(packet, tables, *facts, way.next)?,
    }
    count(tables, way.service, way.backend, facts, way.direction);
    forward::send(tables, tables.ingress(), way.next.hop.device())
}

/// How an error goes on.
struct Way {
    /// Where to.
    next: NextHop,
    /// Whom to count for: the service.
    service: u32,
    /// Whom to count for: the backend.
    backend: u32,
    /// Which way it goes.
    direction: Direction,
    /// With which headers.
    headers: Headers,
}

/// The headers that an error goes on with.
#[derive(Clone, Copy)]
enum Headers {
    /// Those that it came with.
    Same,
    /// Others around them.
    Around,
    /// With the ends of `scratch.other`.
    Translated,
}

impl Default for Way {
    #[inline(always)]
    fn default() -> Self {
        Self {
            next: NextHop::default(),
            service: 0,
            backend: 0,
            direction: Direction::In,
            headers: Headers::Translated,
        }
    }
}

/// Where the quoted packet starts in the frame.
const fn start<F: Family>() -> usize {
    F::TRANSPORT + IcmpHeader::LEN
}

/// Where its transport header does.
const fn transport<F: Family>() -> usize {
    start::<F>() + F::HEADER_LEN
}

/// Where the error ends in the frame.
#[inline(always)]
fn end(facts: &Facts) -> usize {
    EthernetHeader::LEN + facts.length
}

/// Reads the quoted packet, whose source must be whom the error is for, and makes the key of an
/// answer to it; one that can't be answered gets a key that no service or flow has. Also tells where
/// another packet starts if that may be inside it.
#[inline(always)]
fn read<F: Icmp, P: Packet>(
    packet: &P,
    facts: &Facts,
    answer: &mut FlowKey<F::Address>,
) -> Result<Option<usize>, Stop> {
    let none = || Stop::from(PassReason::Icmp);
    if transport::<F>() + LEAST > end(facts) {
        return Err(none());
    }
    let outer = packet.header::<F::Header>(EthernetHeader::LEN);
    let quoted = packet.header::<F::Header>(start::<F>());
    let ports = packet.header::<Ports>(transport::<F>()).ok_or_else(none)?;
    let (outer, quoted) = outer.zip(quoted).ok_or_else(none)?;
    if outer.destination() != quoted.source() {
        return Err(none());
    }
    let (from, to) = (quoted.destination(), quoted.source());
    match quoted.transport() {
        Ok(protocol) => {
            *answer = FlowKey::new(from, to, ports.destination, ports.source, protocol);
            let gue = transport::<F>() + UdpHeader::LEN;
            Ok((protocol == UdpHeader::PROTOCOL && gue < end(facts)).then_some(gue))
        }
        Err(Unreadable::Protocol)
            if matches!(quoted.protocol(), Ipv4::PROTOCOL | Ipv6::PROTOCOL) =>
        {
            *answer = FlowKey::new(from, to, [0; 2], [0; 2], quoted.protocol());
            Ok(Some(transport::<F>()))
        }
        Err(_) => Err(none()),
    }
}

/// What a quoted segment says. Where just its first bytes are quoted, that is its sequence number.
#[inline(always)]
fn segment<F: Icmp, P: Packet>(packet: &P, facts: &Facts, protocol: u8) -> Segment {
    let at = transport::<F>();
    if protocol != TcpHeader::PROTOCOL {
        return Segment::default();
    }
    if at + TcpHeader::LEN <= end(facts)
        && let Some(header) = packet.header::<TcpHeader>(at)
    {
        return Segment {
            sequence: header.sequence(),
            acknowledgement: header.acknowledgement(),
            flags: header.flags(),
            protocol,
            padding: 0,
        };
    }
    let sequence = packet.header::<[u8; 4]>(at + size_of::<Ports>());
    Segment {
        sequence: sequence.map_or(0, |bytes| u32::from_be_bytes(*bytes)),
        protocol,
        ..Segment::default()
    }
}

/// How far a quoted number may lie from the last one that was seen: what was sent before the error
/// came.
const WINDOW: u32 = 1 << 20;

/// Whether a quoted number may be one of the flow's (RFC 5927, section 4.1): who sends errors from
/// afar has to guess it.
#[inline(always)]
fn near(number: u32, last: u32) -> Result<(), Stop> {
    if number.wrapping_sub(last).wrapping_add(WINDOW - 1) < 2 * WINDOW - 1 {
        Ok(())
    } else {
        Err(DropReason::ErrorNumbers.into())
    }
}

/// Index of the backend of the flow of `scratch.key`, whose packets are not rewritten by what is
/// recorded of it; `sequence` is what its client's next segment would have.
#[inline(always)]
fn owner<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
    sequence: Option<u32>,
) -> Result<u32, Stop> {
    if service.tracked() {
        recorded::<F, T>(tables, scratch, sequence)
    } else {
        determined::<F, T>(tables, &scratch.key, service, sequence)
    }
}

/// [`owner`] where flows are recorded.
#[inline(always)]
fn recorded<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    sequence: Option<u32>,
) -> Result<u32, Stop> {
    let found = flow::lookup::<F, T>(tables, &scratch.key, &mut scratch.entry);
    found.ok_or(PassReason::Icmp)?;
    if let Some(sequence) = sequence {
        near(sequence, scratch.entry.last_seq)?;
    }
    let backend = scratch.entry.backend();
    choose::usable(tables, backend).ok_or(PassReason::Icmp)?;
    Ok(backend.index())
}

/// [`owner`] where the hash determines it.
#[inline(always)]
fn determined<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    service: &Service<F::Address>,
    sequence: Option<u32>,
) -> Result<u32, Stop> {
    let hash = service.hash(key, tables.seed());
    let slot = decide::slot_of(tables, service, hash)?;
    if slot.is_settled() || service.traits().has(ServiceTraits::ONE_PACKET) {
        return Ok(slot.current());
    }
    let proof = match sequence {
        Some(_) if key.protocol == TcpHeader::PROTOCOL => Proof::Sequence,
        Some(_) | None => Proof::None,
    };
    let sighting = Sighting {
        kind: Kind::Peek,
        proof,
        sequence: sequence.unwrap_or(0),
        now: tables.now(),
    };
    unsettled::owner::<F, T>(tables, key, service, slot, &sighting)
}

/// The way to the backend of a flow whose packets are steered there.
#[inline(never)]
fn to_backend<F: Icmp, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    way: &mut Way,
) -> Result<(), Stop> {
    let backend = decide::backend(tables, way.backend)?;
    way.next = forward::to_backend(tables, backend.next_hop())?;
    way.headers = match backend.forward().ok_or(DropReason::Inconsistent)? {
        Forward::Ipip | Forward::Gue => Headers::Around,
        Forward::Dsr => Headers::Same,
        Forward::Nat => {
            let port = backend.port(scratch.key.destination_port);
            scratch.other = scratch.key;
            (scratch.other.destination, scratch.other.destination_port) = (backend.address(), port);
            Headers::Translated
        }
        Forward::FullNat => return Err(DropReason::Inconsistent.into()),
    };
    Ok(())
}

/// The way to the other end of a recorded flow.
#[inline(never)]
fn to_other_end<F: Icmp, T: FamilyTables<F>>(
    tables: &T,
    facts: &Facts,
    scratch: &mut Scratch<F::Address>,
    way: &mut Way,
) -> Result<(), Stop> {
    let entry = &mut scratch.entry;
    let (held, _) = flow::either::<F, T>(tables, &scratch.key).ok_or(PassReason::Icmp)?;
    held.read(entry);
    if entry.fingerprint != scratch.key.fingerprint() {
        return Err(PassReason::Icmp.into());
    }
    // The flow's other entry has seen the quoted packet.
    scratch.answers = entry.rewrite().answer(scratch.key.protocol);
    let found = flow::lookup::<F, T>(tables, &scratch.answers, &mut scratch.found);
    found.ok_or(PassReason::Icmp)?;
    if scratch.segment.protocol == TcpHeader::PROTOCOL {
        near(scratch.segment.sequence, scratch.found.last_seq)?;
    }
    way.next = forward::next_hop::<F, T>(tables, &held, entry, leaving(facts), tables.now())?;
    (way.service, way.backend) = (entry.service, entry.backend().index());
    way.direction = entry.direction();
    let ends = entry.rewrite();
    let other = &mut scratch.other;
    (other.source, other.destination) = (ends.source, ends.destination);
    (other.source_port, other.destination_port) = (ends.source_port, ends.destination_port);
    Ok(())
}

/// The way to the client of a flow whose packets are given another destination (`nat`).
#[inline(never)]
fn to_client<F: Icmp, T: FamilyTables<F>>(
    tables: &T,
    facts: &Facts,
    scratch: &mut Scratch<F::Address>,
    from: &Service<F::Address>,
    way: &mut Way,
) -> Result<(), Stop> {
    let reverse = tables
        .reverse(from.reverse_index())
        .filter(|reverse| reverse.backend != 0)
        .ok_or(DropReason::Inconsistent)?;
    (way.backend, way.direction) = (reverse.backend, Direction::Out);
    scratch.other = scratch.key;
    (scratch.other.source, scratch.other.source_port) = (reverse.address, reverse.port);
    let ends = Rewrite {
        source: scratch.other.source,
        destination: scratch.other.destination,
        source_port: scratch.other.source_port,
        destination_port: scratch.other.destination_port,
    };
    way.next = forward::by_route::<F, T>(tables, &ends, leaving(facts))?;
    Ok(())
}

#[inline(always)]
fn leaving(facts: &Facts) -> Leaving {
    Leaving {
        protocol: facts.protocol,
        traffic_class: facts.traffic_class,
        // It fits: an IPv4 length has 16 bits, and no frame takes a longer IPv6 packet.
        length: facts.length as u16,
    }
}

#[inline(always)]
fn count<T: Tables>(tables: &T, service: u32, backend: u32, facts: &Facts, direction: Direction) {
    let traffic = Traffic {
        direction,
        bytes: facts.length as u64,
        opens: false,
    };
    tables.count_service(service, traffic);
    tables.count_backend(backend, traffic);
}

/// Puts the error behind the headers that lead to the backend.
#[inline(never)]
fn wrap<F: Icmp, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    scratch: &Scratch<F::Address>,
    way: &Way,
) -> Result<(), Stop> {
    let backend = decide::backend(tables, way.backend)?;
    let tunnel = Tunnel {
        backend,
        hash: scratch.key.hash(tables.seed()),
        udp: backend.forward() == Some(Forward::Gue),
    };
    rewrite::encapsulate::<F, P, T>(packet, tables, *facts, tunnel, way.next)
}

/// Gives the error the ends `scratch.other` that an answer would get in place of `scratch.key`, and
/// the quoted packet those that it had where the error goes (RFC 5508, sections 4.2, 4.3). Who sent
/// the error is hidden where the flow's own end would be.
#[inline(never)]
fn translate<F: Icmp, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    scratch: &Scratch<F::Address>,
    next: NextHop,
) -> Result<(), Stop> {
    rewrite::fits(facts.length, 0, next)?;
    let to = Translated {
        answer: &scratch.key,
        ends: &scratch.other,
    };
    let delta = addresses::<F, P>(packet, &to).and(ports::<F, P>(packet, facts, &to));
    packet
        .header_mut::<IcmpHeader>(F::TRANSPORT)
        .ok_or(DropReason::Inconsistent)?
        .mend(delta);
    rewrite::link::<F, P, T>(packet, tables, next)
}

/// The ends of an answer to the quoted packet.
struct Translated<'a, A> {
    /// As it comes.
    answer: &'a FlowKey<A>,
    /// As it leaves.
    ends: &'a FlowKey<A>,
}

/// Changes the addresses; what that changes in the error's checksum, the quoted ports' apart.
#[inline(always)]
fn addresses<F: Icmp, P: Packet>(packet: &mut P, to: &Translated<'_, F::Address>) -> Delta {
    let (answer, ends) = (to.answer, to.ends);
    let mut outside = Delta::NONE;
    if let Some(ip) = packet.header_mut::<F::Header>(EthernetHeader::LEN) {
        let source = if ends.source == answer.source {
            ip.source()
        } else {
            ends.source
        };
        outside = Delta::NONE
            .address(ip.source(), source)
            .address(ip.destination(), ends.destination);
        ip.take_hop();
        ip.set_addresses(source, ends.destination, outside);
    }
    let mut inside = quoted_addresses(to);
    if let Some(ip) = packet.header_mut::<F::Header>(start::<F>()) {
        let before = ip.checksum();
        ip.set_addresses(ends.destination, ends.source, inside);
        inside = inside.field(before, ip.checksum());
    }
    F::covers(outside).and(inside)
}

/// What the quoted packet's new addresses change in a checksum over them.
#[inline(always)]
fn quoted_addresses<A: Address>(to: &Translated<'_, A>) -> Delta {
    Delta::NONE
        .address(to.answer.destination, to.ends.destination)
        .address(to.answer.source, to.ends.source)
}

/// Changes the quoted ports, and the checksum behind them as far as it is quoted; what that changes
/// in the error's.
#[inline(always)]
fn ports<F: Icmp, P: Packet>(
    packet: &mut P,
    facts: &Facts,
    to: &Translated<'_, F::Address>,
) -> Delta {
    let (answer, ends) = (to.answer, to.ends);
    let ports = Ports {
        source: ends.destination_port,
        destination: ends.source_port,
    };
    let delta = Delta::NONE
        .field(answer.destination_port, ports.source)
        .field(answer.source_port, ports.destination);
    let all = quoted_addresses(to).and(delta);
    let at = transport::<F>();
    if answer.protocol == UdpHeader::PROTOCOL {
        return delta.and(checked::<UdpHeader, P>(packet, at, ports, all));
    }
    if at + TcpHeader::LEN <= end(facts) {
        return delta.and(checked::<TcpHeader, P>(packet, at, ports, all));
    }
    if let Some(quoted) = packet.header_mut::<Ports>(at) {
        *quoted = ports;
    }
    delta
}

/// Changes ports and checksum of a transport header; what the latter changes in a checksum over it.
#[inline(always)]
fn checked<H: Transport + crate::net::Header, P: Packet>(
    packet: &mut P,
    at: usize,
    ports: Ports,
    all: Delta,
) -> Delta {
    let Some(header) = packet.header_mut::<H>(at) else {
        return Delta::NONE;
    };
    let before = header.checksum();
    header.set_ports(ports, all);
    Delta::NONE.field(before, header.checksum())
}

/// A packet inside the quoted one.
struct Inside {
    /// Where it starts in the frame.
    at: usize,
    /// What the error says that a link takes, bytes; 0: it says nothing of that.
    mtu: u16,
    /// The service that it was for.
    service: u32,
    /// The backend that it was sent to.
    backend: u32,
    /// The way to its client.
    hop: HopWord,
}

/// Tells the client of a packet of family `G`, quoted behind the headers that it got here, that it
/// does not fit a link between here and its backend.
#[inline(always)]
fn tunnelled<F, G, P, T>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    inside: &mut Inside,
) -> Result<Egress, Stop>
where
    F: Icmp,
    G: Icmp,
    P: Trim,
    T: FamilyTables<F> + FamilyTables<G>,
{
    let inner = inside.at;
    if inner + G::HEADER_LEN + LEAST > end(facts) {
        return Err(if inner == transport::<F>() {
            PassReason::TunnelError.into()
        } else {
            // Any datagram.
            PassReason::Icmp.into()
        });
    }
    sent_there::<F, G, P, T>(packet, tables, inside)?;
    // What the headers take does not go into the packet inside. No link takes less than 68 bytes
    // (RFC 791, section 3.2).
    let around = (inner - start::<F>()) as u16;
    if inside.mtu < 68 + around {
        return Err(PassReason::TunnelError.into());
    }
    inside.mtu -= around;
    find_way::<G, P, T>(packet, tables, inside)?;
    tell::<G, P, T>(packet, tables, facts, inside).ok_or(DropReason::ErrorLimit)?;
    count(
        tables,
        inside.service,
        inside.backend,
        facts,
        Direction::Out,
    );
    forward::send(tables, tables.ingress(), inside.hop.device())
}

/// Finds service and backend of the packet inside. Passes an error unless it went to the backend
/// that the header around it names.
#[inline(never)]
fn sent_there<F, G, P, T>(packet: &P, tables: &T, inside: &mut Inside) -> Result<(), Stop>
where
    F: Icmp,
    G: Icmp,
    P: Packet,
    T: FamilyTables<G>,
{
    let quoted = packet.header::<F::Header>(start::<F>());
    let named = quoted.ok_or(PassReason::Icmp)?.destination();
    let at = inside.at;
    let work = |scratch: &mut Scratch<G::Address>| {
        scratch.key = request::<G, P>(packet, at).ok_or(PassReason::Icmp)?;
        let service = service::find::<G, T>(tables, &scratch.key).map_err(|_| PassReason::Icmp)?;
        if service.kind() != ServiceKind::Service || !service.is_steered() {
            return Err(PassReason::Icmp.into());
        }
        inside.service = service.id();
        inside.backend = owner::<G, T>(tables, scratch, service, None)?;
        let backend = decide::backend(tables, inside.backend)?;
        if backend.version() != F::VERSION || backend.address::<F::Address>() != named {
            return Err(PassReason::Icmp.into());
        }
        Ok(())
    };
    tables
        .with_scratch(work)
        .unwrap_or(Err(DropReason::Inconsistent.into()))
}

/// The ends of the client's packet at `at`.
#[inline(always)]
fn request<G: Icmp, P: Packet>(packet: &P, at: usize) -> Option<FlowKey<G::Address>> {
    let ip = packet.header::<G::Header>(at)?;
    let protocol = ip.transport().ok()?;
    let ports = packet.header::<Ports>(at + G::HEADER_LEN)?;
    Some(FlowKey::new(
        ip.source(),
        ip.destination(),
        ports.source,
        ports.destination,
        protocol,
    ))
}

/// Finds the way to the client of the packet inside.
#[inline(never)]
fn find_way<G, P, T>(packet: &P, tables: &T, inside: &mut Inside) -> Result<(), Stop>
where
    G: Icmp,
    P: Packet,
    T: FamilyTables<G>,
{
    let key = request::<G, P>(packet, inside.at).ok_or(PassReason::Icmp)?;
    let leaving = Leaving {
        protocol: G::ICMP,
        traffic_class: 0,
        length: (G::HEADER_LEN + IcmpHeader::LEN + G::QUOTE) as u16,
    };
    inside.hop = forward::by_route::<G, T>(tables, &key.reply(), leaving)?.hop;
    Ok(())
}

/// Makes the frame an error about the packet inside.
#[inline(never)]
fn tell<G, P, T>(packet: &mut P, tables: &T, facts: &Facts, inside: &Inside) -> Option<()>
where
    G: Icmp,
    P: Trim,
    T: FamilyTables<G>,
{
    let mut quote = made::Quote::whole::<G, P>(packet, inside.at)?;
    quote.length = quote.length.min(end(facts).checked_sub(inside.at)?);
    let error = Error::TooBig { mtu: inside.mtu };
    made::tell::<G, P, T>(packet, tables, error, &quote, inside.hop)
}
