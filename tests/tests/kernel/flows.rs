//! The flow tables and the exceptions, as rows change them behind the program's back.

use aya::maps::{HashMap, MapData};
use lb_common::abi::{Address, FlowEntry, FlowKey};

use lb_userspace::kernel::Wire;
use zerocopy::{FromBytes, Immutable};

/// What one family has by flow: its flow table, or its exceptions.
pub(crate) struct Flows<'a, A: Copy + 'static, V: Copy + 'static = FlowEntry<A>>(
    pub(crate) HashMap<&'a mut MapData, Wire<FlowKey<A>>, Wire<V>>,
);

impl<A: Address, V> Flows<'_, A, V>
where
    V: Copy + FromBytes + Immutable + 'static,
{
    fn keys(&self) -> Vec<Wire<FlowKey<A>>> {
        self.0.keys().map(|key| key.expect("a key")).collect()
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.keys().len()
    }

    /// Removes every entry.
    pub(crate) fn clear(&mut self) {
        for key in self.keys() {
            self.0.remove(&key).expect("an entry");
        }
    }

    /// Removes an entry; whether it was there.
    pub(crate) fn remove(&mut self, key: FlowKey<A>) -> bool {
        self.0.remove(&Wire(key)).is_ok()
    }

    /// Changes an entry; whether it was there.
    pub(crate) fn update(&mut self, key: FlowKey<A>, change: impl Fn(&mut V)) -> bool {
        let Ok(Wire(mut entry)) = self.0.get(&Wire(key), 0) else {
            return false;
        };
        change(&mut entry);
        self.0.insert(Wire(key), Wire(entry), 0).is_ok()
    }

    /// Changes every entry.
    pub(crate) fn update_all(&mut self, change: impl Fn(&mut V)) {
        for Wire(key) in self.keys() {
            assert!(self.update(key, &change), "{key:?} is gone");
        }
    }
}
