//! Packets in fragments of one family, and the budgets of their sources.

use std::{cell::RefCell, collections::HashMap, hash::Hash};

use lb_common::{
    abi::{FlowKey, FragmentBudget, Fragmented},
    datapath::InsertError,
};

/// The packets in fragments of one family. Nothing is evicted.
#[derive(Default)]
pub(super) struct Fragments<A> {
    entries: RefCell<HashMap<FlowKey<A>, Fragmented>>,
    budgets: RefCell<HashMap<A, FragmentBudget>>,
}

impl<A: Copy + Eq + Hash> Fragments<A> {
    /// What is remembered of a packet.
    pub(super) fn find(&self, id: &FlowKey<A>) -> Option<Fragmented> {
        self.entries.borrow().get(id).copied()
    }

    /// Remembers a packet, unless its key is there.
    pub(super) fn insert(&self, id: &FlowKey<A>, entry: &Fragmented) -> Result<(), InsertError> {
        let mut entries = self.entries.borrow_mut();
        if entries.contains_key(id) {
            return Err(InsertError::Exists);
        }
        entries.insert(*id, *entry);
        Ok(())
    }

    /// Forgets a packet.
    pub(super) fn remove(&self, id: &FlowKey<A>) {
        self.entries.borrow_mut().remove(id);
    }

    /// Lends a source's budget.
    pub(super) fn with_budget<R>(
        &self,
        source: A,
        work: impl FnOnce(&mut FragmentBudget) -> R,
    ) -> R {
        work(self.budgets.borrow_mut().entry(source).or_default())
    }
}
