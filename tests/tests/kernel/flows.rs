//! The flow tables, as rows change them behind the program's back.

use aya::maps::{HashMap, MapData};
use lb_common::abi::{Address, FlowEntry, FlowKey};

use lb_userspace::kernel::Wire;

/// The flow table of one family.
pub(crate) struct Flows<'a, A: Copy + 'static>(
    pub(crate) HashMap<&'a mut MapData, Wire<FlowKey<A>>, Wire<FlowEntry<A>>>,
);

impl<A: Address> Flows<'_, A> {
    fn keys(&self) -> Vec<Wire<FlowKey<A>>> {
        self.0.keys().map(|key| key.expect("a key")).collect()
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
    pub(crate) fn update(&mut self, key: FlowKey<A>, change: impl Fn(&mut FlowEntry<A>)) -> bool {
        let Ok(Wire(mut entry)) = self.0.get(&Wire(key), 0) else {
            return false;
        };
        change(&mut entry);
        self.0.insert(Wire(key), Wire(entry), 0).is_ok()
    }

    /// Changes every entry.
    pub(crate) fn update_all(&mut self, change: impl Fn(&mut FlowEntry<A>)) {
        for Wire(key) in self.keys() {
            assert!(self.update(key, &change), "{key:?} is gone");
        }
    }
}
