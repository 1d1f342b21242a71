//! Indices of backends, each with its generation: which of the backends that had it one after the
//! other. A backend's index is its own while anything may name it, so that no flow is taken for
//! another backend's.
//!
//! A released index is free after two rounds in which nothing names it. A round is
//!
//! ```text
//! begin(words) ─► grace period of RCU ─► complete dump of the exceptions ─► finish(words, dump)
//! ```
//!
//! After the first grace period no packet reads the index from a word any more, so the dump that
//! follows shows every exception that names it. After the second, no packet has it in hand from an
//! exception either. Who then gets the index has the next generation.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{BackendRef, MAX_BACKENDS};
use serde::{Deserialize, Serialize};

/// An index and who has it, as kept on disk: the words and exceptions of the kernel may outlive
/// the agent. To be on the disk before the index is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment<K> {
    /// Whose it is, or was.
    pub identity: K,
    /// The index.
    pub index: u32,
    /// Its generation.
    pub generation: u8,
}

/// Why an index can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// All are in use, or still named.
    #[error(
        "all {0} backend indices are in use or named by flows; remove backends, or start with more `agent.backends`"
    )]
    Full(u32),
    /// Fewer are wanted than are in use.
    #[error(
        "backend index {index} is in use or named by flows, so `agent.backends` can't be less than {}; `sluice \
         detach` before a start ends that, and the connections that are kept",
        index + 1
    )]
    TooFew {
        /// The highest in use.
        index: u32,
    },
    /// An adopted index is none that can be.
    #[error("backend index {0} is not between 1 and {max}; remove the record of numbers", max = MAX_BACKENDS - 1)]
    OutOfRange(u32),
    /// An adopted index or identity comes twice.
    #[error("backend index {0} is assigned twice; remove the record of numbers")]
    Twice(u32),
}

/// Who has which index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "Recorded<K>",
    into = "Recorded<K>",
    bound(
        serialize = "K: Clone + Ord + Serialize",
        deserialize = "K: Clone + Ord + Deserialize<'de>"
    )
)]
pub struct Indices<K> {
    /// In use or released.
    assigned: BTreeMap<K, u32>,
    /// Generations of all indices that were ever in use.
    generations: BTreeMap<u32, u8>,
    released: BTreeMap<u32, Released>,
    /// Indices that were in use and may be again.
    free: BTreeSet<u32>,
    /// The lowest index that never was.
    fresh: u32,
    /// All are below this.
    end: u32,
}

/// What is kept on disk: all that is not free, and the generation of what is.
#[derive(Serialize, Deserialize)]
struct Recorded<K> {
    assignments: Vec<Assignment<K>>,
    free: Vec<(u32, u8)>,
}

/// How far a released index is from being free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Released {
    /// As far as known, words name it.
    InWords,
    /// No word did when the round began.
    NotInWords,
    /// Nothing named it in a whole round.
    Unnamed,
}

impl<K: Clone + Ord> Default for Indices<K> {
    fn default() -> Self {
        Self {
            assigned: BTreeMap::new(),
            generations: BTreeMap::new(),
            released: BTreeMap::new(),
            free: BTreeSet::new(),
            fresh: 1,
            end: MAX_BACKENDS,
        }
    }
}

impl<K: Clone + Ord> Indices<K> {
    /// Takes over what a former run left. All that is not free is held until [`Indices::release`].
    fn adopt(Recorded { assignments, free }: Recorded<K>) -> Result<Self, Error> {
        let mut indices = Self::default();
        for held in assignments {
            let index = held.index;
            if !(1..MAX_BACKENDS).contains(&index) {
                return Err(Error::OutOfRange(index));
            }
            let other = indices.generations.insert(index, held.generation).is_some();
            if other || indices.assigned.insert(held.identity, index).is_some() {
                return Err(Error::Twice(index));
            }
        }
        for (index, generation) in free {
            if !(1..MAX_BACKENDS).contains(&index) {
                return Err(Error::OutOfRange(index));
            }
            if indices.generations.insert(index, generation).is_some() {
                return Err(Error::Twice(index));
            }
            indices.free.insert(index);
        }
        indices.fresh = indices.generations.last_key_value().map_or(0, |(&n, _)| n) + 1;
        Ok(indices)
    }

    /// There are to be this many, index 0 included, from now on; more than are in use.
    pub fn resize(&mut self, end: u32) -> Result<(), Error> {
        let highest = self.assigned.values().max();
        if let Some(&index) = highest.filter(|&&index| index >= end) {
            return Err(Error::TooFew { index });
        }
        let beyond = self.free.split_off(&end);
        beyond.iter().for_each(|index| {
            self.generations.remove(index);
        });
        self.fresh = self.fresh.min(end);
        self.end = end;
        Ok(())
    }

    /// Whose each index is, or was, that is not free.
    pub fn assignments(&self) -> impl Iterator<Item = Assignment<K>> {
        self.assigned.iter().map(|(identity, &index)| Assignment {
            identity: identity.clone(),
            index,
            generation: self.generation(index),
        })
    }

    /// The index of a backend: its own, as long as that is not another's, else the lowest that is
    /// free.
    pub fn allocate(&mut self, identity: &K) -> Result<BackendRef, Error> {
        if let Some(&index) = self.assigned.get(identity) {
            self.released.remove(&index);
            return Ok(self.reference(index));
        }
        let index = self.take_free()?;
        self.assigned.insert(identity.clone(), index);
        Ok(self.reference(index))
    }

    /// The backend is gone. Its index stays its own until nothing names it.
    pub fn release(&mut self, identity: &K) {
        if let Some(&index) = self.assigned.get(identity) {
            self.released.entry(index).or_insert(Released::InWords);
        }
    }

    /// The backend was restarted, and knows none of its flows: they are another generation's.
    pub fn restarted(&mut self, identity: &K) -> Option<BackendRef> {
        let &index = self.assigned.get(identity)?;
        let generation = self.generations.entry(index).or_default();
        *generation = generation.wrapping_add(1);
        Some(self.reference(index))
    }

    /// The index of a backend, if it has one, released or not.
    pub fn get(&self, identity: &K) -> Option<BackendRef> {
        self.assigned.get(identity).map(|&n| self.reference(n))
    }

    /// Whether this is a generation of today.
    pub fn is_present(&self, backend: BackendRef) -> bool {
        let generation = self.generations.get(&backend.index());
        generation == Some(&backend.generation()) && !self.free.contains(&backend.index())
    }

    /// A round begins: `in_words` are the indices that words of any table or old table name, all
    /// words being stored where the data plane reads them.
    pub fn begin(&mut self, in_words: &BTreeSet<u32>) {
        for (index, released) in &mut self.released {
            match (*released, in_words.contains(index)) {
                (_, true) => *released = Released::InWords,
                (Released::InWords, false) => *released = Released::NotInWords,
                (Released::NotInWords | Released::Unnamed, false) => {}
            }
        }
    }

    /// It ends: `named` are the indices that words or exceptions of the round's dump name. Returns
    /// the indices that are free now.
    pub fn finish(&mut self, named: &BTreeSet<u32>) -> Vec<u32> {
        let mut freed = Vec::new();
        self.released.retain(|index, released| {
            match (*released, named.contains(index)) {
                (Released::InWords, _) | (_, true) => *released = Released::InWords,
                (Released::NotInWords, false) => *released = Released::Unnamed,
                (Released::Unnamed, false) => freed.push(*index),
            }
            freed.last() != Some(index)
        });
        self.assigned
            .retain(|_, index| freed.binary_search(index).is_err());
        self.free.extend(&freed);
        freed
    }

    fn take_free(&mut self) -> Result<u32, Error> {
        if let Some(index) = self.free.pop_first() {
            let generation = self.generations.get(&index);
            let next = generation.map_or(0, |generation| generation.wrapping_add(1));
            self.generations.insert(index, next);
            return Ok(index);
        }
        if self.fresh >= self.end {
            return Err(Error::Full(self.end - 1));
        }
        self.generations.insert(self.fresh, 0);
        self.fresh += 1;
        Ok(self.fresh - 1)
    }

    fn generation(&self, index: u32) -> u8 {
        self.generations.get(&index).copied().unwrap_or_default()
    }

    fn reference(&self, index: u32) -> BackendRef {
        BackendRef::new(index, self.generation(index))
    }
}

impl<K: Clone + Ord> TryFrom<Recorded<K>> for Indices<K> {
    type Error = Error;

    fn try_from(recorded: Recorded<K>) -> Result<Self, Error> {
        Self::adopt(recorded)
    }
}

impl<K: Clone + Ord> From<Indices<K>> for Recorded<K> {
    fn from(indices: Indices<K>) -> Self {
        let free = indices.free.iter();
        Self {
            assignments: indices.assignments().collect(),
            free: free.map(|&n| (n, indices.generation(n))).collect(),
        }
    }
}

#[cfg(test)]
#[path = "indices_tests.rs"]
mod tests;
