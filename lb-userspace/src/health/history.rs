//! What happened to one backend lately: a short list, the oldest forgotten first.

use std::{collections::VecDeque, time::SystemTime};

use serde::{Deserialize, Serialize};

/// Entries that are kept of each backend.
pub(super) const MOST: usize = 32;

/// What happened, when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: SystemTime,
    /// What it was afterwards: `up`, `down` or `held`.
    pub state: String,
    /// What happened, and why.
    pub text: String,
}

/// The list.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Entry>);

impl History {
    /// Adds what happened last.
    pub(super) fn record(&mut self, entry: Entry) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// The entries, the oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first() {
        let mut history = History::default();
        for n in 0..MOST + 3 {
            history.record(Entry {
                at: SystemTime::UNIX_EPOCH,
                state: "up".into(),
                text: n.to_string(),
            });
        }
        let texts: Vec<_> = history.entries().map(|entry| &entry.text).collect();
        assert_eq!((texts.len(), texts[0].as_str()), (MOST, "3"));
    }
}
