//! What became of packets, as the program counted it: all that matters of the map with one call, which
//! makes the difference between a minute and two for the rows.

use std::{collections::BTreeMap, io, os::fd::AsFd as _, os::fd::AsRawFd as _};

use aya::{
    maps::{Map, MapData},
    util::nr_cpus,
};
use lb_common::datapath::{AnswerReason, DropReason, Egress, Outcome, PassReason};

use crate::program::Program;

/// Devices that rows have, 0 (none) included.
const DEVICES: u32 = 8;

/// Counters of these devices.
const COUNTERS: usize = (DEVICES * Outcome::CODES) as usize;

/// Arguments of `BPF_MAP_LOOKUP_BATCH` (union bpf_attr, linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

impl Program {
    /// How often what became of packets, by the device's index and the outcome's name, since it was loaded.
    /// Outcomes that never were are left out.
    pub(crate) fn outcomes(&self) -> BTreeMap<(u16, &'static str), u64> {
        let Some(Map::PerCpuArray(map)) = self.map_data("OUTCOMES") else {
            panic!("no map of outcomes");
        };
        let cpus = nr_cpus().expect("a number of CPUs");
        let values = first_values(map, COUNTERS, cpus).expect("counters");
        let sums = values.chunks(cpus).map(|cpus| cpus.iter().sum::<u64>());
        let names = names();
        let counted = (0..).zip(sums).filter(|(_, sum)| *sum != 0);
        counted
            .map(|(place, sum): (u32, u64)| {
                let name = names.get(&(place % Outcome::CODES));
                let name = name.copied().unwrap_or("a code of no outcome");
                (((place / Outcome::CODES) as u16, name), sum)
            })
            .collect()
    }
}

/// The first `count` values of a per-CPU array of words, those of an element side by side.
fn first_values(map: &MapData, count: usize, cpus: usize) -> io::Result<Vec<u64>> {
    const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
    let (mut keys, mut values) = (vec![0u32; count], vec![0u64; count * cpus]);
    let mut cursor = 0u64;
    let mut batch = Batch {
        out_batch: &raw mut cursor as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: count as u32,
        map_fd: map.fd().as_fd().as_raw_fd() as u32,
        ..Batch::default()
    };
    // SAFETY: the pointers are to as many keys and values as the call is told of, each value as wide as
    // the map's (a word for each possible CPU), which live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_BATCH,
            &raw mut batch,
            size_of::<Batch>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(values)
}

/// Names of outcomes by their codes.
fn names() -> BTreeMap<u32, &'static str> {
    let passes = PassReason::ALL.iter().map(|reason| Outcome::Pass(*reason));
    let drops = DropReason::ALL.iter().map(|reason| Outcome::Drop(*reason));
    let answers = AnswerReason::ALL
        .iter()
        .map(|reason| Outcome::Answer(*reason));
    let forwarded = [Outcome::Forward(Egress::Transmit)];
    let all = forwarded
        .into_iter()
        .chain(passes)
        .chain(drops)
        .chain(answers);
    all.map(|outcome| (outcome.code(), outcome.name()))
        .collect()
}
