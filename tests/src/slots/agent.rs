//! The agent's own rules (`lb_userspace::slots`), asked about one slot: a history is brought to
//! the slot's word, and told what happens next. Answers are kept, for the same questions come a
//! million times.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    time::{Duration, Instant},
};

use lb_common::abi::{ExceptionState, Miss, Phase, Slot, TableId, TableSize};
use lb_userspace::slots::{Dumped, History, Jiffies, Owners, Reason, Waits, sweep};

use super::{
    checker::Mix,
    state::{BACKENDS, Entry, FLOWS, State},
};

const TABLE: TableId = TableId {
    size: TableSize::Small,
    index: 0,
};

/// Long enough for everything.
const SETTLE: Duration = Duration::from_secs(900);

/// What follows a slot's word.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// The word; its epoch is 0 again.
    pub slot: Slot,
    /// Whose each flow is by the table before; 0 if there is none.
    pub old: [u32; FLOWS],
    /// Whether the settle time begins anew.
    pub anew: bool,
}

/// What a sweep finds.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Whether the slot is settled.
    pub settles: bool,
    /// What becomes of each exception.
    pub entries: [Option<Entry>; FLOWS],
}

/// The agent.
pub struct Agent {
    start: Instant,
    histories: RefCell<Answers<History>>,
    nexts: RefCell<Answers<Next>>,
    sweeps: RefCell<Answers<Found>>,
}

type Answers<A> = HashMap<u64, A, BuildHasherDefault<Mix>>;

impl Default for Agent {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            histories: RefCell::default(),
            nexts: RefCell::default(),
            sweeps: RefCell::default(),
        }
    }
}

impl Agent {
    /// The slot gets this owner, and each flow's slot of the old table that one.
    pub fn change(&self, state: &State, owner: u32, old: [u32; FLOWS]) -> Next {
        let asked = 1 << 6 | u64::from(owner | old[0] << 2 | old[1] << 4);
        self.next(state, asked, |history| {
            let owners = Owners {
                current: &[owner],
                old: if state.is_resized() { &old } else { &[] },
            };
            let changed = history.change(owners, |b| state.lives(b), self.start);
            changed.epoch.is_some()
        })
    }

    /// Another table takes over, in which this is the owner.
    pub fn replace(&self, state: &State, owner: u32) -> Next {
        self.next(state, 2 << 6 | u64::from(owner), |history| {
            let owners = Owners {
                current: &[owner],
                old: &[owner],
            };
            let replaced = history.replace(owners, |b| state.lives(b), self.start);
            assert!(replaced.is_ok(), "the last one is not over");
            true
        })
    }

    /// The settle time is over.
    pub fn advance(&self, state: &State) -> Next {
        self.next(state, 3 << 6, |history| {
            let waits = Waits {
                settle: SETTLE,
                unrecorded_data: None,
                unrecorded_open: None,
            };
            let early = history.advance(self.start + SETTLE / 2, &waits);
            assert!(early.is_empty(), "too early");
            history.advance(self.start + SETTLE, &waits);
            false
        })
    }

    /// The slot's flows are to be recorded, though none moves.
    pub fn watch(&self, state: &State) -> Next {
        self.next(state, 4 << 6, |history| {
            history.watch([0], self.start);
            false
        })
    }

    /// They need not be any more.
    pub fn unwatch(&self, state: &State) -> Next {
        self.next(state, 5 << 6, |history| {
            history.unwatch();
            false
        })
    }

    /// What comes of the slot by a deed, which says whether the settle time begins anew.
    fn next(&self, state: &State, asked: u64, deed: impl FnOnce(&mut History) -> bool) -> Next {
        let question = state.words() | asked << 20;
        if let Some(&next) = self.nexts.borrow().get(&question) {
            return next;
        }
        let mut history = self.history(state);
        let anew = deed(&mut history);
        let next = next(&history, anew);
        self.nexts.borrow_mut().insert(question, next);
        next
    }

    /// A sweep of the slot's exceptions, none of which was silent for long.
    pub fn sweep(&self, state: &State) -> Found {
        let question = state.words() | state.entry_codes() << 20;
        if let Some(&found) = self.sweeps.borrow().get(&question) {
            return found;
        }
        let found = self.look(state);
        self.sweeps.borrow_mut().insert(question, found);
        found
    }

    fn look(&self, state: &State) -> Found {
        let mut histories = self.histories.borrow_mut();
        let history = histories.entry(state.words());
        let history = &*history.or_insert_with(|| self.history(state));
        let dump = (0..FLOWS).filter_map(|flow| {
            Some(Dumped {
                key: flow,
                entry: state.entries[flow]?.exception(),
                slot: Some((TABLE, 0)),
                timeout: SETTLE,
            })
        });
        let clock = Jiffies { now: 0, hertz: 250 };
        let tables = BTreeMap::from([(TABLE, history)]);
        let swept = sweep(&tables, dump, clock, |b| state.usable(b));
        let mut entries = state.entries;
        for rewrite in swept.rewrites {
            if let Some(entry) = &mut entries[rewrite.key] {
                (entry.owner, entry.fallback) = (rewrite.owner, rewrite.owner);
                entry.state = ExceptionState::Committed;
            }
        }
        // Those of a slot that settles go with it, not one by one.
        let deleted = swept
            .deletions
            .iter()
            .filter(|d| d.reason != Reason::Settled);
        deleted.for_each(|deletion| entries[deletion.key] = None);
        Found {
            settles: !swept.settled.is_empty(),
            entries,
        }
    }

    /// A history that has come to the slot's word, and is ripe.
    fn history(&self, state: &State) -> History {
        let slot = state.slot;
        let current = slot.current();
        let mut history = match (slot.phase(), slot.miss()) {
            (Phase::Settled | Phase::Mixed, _) => History::settled(&[current]),
            (Phase::Moving, Miss::Backend(previous)) => History::settled(&[previous]),
            (Phase::Moving, Miss::OldTable) => History::settled(&state.old),
        };
        let mut own = |owner| {
            let current = &[owner];
            history.change(Owners { current, old: &[] }, |_| true, self.start);
        };
        match (slot.phase(), slot.miss()) {
            (Phase::Settled, _) => {}
            (Phase::Moving, Miss::Backend(previous)) if previous == current => {
                history.watch([0], self.start);
            }
            (Phase::Moving, Miss::Backend(_)) => own(current),
            (Phase::Moving, Miss::OldTable) => {
                let owners = Owners {
                    current: &[current],
                    old: &state.old,
                };
                let replaced = history.replace(owners, |_| true, self.start);
                assert!(replaced.is_ok(), "no table is before the first one");
            }
            (Phase::Mixed, _) => {
                own(current % BACKENDS + 1);
                own(current);
            }
        }
        let grace = history.begin_grace();
        history.confirm_grace(grace);
        let word = history.words()[0];
        assert_eq!((word.phase(), word.miss()), (slot.phase(), slot.miss()));
        history
    }
}

fn next(history: &History, anew: bool) -> Next {
    let slot = history.words()[0];
    let old = history.old().unwrap_or_default();
    let miss = |flow: usize| match old.get(flow).or(old.first()).map(|slot| slot.miss()) {
        Some(Miss::Backend(backend)) => backend,
        Some(Miss::OldTable) | None => 0,
    };
    Next {
        slot: match slot.phase() {
            Phase::Settled => slot,
            Phase::Moving => Slot::moving(slot.current(), slot.miss(), 0),
            Phase::Mixed => Slot::mixed(slot.current(), 0),
        },
        old: [miss(0), miss(1)],
        anew,
    }
}
