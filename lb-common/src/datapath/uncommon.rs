//! First stage of packets that are not plain: where are their headers? Behind IPv4 options, behind
//! IPv6 extension headers, or not in the first part of a frame's buffer. Once they are found, the
//! other stages go on as with any packet.

use crate::{
    abi::HopWord,
    net::{AnyShape, EthernetHeader, Family, Ipv4, Ipv6, Piece, Ports},
};

use super::{
    judge_parsed,
    outcome::{DropReason, Egress, Outcome, PassReason, Stop},
    parse::{self, Parsed},
    tables::FamilyTables,
};

/// Decides on a packet that [`handle`](super::handle) leaves, rewrites it if it is forwarded, and
/// counts what became of it.
#[inline(always)]
pub fn handle_uncommon<P, T>(packet: &mut P, tables: &T) -> Outcome
where
    P: AnyShape,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let ingress = tables.ingress();
    let outcome = match judge(packet, tables, ingress) {
        Ok(egress) if packet.commit() => Outcome::Forward(egress),
        Ok(_) => Outcome::Drop(DropReason::NoHeadroom),
        Err(Stop::Pass(reason)) => Outcome::Pass(reason),
        Err(Stop::Drop(reason)) => Outcome::Drop(reason),
        Err(Stop::Uncommon) => Outcome::Pass(PassReason::NotRead),
    };
    tables.count_outcome(ingress.device(), outcome);
    outcome
}

#[inline(always)]
fn judge<P, T>(packet: &mut P, tables: &T, ingress: HopWord) -> Result<Egress, Stop>
where
    P: AnyShape,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    match parse::link(packet, ingress)? {
        parse::Link::Ipv4 => judge_ip::<Ipv4, P, T>(packet, tables, ingress),
        parse::Link::Ipv6 => judge_ip::<Ipv6, P, T>(packet, tables, ingress),
    }
}

#[inline(always)]
fn judge_ip<F, P, T>(packet: &mut P, tables: &T, ingress: HopWord) -> Result<Egress, Stop>
where
    F: Family,
    P: AnyShape,
    T: FamilyTables<F>,
{
    let parsed = network::<F, P>(packet)?;
    judge_parsed::<F, P, T>(packet, tables, ingress, &parsed)
}

/// Reads the IP header, walks to the transport header, and reads the ports.
#[inline(always)]
fn network<F: Family, P: AnyShape>(packet: &mut P) -> Result<Parsed<F::Address>, Stop> {
    let shape = F::shape(packet).map_err(parse::unreadable::<P>)?;
    if packet.piece() != Piece::Whole {
        return Err(PassReason::Fragment.into());
    }
    let ip = packet.header::<F::Header>(EthernetHeader::LEN);
    let ip = ip.ok_or(PassReason::Truncated)?;
    let ports = packet.header::<Ports>(packet.transport::<F>());
    let ports = ports.ok_or(PassReason::Truncated)?;
    Ok(parse::parsed::<F>(ip, *ports, shape.protocol))
}
