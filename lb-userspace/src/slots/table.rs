//! A slot table together with what its owners are made from: takes new inputs, and says what is
//! to be logged of it. `fold` makes it again from a log, by the same [`Table::apply`].

use std::time::Instant;

use lb_common::abi::Slot;

use super::{
    epochs::{Epoch, Waits},
    grace::GraceMark,
    log::{Backends, Clock, Entry, Inputs},
    machine::{Changed, History, Owners},
    resize::Busy,
};

/// How owners and indices come from names.
pub trait Assign<S> {
    /// The owner of each slot of a table of this shape, by index; 0 where nobody is available.
    fn owners(&self, shape: &S, backends: &Backends) -> Vec<u32>;

    /// A backend's index; 0 if there is no such backend any more. Then it counts as dead.
    fn index(&self, name: &str) -> u32;
}

/// A slot table, and what its owners are made from.
#[derive(Clone, Debug)]
pub struct Table<S> {
    pub(super) history: History,
    pub(super) inputs: Inputs<S>,
    /// The shape of the old table, while there is one.
    pub(super) old: Option<S>,
}

impl<S: Clone + PartialEq> Table<S> {
    /// A table that has always been like this.
    pub fn new(inputs: Inputs<S>, assign: &impl Assign<S>) -> Self {
        let owners = assign.owners(&inputs.shape, &inputs.backends);
        Self {
            history: History::settled(&owners),
            inputs,
            old: None,
        }
    }

    /// The table as the data plane has it, by its words and shape, and those of the table that it replaces.
    /// Epochs of theirs that this one knows began when it says, the others now.
    pub fn left(
        self,
        (words, shape): (Vec<Slot>, S),
        old: Option<(Vec<Slot>, S)>,
        now: Instant,
    ) -> Self {
        let (old_words, old_shape) = old.unzip();
        let mut table = Self {
            history: History::left(words, old_words, self.history.epochs, now),
            inputs: Inputs {
                shape,
                ..self.inputs
            },
            old: old_shape,
        };
        table.forget_old();
        table
    }

    /// Its words.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// [`History::begin_grace`].
    pub fn begin_grace(&mut self) -> GraceMark {
        self.history.begin_grace()
    }

    /// [`History::confirm_grace`].
    pub fn confirm_grace(&mut self, mark: GraceMark) {
        self.history.confirm_grace(mark);
    }

    /// [`History::watch`]; nothing to log.
    pub fn watch(&mut self, slots: impl IntoIterator<Item = u32>, now: Instant) {
        self.history.watch(slots, now);
    }

    /// [`History::unwatch`]; nothing to log.
    pub fn unwatch(&mut self) {
        self.history.unwatch();
    }

    /// [`History::settle`]; nothing to log.
    pub fn settle(&mut self, slots: &[u32]) {
        self.history.settle(slots);
    }

    /// What its owners are made from.
    pub fn inputs(&self) -> &Inputs<S> {
        &self.inputs
    }

    /// The shape of the table that it replaces, while slots refer to that.
    pub fn old_shape(&self) -> Option<&S> {
        self.old.as_ref()
    }

    /// Takes new inputs; returns what to log. With another shape the table is replaced, unless the
    /// last replacement is not over: then take the rest of the inputs with [`Table::inputs`]'s
    /// shape, and the new one when [`Table::old_shape`] is `None`.
    pub fn change(
        &mut self,
        inputs: Inputs<S>,
        assign: &impl Assign<S>,
        clock: Clock,
    ) -> Result<Option<Entry<S>>, Busy> {
        let epoch = self.history.epochs.next(clock.now);
        let changed = self.apply(&inputs, assign, epoch)?;
        Ok(changed.words.then_some(Entry::Changed {
            epoch: changed.epoch,
            time: Some(clock.unix),
            inputs,
        }))
    }

    /// Brings the epochs to MIXED that are due; returns what to log.
    pub fn advance(&mut self, now: Instant, waits: &Waits) -> Vec<Entry<S>> {
        let due = self.history.advance(now, waits);
        self.forget_old();
        due.into_iter()
            .map(|epoch| Entry::Mixed { epoch })
            .collect()
    }

    /// The one way that inputs take, live and in a fold.
    pub(super) fn apply(
        &mut self,
        inputs: &Inputs<S>,
        assign: &impl Assign<S>,
        epoch: Epoch,
    ) -> Result<Changed, Busy> {
        let replaces = inputs.shape != self.inputs.shape;
        if replaces && self.old.is_some() {
            return Err(Busy);
        }
        if replaces {
            self.old = Some(self.inputs.shape.clone());
        }
        let owners_of = |shape: &S| assign.owners(shape, &inputs.backends);
        let (current, old) = (owners_of(&inputs.shape), self.old.as_ref().map(owners_of));
        let owners = Owners {
            current: &current,
            old: old.as_deref().unwrap_or_default(),
        };
        let living = living(inputs, assign);
        let alive = |index: u32| living.get(index as usize) == Some(&true);
        let changed = match replaces {
            true => self.history.replace_in(epoch, owners, alive)?,
            false => self.history.change_in(epoch, owners, alive),
        };
        self.inputs = inputs.clone();
        self.forget_old();
        Ok(changed)
    }

    /// The old table's shape goes with it.
    pub(super) fn forget_old(&mut self) {
        if self.history.old().is_none() {
            self.old = None;
        }
    }
}

/// Which indices are of backends that live.
fn living<S>(inputs: &Inputs<S>, assign: &impl Assign<S>) -> Vec<bool> {
    let mut living = Vec::new();
    for (name, _) in inputs.backends.iter().filter(|(_, health)| health.alive) {
        let index = assign.index(name) as usize;
        if living.len() <= index {
            living.resize(index + 1, false);
        }
        living[index] = true;
    }
    living
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
