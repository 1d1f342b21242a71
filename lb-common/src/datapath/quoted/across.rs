//! Errors about flows whose ends may be of both families: they leave in the family of the end that they
//! are for, which quotes the packet as it was there. What an error of one family says in the other is
//! told in [`net`](crate::net).
//!
//! ```text
//! │ Ethernet │ IPv4 │ ICMP   │ IPv4 │ TCP or UDP …
//! │ Ethernet │ IPv6 │ ICMPv6 │ IPv6 │ TCP or UDP …
//! ```
//! Nothing is changed before it is certain that the error is one of ours. All other ICMP goes on to where
//! it is read without these families in mind.

use zerocopy::IntoBytes;

use crate::{
    abi::{Address, FlowKey, Ipv6Address, NextHop},
    net::{
        Delta, EthernetHeader, Family, Icmp, IcmpHeader, IpHeader, Ipv4, Ipv6, Mapped, Message,
        Packet, Payload, Side, Trim,
    },
};

use super::{
    super::{
        forward, icmp,
        outcome::{DropReason, Egress, Outcome, PassReason, Stop},
        parse::{self, Facts},
        rewrite, service,
        tables::{FamilyTables, Scratch, Tables},
    },
    Translated, Way, count, end, only, read, segment, start, to_other_end, translate, transport,
};

/// Decides on an ICMP error about a flow whose ends may be of both families, and counts what became of
/// it: it goes to whom it concerns, the other end of a flow that is recorded between mapped addresses.
/// `None` if it is left to [`handle_aside`](super::super::handle_aside), as all that is none: nothing was
/// changed or counted.
#[inline(always)]
pub fn handle_errors<P, T>(packet: &mut P, tables: &T) -> Option<Outcome>
where
    P: Trim,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let ingress = tables.ingress();
    let relayed = match parse::link(packet, ingress).ok()? {
        parse::Link::Ipv4 => relay::<Ipv4, P, T>(packet, tables),
        parse::Link::Ipv6 => relay::<Ipv6, P, T>(packet, tables),
    };
    let outcome = match relayed {
        Ok(egress) => Outcome::Forward(egress),
        Err(Stop::Pass(_)) => return None,
        Err(stop) => stop.into(),
    };
    Some(super::super::end(packet, tables, ingress, outcome))
}

/// A function of its own in the kernel, as others here are, for the sake of its small stack.
#[inline(never)]
fn relay<F, P, T>(packet: &mut P, tables: &T) -> Result<Egress, Stop>
where
    F: Side,
    P: Trim,
    T: FamilyTables<F> + FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let ip = packet.header::<F::Header>(EthernetHeader::LEN);
    let facts = icmp::facts::<F>(ip.ok_or(PassReason::Icmp)?);
    let error = packet.header::<IcmpHeader>(F::TRANSPORT);
    let message = error.ok_or(PassReason::Icmp)?.message::<F>();
    let is_error = matches!(message, Message::TooBig { .. } | Message::Error);
    if !is_error || !icmp::is_whole::<F, P>(packet, &facts) {
        return Err(PassReason::Icmp.into());
    }
    let work = |scratch: &mut Scratch<Ipv6Address>| {
        let mut answer = FlowKey::new(F::Address::ZERO, F::Address::ZERO, [0; 2], [0; 2], 0);
        read::<F, P>(packet, &facts, &mut answer)?;
        let service = service::find::<F, T>(tables, &answer).map_err(|_| PassReason::Icmp)?;
        if !service.crosses() {
            return Err(PassReason::Icmp.into());
        }
        scratch.key = answer.between(F::map);
        scratch.segment = segment::<F, P>(packet, &facts, answer.protocol);
        let mut way = Way {
            service: only(service),
            ..Way::default()
        };
        to_other_end::<Mapped, T>(tables, &as_mapped::<F>(&facts), scratch, &mut way)?;
        if facts.hops <= 1 {
            return Err(DropReason::TtlExpired.into());
        }
        rewritten::<F, P, T>(packet, tables, &facts, scratch, &way.next)?;
        count(tables, way.service, way.backend, &facts, way.direction);
        forward::send(tables, tables.ingress(), way.next.hop.device())
    };
    FamilyTables::<Mapped>::with_scratch(tables, work)
        .unwrap_or(Err(DropReason::Inconsistent.into()))
}

/// What the error would say of itself as one of [`Mapped`], in which both of its IP headers are IPv6's.
#[inline(always)]
fn as_mapped<F: Side>(facts: &Facts) -> Facts {
    Facts {
        protocol: Ipv6::ICMP,
        length: facts.length + 2 * (Mapped::HEADER_LEN - F::HEADER_LEN),
        ..*facts
    }
}

/// Gives the error the ends `scratch.other`, in their family.
#[inline(always)]
fn rewritten<F, P, T>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    scratch: &Scratch<Ipv6Address>,
    next: &NextHop,
) -> Result<(), Stop>
where
    F: Side,
    P: Trim,
    T: Tables,
{
    let to = Translated {
        answer: &scratch.key,
        ends: &scratch.other,
    };
    if F::has(to.ends.source) {
        return kept::<F, P, T>(packet, tables, facts, &to, next);
    }
    let length = facts.length - 2 * F::HEADER_LEN + 2 * F::Other::HEADER_LEN;
    rewrite::fits(length, 0, *next)?;
    turned::<F, F::Other, P>(packet, facts, &to)?;
    rewrite::link::<F::Other, P, T>(packet, tables, *next)
}

/// Rewrites an error whose flow has both ends in its family.
#[inline(never)]
fn kept<F, P, T>(
    packet: &mut P,
    tables: &T,
    facts: &Facts,
    to: &Translated<'_, Ipv6Address>,
    next: &NextHop,
) -> Result<(), Stop>
where
    F: Side,
    P: Packet,
    T: Tables,
{
    let to = Translated {
        answer: &to.answer.between(F::unmap),
        ends: &to.ends.between(F::unmap),
    };
    translate::headers::<F, P, T>(packet, tables, facts, &to, next)
}

/// Makes the error, but for its Ethernet header, one of family `G`.
#[inline(never)]
fn turned<F, G, P>(
    packet: &mut P,
    facts: &Facts,
    to: &Translated<'_, Ipv6Address>,
) -> Result<(), Stop>
where
    F: Side,
    G: Side,
    P: Trim,
{
    let (source, destination) = (G::unmap(to.ends.source), G::unmap(to.ends.destination));
    let payload = Payload {
        protocol: G::ICMP,
        length: (facts.length - 2 * F::HEADER_LEN + G::HEADER_LEN) as u16,
        class: facts.traffic_class,
    };
    let (mut gone, mut come) = (Delta::NONE, Delta::NONE);
    sum::<F, P>(packet, &mut gone).ok_or(DropReason::Inconsistent)?;
    let quoted = packet.header::<F::Header>(start::<F>());
    let quoted = quoted.ok_or(DropReason::Inconsistent)?;
    let hops = quoted.hops();
    let inside = Payload {
        protocol: quoted.protocol(),
        length: quoted.total_length().wrapping_sub(F::HEADER_LEN) as u16,
        class: quoted.traffic_class(),
    };
    let length = quoted.total_length();
    let error = packet.header::<IcmpHeader>(F::TRANSPORT);
    let error = error.ok_or(DropReason::Inconsistent)?;
    let checksum = error.checksum();
    let said = F::across(error, length).ok_or(DropReason::CrossingShape)?;
    let fits = if F::HEADER_LEN < G::HEADER_LEN {
        packet.grow(2 * Mapped::LONGER)
    } else {
        packet.strip(2 * Mapped::LONGER)
    };
    if !fits {
        return Err(DropReason::NoHeadroom.into());
    }
    let outside = packet.header_mut::<G::Header>(EthernetHeader::LEN);
    let outside = outside.ok_or(DropReason::Inconsistent)?;
    *outside = G::Header::around(payload, source, destination);
    outside.set_hops(facts.hops - 1);
    let quoted = packet.header_mut::<G::Header>(start::<G>());
    let quoted = quoted.ok_or(DropReason::Inconsistent)?;
    *quoted = G::Header::around(inside, destination, source);
    quoted.set_hops(hops);
    let error = packet.header_mut::<IcmpHeader>(G::TRANSPORT);
    *error.ok_or(DropReason::Inconsistent)? = IcmpHeader::saying(said, checksum);
    let end = end(facts) - 2 * F::HEADER_LEN + 2 * G::HEADER_LEN;
    let ports = translate::ports::<Ipv6Address, P>(packet, transport::<G>(), end, to);
    sum::<G, P>(packet, &mut come).ok_or(DropReason::Inconsistent)?;
    let error = packet.header_mut::<IcmpHeader>(G::TRANSPORT);
    let error = error.ok_or(DropReason::Inconsistent)?;
    error.mend(gone.undone().and(come).and(ports));
    Ok(())
}

/// Sums up what is in an error's checksum of all that is another in the other family: the pseudo-header,
/// its own header and the quoted one. A function of its own, as [`turned`] is, for the sake of the
/// kernel's small stack.
#[inline(never)]
fn sum<F: Icmp, P: Packet>(packet: &P, sum: &mut Delta) -> Option<()> {
    let ip = packet.header::<F::Header>(EthernetHeader::LEN)?;
    let payload = Payload {
        protocol: F::ICMP,
        length: ip.total_length().wrapping_sub(F::HEADER_LEN) as u16,
        class: 0,
    };
    let pseudo = F::Header::pseudo(payload, ip.source(), ip.destination());
    let error = packet.header::<IcmpHeader>(F::TRANSPORT)?;
    let quoted = packet.header::<F::Header>(start::<F>())?;
    let quoted = Delta::NONE.bytes(quoted.as_bytes());
    *sum = F::covers(pseudo).and(error.sum()).and(quoted);
    Some(())
}
