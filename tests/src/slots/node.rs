//! A gateway with one pool: its slot table, the one before, its exceptions, and the agent's part.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    hash::BuildHasherDefault,
    time::{Duration, Instant},
};

use lb_common::{
    abi::{
        BackendRef, Exception, ExceptionState, Fate, Miss, RecordBudget, Recorded, Seed, Slot,
        TableId, TableSize,
    },
    datapath::{
        InsertError,
        exceptions::{self, Answer, Choices, Exceptions, Sighting, WriteOrder},
    },
};
use lb_userspace::{
    scheduling::{Candidate, assign},
    slots::{Dumped, History, Jiffies, Owners, Waits, sweep},
};

use super::{checker::Mix, scenarios::Settings, trace};

/// Jiffies in a second.
pub(super) const HERTZ: u32 = 250;

/// A server, as configured and as found.
#[derive(Clone, Debug)]
struct Backend {
    name: String,
    weight: u16,
    alive: bool,
    generation: u8,
}

/// What a flow's slot comes from.
#[derive(Clone, Copy)]
struct Shape {
    size: TableSize,
    seed: Seed,
}

impl Shape {
    fn slot_of(self, flow: u32) -> usize {
        let hash = trace::key(flow).slot_hash(self.seed, 0);
        hash.below(self.size.slots()) as usize
    }
}

/// The gateway.
pub(super) struct Node {
    settings: Settings,
    backends: Vec<Backend>,
    start: Instant,
    history: History,
    shape: Shape,
    /// That of the table before.
    old: Option<Shape>,
    entries: RefCell<HashMap<u32, Exception, BuildHasherDefault<Mix>>>,
    budget: Cell<RecordBudget>,
    /// When a packet last went unrecorded, jiffies: that opens a flow, another.
    unrecorded: [Cell<Option<u32>>; 2],
    /// Most exceptions at a time.
    pub(super) peak: Cell<usize>,
    /// Packets that were looked up.
    pub(super) looked_up: Cell<u64>,
    /// Packets that could not be recorded.
    pub(super) refused: Cell<u64>,
}

impl Node {
    /// A gateway with `backends` backends of weight 100, all settled.
    pub(super) fn new(settings: Settings, backends: usize) -> Self {
        let seed = Seed { k0: 1, k1: 2 };
        let size = TableSize::Small;
        let mut node = Self {
            settings,
            backends: Vec::new(),
            start: Instant::now(),
            history: History::settled(&[]),
            shape: Shape { size, seed },
            old: None,
            entries: RefCell::default(),
            budget: Cell::default(),
            unrecorded: [Cell::new(None), Cell::new(None)],
            peak: Cell::new(0),
            looked_up: Cell::new(0),
            refused: Cell::new(0),
        };
        (0..backends).for_each(|backend| node.configure(backend, 100));
        node.history = History::settled(&node.owners(size));
        node
    }

    /// The backend of a packet of a flow, by its number; 0: none.
    pub(super) fn handle(&self, flow: u32, sighting: Sighting) -> u32 {
        let slot = self.slot(flow);
        if slot.is_settled() {
            return slot.current();
        }
        self.looked_up.set(self.looked_up.get() + 1);
        let choices = Choices {
            phase: slot.phase(),
            current: self.reference(slot.current()),
            miss: self.reference(self.miss(slot, flow)),
            resets: false,
        };
        let view = View {
            node: self,
            flow,
            now: sighting.now,
        };
        match exceptions::decide(choices, sighting, &view) {
            Answer::Backend(backend) => backend.index(),
            Answer::Reset | Answer::Drop => 0,
        }
    }

    /// The backend that a flow would get if nothing were remembered.
    pub(super) fn stateless(&self, flow: u32) -> u32 {
        self.slot(flow).current()
    }

    /// Whether the backend of this index lives.
    pub(super) fn lives(&self, index: u32) -> bool {
        index != 0 && self.backends[index as usize - 1].alive
    }

    /// Gives a backend a weight; it is a new one if it was not there.
    pub(super) fn configure(&mut self, backend: usize, weight: u16) {
        while self.backends.len() <= backend {
            self.backends.push(Backend {
                name: format!("backend-{}", self.backends.len()),
                weight: 0,
                alive: true,
                generation: 1,
            });
        }
        self.backends[backend].weight = weight;
    }

    /// A backend dies, or comes back as another generation.
    pub(super) fn set_alive(&mut self, backend: usize, alive: bool) {
        let backend = &mut self.backends[backend];
        if alive && !backend.alive {
            backend.generation += 1;
        }
        backend.alive = alive;
    }

    /// Gives each slot the owner that it has by now.
    pub(super) fn apply(&mut self, now: u32) {
        let current = self.owners(self.shape.size);
        let old = self.old.map_or_else(Vec::new, |old| self.owners(old.size));
        let (current, old) = (&current, &old);
        let now = self.instant(now);
        let backends = &self.backends;
        let alive = |index: u32| backends[index as usize - 1].alive;
        self.history.change(Owners { current, old }, alive, now);
        self.forget_old();
    }

    /// Another size and another seed: every slot moves, unless the last such change still lasts.
    pub(super) fn resize(&mut self, size: TableSize, now: u32) {
        let (k0, k1) = (now.into(), 3);
        let shape = Shape {
            size,
            seed: Seed { k0, k1 },
        };
        let (current, old) = (&self.owners(size), &self.owners(self.shape.size));
        let now = self.instant(now);
        let backends = &self.backends;
        let alive = |index: u32| backends[index as usize - 1].alive;
        let owners = Owners { current, old };
        if self.history.replace(owners, alive, now).is_ok() {
            self.old = Some(std::mem::replace(&mut self.shape, shape));
        }
        self.forget_old();
    }

    /// The agent's round: a sweep, and slots on their way.
    pub(super) fn tick(&mut self, now: u32) {
        let grace = self.history.begin_grace();
        self.history.confirm_grace(grace);
        self.sweep(now);
        let stamp = |cell: &Cell<Option<u32>>| Some(self.instant(cell.get()? / HERTZ));
        let waits = Waits {
            settle: Duration::from_secs(self.settings.settle.into()),
            unrecorded_open: stamp(&self.unrecorded[0]),
            unrecorded_data: stamp(&self.unrecorded[1]),
        };
        self.history.advance(self.instant(now), &waits);
        self.forget_old();
    }

    /// Dumps the exceptions, and does what the agent makes of them.
    fn sweep(&mut self, now: u32) {
        let clock = Jiffies {
            now: now * HERTZ,
            hertz: HERTZ,
        };
        let table = TableId {
            size: self.shape.size,
            index: 0,
        };
        let timeout = Duration::from_secs(self.settings.timeout.into());
        let entries = self.entries.take();
        let dump = entries.iter().map(|(&key, &entry)| Dumped {
            key,
            entry,
            slot: Some((table, self.shape.slot_of(key) as u32)),
            timeout,
        });
        let tables = BTreeMap::from([(table, &self.history)]);
        let swept = sweep(&tables, dump, clock, |b| self.usable(b));
        for slots in swept.settled.values() {
            self.history.settle(slots);
        }
        *self.entries.get_mut() = entries;
        let entries = self.entries.get_mut();
        for rewrite in swept.rewrites {
            if let Some(entry) = entries.get_mut(&rewrite.key) {
                entry.set_owners(rewrite.owner, rewrite.owner);
                entry.set_mark(ExceptionState::Committed, entry.isn());
            }
        }
        for deletion in swept.deletions {
            entries.remove(&deletion.key);
        }
    }

    fn forget_old(&mut self) {
        if self.history.old().is_none() {
            self.old = None;
        }
    }

    fn instant(&self, seconds: u32) -> Instant {
        self.start + Duration::from_secs(seconds.into())
    }

    fn slot(&self, flow: u32) -> Slot {
        self.history.slots()[self.shape.slot_of(flow)]
    }

    /// Each slot's owner by weights and health, as an index.
    fn owners(&self, size: TableSize) -> Vec<u32> {
        let candidates: Vec<_> = self
            .backends
            .iter()
            .map(|b| Candidate {
                name: &b.name,
                weight: b.weight,
                available: b.alive,
            })
            .collect();
        let owners = assign(size, &candidates);
        let index = |owner: Option<usize>| owner.map_or(0, |n| n as u32 + 1);
        owners.into_iter().map(index).collect()
    }

    /// Whose a flow of this slot is that has no exception; 0: nobody's.
    fn miss(&self, slot: Slot, flow: u32) -> u32 {
        let old = match (slot.miss(), self.old, self.history.old()) {
            (Miss::Backend(backend), _, _) => return backend,
            (Miss::OldTable, Some(shape), Some(slots)) => slots[shape.slot_of(flow)].miss(),
            (Miss::OldTable, _, _) => return 0,
        };
        match old {
            Miss::Backend(backend) => backend,
            Miss::OldTable => 0,
        }
    }

    fn reference(&self, index: u32) -> BackendRef {
        match index {
            0 => BackendRef::NONE,
            _ => BackendRef::new(index, self.backends[index as usize - 1].generation),
        }
    }

    fn usable(&self, backend: BackendRef) -> bool {
        self.lives(backend.index()) && self.reference(backend.index()) == backend
    }
}

/// A node's exceptions, as a packet of one flow sees them.
struct View<'a> {
    node: &'a Node,
    flow: u32,
    now: u32,
}

impl Exceptions for View<'_> {
    type Held = ();

    fn find(&self, into: &mut Exception) -> Option<()> {
        *into = *self.node.entries.borrow().get(&self.flow)?;
        Some(())
    }

    fn write(&self, (): &(), entry: &Exception, _: WriteOrder) {
        self.node.entries.borrow_mut().insert(self.flow, *entry);
    }

    fn insert(&self, entry: &mut Exception, kind: Recorded) -> Result<(), InsertError> {
        let mut entries = self.node.entries.borrow_mut();
        let (used, limits) = (entries.len() as u64, self.node.settings.limits);
        let mut budget = self.node.budget.get();
        let taken = budget.take(kind, used, limits, self.now, HERTZ);
        self.node.budget.set(budget);
        if !taken {
            return Err(InsertError::Full);
        }
        entries.insert(self.flow, *entry);
        self.node.peak.set(self.node.peak.get().max(entries.len()));
        Ok(())
    }

    fn unrecorded(&self, kind: Recorded) {
        self.node.unrecorded[kind as usize].set(Some(self.now));
        self.node.refused.set(self.node.refused.get() + 1);
    }

    fn usable(&self, backend: BackendRef) -> bool {
        self.node.usable(backend)
    }

    fn fate(&self, _: BackendRef) -> Fate {
        Fate::Service
    }
}
