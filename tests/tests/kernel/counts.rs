//! What the program counted, and what it asked for.

use std::{collections::BTreeMap, net::IpAddr, ops::AddAssign};

use aya::{
    maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues, RingBuf},
    util::nr_cpus,
};
use lb_common::abi::{
    Address as _, Bucket, BucketKey, Counters, FlowBucketKey, FlowKey, FlowTable, FragmentBudget,
    Handshakes, Ipv4Address, Ipv6Address, Limited, NeighbourWanted, Occupancy, RecordBudget,
    Recorded, Unrecorded,
};
use sluice_tests::cases::{places::Pool, ring::Counts, world::HERTZ};
use zerocopy::{FromBytes, Immutable};

use crate::program::Program;
use lb_userspace::kernel::Wire;

/// Numbers of services that rows use.
const SERVICES: std::ops::Range<u32> = 0..1 + 4 * Pool::ALL.len() as u32;

impl Program {
    /// Forgets every flow, every count and every budget.
    pub(crate) fn clear(&mut self) {
        for table in FlowTable::ALL {
            self.flows_v4(table).clear();
            self.flows_v6(table).clear();
        }
        self.affinities_v4().clear();
        self.affinities_v6().clear();
        self.exceptions_v4().clear();
        self.exceptions_v6().clear();
        self.fragmented_v4().clear();
        self.fragmented_v6().clear();
        self.change_fragment_budgets(|budget| *budget = FragmentBudget::default());
        let mut occupancy: Array<_, u64> = self.map("OCCUPANCY");
        for position in 0..Occupancy::POSITIONS {
            occupancy.set(position, 0, 0).expect("a number");
        }
        self.wanted();
        self.unrecorded();
        self.change_budgets(|budget| *budget = RecordBudget::default());
        self.fill_buckets();
        let cpus = nr_cpus().expect("a number of CPUs");
        let zero = || PerCpuValues::try_from(vec![Wire(Counters::default()); cpus]);
        let backends = std::mem::take(&mut self.counted);
        let mut active: Array<_, u64> = self.map("ACTIVE");
        for &backend in &backends {
            active.set(backend, 0, 0).expect("a number");
        }
        let mut turns: PerCpuArray<_, u32> = self.map("TURNS");
        for service in SERVICES {
            let none = PerCpuValues::try_from(vec![0; cpus]).expect("a value for each CPU");
            turns.set(service, none, 0).expect("a number");
        }
        let mut handshakes: PerCpuArray<_, Wire<Handshakes>> = self.map("HANDSHAKES");
        for &backend in &backends {
            let none = PerCpuValues::try_from(vec![Wire(Handshakes::default()); cpus]);
            let none = none.expect("a value for each CPU");
            handshakes.set(backend, none, 0).expect("a counter");
        }
        for (name, indices) in [
            ("SERVICE_COUNTERS", SERVICES.collect::<Vec<_>>()),
            (
                "BACKEND_COUNTERS",
                backends.into_iter().chain([0]).collect(),
            ),
        ] {
            let mut map: PerCpuArray<_, Wire<Counters>> = self.map(name);
            for index in indices {
                let zero = zero().expect("a value for each CPU");
                map.set(index, zero, 0).expect("a counter");
            }
        }
        self.before = self.outcomes();
    }

    /// Makes what CPUs have recorded of late older.
    pub(crate) fn age_budgets(&mut self, seconds: u32) {
        let ago = seconds * HERTZ;
        self.change_budgets(|budget| budget.since = budget.since.wrapping_sub(ago));
        self.change_fragment_budgets(|budget| budget.since = budget.since.wrapping_sub(ago));
        // A second fills a bucket.
        self.fill_buckets();
    }

    fn change_fragment_budgets(&mut self, change: impl Fn(&mut FragmentBudget)) {
        let sources = self.map("FRAGMENT_SOURCES_V4");
        change_all::<Ipv4Address>(sources, &change);
        let sources = self.map("FRAGMENT_SOURCES_V6");
        change_all::<Ipv6Address>(sources, &change);
    }

    /// Makes every bucket, of what is made here and of new flows, as if it had never been used.
    fn fill_buckets(&mut self) {
        let cpus = nr_cpus().expect("a number of CPUs");
        let mut shared: PerCpuArray<_, Wire<Bucket>> = self.map("BUCKETS");
        for kind in 0..Limited::COUNT {
            let full = PerCpuValues::try_from(vec![Wire(Bucket::default()); cpus]);
            shared
                .set(kind, full.expect("one for each CPU"), 0)
                .expect("a bucket");
        }
        let mut sources: HashMap<_, Wire<BucketKey>, Wire<Bucket>> = self.map("SOURCE_BUCKETS");
        let keys: Vec<_> = sources.keys().map(|key| key.expect("a key")).collect();
        for key in keys {
            sources.remove(&key).expect("an entry");
        }
        let mut shared: Array<_, u64> = self.map("FLOW_BUCKETS");
        for service in SERVICES {
            shared.set(service, 0, 0).expect("a bucket");
        }
        let mut sources: HashMap<_, Wire<FlowBucketKey>, u64> = self.map("SOURCE_FLOW_BUCKETS");
        let keys: Vec<_> = sources.keys().map(|key| key.expect("a key")).collect();
        for key in keys {
            sources.remove(&key).expect("an entry");
        }
    }

    fn change_budgets(&mut self, change: impl Fn(&mut RecordBudget)) {
        let mut map: PerCpuArray<_, Wire<RecordBudget>> = self.map("RECORD_BUDGET");
        let values = map.get(&0, 0).expect("a budget for each CPU");
        let changed = values.iter().map(|Wire(budget)| {
            let mut budget = *budget;
            change(&mut budget);
            Wire(budget)
        });
        let changed = PerCpuValues::try_from(changed.collect::<Vec<_>>());
        map.set(0, changed.expect("as many as before"), 0)
            .expect("a budget");
    }

    /// Deletes an exception of IPv4 as the agent does; whether it was there.
    pub(crate) fn sweep_v4(&mut self, key: FlowKey<Ipv4Address>) -> bool {
        let there = self.exceptions_v4().remove(key);
        self.count_deleted(0, there);
        there
    }

    /// Deletes an exception of IPv6 as the agent does; whether it was there.
    pub(crate) fn sweep_v6(&mut self, key: FlowKey<Ipv6Address>) -> bool {
        let there = self.exceptions_v6().remove(key);
        self.count_deleted(1, there);
        there
    }

    fn count_deleted(&mut self, family: u32, deleted: bool) {
        let mut occupancy: Array<_, u64> = self.map("OCCUPANCY");
        let position = Occupancy::deleted_at(family);
        let before = occupancy.get(&position, 0).expect("a number");
        occupancy
            .set(position, before + u64::from(deleted), 0)
            .expect("a number");
    }

    /// What went unrecorded since the last call: services, and kinds of packets.
    pub(crate) fn unrecorded(&mut self) -> Vec<(u32, Recorded)> {
        let mut map: Array<_, Wire<Unrecorded>> = self.map("UNRECORDED");
        let mut noted = Vec::new();
        for service in SERVICES {
            let Wire(stamps) = map.get(&service, 0).expect("a service's stamps");
            if stamps == Unrecorded::default() {
                continue;
            }
            let kinds = [(stamps.open, Recorded::Open), (stamps.data, Recorded::Data)];
            let stamped = kinds.into_iter().filter(|(stamp, _)| *stamp != 0);
            noted.extend(stamped.map(|(_, kind)| (service, kind)));
            map.set(service, Wire(Unrecorded::default()), 0)
                .expect("a service's stamps");
        }
        noted
    }

    /// What was counted.
    pub(crate) fn counts(&mut self) -> Counts {
        let backends: Vec<_> = self.counted.iter().copied().chain([0]).collect();
        let mut counts = Counts {
            outcomes: self.outcomes(),
            ..Counts::default()
        };
        counts.outcomes.retain(|outcome, count| {
            *count -= self.before.get(outcome).copied().unwrap_or_default();
            *count != 0
        });
        counts.services = self.sums("SERVICE_COUNTERS", SERVICES);
        counts.handshakes = self.sums("HANDSHAKES", backends.iter().copied());
        counts.backends = self.sums("BACKEND_COUNTERS", backends);
        counts
    }

    /// What all CPUs counted under these numbers, where that is anything.
    fn sums<T>(&mut self, name: &str, indices: impl IntoIterator<Item = u32>) -> BTreeMap<u32, T>
    where
        T: Copy + Default + AddAssign + PartialEq + FromBytes + Immutable + 'static,
    {
        let map: PerCpuArray<_, Wire<T>> = self.map(name);
        let sum = |index| {
            let mut sum = T::default();
            let values = map.get(&index, 0).expect("a counter");
            values.iter().for_each(|Wire(counters)| sum += *counters);
            (sum != T::default()).then_some((index, sum))
        };
        indices.into_iter().filter_map(sum).collect()
    }

    /// The neighbours that were asked for since the last call.
    pub(crate) fn wanted(&mut self) -> Vec<(u32, IpAddr)> {
        let mut ring: RingBuf<_> = self.map("WANTED");
        let mut wanted = Vec::new();
        while let Some(item) = ring.next() {
            let asked = NeighbourWanted::read_from_bytes(&item).expect("a whole record");
            let address = match asked.family {
                4 => Ipv4Address::from_wide(asked.address).into(),
                _ => Ipv6Address::from_wide(asked.address).into(),
            };
            wanted.push((asked.ifindex, address));
        }
        wanted
    }
}

/// Changes the budget of every source.
fn change_all<A>(
    mut sources: HashMap<&mut MapData, Wire<A>, Wire<FragmentBudget>>,
    change: impl Fn(&mut FragmentBudget),
) where
    A: Copy + FromBytes + Immutable + 'static,
{
    let keys: Vec<_> = sources.keys().map(|key| key.expect("a source")).collect();
    for key in keys {
        let Wire(mut budget) = sources.get(&key, 0).expect("a source's budget");
        change(&mut budget);
        sources.insert(key, Wire(budget), 0).expect("a budget");
    }
}
