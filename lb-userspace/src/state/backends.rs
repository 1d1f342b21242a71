//! Backends' entries: which backends have one, what it says of the way there, and of flows once it is dead.

use std::net::IpAddr;

use lb_common::abi::{Address, Backend, BackendSpec, ForwardSpec, Ipv4Address, Ipv6Address, Outer};

use crate::model::{self, BackendAddress, Family, Forward, Pool};

use super::{
    contenders::reached_at,
    desired::{Inputs, usable_hop},
    ids::BackendId,
};

/// A backend's entry, if its flows are its own: it is not down, its next hop is usable, or either was so until a grace
/// ago; dead, if an operator has ended its flows; and, in `ipip` and `gue`, an outer source is known.
pub(super) fn backend(
    inputs: Inputs<'_>,
    (pool, n, family): BackendId,
    generation: u8,
) -> Option<Backend> {
    let settings = &inputs.config.pools[pool];
    let address = address_of(inputs, (pool, n, family))?;
    let fate = inputs.standings.of(settings, n, family, family).fate;
    // To one whose flows are ended there need be no way.
    if fate.is_none() && !keeps_flows(inputs, (pool, n, family), address.ip) {
        return None;
    }
    let entry = entry(inputs, (pool, n, family), generation)?;
    Some(fate.map_or(entry, |fate| entry.dead(fate)))
}

/// The entry of a backend that probes are for: there as long as its next hop is usable.
pub(super) fn probed(inputs: Inputs<'_>, id: BackendId, generation: u8) -> Option<Backend> {
    usable_hop(inputs, address_of(inputs, id)?.ip)?;
    entry(inputs, id, generation)
}

fn address_of(inputs: Inputs<'_>, (pool, n, family): BackendId) -> Option<&BackendAddress> {
    let mut addresses = inputs.config.pools[pool].backends[n].addresses.iter();
    addresses.find(|address| Family::of(address.ip) == family)
}

/// What an entry says of the way there.
fn entry(inputs: Inputs<'_>, id: BackendId, generation: u8) -> Option<Backend> {
    let (pool, _, family) = id;
    let settings = &inputs.config.pools[pool];
    let address = address_of(inputs, id)?;
    let sources = inputs.ids.sources.get(&(pool, family)).copied();
    let entry = Entry {
        pool: settings,
        port: address.port.unwrap_or(0),
        sources: sources.unwrap_or_default(),
        source: outer_source(settings, address.ip, inputs),
        next_hop: *inputs.ids.next_hops.get(&address.ip)?,
        generation,
    };
    match address.ip {
        IpAddr::V4(ip) => entry.of(Ipv4Address::from(ip)),
        IpAddr::V6(ip) => entry.of(Ipv6Address::from(ip)),
    }
}

/// Whether a backend's flows are its own: its next hop is usable and it is not down, or both were so until a grace ago.
fn keeps_flows(inputs: Inputs<'_>, id: BackendId, address: IpAddr) -> bool {
    let (pool, n, family) = id;
    let settings = &inputs.config.pools[pool];
    let lost = inputs.hops.get(&address).and_then(|hop| hop.lost);
    let reaches = |services: &Family| reached_at(pool, n, settings, *services) == Some(id);
    let mut standings = Family::ALL
        .into_iter()
        .filter(reaches)
        .map(|services| inputs.standings.of(settings, n, family, services));
    usable_hop(inputs, address).is_some()
        && lost.is_none_or(|lost| lost < inputs.config.grace(pool))
        && standings.any(|standing| standing.keeps)
}

/// A backend's entry but for its address.
struct Entry<'a> {
    pool: &'a Pool,
    port: u16,
    sources: (u32, u16),
    source: Option<model::Source>,
    next_hop: u32,
    generation: u8,
}

impl Entry<'_> {
    fn of<A: Address>(self, address: A) -> Option<Backend> {
        Some(Backend::new(BackendSpec {
            forward: self.forward()?,
            address,
            port: self.port.to_be_bytes(),
            next_hop: self.next_hop,
            generation: self.generation,
        }))
    }

    /// How packets get there, if it is known what they are sent from.
    fn forward<A: Address>(&self) -> Option<ForwardSpec<A>> {
        let (first, count) = self.sources;
        Some(match self.pool.forward {
            Forward::FullNat => ForwardSpec::FullNat { first, count },
            Forward::Nat => ForwardSpec::Nat,
            Forward::Dsr => ForwardSpec::Dsr,
            Forward::Ipip => ForwardSpec::Ipip(self.outer()?),
            Forward::Gue => ForwardSpec::Gue {
                outer: self.outer()?,
                port: self.pool.gue.port.to_be_bytes(),
                checksum: self.pool.gue.checksum,
            },
        })
    }

    fn outer<A: Address>(&self) -> Option<Outer<A>> {
        let model::Source { ip, entropy } = self.source?;
        let source = match ip {
            IpAddr::V4(ip) => Ipv4Address::from(ip).to_wide(),
            IpAddr::V6(ip) => Ipv6Address::from(ip).to_wide(),
        };
        Some(Outer {
            source: A::from_wide(source),
            entropy,
        })
    }
}

/// The source address of outer headers: the pool's, or the one that the kernel would send from, as it
/// was when the backend got its number.
fn outer_source(pool: &Pool, to: IpAddr, inputs: Inputs<'_>) -> Option<model::Source> {
    let family = Family::of(to);
    let mut configured = pool.source.iter().copied();
    let configured = configured.find(|source| Family::of(source.ip) == family);
    let noted = inputs.ids.outer.get(&to).copied();
    let now = || inputs.hops.get(&to)?.source;
    configured.or_else(|| noted.or_else(now).map(model::Source::from))
}
