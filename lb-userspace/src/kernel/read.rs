//! Reading the tables back that an agent before this one left: what is there, not what should be.

use std::{collections::BTreeMap, path::Path};

use aya::maps::{DevMap, Map, MapData};
use lb_common::abi::{
    OldTable, PortKey, PrefixKey, SERVICE_POSITIONS, Slot, TableId, TableSize, numbered_position,
};
use zerocopy::{FromBytes, Immutable};

use super::{
    elements::{Elements, reading},
    error::Error,
    mapped::SlotTable,
    pins::TableSet,
};
use crate::plan::{Families, Tables};

/// All that a set holds.
pub fn read(set: &TableSet) -> Result<Tables, Error> {
    let mut tables = Tables {
        devices: narrow(array(set, "DEVICES")?),
        vlans: elements(set, "VLANS")?,
        next_hops: array(set, "NEXT_HOPS")?,
        sources: Families {
            ipv4: array(set, "SOURCES_V4")?,
            ipv6: array(set, "SOURCES_V6")?,
        },
        backends: array(set, "BACKENDS")?,
        reverses: Families {
            ipv4: array(set, "REVERSES_V4")?,
            ipv6: array(set, "REVERSES_V6")?,
        },
        loads: array(set, "LOADS")?,
        timeouts: array(set, "TIMEOUTS")?,
        largest_segments: narrow_values(array(set, "LARGEST_SEGMENTS")?),
        old_tables: old_tables(array(set, "OLD_TABLES")?),
        servers: prefixes(set, "SERVERS")?,
        own: array(set, "OWN")?,
        access: prefixes(set, "ACCESS")?,
        limits: array(set, "LIMITS")?,
        listening: prefixes(set, "LISTENING")?
            .into_iter()
            .map(|(prefix, group)| (prefix, Some(group)))
            .collect(),
        ports: elements::<[u32; 3], u32>(set, "PORTS")?
            .into_iter()
            .map(|(key, id)| (PortKey::from_words(key), id))
            .collect(),
        ..Tables::default()
    };
    (tables.services.ipv4, tables.numbered.ipv4) = apart(array(set, "SERVICES_V4")?);
    (tables.services.ipv6, tables.numbered.ipv6) = apart(array(set, "SERVICES_V6")?);
    tables.targets = targets(&set.map("REDIRECT"), tables.devices.keys())?;
    tables.slots = slots(set)?;
    Ok(tables)
}

/// The slot tables of a set.
pub fn slots(set: &TableSet) -> Result<BTreeMap<TableId, Vec<Slot>>, Error> {
    let words = |id: TableId| {
        let table = SlotTable::open(id.size, &set.slot_table(id))?;
        Ok((id, table.words()))
    };
    set.slot_tables()?.into_iter().map(words).collect()
}

/// What an array holds that is not zeros.
pub(super) fn array<V>(set: &TableSet, name: &'static str) -> Result<BTreeMap<u32, V>, Error>
where
    V: Copy + PartialEq + FromBytes + Immutable + 'static,
{
    let mut all = elements::<u32, V>(set, name)?;
    let zeros = V::new_zeroed();
    all.retain(|_, value| *value != zeros);
    Ok(all)
}

/// What a map holds.
fn elements<K, V>(set: &TableSet, name: &'static str) -> Result<BTreeMap<K, V>, Error>
where
    K: Copy + Ord + FromBytes + Immutable + 'static,
    V: Copy + FromBytes + Immutable + 'static,
{
    let map = MapData::from_pin(set.map(name)).map_err(|error| Error::Map { map: name, error })?;
    let elements = Elements::<K, V>::new(map).map_err(reading)?;
    let dump = elements.ok_or(Error::Missing(name))?.dump();
    Ok(dump.map_err(reading)?.into_iter().collect())
}

/// What a trie of addresses holds.
fn prefixes(set: &TableSet, name: &'static str) -> Result<BTreeMap<PrefixKey, u32>, Error> {
    let found = elements::<[u32; 6], u32>(set, name)?.into_iter();
    let prefix = |(key, value)| (PrefixKey::from_words(key), value);
    Ok(found.map(prefix).collect())
}

/// The devices that redirects to ours go to.
fn targets<'a>(
    path: &Path,
    devices: impl Iterator<Item = &'a u16>,
) -> Result<BTreeMap<u16, u32>, Error> {
    let failed = |error| Error::Map {
        map: "REDIRECT",
        error,
    };
    let map = Map::from_map_data(MapData::from_pin(path).map_err(failed)?).map_err(failed)?;
    let redirect: DevMap<MapData> = map.try_into().map_err(failed)?;
    let target = |n: &u16| Some((*n, redirect.get(u32::from(*n), 0).ok()?.if_index));
    Ok(devices.filter_map(target).collect())
}

/// Positions that keys have, and those that numbers have.
fn apart<S>(all: BTreeMap<u32, S>) -> (BTreeMap<u32, S>, BTreeMap<u32, S>) {
    let first = numbered_position(0, 0).min(SERVICE_POSITIONS);
    let is_keyed = |at: &u32| *at < first;
    all.into_iter().partition(|(at, _)| is_keyed(at))
}

fn old_tables(all: BTreeMap<u32, OldTable>) -> BTreeMap<TableId, OldTable> {
    let id = |position| {
        let of_size = |size: TableSize| {
            let first = OldTable::position(TableId { size, index: 0 });
            let index = u32::checked_sub(position, first)?;
            Some(TableId { size, index })
        };
        // The last size that begins before it.
        TableSize::ALL.into_iter().filter_map(of_size).next_back()
    };
    let all = all.into_iter();
    all.filter_map(|(position, old)| Some((id(position)?, old)))
        .collect()
}

fn narrow<V>(all: BTreeMap<u32, V>) -> BTreeMap<u16, V> {
    all.into_iter()
        .map(|(n, value)| (n as u16, value))
        .collect()
}

fn narrow_values(all: BTreeMap<u32, u32>) -> BTreeMap<u32, u16> {
    all.into_iter()
        .map(|(n, value)| (n, value as u16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use zerocopy::FromZeros as _;

    use lb_common::abi::{Ipv4Address, Ipv6Address, Limits, Load, NextHop, Service, Timeouts};

    #[test]
    fn what_is_not_there_is_zeros() {
        assert_eq!(Service::<Ipv4Address>::empty(), Service::new_zeroed());
        assert_eq!(Service::<Ipv6Address>::empty(), Service::new_zeroed());
        assert_eq!(NextHop::default(), NextHop::new_zeroed());
        assert_eq!(Load::default(), Load::new_zeroed());
        assert_eq!(Timeouts::default(), Timeouts::new_zeroed());
        assert_eq!(Limits::default(), Limits::new_zeroed());
        assert_eq!(OldTable::default(), OldTable::new_zeroed());
    }

    #[test]
    fn positions_of_old_tables_are_theirs() {
        for size in TableSize::ALL {
            let table = TableId { size, index: 7 };
            let all = BTreeMap::from([(OldTable::position(table), OldTable::default())]);
            assert_eq!(old_tables(all).into_keys().collect::<Vec<_>>(), [table]);
        }
    }
}
