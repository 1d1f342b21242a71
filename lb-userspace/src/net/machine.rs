//! Decides, from what the kernel reports and what was known before, the resolution of every wanted
//! destination and which neighbours the kernel is to keep resolved. Facts and `now` in; resolutions,
//! requests and the next deadline out.
//!
//! - A next hop that was known is kept for [`GRACE`] while its neighbour is asked anew or its cable
//!   is out; what an operator or a routing daemon did (a route removed, a device set down) counts at
//!   once.
//! - Neighbours that somebody fixed (permanent, NOARP, externally learned) are used, never touched.
//! - A neighbour is released only if this machine asked for it or took it over from a former run,
//!   and only while it still bears our mark.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    facts::{Event, Facts, Keeper, Neighbour, Neighbourhood, Route},
    resolution::{IfIndex, NextHop, Resolution, Unresolved},
    resolve::{resolve, usable},
};

/// How long a next hop outlives the loss of its neighbour.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Pause between two requests to keep the same neighbour: a kernel that does not heed them must not
/// be asked in a loop.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// What the machine remembers.
#[derive(Debug, Default)]
pub(super) struct Machine {
    facts: Facts,
    memory: BTreeMap<IpAddr, Memory>,
    /// Neighbours that wanted destinations go to.
    needed: BTreeSet<Neighbourhood>,
    /// Neighbours that failed and have not answered since.
    silent: BTreeSet<Neighbourhood>,
    /// Neighbours that are kept on our behalf, so that they are ours to release.
    owned: BTreeSet<Neighbourhood>,
    /// When each neighbour was last asked for.
    tried: BTreeMap<Neighbourhood, Instant>,
}

/// The last that was known of a destination.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// The device of its last route.
    device: IfIndex,
    /// Its last next hop, until the grace is over.
    next_hop: Option<NextHop>,
    /// Since when that is not confirmed any more.
    lost: Option<Instant>,
}

/// What is to be published, done, and when to step again if nothing happens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) resolutions: BTreeMap<IpAddr, Resolution>,
    pub(super) requests: Vec<Request>,
    pub(super) deadline: Option<Instant>,
}

/// Something to ask of the kernel's neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Make a new entry that the kernel keeps resolved; it must not exist.
    Create(Neighbourhood),
    /// Have the kernel keep the entry that is there.
    Keep(Neighbourhood),
    /// Have it do so no longer; the entry itself stays.
    Release(Neighbourhood),
}

impl Machine {
    /// Judges a full reading of the kernel's state; the wanted destinations are those with a route.
    pub(super) fn step(&mut self, facts: Facts, now: Instant) -> Step {
        self.facts = facts;
        let wanted: Vec<IpAddr> = self.facts.routes.keys().copied().collect();
        self.memory
            .retain(|destination, _| self.facts.routes.contains_key(destination));
        self.needed.clear();
        let resolutions = wanted.iter().map(|d| (*d, self.judge(*d, now))).collect();
        self.silent
            .retain(|neighbour| self.needed.contains(neighbour));
        self.tried
            .retain(|neighbour, _| self.needed.contains(neighbour));
        let mut requests = self.releases();
        requests.extend(self.keeps(now));
        let holds = self
            .memory
            .values()
            .filter_map(|m| m.next_hop.and(m.lost))
            .map(|t| t + GRACE);
        let retries = self.tried.values().map(|t| *t + RETRY).filter(|t| *t > now);
        Step {
            resolutions,
            requests,
            deadline: holds.chain(retries).min(),
        }
    }

    /// Whether an event may change a resolution, or what must be asked of the kernel. Busy hosts see
    /// neighbours and routes change all the time that are none of ours.
    pub(super) fn concerns(&self, event: &Event) -> bool {
        match event {
            Event::Link(index, link) => self.facts.links.get(index) != Some(link),
            Event::LinkGone(index) => self.facts.links.contains_key(index),
            Event::Neighbour(place, entry) => {
                self.needed.contains(place) && self.facts.neighbours.get(place) != Some(entry)
            }
            Event::NeighbourGone(place) => {
                self.needed.contains(place) && self.facts.neighbours.contains_key(place)
            }
            Event::Route(prefix) => self
                .facts
                .routes
                .keys()
                .any(|wanted| prefix.contains(*wanted)),
            Event::Address | Event::Rule | Event::Overrun => true,
        }
    }

    /// The neighbours to release when the agent stops, by a fresh reading of the table.
    pub(super) fn retire(
        &mut self,
        neighbours: BTreeMap<Neighbourhood, Neighbour>,
    ) -> Vec<Request> {
        self.facts.neighbours = neighbours;
        self.needed.clear();
        self.releases()
    }

    /// The resolution of one destination, and what is remembered of it.
    fn judge(&mut self, destination: IpAddr, now: Instant) -> Resolution {
        let verdict = resolve(destination, &self.facts);
        self.needed.extend(verdict.neighbour);
        if let Some(Route::Unicast { device, .. }) = self.facts.routes.get(&destination) {
            let fresh = Memory {
                device: *device,
                next_hop: None,
                lost: None,
            };
            self.memory.entry(destination).or_insert(fresh).device = *device;
        }
        match verdict.outcome {
            Ok(next_hop) => {
                verdict
                    .neighbour
                    .map(|neighbour| self.silent.remove(&neighbour));
                let device = next_hop.device;
                let memory = Memory {
                    device,
                    next_hop: Some(next_hop),
                    lost: None,
                };
                self.memory.insert(destination, memory);
                Resolution::Resolved(next_hop)
            }
            Err(reason) => {
                let reason = self.persist(reason, destination, verdict.neighbour);
                self.hold(reason, destination, now)
            }
        }
    }

    /// Puts what was learned before into a reason: a neighbour that failed is asked again every few
    /// seconds, which makes it no less silent; and a device that went down took its routes along.
    fn persist(
        &mut self,
        reason: Unresolved,
        destination: IpAddr,
        neighbour: Option<Neighbourhood>,
    ) -> Unresolved {
        match (reason, neighbour) {
            (Unresolved::Resolving { neighbour, device }, Some(place))
                if self.silent.contains(&place) =>
            {
                Unresolved::NoNeighbour { neighbour, device }
            }
            (reason @ Unresolved::NoNeighbour { .. }, Some(place)) => {
                self.silent.insert(place);
                reason
            }
            (Unresolved::NoRoute, _) => self
                .memory
                .get(&destination)
                .and_then(|memory| usable(memory.device, &self.facts).err())
                .unwrap_or(Unresolved::NoRoute),
            (reason, _) => reason,
        }
    }

    /// The last next hop while the grace lasts, else the reason.
    fn hold(&mut self, reason: Unresolved, destination: IpAddr, now: Instant) -> Resolution {
        let Some(memory) = self.memory.get_mut(&destination) else {
            return Resolution::Unresolved(reason);
        };
        let held = memory.next_hop.filter(|next_hop| {
            let up = self
                .facts
                .links
                .get(&next_hop.device)
                .is_some_and(|link| link.up);
            let lost = *memory.lost.get_or_insert(now);
            up && reason.is_transient() && now < lost + GRACE
        });
        match held {
            Some(next_hop) => Resolution::Resolved(next_hop),
            None => {
                memory.next_hop = None;
                memory.lost = None;
                Resolution::Unresolved(reason)
            }
        }
    }

    /// Requests for needed neighbours that nobody keeps.
    fn keeps(&mut self, now: Instant) -> Vec<Request> {
        let mut requests = Vec::new();
        for &place in &self.needed {
            let entry = self.facts.neighbours.get(&place);
            let request = match entry.map(|entry| entry.keeper) {
                Some(Keeper::Sluice) => {
                    self.owned.insert(place);
                    self.tried.remove(&place);
                    continue;
                }
                Some(Keeper::Another | Keeper::Fixed) => continue,
                Some(Keeper::Nobody) => Request::Keep(place),
                None => Request::Create(place),
            };
            let resolves = self
                .facts
                .links
                .get(&place.0)
                .is_some_and(|link| link.resolves);
            let recent = self
                .tried
                .get(&place)
                .is_some_and(|tried| now < *tried + RETRY);
            if resolves && !recent {
                self.tried.insert(place, now);
                self.owned.insert(place);
                requests.push(request);
            }
        }
        requests
    }

    /// Requests to release what is not needed any more, if it still bears our mark.
    fn releases(&mut self) -> Vec<Request> {
        let unneeded: Vec<_> = self.owned.difference(&self.needed).copied().collect();
        let mut requests = Vec::new();
        for place in unneeded {
            self.owned.remove(&place);
            if self
                .facts
                .neighbours
                .get(&place)
                .is_some_and(|e| e.keeper == Keeper::Sluice)
            {
                requests.push(Request::Release(place));
            }
        }
        requests
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
