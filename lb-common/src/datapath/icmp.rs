//! ICMP messages: an echo request for a service's address is answered here, an error that quotes a
//! packet of ours goes to whom that concerns (`quoted`), all others pass.

use crate::{
    abi::{HopWord, ServiceKey, ServiceKind},
    net::{EthernetHeader, Icmp, IcmpHeader, IpHeader, Ipv4, Ipv6, Message, Packet, Trim},
};

use super::{
    decide, made,
    outcome::{AnswerReason, DropReason, Outcome, PassReason, Stop},
    parse::Facts,
    quoted, service,
    tables::FamilyTables,
};

/// What becomes of a packet whose IP header says that it is an ICMP message.
#[inline(always)]
pub(super) fn message<F, P, T>(packet: &mut P, tables: &T, ingress: HopWord) -> Outcome
where
    F: Icmp,
    P: Trim,
    T: FamilyTables<F> + FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let Some((facts, message)) = read::<F, P>(packet) else {
        return Outcome::Pass(PassReason::Icmp);
    };
    match message {
        Message::EchoRequest => match echo::<F, P, T>(packet, tables, ingress) {
            Ok(()) => Outcome::Answer(AnswerReason::EchoReply),
            Err(stop) => stop.into(),
        },
        Message::TooBig { .. } | Message::Error => {
            match quoted::relay::<F, P, T>(packet, tables, &facts, message) {
                Ok(egress) => Outcome::Forward(egress),
                Err(stop) => stop.into(),
            }
        }
        Message::Other => Outcome::Pass(PassReason::Icmp),
    }
}

/// Reads IP and ICMP header of a message that is as long as it says.
#[inline(always)]
fn read<F: Icmp, P: Packet>(packet: &P) -> Option<(Facts, Message)> {
    let facts = facts::<F>(packet.header::<F::Header>(EthernetHeader::LEN)?);
    let message = packet.header::<IcmpHeader>(F::TRANSPORT)?.message::<F>();
    is_whole::<F, P>(packet, &facts).then_some((facts, message))
}

/// What a message's IP header says. (For those who can't [`read`]: what that copies lies misaligned on the
/// kernel's stack.)
#[inline(always)]
pub(super) fn facts<F: Icmp>(ip: &F::Header) -> Facts {
    Facts {
        protocol: ip.protocol(),
        length: ip.total_length(),
        hops: ip.hops(),
        traffic_class: ip.traffic_class(),
    }
}

/// Whether a message has a header, and is as long as it says.
#[inline(always)]
pub(super) fn is_whole<F: Icmp, P: Packet>(packet: &P, facts: &Facts) -> bool {
    facts.length >= F::HEADER_LEN + IcmpHeader::LEN
        && packet.holds(EthernetHeader::LEN + facts.length)
}

/// Makes an echo request its reply, if it is for a service's address: one that has a backend.
#[inline(always)]
fn echo<F, P, T>(packet: &mut P, tables: &T, ingress: HopWord) -> Result<(), Stop>
where
    F: Icmp,
    P: Packet,
    T: FamilyTables<F>,
{
    let ip = packet
        .header::<F::Header>(EthernetHeader::LEN)
        .ok_or(PassReason::Icmp)?;
    let key = ServiceKey::echo(ip.destination(), F::ICMP);
    let service = service::probe::<F, T>(tables, &key)
        .filter(|service| service.kind() == ServiceKind::Service)
        .ok_or(PassReason::Icmp)?;
    if !F::Header::names_a_host(ip.source()) {
        return Err(PassReason::Icmp.into());
    }
    // A table with any backend has one in every slot.
    let first = tables.slot(service.table(), 0);
    decide::backend(tables, first.ok_or(DropReason::Inconsistent)?.current())?;
    let back = made::back(packet, ingress).ok_or(PassReason::Icmp)?;
    turn_around::<F, P>(packet).ok_or(DropReason::Inconsistent)?;
    made::leave::<F, P, T>(packet, tables, back).ok_or(DropReason::NoDevice.into())
}

/// Sends an echo request back as its reply (RFC 792; RFC 4443, section 4.2).
#[inline(always)]
fn turn_around<F: Icmp, P: Packet>(packet: &mut P) -> Option<()> {
    packet
        .header_mut::<F::Header>(EthernetHeader::LEN)?
        .turn_around();
    packet.header_mut::<IcmpHeader>(F::TRANSPORT)?.reply::<F>();
    Some(())
}
