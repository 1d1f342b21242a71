//! The exceptions of one family, as the packet path holds them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use lb_common::{
    abi::{Address, Exception, FlowKey, Occupancy},
    datapath::{HeldException, InsertError},
};

/// The exceptions of one family.
pub(super) struct Exceptions<A> {
    entries: RefCell<HashMap<FlowKey<A>, HostException>>,
}

/// A held exception.
#[derive(Clone)]
pub(super) struct HostException(Rc<Cell<Exception>>);

impl<A> Default for Exceptions<A> {
    fn default() -> Self {
        let entries = RefCell::default();
        Self { entries }
    }
}

impl<A: Address> Exceptions<A> {
    /// The exception of a flow.
    pub(super) fn find(&self, key: &FlowKey<A>) -> Option<HostException> {
        self.entries.borrow().get(key).cloned()
    }

    /// Records one, unless its key is there or there are `capacity` already.
    pub(super) fn insert(
        &self,
        key: &FlowKey<A>,
        entry: &Exception,
        capacity: usize,
    ) -> Result<(), InsertError> {
        let mut entries = self.entries.borrow_mut();
        if entries.contains_key(key) {
            return Err(InsertError::Exists);
        }
        if entries.len() >= capacity {
            return Err(InsertError::Full);
        }
        entries.insert(*key, HostException(Rc::new(Cell::new(*entry))));
        Ok(())
    }

    /// Forgets one, as the agent's sweep does; whether it was there.
    pub(super) fn remove(&self, key: &FlowKey<A>) -> bool {
        self.entries.borrow_mut().remove(key).is_some()
    }

    /// Makes one another flow's, or its own again; whether it was there.
    pub(super) fn recycle(&self, key: &FlowKey<A>) -> bool {
        let held = self.find(key);
        held.map(|held| held.update(|entry| entry.fingerprint ^= 1))
            .is_some()
    }

    /// How many there are.
    pub(super) fn occupancy(&self) -> Occupancy {
        let inserted = self.entries.borrow().len() as u64;
        Occupancy {
            inserted,
            deleted: 0,
        }
    }
}

impl HostException {
    fn update(&self, change: impl FnOnce(&mut Exception)) {
        let mut entry = self.0.get();
        change(&mut entry);
        self.0.set(entry);
    }
}

impl HeldException for HostException {
    fn read(&self, into: &mut Exception) {
        *into = self.0.get();
    }

    fn set_owners(&self, owners: u64) {
        self.update(|entry| entry.owners = owners);
    }

    fn set_mark(&self, mark: u64) {
        self.update(|entry| entry.mark = mark);
    }

    fn set_seen(&self, seen: u64) {
        self.update(|entry| entry.seen = seen);
    }
}
