//! The recorded flows, as the agent sweeps them, and the numbers of flows that backends have.

use std::collections::{BTreeMap, HashMap};

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use lb_common::abi::{Address, FlowEntry, FlowKey, Ipv4Address, Ipv6Address};

use super::{
    elements::{Elements, elements, reading, writing},
    error::Error,
    pins::TableSet,
    read::array,
    tables::take,
};
use crate::flows::{Clock, judge};

type Flows<A> = Elements<FlowKey<A>, FlowEntry<A>>;

/// What is in both tables of a family.
type Entries<A> = Vec<(FlowKey<A>, FlowEntry<A>)>;

/// The maps of flows.
pub struct FlowTables {
    /// Young flows, then committed ones: a flow that is moved meanwhile is not missed.
    ipv4: [Flows<Ipv4Address>; 2],
    ipv6: [Flows<Ipv6Address>; 2],
    active: Array<MapData, u64>,
    /// Backends whose number is not 0, as far as it was written.
    counted: Vec<u32>,
}

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweptFlows {
    /// Entries that there were, of IPv4 and of IPv6.
    pub entries: [u64; 2],
    /// Entries that are gone.
    pub deleted: usize,
    /// Flows that go on, by the index of their backend.
    pub active: BTreeMap<u32, u64>,
    /// Flows that go on, by the number of their service.
    pub of_services: BTreeMap<u32, u64>,
    /// Whether there was an entry of IPv4 that was asked for.
    pub unmapped: bool,
}

impl FlowTables {
    /// Takes them out of a loaded object, whose set this is if they are pinned: a former run may have counted.
    pub(super) fn take(ebpf: &mut Ebpf, set: Option<&TableSet>) -> Result<Self, Error> {
        let before = set.map(|set| array::<u64>(set, "ACTIVE")).transpose()?;
        let counted = before.into_iter().flat_map(BTreeMap::into_keys).collect();
        Ok(Self {
            ipv4: [elements(ebpf, "YOUNG_V4")?, elements(ebpf, "FLOWS_V4")?],
            ipv6: [elements(ebpf, "YOUNG_V6")?, elements(ebpf, "FLOWS_V6")?],
            active: take(ebpf, "ACTIVE")?,
            counted,
        })
    }

    /// How many recorded flows a backend has, by its index.
    pub fn active(&self, index: u32) -> Result<u64, Error> {
        self.active.get(&index, 0).map_err(|error| Error::Map {
            map: "ACTIVE",
            error,
        })
    }

    /// Deletes the entries of flows that have been silent for too long, and writes how many flows
    /// backends have: what the packet path added or took off meanwhile is lost until the next sweep. Looks
    /// for an entry of IPv4 that `is_unmapped`.
    pub fn sweep(
        &mut self,
        clock: Clock<'_>,
        is_unmapped: impl Fn(&FlowKey<Ipv4Address>, &FlowEntry<Ipv4Address>) -> bool,
    ) -> Result<SweptFlows, Error> {
        let mut swept = SweptFlows::default();
        let ipv4 = sweep(&self.ipv4, clock, 0, &mut swept)?;
        swept.unmapped = ipv4.iter().any(|(key, entry)| is_unmapped(key, entry));
        sweep(&self.ipv6, clock, 1, &mut swept)?;
        let before = std::mem::take(&mut self.counted);
        let gone = before.into_iter().filter(|n| !swept.active.contains_key(n));
        let numbers: Vec<(u32, u64)> = gone
            .map(|n| (n, 0))
            .chain(swept.active.iter().map(|(&n, &flows)| (n, flows)))
            .collect();
        for (n, flows) in numbers {
            self.active.set(n, flows, 0).map_err(|error| Error::Map {
                map: "ACTIVE",
                error,
            })?;
        }
        self.counted = swept.active.keys().copied().collect();
        Ok(swept)
    }
}

/// Sweeps a family; what was there.
fn sweep<A: Address>(
    tables: &[Flows<A>; 2],
    clock: Clock<'_>,
    family: usize,
    swept: &mut SweptFlows,
) -> Result<Entries<A>, Error> {
    let mut flows: HashMap<FlowKey<A>, FlowEntry<A>> = HashMap::new();
    for table in tables {
        let dump = table.dump().map_err(reading)?;
        // The later table's entry counts.
        flows.extend(dump);
    }
    let flows: Entries<A> = flows.into_iter().collect();
    let judged = judge(&flows, clock);
    swept.entries[family] = flows.len() as u64;
    for (key, last_seen) in judged.expired {
        for table in tables {
            let fresh = table.get(&key).map_err(reading)?;
            if fresh.is_some_and(|entry| entry.last_seen == last_seen) {
                swept.deleted += usize::from(table.remove(&key).map_err(writing)?);
            }
        }
    }
    for (n, active) in judged.active {
        *swept.active.entry(n).or_default() += active;
    }
    for (n, active) in judged.of_services {
        *swept.of_services.entry(n).or_default() += active;
    }
    Ok(flows)
}
