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
//!
//! How the headers are changed is the business of `translate`; `tunnel` has the errors about packets
//! with a header around, `across` those about flows between families.

mod across;
mod translate;
mod tunnel;

use crate::{
    abi::{
        Address, Direction, FlowKey, Forward, HopWord, NextHop, Rewrite, Service, ServiceKind,
        ServiceTraits, Traffic,
    },
    net::{
        EthernetHeader, Family, Icmp, IcmpHeader, IpHeader, Ipv4, Ipv6, Message, Packet, Ports,
        TcpHeader, Trim, UdpHeader, Unreadable,
    },
};

use super::{
    choose, decide,
    exceptions::{Kind, Proof, Sighting},
    flow, forward,
    outcome::{DropReason, Egress, PassReason, Stop},
    parse::Facts,
    rewrite::{self, Tunnel},
    service,
    state::Segment,
    tables::{FamilyTables, HeldFlow, Leaving, Scratch, Tables},
    unsettled::Unsettled,
};

pub use across::handle_errors;
use translate::Translated;
use tunnel::Inside;

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
        4 => tunnel::told::<F, Ipv4, P, T>(packet, tables, facts, &mut inside),
        6 => tunnel::told::<F, Ipv6, P, T>(packet, tables, facts, &mut inside),
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
    let crosses = tables.has_crossing() && service.crosses();
    if crosses && !flow::is_unmapped::<F, T>(tables, service, &scratch.key) {
        // Had it been about one of their flows, it would not have come here.
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
            way.service = only(service);
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
        Headers::Translated => {
            let to = Translated {
                answer: &scratch.key,
                ends: &scratch.other,
            };
            translate::headers::<F, P, T>(packet, tables, facts, &to, &way.next)?;
        }
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
        recorded::<F, T>(tables, scratch, service, sequence)
    } else {
        determined::<F, T>(tables, &scratch.key, service, sequence)
    }
}

/// [`owner`] where flows are recorded.
#[inline(always)]
fn recorded<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
    sequence: Option<u32>,
) -> Result<u32, Stop> {
    let found = flow::lookup::<F, T>(tables, &scratch.key, &mut scratch.entry);
    found.ok_or(PassReason::Icmp)?;
    if !scratch.entry.is_for(service.id()) {
        return Err(PassReason::Icmp.into());
    }
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
        // Nothing is written.
        now: 0,
    };
    let packet = Unsettled::new(service, slot, sighting);
    FamilyTables::<F>::owner(tables, key, packet).index()
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

/// The service whose flow alone may be meant: that which the quoted packet came from; 0: any.
#[inline(always)]
fn only<A: Address>(target: &Service<A>) -> u32 {
    match target.kind() {
        ServiceKind::Service => target.id(),
        ServiceKind::Source
        | ServiceKind::Own
        | ServiceKind::Reverse
        | ServiceKind::Group
        | ServiceKind::Empty => 0,
    }
}

/// The way to the other end of a recorded flow: one of the service `way.service`, unless that is 0.
#[inline(never)]
fn to_other_end<F: Family, T: FamilyTables<F>>(
    tables: &T,
    facts: &Facts,
    scratch: &mut Scratch<F::Address>,
    way: &mut Way,
) -> Result<(), Stop> {
    let entry = &mut scratch.entry;
    let (held, _) = flow::either::<F, T>(tables, &scratch.key).ok_or(PassReason::Icmp)?;
    held.read(entry);
    let of_another = way.service != 0 && !entry.is_for(way.service);
    if of_another || entry.fingerprint != scratch.key.fingerprint() {
        return Err(PassReason::Icmp.into());
    }
    // The flow's other entry has seen the quoted packet.
    scratch.answers = entry.rewrite().answer(scratch.key.protocol);
    let found = flow::lookup::<F, T>(tables, &scratch.answers, &mut scratch.found);
    found.ok_or(PassReason::Icmp)?;
    if scratch.segment.protocol == TcpHeader::PROTOCOL {
        near(scratch.segment.sequence, scratch.found.last_seq)?;
    }
    let mut leaving = leaving(facts);
    // Both its own header and the quoted one.
    let end = entry.rewrite().destination;
    leaving.length = F::on_wire(F::on_wire(facts.length, end), end) as u16;
    way.next = forward::next_hop::<F, T>(tables, &held, entry, leaving, tables.now())?;
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
