//! Counts the flows that a configuration would touch, where nothing records them: for a while their slots are
//! watched (`slots::watch`), so that each flow is recorded as it is seen, and none moves. Everything else goes on
//! meanwhile. Where slots or the configuration change, the count would be of something else: it ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    future,
    time::{Duration, Instant},
};

use anyhow::bail;
use lb_common::abi::{Exception, ExceptionState, Seed, TableId, Unrecorded};
use tracing::error;

use crate::{
    changes::{self, Seen, Slots},
    config::Recorded,
    control::{Answer, Asker, Planned, Refusal},
    kernel::{DataPlane, ExceptionKey},
    model::Family,
    slots::Watch,
};

use super::Agent;

/// Where the flows of a service are that would find another backend, and that nothing records.
pub(super) struct Leaving {
    /// Which of the services in the plan it is.
    pub(super) row: usize,
    /// Its number in the tables.
    pub(super) service: u32,
    /// Of which addresses.
    pub(super) family: Family,
    /// The table that they find their slots in.
    pub(super) table: TableId,
    /// Whose its slots are.
    pub(super) from: Slots,
    /// Whose those are that they would find then.
    pub(super) to: Slots,
}

/// The count that is under way, if there is one.
#[derive(Default)]
pub(super) struct Sampling(Option<(Sample, Asker)>);

/// A count.
struct Sample {
    /// The answer, but for what is counted.
    planned: Planned,
    leaving: Vec<Leaving>,
    watch: Watch,
    /// The configuration in use.
    generation: u64,
    /// When it began, jiffies.
    began: u32,
    /// When packets of each service had gone unrecorded by then.
    unrecorded: Vec<Unrecorded>,
    time: Duration,
    ends: Instant,
}

impl Sampling {
    /// Is done when the count is.
    pub(super) async fn is_over(&self) {
        match &self.0 {
            Some((sample, _)) => tokio::time::sleep_until(sample.ends.into()).await,
            None => future::pending().await,
        }
    }
}

impl Agent {
    /// Says what a configuration would change, once the flows that it would touch have been counted.
    pub(super) async fn sample(
        &mut self,
        plane: &mut DataPlane,
        files: Recorded,
        time: Duration,
        asker: Asker,
    ) {
        match self.begin_sample(plane, files, time).await {
            Ok(sample) => self.sampling.0 = Some((sample, asker)),
            Err(error) => asker.tell(Err(Refusal::from(&error))),
        }
    }

    async fn begin_sample(
        &mut self,
        plane: &mut DataPlane,
        files: Recorded,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        if let Some((sample, _)) = &self.sampling.0 {
            let left = sample.ends.saturating_duration_since(Instant::now());
            bail!(
                "flows are being counted for another plan, for {} s yet; try again then",
                left.as_secs() + 1
            );
        }
        self.finish(plane)?;
        let (planned, leaving) = self.plan(files).await?;
        let unrecorded = self.unrecorded(&leaving)?;
        let began = plane.program().jiffies()?;
        let mut slots: BTreeMap<TableId, BTreeSet<u32>> = BTreeMap::new();
        for Leaving {
            table, from, to, ..
        } in &leaving
        {
            let slots = slots.entry(*table).or_default();
            slots.extend(changes::left(from, to));
        }
        let watch = self.runner.watch(slots, Instant::now());
        let written = self.write(plane).map(drop);
        if written.is_err() {
            self.runner.unwatch();
        }
        self.up_to_date(written)?;
        let wait = match leaving.is_empty() {
            true => Duration::ZERO,
            false => time,
        };
        Ok(Sample {
            planned,
            leaving,
            watch,
            generation: self.view.configured().generation,
            began,
            unrecorded,
            time,
            ends: Instant::now() + wait,
        })
    }

    /// Counts, gives the slots back, and tells who asked.
    pub(super) fn end_sample(&mut self, plane: &mut DataPlane) {
        let Some((sample, asker)) = self.sampling.0.take() else {
            return;
        };
        let counted = self.counted(sample);
        self.runner.unwatch();
        let written = self.write(plane).map(drop);
        let given_back = self.up_to_date(written).and_then(|()| self.sweep(plane));
        if let Err(error) = given_back {
            error!("giving back the slots whose flows were counted: {error:#}");
        }
        self.show_slots();
        let done = counted.map(Answer::Planned);
        asker.tell(done.map_err(|error| Refusal::from(&error)));
    }

    /// Ends a count of something that has changed. Its slots are to be written with what changed them.
    pub(super) fn check_sample(&mut self) {
        let generation = self.view.configured().generation;
        let changed =
            |sample: &Sample| sample.generation != generation || !self.runner.holds(&sample.watch);
        let taken = self.sampling.0.take_if(|(sample, _)| changed(sample));
        if let Some((_, asker)) = taken {
            self.runner.unwatch();
            let error = "what is in use has changed while flows were counted; ask again".to_owned();
            asker.tell(Err(error.into()));
        }
    }

    /// Leaves no slots that are watched to the next agent.
    pub(super) fn stop_sample(&mut self, plane: &mut DataPlane) {
        if self.sampling.0.take().is_none() {
            return;
        }
        self.runner.unwatch();
        if let Err(error) = self.write(plane) {
            error!("giving back the slots whose flows were counted: {error:#}");
        }
    }

    /// The plan, with what has been counted by now.
    fn counted(&self, sample: Sample) -> anyhow::Result<Planned> {
        let mut planned = sample.planned;
        let dump = self.exceptions.dump()?;
        let flows = count(&dump, &sample.leaving, sample.began, self.seed);
        let unrecorded = self.unrecorded(&sample.leaving)?;
        let stamps = sample.unrecorded.iter().zip(&unrecorded);
        for ((leaving, flows), (before, now)) in sample.leaving.iter().zip(flows).zip(stamps) {
            planned.changes.slots[leaving.row].seen = Some(Seen {
                flows,
                seconds: sample.time.as_secs(),
                at_least: before.data != now.data,
            });
        }
        Ok(planned)
    }

    /// When packets of each service last went unrecorded.
    fn unrecorded(&self, leaving: &[Leaving]) -> anyhow::Result<Vec<Unrecorded>> {
        let stamps = leaving
            .iter()
            .map(|leaving| self.exceptions.unrecorded(leaving.service));
        Ok(stamps.collect::<Result<_, _>>()?)
    }
}

/// How many flows would go to another backend of those that were seen since then, but for those of which there was
/// no more than an opening, and those that have ended.
fn count(
    dump: &[(ExceptionKey, Exception)],
    leaving: &[Leaving],
    since: u32,
    seed: Seed,
) -> Vec<u64> {
    let seen = |entry: &Exception| entry.last_seen().wrapping_sub(since) as i32 >= 0;
    let live: Vec<_> = dump
        .iter()
        .filter(|(_, entry)| entry.state() == ExceptionState::Committed && seen(entry))
        .collect();
    let of = |leaving: &Leaving| {
        let goes = |key: &ExceptionKey| {
            let hash = |prefix| key.slot_hash(seed, prefix);
            changes::goes(&leaving.from, &leaving.to, hash)
        };
        let flows = live.iter().filter(|(key, entry)| {
            let own = (entry.service, key.family()) == (leaving.service, leaving.family);
            own && goes(key)
        });
        flows.count() as u64
    };
    leaving.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lb_common::abi::{FlowKey, TableSize};

    use super::*;

    const SEED: Seed = Seed { k0: 1, k1: 2 };
    const SERVICE: u32 = 3;
    const SINCE: u32 = u32::MAX - 1;

    /// The flow of a client's port.
    fn key(port: u16) -> ExceptionKey {
        let ip = |host| Ipv4Addr::new(198, 18, 0, host).into();
        let (port, listens) = (port.to_be_bytes(), 80_u16.to_be_bytes());
        ExceptionKey::Ipv4(FlowKey::new(ip(1), ip(2), port, listens, 6))
    }

    fn entry(service: u32, state: ExceptionState, last_seen: u32) -> Exception {
        let mut entry = Exception {
            service,
            ..Exception::default()
        };
        entry.set_mark(state, 1);
        entry.set_seen(last_seen, 1);
        entry
    }

    fn leaving(service: u32, family: Family, to: [u32; 2]) -> Leaving {
        let slots = |owners: [u32; 2]| Slots {
            owners: owners.into(),
            prefix: 0,
        };
        Leaving {
            row: 0,
            service,
            family,
            table: TableId {
                size: TableSize::Small,
                index: 0,
            },
            from: slots([1, 2]),
            to: slots(to),
        }
    }

    #[test]
    fn flows_are_counted_whose_slot_goes_to_another_backend() {
        let dump: Vec<_> = (0..100)
            .map(|port| (key(port), entry(SERVICE, ExceptionState::Committed, 0)))
            .collect();
        let first = |(key, _): &&(ExceptionKey, _)| key.slot_hash(SEED, 0).below(2) == 0;
        let first = dump.iter().filter(first).count() as u64;
        assert!((20..80).contains(&first), "{first}");
        let leaving = [
            leaving(SERVICE, Family::Ipv4, [3, 2]),
            leaving(SERVICE, Family::Ipv4, [3, 3]),
            leaving(SERVICE, Family::Ipv4, [1, 2]),
            leaving(SERVICE, Family::Ipv6, [3, 3]),
            leaving(SERVICE + 1, Family::Ipv4, [3, 3]),
        ];
        let counted = count(&dump, &leaving, SINCE, SEED);
        assert_eq!(counted, [first, 100, 0, 0, 0]);
    }

    #[test]
    fn flows_count_that_go_on_and_were_seen_meanwhile() {
        let leaving = [leaving(SERVICE, Family::Ipv4, [3, 3])];
        for (state, last_seen, counts) in [
            (ExceptionState::Committed, SINCE, 1),
            (ExceptionState::Committed, SINCE.wrapping_add(9), 1),
            (ExceptionState::Committed, SINCE - 1, 0),
            (ExceptionState::Tentative, SINCE, 0),
            (ExceptionState::Closing, SINCE, 0),
        ] {
            let dump = [(key(1), entry(SERVICE, state, last_seen))];
            let counted = count(&dump, &leaving, SINCE, SEED);
            assert_eq!(counted, [counts], "{state:?} {last_seen}");
        }
    }
}
