//! Tables without a kernel, for tests: they hold what was written, and count the writes.

use std::collections::BTreeMap;

use lb_common::abi::{NextHop, Service, Slot};

use crate::plan::{OfFamily, Operation, Tables};

use super::{error::Error, tables::KernelTables};

/// Tables that are plain collections.
#[derive(Debug, Default)]
pub struct FakeTables {
    /// What was written, as a whole.
    pub tables: Tables,
    /// Operations applied; for slots, one each.
    pub writes: usize,
}

impl KernelTables for FakeTables {
    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        self.writes += 1;
        let tables = &mut self.tables;
        match operation {
            Operation::SetDevice(n, d) if d.ifindex == 0 => {
                tables.devices.remove(n);
            }
            Operation::SetDevice(n, d) => {
                tables.devices.insert(*n, *d);
            }
            Operation::SetNextHop(n, h) => {
                put(&mut tables.next_hops, *n, *h, NextHop::default());
            }
            Operation::SetSource(n, OfFamily::Ipv4(a)) => {
                tables.sources.ipv4.insert(*n, *a);
            }
            Operation::SetSource(n, OfFamily::Ipv6(a)) => {
                tables.sources.ipv6.insert(*n, *a);
            }
            Operation::SetBackend(n, b) => {
                tables.backends.insert(*n, *b);
            }
            Operation::CreateTable(id) => {
                let empty = vec![Slot::EMPTY; id.size.slots() as usize];
                tables.slots.insert(*id, empty);
            }
            Operation::SetSlots(id, changes) => {
                let table = tables.slots.get_mut(id).ok_or(Error::NoTable(*id))?;
                self.writes += changes.len() - 1;
                for &(n, slot) in changes {
                    table[n as usize] = slot;
                }
            }
            Operation::SetService(n, OfFamily::Ipv4(s)) => {
                put(&mut tables.services.ipv4, *n, *s, Service::empty());
            }
            Operation::SetService(n, OfFamily::Ipv6(s)) => {
                put(&mut tables.services.ipv6, *n, *s, Service::empty());
            }
        }
        Ok(())
    }
}

fn put<V: PartialEq>(map: &mut BTreeMap<u32, V>, n: u32, value: V, empty: V) {
    if value == empty {
        map.remove(&n);
    } else {
        map.insert(n, value);
    }
}
