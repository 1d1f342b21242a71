//! Who gets a new recorded flow: schedulers, affinity, caps. From the configuration's reference.

use lb_common::datapath::DropReason;

use super::{
    listening::first_bits,
    model::{End, Flow, Model, Name, SLOTS},
    site::{Scheduler, Service},
};
use crate::{cases::hashes::scaled, slots::trace::Dice};

impl Model {
    /// The backend of a new flow.
    pub(super) fn choose(&mut self, flow: Flow, service: &Service) -> Result<Name, End> {
        let client = (service.id, first_bits(flow.source.ip(), service.prefix));
        let kept = self.affinities.get(&client).copied();
        let kept = kept.filter(|(name, since)| {
            let recent = service
                .affinity
                .is_some_and(|limit| self.now - since < limit);
            let weight = self.site.backends.get(&name.index).map_or(0, |b| b.weight);
            recent && self.usable(Some(*name)) && weight > 0 && self.has_room(name.index)
        });
        let chosen = match kept {
            Some((name, _)) => name,
            None => self.schedule(flow, service)?,
        };
        if service.affinity.is_some() {
            self.affinities.insert(client, (chosen, self.now));
        }
        Ok(chosen)
    }

    /// Up to eight slots are looked at, until one has a living backend with room.
    fn schedule(&mut self, flow: Flow, service: &Service) -> Result<Name, End> {
        let hash = self.hash(flow, service);
        let mut places = Dice::new(hash);
        // The first of them is for source ports alone.
        places.roll();
        let (mut first, mut why) = (None, DropReason::NoBackend);
        for n in 0..8 {
            let place = match service.scheduler {
                Scheduler::RoundRobin => {
                    let turn = self.turns.entry(service.id).or_default();
                    *turn += 1;
                    (*turn - 1) % SLOTS
                }
                Scheduler::Hash | Scheduler::LeastConnections if n == 0 => {
                    scaled(hash >> 32, SLOTS)
                }
                Scheduler::Hash | Scheduler::LeastConnections => scaled(places.roll() >> 32, SLOTS),
            };
            let index = service.slots[place as usize % service.slots.len()].current();
            if index == 0 {
                break;
            }
            if Some(index) == first || !self.site.backends[&index].alive {
                continue;
            }
            if !self.has_room(index) {
                why = DropReason::MaxFlows;
                continue;
            }
            let Some(other) = first else {
                first = Some(index);
                if service.scheduler == Scheduler::LeastConnections {
                    continue;
                }
                break;
            };
            first = Some(self.less_loaded(other, index));
            break;
        }
        let name = first.and_then(|index| self.name(index));
        name.ok_or(End::Drop(why))
    }

    fn less_loaded(&self, a: u32, b: u32) -> u32 {
        let load = |index| {
            (self.flows_of(index) + 1) as f64 / f64::from(self.site.backends[&index].weight)
        };
        if load(b) < load(a) { b } else { a }
    }

    fn has_room(&self, index: u32) -> bool {
        let limit = self.site.backends[&index].max_flows;
        limit == 0 || self.flows_of(index) < i64::from(limit)
    }

    fn flows_of(&self, index: u32) -> i64 {
        self.active.get(&index).copied().unwrap_or(0)
    }
}
