//! Reading what the packet program counted, summed over the CPUs.

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use lb_common::{abi::Counters, datapath::Outcome};

use super::{error::Error, tables::take, wire::Wire};

/// The counters' maps.
pub struct CounterReader {
    services: PerCpuArray<MapData, Wire<Counters>>,
    backends: PerCpuArray<MapData, Wire<Counters>>,
    outcomes: PerCpuArray<MapData, u64>,
}

impl CounterReader {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            services: take(ebpf, "SERVICE_COUNTERS")?,
            backends: take(ebpf, "BACKEND_COUNTERS")?,
            outcomes: take(ebpf, "OUTCOMES")?,
        })
    }

    /// A service's counters.
    pub fn service(&self, id: u32) -> Result<Counters, Error> {
        sum(&self.services, "SERVICE_COUNTERS", id)
    }

    /// A backend's counters.
    pub fn backend(&self, index: u32) -> Result<Counters, Error> {
        sum(&self.backends, "BACKEND_COUNTERS", index)
    }

    /// A device's counters, by [`Outcome::code`].
    pub fn outcomes(&self, device: u16) -> Result<Vec<u64>, Error> {
        let first = u32::from(device) * Outcome::CODES;
        let count = |index| {
            let values = self.outcomes.get(&index, 0);
            let values = values.map_err(|error| Error::Map {
                map: "OUTCOMES",
                error,
            })?;
            Ok(values.iter().sum())
        };
        (first..first + Outcome::CODES).map(count).collect()
    }
}

fn sum(
    map: &PerCpuArray<MapData, Wire<Counters>>,
    name: &'static str,
    index: u32,
) -> Result<Counters, Error> {
    let values = map
        .get(&index, 0)
        .map_err(|error| Error::Map { map: name, error })?;
    let mut total = Counters::default();
    values.iter().for_each(|Wire(counters)| total += *counters);
    Ok(total)
}
