//! Errors about a packet of ours with a header around it: its client is told by an error made here,
//! about the packet inside.

use crate::{
    abi::{Direction, FlowKey, HopWord, ServiceKind},
    net::{Error, Icmp, IcmpHeader, IpHeader, Packet, Ports, Trim},
};

use super::{
    super::{
        decide, forward, made,
        outcome::{DropReason, Egress, PassReason, Stop},
        parse::Facts,
        service,
        tables::{FamilyTables, Leaving, Scratch},
    },
    LEAST, count, end, owner, start, transport,
};

/// A packet inside the quoted one.
pub(super) struct Inside {
    /// Where it starts in the frame.
    pub(super) at: usize,
    /// What the error says that a link takes, bytes; 0: it says nothing of that.
    pub(super) mtu: u16,
    /// The service that it was for.
    pub(super) service: u32,
    /// The backend that it was sent to.
    pub(super) backend: u32,
    /// The way to its client.
    pub(super) hop: HopWord,
}

/// Tells the client of a packet of family `G`, quoted behind the headers that it got here, that it
/// does not fit a link between here and its backend.
#[inline(always)]
pub(super) fn told<F, G, P, T>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    inside: &mut Inside,
) -> Result<Egress, Stop>
where
    F: Icmp,
    G: Icmp,
    P: Trim,
    T: FamilyTables<G>,
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
