//! What backends answer in `nat` mode, where nothing is recorded: the port that a packet comes from
//! names the service whose address it has to leave with. What they answer to probes themselves goes on from here, too
//! (`probe`): another way there would cost the packet program a sixth more of the verifier's time.

use crate::{
    abi::{Direction, Handshake, Service, Traffic},
    net::{Family, Packet, TcpFlags},
};

use super::{
    clamp, forward,
    outcome::{DropReason, Egress, Stop},
    parse::{self, Facts, Parsed},
    probe,
    rewrite::{self, Translation},
    service,
    tables::{FamilyTables, Leaving},
};

/// A packet from a backend's port; `from` says whose that is, or that it is for the prober. A function of its own in the kernel,
/// so that other packets do not pay for its stack.
#[inline(never)]
pub(super) fn answer<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    parsed: &Parsed<F::Address>,
    from: &Service<F::Address>,
) -> Result<Egress, Stop> {
    if tables.has_probes() && service::is_probes(from) {
        return probe::answered::<F, P, T>(packet, tables, parsed, from);
    }
    let (facts, ingress) = (parsed.facts, tables.ingress());
    let flags = parse::sound::<F, P>(packet, facts)?;
    clamp::segments::<F, P, T>(packet, tables, from.id(), flags)?;
    let reverse = tables
        .reverse(from.reverse_index())
        .filter(|reverse| reverse.backend != 0)
        .ok_or(DropReason::Inconsistent)?;
    let translation = Translation::from(&parsed.key, reverse.address, reverse.port);
    let leaving = Leaving {
        protocol: facts.protocol,
        traffic_class: facts.traffic_class,
        // It fits: an IPv4 length has 16 bits, and no frame takes a longer IPv6 packet.
        length: facts.length as u16,
    };
    let next = forward::by_route::<F, T>(tables, &translation.ends, leaving)?;
    rewrite::translate::<F, P, T>(packet, tables, facts, &translation, next)?;
    let egress = forward::send(tables, ingress, next.hop.device())?;
    let traffic = Traffic {
        direction: Direction::Out,
        bytes: facts.length as u64,
        opens: false,
    };
    tables.count_service(from.id(), traffic);
    tables.count_backend(reverse.backend, traffic);
    if let Some(step) = handshake::<F, P>(packet, facts, flags) {
        tables.count_handshake(reverse.backend, step);
    }
    Ok(egress)
}

/// What a packet is to the beginning of a connection, by itself: an answer that is sent again is another one. A reset
/// that answers a SYN has the number 0 (RFC 9293, section 3.5.2); others have one of the connection's.
#[inline(always)]
fn handshake<F: Family, P: Packet>(packet: &P, facts: Facts, flags: TcpFlags) -> Option<Handshake> {
    if flags.accepts() {
        return Some(Handshake::Answered);
    }
    let refuses = flags.refuses() && parse::segment::<F, P>(packet, facts).sequence == 0;
    refuses.then_some(Handshake::Refused)
}
