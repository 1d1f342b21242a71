//! One slot with all that hangs on it, small enough to be kept a million times: the slot's word,
//! its words in the table before, who lives, and of each flow its exception and its truth.
//!
//! Sequence numbers come in two kinds, the flow's own and foreign ones, and generations in two,
//! the present one and any before: nothing that the packet path decides tells more apart.

use lb_common::abi::{BackendRef, Exception, ExceptionState, Miss, Phase, Slot};

/// Flows of the slot.
pub const FLOWS: usize = 2;

/// Backends; they have the indices 1 to this.
pub const BACKENDS: u32 = 3;

/// The sequence number that a flow's own client opens it with.
pub const OWN: u32 = 1_000_000;

/// A sequence number of whoever only knows the flow's addresses and ports.
pub const FOREIGN: u32 = 3_000_000_000;

/// The generation that every backend is of.
const GENERATION: u8 = 1;

/// What is true of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// There is none.
    #[default]
    Absent,
    /// This backend took the packet that opened it; nothing came since.
    Opening(u32),
    /// It runs to this backend.
    Established(u32),
}

impl Flow {
    /// The backend that has it.
    pub fn owner(self) -> Option<u32> {
        match self {
            Self::Absent => None,
            Self::Opening(backend) | Self::Established(backend) => Some(backend),
        }
    }

    fn code(self, names: Names) -> u64 {
        match self {
            Self::Absent => 0,
            Self::Opening(backend) => 4 | u64::from(names[backend as usize]),
            Self::Established(backend) => 8 | u64::from(names[backend as usize]),
        }
    }
}

/// An exception, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose the flow is.
    pub owner: BackendRef,
    /// Whose it is if the packet that opened it was not its client's.
    pub fallback: BackendRef,
    /// What is known of it.
    pub state: ExceptionState,
    /// Whether its opening sequence number is the flow's own.
    pub own: bool,
    /// Whether its last sequence number is.
    pub last_own: bool,
}

impl Entry {
    /// What the packet path reads.
    pub fn exception(&self) -> Exception {
        let number = |own| if own { OWN } else { FOREIGN };
        let mut exception = Exception::default();
        exception.set_owners(self.owner, self.fallback);
        exception.set_mark(self.state, number(self.own));
        exception.set_seen(0, number(self.last_own));
        exception
    }

    fn code(&self, names: Names) -> u64 {
        let backend =
            |b: BackendRef| u64::from(names[b.index() as usize]) << 1 | u64::from(b.generation());
        1 | backend(self.owner) << 1
            | backend(self.fallback) << 4
            | (self.state as u64) << 7
            | u64::from(self.own) << 9
            | u64::from(self.last_own) << 10
    }
}

impl From<&Exception> for Entry {
    fn from(exception: &Exception) -> Self {
        let own = |number: u32| number.wrapping_sub(OWN) < 2;
        Self {
            owner: exception.owner(),
            fallback: exception.fallback(),
            state: exception.state(),
            own: own(exception.isn()),
            last_own: own(exception.last_seq()),
        }
    }
}

/// The slot, its flows and their exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The slot's word. Its epoch is always 0: how long a change lasts is told by `seen`.
    pub slot: Slot,
    /// Whose each flow is by its slot in the table before this one; 0 if there is none. All that
    /// matters of that slot's word.
    pub old: [u32; FLOWS],
    /// Who lives, by index.
    pub alive: u8,
    /// The exceptions.
    pub entries: [Option<Entry>; FLOWS],
    /// What is true.
    pub flows: [Flow; FLOWS],
    /// Which flows sent a packet since the settle time last began anew.
    pub seen: u8,
}

impl State {
    /// A settled slot of backend 1, without flows; everybody lives.
    pub const START: Self = Self {
        slot: Slot::settled(1),
        old: [0; FLOWS],
        alive: 0b1110,
        entries: [None; FLOWS],
        flows: [Flow::Absent; FLOWS],
        seen: 0,
    };

    /// A slot of a table that has just replaced another, where the flows belonged to these.
    pub const fn resized(current: u32, old: [u32; FLOWS]) -> Self {
        let slot = Slot::moving(current, Miss::OldTable, 0);
        Self {
            slot,
            old,
            ..Self::START
        }
    }

    /// Whether a backend lives.
    pub fn lives(&self, backend: u32) -> bool {
        self.alive >> backend & 1 == 1
    }

    /// Whether an exception may name it: it lives, and is the one that had this index then.
    pub fn usable(&self, backend: BackendRef) -> bool {
        self.lives(backend.index()) && backend.generation() == GENERATION
    }

    /// A backend, as an exception made now names it.
    pub fn reference(backend: u32) -> BackendRef {
        match backend {
            0 => BackendRef::NONE,
            _ => BackendRef::new(backend, GENERATION),
        }
    }

    /// Whose a flow is that has no exception.
    pub fn miss(&self, flow: usize) -> u32 {
        match self.slot.miss() {
            Miss::Backend(backend) => backend,
            Miss::OldTable => self.old[flow],
        }
    }

    /// Whether another table is asked whose the flows are.
    pub fn is_resized(&self) -> bool {
        self.slot.miss() == Miss::OldTable
    }

    /// A backend comes back as another generation of itself: what names it, names nobody.
    pub fn renew(&mut self, backend: u32) {
        let renewed = |b: &mut BackendRef| {
            if b.index() == backend {
                *b = BackendRef::new(backend, GENERATION - 1);
            }
        };
        for entry in self.entries.iter_mut().flatten() {
            renewed(&mut entry.owner);
            renewed(&mut entry.fallback);
        }
        self.alive |= 1 << backend;
    }

    /// The whole state in a word, which is the same for states that differ in no more than the
    /// names of flows and backends: nothing depends on those, and it saves most of the work. The
    /// current owner is called 1, the previous one 2.
    pub fn code(&self) -> u64 {
        let (first, second) = (self.slot.current(), self.miss_word());
        let others = || (1..=BACKENDS).filter(|&b| b != first);
        if (1..=BACKENDS).contains(&second) && second != first {
            return self.code_under(names(first, second));
        }
        others()
            .map(|second| self.code_under(names(first, second)))
            .min()
            .unwrap_or_default()
    }

    /// The words and who lives: what the agent knows.
    pub(super) fn words(&self) -> u64 {
        let old = u64::from(self.old[0] | self.old[1] << 2);
        word(self.slot, UNCHANGED) | old << 7 | u64::from(self.alive) << 11
    }

    /// The exceptions in a word.
    pub(super) fn entry_codes(&self) -> u64 {
        let code = |entry: &Option<Entry>| entry.map_or(0, |entry| entry.code(UNCHANGED));
        code(&self.entries[0]) | code(&self.entries[1]) << 11
    }

    /// The previous owner, if the word names one.
    fn miss_word(&self) -> u32 {
        match self.slot.miss() {
            Miss::Backend(backend) => backend,
            Miss::OldTable => 0,
        }
    }

    /// The state in a word, its flows in order, its backends under other names.
    fn code_under(&self, names: Names) -> u64 {
        let one = |n: usize| {
            let entry = match &self.entries[n] {
                Some(entry) => entry.code(names),
                None => 0,
            };
            let seen = u64::from(self.seen >> n & 1);
            entry
                | self.flows[n].code(names) << 11
                | seen << 15
                | u64::from(names[self.old[n] as usize]) << 16
        };
        let (a, b) = (one(0), one(1));
        let flows = a.max(b) | a.min(b) << 18;
        let mut alive = 0;
        for backend in 1..=BACKENDS {
            alive |= u64::from(self.alive >> backend & 1) << names[backend as usize];
        }
        flows | word(self.slot, names) << 36 | alive << 43
    }
}

/// What each backend is called, by its index; 0 stays 0.
type Names = [u32; BACKENDS as usize + 1];

/// Every backend is called what it is called.
const UNCHANGED: Names = [0, 1, 2, 3];

/// Calls one backend 1, another 2, and the third 3.
fn names(first: u32, second: u32) -> Names {
    let mut names = [0, 3, 3, 3];
    names[first as usize] = 1;
    names[second as usize] = 2;
    names[0] = 0;
    names
}

/// A slot's word in seven bits.
fn word(slot: Slot, names: Names) -> u64 {
    let previous = match (slot.phase(), slot.miss()) {
        (Phase::Moving, Miss::Backend(backend)) => names[backend as usize],
        (Phase::Moving, Miss::OldTable) => BACKENDS + 1,
        (Phase::Settled | Phase::Mixed, _) => 0,
    };
    u64::from(names[slot.current() as usize] | previous << 2) | (slot.phase() as u64) << 5
}
