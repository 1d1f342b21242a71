//! Last stage: which device does the frame leave through?

use crate::{
    abi::{Direction, FlowEntry, HopWord, NextHop, Rewrite},
    net::Family,
};

use super::{
    outcome::{DropReason, Egress, Stop},
    tables::{FamilyTables, HeldFlow, Leaving, Route, Tables},
};

/// Has a rewritten frame leave through `device`.
#[inline(always)]
pub(super) fn send<T: Tables>(tables: &T, ingress: HopWord, device: u16) -> Result<Egress, Stop> {
    if device == ingress.device() {
        Ok(Egress::Transmit)
    } else if tables.redirect(device) {
        Ok(Egress::Redirect)
    } else {
        Err(DropReason::NoDevice.into())
    }
}

/// The next hop of a backend.
#[inline(always)]
pub(super) fn to_backend<T: Tables>(tables: &T, index: u32) -> Result<NextHop, Stop> {
    let next = tables.next_hop(index).filter(|next| next.hop.device() != 0);
    next.ok_or(DropReason::NoNextHop.into())
}

/// The next hop of a recorded flow's packet: the backend's, which the agent keeps resolved, or
/// the way back to the client.
#[inline(always)]
pub(super) fn next_hop<F: Family, T: FamilyTables<F>>(
    tables: &T,
    held: &T::Flow,
    entry: &FlowEntry<F::Address>,
    leaving: Leaving,
    now: u32,
) -> Result<NextHop, Stop> {
    if entry.direction() == Direction::In {
        let backend = tables.backend(entry.backend().index());
        return to_backend(tables, backend.ok_or(DropReason::Inconsistent)?.next_hop());
    }
    // An answer is good for a second, and for packets that fit it: whether a larger one does, the
    // kernel is asked once more.
    let fresh = now.wrapping_sub(entry.route_seen) < tables.hertz();
    if fresh && leaving.length <= entry.route_mtu {
        return Ok(NextHop {
            hop: entry.route,
            mtu: u64::from(entry.route_mtu),
        });
    }
    way_back::<F, T>(tables, held, entry, leaving, now)
}

/// The next hop of a packet that leaves with these ends and of which nothing is remembered.
#[inline(always)]
pub(super) fn by_route<F: Family, T: FamilyTables<F>>(
    tables: &T,
    ends: &Rewrite<F::Address>,
    leaving: Leaving,
) -> Result<NextHop, Stop> {
    match tables.route(ends, leaving) {
        Route::Found { hop, mtu } => Ok(NextHop {
            hop,
            mtu: u64::from(mtu),
        }),
        Route::NoNeighbour { device, address } => {
            tables.want_neighbour(device, address);
            Err(DropReason::NoNeighbour.into())
        }
        Route::TooBig { mtu } => Err(Stop::TooBig { mtu }),
        Route::None(reason) => Err(reason.into()),
    }
}

/// Looks the way back to the client up. While its neighbour is not resolved, the way that the
/// client's first packet came is taken if it leads through the same device, and to no group of stations; the
/// agent is asked to resolve the neighbour either way.
#[inline(always)]
fn way_back<F: Family, T: FamilyTables<F>>(
    tables: &T,
    held: &T::Flow,
    entry: &FlowEntry<F::Address>,
    leaving: Leaving,
    now: u32,
) -> Result<NextHop, Stop> {
    match tables.route(&entry.rewrite(), leaving) {
        Route::Found { hop, mtu } => {
            held.set_route(hop, mtu, now);
            Ok(NextHop {
                hop,
                mtu: u64::from(mtu),
            })
        }
        Route::NoNeighbour { device, address } => {
            tables.want_neighbour(device, address);
            if entry.route.device() != device || entry.route.mac().is_group() {
                return Err(DropReason::NoNeighbour.into());
            }
            // The kernel compares the length with the device's MTU before it looks for a neighbour.
            let mtu = entry.route_mtu.max(leaving.length);
            held.set_route(entry.route, mtu, now);
            let (hop, mtu) = (entry.route, u64::from(mtu));
            Ok(NextHop { hop, mtu })
        }
        Route::TooBig { mtu } => Err(Stop::TooBig {
            mtu: F::from_wire(mtu, entry.rewrite().destination),
        }),
        Route::None(reason) => Err(reason.into()),
    }
}
