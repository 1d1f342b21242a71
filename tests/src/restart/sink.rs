//! `receipt` on every backend's interface: which numbers have come.

use std::{net::IpAddr, ops::Range};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray},
};

use crate::{
    cases::places::Mac,
    decapsulator::{Tunnel, assign},
    link::End,
    live::{Backend, Mode, pool::SERVICE, site::Site},
    programs::{attach, program, receipt},
};

use super::tally::{Noted, Receipts};

const NAME: &str = "receipt";
/// Numbers that there is a bit for: words of `NUMBERS` times their bits.
pub(super) const ROOM: u64 = (1 << 17) * 64;

/// The program at all backends, each with a memory of its own. Dropping it detaches them all.
pub(super) struct Sinks {
    objects: Vec<Ebpf>,
}

impl Sinks {
    /// Loads and attaches them; those of tunnels also take packets out of them.
    pub(super) fn set_up(site: &Site, mode: Mode) -> Result<Self> {
        let mut objects = Vec::new();
        for (index, namespace) in site.backends.iter().enumerate() {
            let own = Backend(index).address().both();
            let end = End {
                namespace,
                interface: "eth0",
            };
            let mut object = load(end.mac()?, mode.forward.tunnel(), &own)?;
            attach(program(&mut object, NAME)?, end)?;
            objects.push(object);
        }
        Ok(Self { objects })
    }

    /// What all of them have counted.
    pub(super) fn receipts(&self) -> Result<Receipts> {
        let mut receipts = Receipts::default();
        for object in &self.objects {
            let map = object.map("RECEIPTS").context("no map RECEIPTS")?;
            let counters = PerCpuArray::<_, u64>::try_from(map)?;
            let sum = |index| -> Result<u64> { Ok(counters.get(&index, 0)?.iter().sum()) };
            receipts.first += sum(0)?;
            receipts.again += sum(1)?;
            receipts.foreign += sum(2)?;
        }
        Ok(receipts)
    }

    /// Which of the numbers have come, at each.
    pub(super) fn noted(&self, numbers: &Range<u64>) -> Result<Vec<Noted>> {
        ensure!(numbers.end <= ROOM, "{numbers:?}: there are {ROOM} bits");
        let noted = self.objects.iter().map(|object| {
            let map = object.map("NUMBERS").context("no map NUMBERS")?;
            read(&Array::try_from(map)?, numbers)
        });
        noted.collect()
    }
}

fn load(mac: Mac, tunnel: Option<Tunnel>, own: &[IpAddr]) -> Result<Ebpf> {
    let mut object = receipt(mac)?;
    if let Some(tunnel) = tunnel {
        assign(&mut object, tunnel, own, &SERVICE.both())?;
    }
    program(&mut object, NAME)?
        .load()
        .context("could not load program receipt")?;
    Ok(object)
}

fn read(map: &Array<&MapData, u64>, numbers: &Range<u64>) -> Result<Noted> {
    let first = numbers.start / 64;
    let words = (first..numbers.end.div_ceil(64)).map(|index| {
        let word = map.get(&u32::try_from(index)?, 0)?;
        Ok(word)
    });
    Ok(Noted {
        first: first * 64,
        words: words.collect::<Result<_>>()?,
    })
}
