//! First stage of packets that are not plain: where are their headers? Behind IPv4 options, behind
//! IPv6 extension headers, or not in the first part of a frame's buffer; a later fragment has none,
//! but follows the first one. Once that is known, the other stages go on as with any packet.

use crate::{
    abi::HopWord,
    net::{AnyShape, EthernetHeader, Family, Ipv4, Ipv6, Piece, Ports, find_segment_size},
};

use super::{
    fragments, judge_parsed,
    outcome::{DropReason, Egress, Outcome, PassReason, Stop},
    parse::{self, Parsed},
    tables::{FamilyTables, Tables},
    tags,
};

/// Decides on a packet that [`handle`](super::handle) leaves, rewrites it if it is forwarded, and
/// counts what became of it. `None`: the program of the tables before decides, and the packet is as it came.
#[inline(always)]
pub fn handle_uncommon<P, T>(packet: &mut P, tables: &T) -> Option<Outcome>
where
    P: AnyShape,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let ingress = tables.ingress();
    let outcome = match judge(packet, tables, ingress) {
        Ok(egress) => Outcome::Forward(egress),
        Err(Stop::Older) if give_back(packet, tables) => return None,
        Err(stop) => stop.into(),
    };
    Some(finish(packet, tables, outcome))
}

/// [`give_back`](super::give_back) for what is shown of a packet.
#[inline(never)]
fn give_back<P: AnyShape, T: Tables>(packet: &mut P, tables: &T) -> bool {
    let came_off = tags::came_off(tables);
    super::give_back(packet, tables) && (!came_off || packet.commit())
}

/// Has the packet leave as it is shown, with its tags, and counts what became of it. A function of its
/// own in the kernel, for the sake of the others' stack.
#[inline(never)]
fn finish<P: AnyShape, T: Tables>(packet: &mut P, tables: &T, outcome: Outcome) -> Outcome {
    let (ingress, came_off) = (tables.ingress(), tags::came_off(tables));
    let outcome = tags::put_on(packet, tables, outcome);
    let changed = match outcome {
        Outcome::Forward(_) | Outcome::Answer(_) => true,
        Outcome::Pass(_) => came_off,
        Outcome::Drop(_) => false,
    };
    let outcome = if changed && !packet.commit() {
        Outcome::Drop(DropReason::NoHeadroom)
    } else {
        outcome
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
    F::walk(packet).map_err(parse::unreadable::<P>)?;
    let mut parsed = network::<F, P>(packet)?;
    if packet.piece() == Piece::Later {
        let mut layout = packet.layout();
        if !fragments::follow::<F, T>(tables, &mut parsed.key, layout.id) {
            return Err(PassReason::FragmentWithoutFirst.into());
        }
        layout.protocol = parsed.key.protocol;
        packet.set_layout(layout);
    }
    find_segment_size(packet);
    // Read anew for all, so that to the verifier all are alike from here on.
    parsed.key.protocol = packet.layout().protocol;
    parsed.facts.protocol = parsed.key.protocol;
    let egress = judge_parsed::<F, P, T>(packet, tables, ingress, &parsed)?;
    if packet.piece() == Piece::First {
        fragments::remember::<F, T>(tables, &parsed.key, packet.layout().id);
    }
    Ok(egress)
}

/// Reads the IP header, and the ports where there are any.
#[inline(always)]
fn network<F: Family, P: AnyShape>(packet: &P) -> Result<Parsed<F::Address>, Stop> {
    let protocol = packet.layout().protocol;
    let ip = packet.header::<F::Header>(EthernetHeader::LEN);
    let ip = ip.ok_or(PassReason::Truncated)?;
    if packet.piece() == Piece::Later {
        return Ok(parse::parsed::<F>(ip, Ports::default(), protocol));
    }
    let ports = packet.header::<Ports>(packet.transport::<F>());
    let ports = ports.ok_or(PassReason::Truncated)?;
    Ok(parse::parsed::<F>(ip, *ports, protocol))
}
