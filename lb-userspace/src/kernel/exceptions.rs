//! The exceptions, as the agent sweeps them: a dump, deletions, corrections; and when packets of a
//! service last went unrecorded.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use lb_common::abi::{
    BackendRef, Exception, ExceptionState, FlowHash, FlowKey, Ipv4Address, Ipv6Address, Occupancy,
    Seed, Unrecorded,
};

use super::{
    elements::{Elements, elements, reading, writing},
    error::Error,
    tables::take,
    wire::Wire,
};
use crate::model::Family;

/// The key of an exception, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExceptionKey {
    /// IPv4's.
    Ipv4(FlowKey<Ipv4Address>),
    /// IPv6's.
    Ipv6(FlowKey<Ipv6Address>),
}

impl ExceptionKey {
    /// The hash that chooses the flow's slot.
    pub fn slot_hash(&self, seed: Seed, prefix: u8) -> FlowHash {
        match self {
            Self::Ipv4(key) => key.slot_hash(seed, prefix),
            Self::Ipv6(key) => key.slot_hash(seed, prefix),
        }
    }

    /// Whose addresses the flow has.
    pub fn family(&self) -> Family {
        match self {
            Self::Ipv4(_) => Family::Ipv4,
            Self::Ipv6(_) => Family::Ipv6,
        }
    }
}

/// The maps of exceptions.
pub struct ExceptionTables {
    ipv4: Elements<FlowKey<Ipv4Address>, Exception>,
    ipv6: Elements<FlowKey<Ipv6Address>, Exception>,
    occupancy: Array<MapData, u64>,
    unrecorded: Array<MapData, Wire<Unrecorded>>,
}

impl ExceptionTables {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            ipv4: elements(ebpf, "EXCEPTIONS_V4")?,
            ipv6: elements(ebpf, "EXCEPTIONS_V6")?,
            occupancy: take(ebpf, "OCCUPANCY")?,
            unrecorded: take(ebpf, "UNRECORDED")?,
        })
    }

    /// Every exception. Those that come or go meanwhile may be among them or not.
    pub fn dump(&self) -> Result<Vec<(ExceptionKey, Exception)>, Error> {
        let ipv4 = self.ipv4.dump().map_err(reading)?.into_iter();
        let ipv6 = self.ipv6.dump().map_err(reading)?.into_iter();
        let ipv4 = ipv4.map(|(key, entry)| (ExceptionKey::Ipv4(key), entry));
        Ok(ipv4
            .chain(ipv6.map(|(key, entry)| (ExceptionKey::Ipv6(key), entry)))
            .collect())
    }

    /// Deletes exceptions that have seen no packet since they were judged by `last_seen` (jiffies).
    /// Returns how many were deleted.
    pub fn delete(
        &mut self,
        entries: impl IntoIterator<Item = (ExceptionKey, u32)>,
    ) -> Result<usize, Error> {
        let mut deleted = [0; 2];
        let result = entries.into_iter().try_for_each(|(key, last_seen)| {
            let family = matches!(key, ExceptionKey::Ipv6(_)) as usize;
            deleted[family] += u64::from(self.delete_one(&key, last_seen)?);
            Ok(())
        });
        for (family, deleted) in (0..).zip(deleted) {
            self.count(family, |before| before.wrapping_add(deleted))?;
        }
        result.map(|()| (deleted[0] + deleted[1]) as usize)
    }

    fn delete_one(&self, key: &ExceptionKey, last_seen: u32) -> Result<bool, Error> {
        let fresh = self.get(key)?;
        if fresh.is_none_or(|entry| entry.last_seen() != last_seen) {
            return Ok(false);
        }
        match key {
            ExceptionKey::Ipv4(key) => self.ipv4.remove(key),
            ExceptionKey::Ipv6(key) => self.ipv6.remove(key),
        }
        .map_err(writing)
    }

    fn get(&self, key: &ExceptionKey) -> Result<Option<Exception>, Error> {
        match key {
            ExceptionKey::Ipv4(key) => self.ipv4.get(key),
            ExceptionKey::Ipv6(key) => self.ipv6.get(key),
        }
        .map_err(reading)
    }

    /// Gives exceptions to other owners, for good, unless they have seen a packet since they were
    /// judged by `last_seen` (jiffies).
    pub fn correct(
        &mut self,
        entries: impl IntoIterator<Item = (ExceptionKey, u32, BackendRef)>,
    ) -> Result<(), Error> {
        for (key, last_seen, owner) in entries {
            let fresh = self.get(&key)?;
            let Some(mut entry) = fresh.filter(|entry| entry.last_seen() == last_seen) else {
                continue;
            };
            entry.set_owners(owner, owner);
            entry.set_mark(ExceptionState::Committed, entry.isn());
            match key {
                ExceptionKey::Ipv4(key) => self.ipv4.replace(&key, entry),
                ExceptionKey::Ipv6(key) => self.ipv6.replace(&key, entry),
            }
            .map_err(writing)?;
        }
        Ok(())
    }

    /// How many exceptions there are of IPv4 and of IPv6.
    pub fn used(&self) -> Result<[u64; 2], Error> {
        let number = |index| {
            self.occupancy.get(&index, 0).map_err(|error| Error::Map {
                map: "OCCUPANCY",
                error,
            })
        };
        let used = |family| {
            Ok::<u64, Error>(
                Occupancy {
                    inserted: number(Occupancy::inserted_at(family))?,
                    deleted: number(Occupancy::deleted_at(family))?,
                }
                .used(),
            )
        };
        Ok([used(0)?, used(1)?])
    }

    /// When packets of a service last went unrecorded.
    pub fn unrecorded(&self, service: u32) -> Result<Unrecorded, Error> {
        let stamps = self.unrecorded.get(&service, 0);
        stamps
            .map(|Wire(stamps)| stamps)
            .map_err(|error| Error::Map {
                map: "UNRECORDED",
                error,
            })
    }

    /// Counts exceptions of IPv4 and of IPv6 that the agent has inserted.
    pub fn count_inserted(&mut self, inserted: [u64; 2]) -> Result<(), Error> {
        for (family, inserted) in (0..).zip(inserted) {
            self.count(family, |before| before.wrapping_sub(inserted))?;
        }
        Ok(())
    }

    /// Changes the number that the agent alone writes.
    fn count(&mut self, family: u32, change: impl FnOnce(u64) -> u64) -> Result<(), Error> {
        let index = Occupancy::deleted_at(family);
        let failed = |error| Error::Map {
            map: "OCCUPANCY",
            error,
        };
        let before = self.occupancy.get(&index, 0).map_err(failed)?;
        self.occupancy.set(index, change(before), 0).map_err(failed)
    }
}
