//! How large segments a client and its backend say they take (MSS; RFC 9293, section 3.7.1): no
//! larger ones than their service allows. Only where both directions pass here, since what one end
//! says bounds what the other one sends.
//!
//! The segment's options are found by the program for packets that are not plain, so that the packet
//! program has no loop over them, and packets of flows that are open cost nothing.

use crate::net::{Delta, Family, Packet, TcpFlags, TcpHeader};

use super::{
    outcome::{DropReason, Stop},
    tables::Tables,
};

/// Has a segment with SYN say no more than its service allows. Comes before anything is recorded or
/// counted.
#[inline(always)]
pub(super) fn segments<F: Family, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    service: u32,
    flags: TcpFlags,
) -> Result<(), Stop> {
    // A probe's size is small enough already, and the program for other shapes knows no probes.
    if T::PROBES || !flags.synchronizes() {
        return Ok(());
    }
    let largest = tables.largest_segment(service);
    if largest == 0 {
        return Ok(());
    }
    if P::PLAIN && !F::ACROSS {
        return Err(Stop::Uncommon);
    }
    let said = match F::ACROSS {
        true => first_option::<F, P>(packet),
        false => packet.segment_size(),
    };
    match said {
        Some(at) => lower::<F, P>(packet, at, largest).ok_or(DropReason::Inconsistent.into()),
        // What it does not say is 536 bytes over IPv4 and 1220 over IPv6: less than any link takes.
        None => Ok(()),
    }
}

/// Where the size is if the segment's first option says it, as it does in all common systems: the
/// program for flows that have ends of both families finds it only there.
#[inline(always)]
fn first_option<F: Family, P: Packet>(packet: &P) -> Option<usize> {
    const SEGMENT_SIZE: [u8; 2] = [2, 4];
    let transport = packet.transport::<F>();
    let at = transport + TcpHeader::LEN;
    let tcp = packet.header::<TcpHeader>(transport)?;
    let option = packet.header::<[u8; 2]>(at)?;
    let said = tcp.payload() >= TcpHeader::LEN + 4 && *option == SEGMENT_SIZE;
    said.then_some(at + 2)
}

/// Lowers the size at `at`, if it is larger.
#[inline(always)]
fn lower<F: Family, P: Packet>(packet: &mut P, at: usize, largest: u16) -> Option<()> {
    let said = *packet.header::<[u8; 2]>(at)?;
    if u16::from_be_bytes(said) <= largest {
        return Some(());
    }
    let allowed = largest.to_be_bytes();
    *packet.header_mut::<[u8; 2]>(at)? = allowed;
    let transport = packet.transport::<F>();
    // Options start at any byte: one at an odd place has its bytes in two words of the sum.
    let delta = if (at ^ transport) & 1 == 0 {
        Delta::NONE.field(said, allowed)
    } else {
        let ([a, b], [c, d]) = (said, allowed);
        Delta::NONE.field([b, a], [d, c])
    };
    packet.header_mut::<TcpHeader>(transport)?.mend(delta);
    Some(())
}
