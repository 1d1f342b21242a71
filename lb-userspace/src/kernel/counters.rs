//! Reading what the packet program counted, summed over the CPUs.

use std::ops::AddAssign;

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use lb_common::{
    abi::{Counters, Handshakes},
    datapath::Outcome,
};
use zerocopy::{FromBytes, Immutable};

use super::{error::Error, tables::take, wire::Wire};

/// The counters' maps.
pub struct CounterReader {
    services: PerCpuArray<MapData, Wire<Counters>>,
    backends: PerCpuArray<MapData, Wire<Counters>>,
    handshakes: PerCpuArray<MapData, Wire<Handshakes>>,
    outcomes: PerCpuArray<MapData, u64>,
}

impl CounterReader {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            services: take(ebpf, "SERVICE_COUNTERS")?,
            backends: take(ebpf, "BACKEND_COUNTERS")?,
            handshakes: take(ebpf, "HANDSHAKES")?,
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

    /// How a backend's connections began.
    pub fn handshakes(&self, index: u32) -> Result<Handshakes, Error> {
        sum(&self.handshakes, "HANDSHAKES", index)
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

fn sum<T>(map: &PerCpuArray<MapData, Wire<T>>, name: &'static str, index: u32) -> Result<T, Error>
where
    T: Copy + Default + AddAssign + FromBytes + Immutable + 'static,
{
    let values = map
        .get(&index, 0)
        .map_err(|error| Error::Map { map: name, error })?;
    let mut total = T::default();
    values.iter().for_each(|Wire(counters)| total += *counters);
    Ok(total)
}
