//! Exceptions: the flows of a hash-determined service that do not belong to whom their slot says.
//! Kept only while a slot is not settled, in a plain hash map that evicts nothing: to lose an
//! exception is to break its flow, while one that is refused breaks none.
//!
//! Three words of an entry change, each by one store:
//!
//! ```text
//!         63       56 55            32 31       24 23             0
//!        +-----------+----------------+-----------+----------------+
//! owners |  generat. |    fallback    |  generat. |     owner      |
//!        +-----------+----------------+-----------+----------------+
//!         63                    40 39      32 31                  0
//!        +------------------------+----------+---------------------+
//! mark   |           0            |   state  |         isn         |
//!        +------------------------+----------+---------------------+
//! seen   |           last_seq                |      last_seen      |
//!        +-----------------------------------+---------------------+
//! ```
//! What changes when is decided by `datapath::exceptions`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{
    MAX_TABLES,
    fields::described,
    slot::{Slot, TableId, TableSize},
};

/// A backend as an exception names it: its index, and which of the backends that had this index
/// one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendRef(u32);

impl BackendRef {
    /// No backend.
    pub const NONE: Self = Self(0);

    /// The backend of index `index` (below 2²⁴) and this generation.
    #[inline(always)]
    pub const fn new(index: u32, generation: u8) -> Self {
        Self(index & 0xff_ffff | (generation as u32) << 24)
    }

    /// The word that stands for it.
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The backend that a word stands for.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// Its index; 0: none.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & 0xff_ffff
    }

    /// Its generation.
    #[inline(always)]
    pub const fn generation(self) -> u8 {
        (self.0 >> 24) as u8
    }
}

/// What is known of a flow that has an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExceptionState {
    /// Opened, but whether by the flow's own client is not known: its next packet tells.
    Tentative = 0,
    /// It belongs to its owner.
    Committed = 1,
    /// It ends, as far as seen.
    Closing = 2,
}

/// An exception. Its key is the flow's, [`FlowKey`](super::FlowKey).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Exception {
    /// Zeros.
    #[cfg(feature = "layout-next")]
    pub padding_first: u64,
    /// [`FlowKey::fingerprint`](super::FlowKey::fingerprint) of the key: the kernel may recycle an
    /// element while it is held.
    pub fingerprint: u64,
    /// Owner and fallback.
    pub owners: u64,
    /// State, and the sequence number of the packet that opened it.
    pub mark: u64,
    /// Time of the last packet, jiffies, and its sequence number.
    pub seen: u64,
    /// The service that the flow is of.
    pub service: u32,
    /// Zeros.
    pub padding: u32,
}

described!(Exception {
    #[cfg(feature = "layout-next")]
    padding_first,
    fingerprint,
    owners,
    mark,
    seen,
    service,
    padding,
});

impl Exception {
    /// Sets who owns the flow, and who does if the packet that opened it was not its client's.
    #[inline(always)]
    pub fn set_owners(&mut self, owner: BackendRef, fallback: BackendRef) {
        self.owners = u64::from(owner.0) | u64::from(fallback.0) << 32;
    }

    /// Sets what is known, and the sequence number of the packet that opened the flow.
    #[inline(always)]
    pub fn set_mark(&mut self, state: ExceptionState, isn: u32) {
        self.mark = u64::from(isn) | (state as u64) << 32;
    }

    /// Sets when the last packet was seen, jiffies, and its sequence number.
    #[inline(always)]
    pub fn set_seen(&mut self, now: u32, sequence: u32) {
        self.seen = u64::from(now) | u64::from(sequence) << 32;
    }

    /// To whom the flow belongs.
    #[inline(always)]
    pub fn owner(&self) -> BackendRef {
        BackendRef(self.owners as u32)
    }

    /// To whom it belongs if the packet that opened it was not its client's; the owner again
    /// unless tentative.
    #[inline(always)]
    pub fn fallback(&self) -> BackendRef {
        BackendRef((self.owners >> 32) as u32)
    }

    /// What is known of it.
    #[inline(always)]
    pub fn state(&self) -> ExceptionState {
        match (self.mark >> 32) as u8 {
            0 => ExceptionState::Tentative,
            1 => ExceptionState::Committed,
            _ => ExceptionState::Closing,
        }
    }

    /// Sequence number of the packet that opened it.
    #[inline(always)]
    pub fn isn(&self) -> u32 {
        self.mark as u32
    }

    /// Time of the last packet, jiffies.
    #[inline(always)]
    pub fn last_seen(&self) -> u32 {
        self.seen as u32
    }

    /// Sequence number of the last packet.
    #[inline(always)]
    pub fn last_seq(&self) -> u32 {
        (self.seen >> 32) as u32
    }
}

/// How full a family's exceptions are. The program adds to the one number, the agent to the other,
/// so they are values of their own in the map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Entries that the program ever inserted.
    pub inserted: u64,
    /// Entries that were ever deleted, less those that the agent inserted: below zero it wraps.
    pub deleted: u64,
}

impl Occupancy {
    /// Values in the map: both numbers of both families.
    pub const POSITIONS: u32 = 4;

    /// Where a family's `inserted` stands (0: IPv4, 1: IPv6).
    #[inline(always)]
    pub const fn inserted_at(family: u32) -> u32 {
        2 * family
    }

    /// Where a family's `deleted` stands.
    #[inline(always)]
    pub const fn deleted_at(family: u32) -> u32 {
        2 * family + 1
    }

    /// Entries that are there. (Read while it changes, it may be a few off.)
    #[inline(always)]
    pub fn used(&self) -> u64 {
        (self.inserted.wrapping_sub(self.deleted) as i64).max(0) as u64
    }
}

/// What an exception is recorded for. Each has limits of its own, so that a flood of one starves
/// not the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// A packet that opens a flow.
    Open,
    /// Another packet of a flow that is not recorded yet.
    Data,
}

/// How much may be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// Entries of each family's map.
    pub capacity: u32,
    /// Entries that one CPU may record in a second, of each kind.
    pub rate: u32,
}

/// What one CPU has recorded in the second that runs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct RecordBudget {
    /// Start of the second, jiffies.
    pub since: u32,
    /// For packets that open a flow.
    pub open: u32,
    /// For others.
    pub data: u32,
}

impl RecordBudget {
    /// Takes one entry; `false` if there is none to have. A quarter of the map is kept for packets
    /// that open a flow.
    #[inline(always)]
    pub fn take(
        &mut self,
        kind: Recorded,
        used: u64,
        limits: RecordLimits,
        now: u32,
        hertz: u32,
    ) -> bool {
        if now.wrapping_sub(self.since) >= hertz {
            (self.since, self.open, self.data) = (now, 0, 0);
        }
        let (taken, capacity) = match kind {
            Recorded::Open => (&mut self.open, limits.capacity),
            Recorded::Data => (&mut self.data, limits.capacity - limits.capacity / 4),
        };
        if *taken >= limits.rate || used >= u64::from(capacity) {
            return false;
        }
        *taken += 1;
        true
    }
}

/// When packets of a service last went unrecorded, jiffies. The agent looks for changes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Unrecorded {
    /// The last one that opens a flow.
    pub open: u32,
    /// The last other one.
    pub data: u32,
}

described!(Unrecorded { open, data });

/// The table that a slot table replaces, for slots that still refer to it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct OldTable {
    /// The key of its hash.
    pub seed: [u64; 2],
    /// Its index among the tables of its size.
    pub index: u32,
    /// Its class of size.
    pub size: u8,
    /// Bits of the client's address that its hash takes; 0: the whole flow.
    pub prefix: u8,
    /// 1 where there is one.
    pub present: u8,
    /// Zero.
    pub padding: u8,
}

impl OldTable {
    /// This table, of whose hash `seed` is the key and `prefix` the bits that it takes of a client's
    /// address (0: it takes the whole flow).
    pub const fn new(table: TableId, seed: [u64; 2], prefix: u8) -> Self {
        Self {
            seed,
            index: table.index,
            size: table.size as u8,
            prefix,
            present: 1,
            padding: 0,
        }
    }

    /// Positions for every table of every size.
    pub const POSITIONS: u32 = MAX_TABLES * TableSize::ALL.len() as u32;

    /// Where the table stands that `table` replaces.
    #[inline(always)]
    pub const fn position(table: TableId) -> u32 {
        table.size as u32 * MAX_TABLES + table.index
    }
}

const _: () = assert!(Slot::EMPTY.current() == BackendRef::NONE.index());

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RecordLimits = RecordLimits {
        capacity: 64,
        rate: 10,
    };

    #[test]
    fn an_exception_says_what_was_set() {
        let mut entry = Exception::default();
        let (a, b) = (BackendRef::new(0xff_fffe, 255), BackendRef::new(7, 1));
        entry.set_owners(a, b);
        entry.set_mark(ExceptionState::Closing, u32::MAX);
        entry.set_seen(5, u32::MAX - 1);
        assert_eq!((entry.owner(), entry.fallback()), (a, b));
        assert_eq!((a.index(), a.generation()), (0xff_fffe, 255));
        assert_eq!(
            (entry.state(), entry.isn()),
            (ExceptionState::Closing, u32::MAX)
        );
        assert_eq!((entry.last_seen(), entry.last_seq()), (5, u32::MAX - 1));
    }

    #[test]
    fn what_the_agent_inserts_counts() {
        let used = |inserted, deleted| Occupancy { inserted, deleted }.used();
        assert_eq!((used(5, 3), used(3, 5)), (2, 0));
        assert_eq!(used(5, 0u64.wrapping_sub(4)), 9);
    }

    #[test]
    fn each_kind_has_its_rate_and_open_a_quarter_of_the_map() {
        let mut budget = RecordBudget::default();
        let mut take = |kind, used, now| budget.take(kind, used, LIMITS, now, 250);
        for _ in 0..10 {
            assert!(take(Recorded::Data, 0, 0));
        }
        assert!(!take(Recorded::Data, 0, 249));
        assert!(take(Recorded::Open, 0, 249));
        assert!(take(Recorded::Data, 47, 250));
        assert!(!take(Recorded::Data, 48, 250));
        assert!(take(Recorded::Open, 63, 250));
        assert!(!take(Recorded::Open, 64, 250));
    }
}
