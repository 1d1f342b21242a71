//! The slot word: who owns a slot now, who owned it before, and how far a change has come.
//!
//! ```text
//!  63        50 49   48 47            24 23             0
//! +------------+-------+----------------+----------------+
//! |   epoch    | phase |    previous    |    current     |
//! +------------+-------+----------------+----------------+
//! ```
//! Changed only by an aligned 8-byte store, so a reader sees the old word or the new one. The
//! phase is said, never derived: `previous = current` means nothing by itself. What a packet gets
//! in each phase is decided by `datapath::exceptions`; which word follows which, by the agent.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::fields::{Described, Field};

/// One slot of a pool's table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Slot(u64);

/// Its fields are bits: whoever has the same ones has the same words.
impl Described for Slot {
    const FIELDS: &'static [Field] = {
        const fn field(name: &'static str, offset: u32, end: u32) -> Field {
            Field {
                name,
                offset: offset as usize,
                size: (end - offset) as usize,
            }
        }
        &[
            field("current", 0, Self::INDEX_BITS),
            field("previous", Self::INDEX_BITS, Self::PHASE_SHIFT),
            field("phase", Self::PHASE_SHIFT, Self::EPOCH_SHIFT),
            field("epoch", Self::EPOCH_SHIFT, u64::BITS),
        ]
    };
}

/// How far the last change of a slot's owner has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Every flow belongs to `current`; none is looked up.
    Settled = 0,
    /// Flows without an exception belong to `previous`; new ones go to `current` and are recorded.
    Moving = 1,
    /// Flows without an exception belong to `current`; exceptions are left from before.
    Mixed = 2,
}

/// To whom the flows of a slot belong that have no exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// This backend (0: none).
    Backend(u32),
    /// Whoever the old table of this one says.
    OldTable,
}

impl Slot {
    /// A slot without a backend.
    pub const EMPTY: Self = Self(0);

    /// Epochs that can be told apart; they count round.
    pub const EPOCHS: u16 = 1 << 14;

    /// Bits of a backend's index.
    pub const INDEX_BITS: u32 = 24;
    const INDEX_MASK: u64 = (1 << Self::INDEX_BITS) - 1;
    const PHASE_SHIFT: u32 = 2 * Self::INDEX_BITS;
    const EPOCH_SHIFT: u32 = Self::PHASE_SHIFT + 2;
    /// In place of `previous`: what the flow's slot in the table before this one says.
    const OLD: u64 = Self::INDEX_MASK;

    /// A slot whose flows all belong to the backend of index `current` (below 2²⁴ − 1; 0: none).
    pub const fn settled(current: u32) -> Self {
        Self(current as u64 & Self::INDEX_MASK)
    }

    /// A slot whose flows go over from `previous` to `current` since `epoch`.
    pub const fn moving(current: u32, previous: Miss, epoch: u16) -> Self {
        let previous = match previous {
            Miss::Backend(index) => index as u64 & Self::INDEX_MASK,
            Miss::OldTable => Self::OLD,
        };
        Self(
            Self::settled(current).0
                | previous << Self::INDEX_BITS
                | (Phase::Moving as u64) << Self::PHASE_SHIFT
                | (epoch as u64) << Self::EPOCH_SHIFT,
        )
    }

    /// A slot whose flows belong to `current` but for the recorded ones, since `epoch`.
    pub const fn mixed(current: u32, epoch: u16) -> Self {
        Self(
            Self::settled(current).0
                | (Phase::Mixed as u64) << Self::PHASE_SHIFT
                | (epoch as u64) << Self::EPOCH_SHIFT,
        )
    }

    /// Its word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The slot of a word.
    #[inline(always)]
    pub const fn of_word(word: u64) -> Self {
        Self(word)
    }

    /// Index of the backend that new flows get, 0 for none.
    #[inline(always)]
    pub const fn current(self) -> u32 {
        (self.0 & Self::INDEX_MASK) as u32
    }

    /// How far its last change has come.
    #[inline(always)]
    pub const fn phase(self) -> Phase {
        match (self.0 >> Self::PHASE_SHIFT) & 3 {
            0 => Phase::Settled,
            1 => Phase::Moving,
            _ => Phase::Mixed,
        }
    }

    /// Whether no flow of it needs to be looked up.
    #[inline(always)]
    pub const fn is_settled(self) -> bool {
        (self.0 >> Self::PHASE_SHIFT) & 3 == Phase::Settled as u64
    }

    /// The change that it is in; 0 where settled.
    pub const fn epoch(self) -> u16 {
        (self.0 >> Self::EPOCH_SHIFT) as u16
    }

    /// To whom flows without an exception belong.
    #[inline(always)]
    pub const fn miss(self) -> Miss {
        match self.phase() {
            Phase::Settled | Phase::Mixed => Miss::Backend(self.current()),
            Phase::Moving => {
                let previous = (self.0 >> Self::INDEX_BITS) & Self::INDEX_MASK;
                if previous == Self::OLD {
                    Miss::OldTable
                } else {
                    Miss::Backend(previous as u32)
                }
            }
        }
    }
}

/// Sizes of slot tables, by class: each has an outer array of tables of its own, since inner
/// arrays of different sizes can't share one without losing their inlined look-up. All prime.
pub const TABLE_SIZES: [u32; 3] = [1_021, 16_381, 65_537];

/// A class of [`TABLE_SIZES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TableSize {
    /// 1,021 slots: for a handful of backends.
    Small = 0,
    /// 16,381 slots: for up to some 150 backends.
    Medium = 1,
    /// 65,537 slots: shares within 1 % for a hundred backends.
    #[default]
    Large = 2,
}

impl TableSize {
    /// Every size.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The size of this class.
    #[inline(always)]
    pub const fn from_class(class: u8) -> Self {
        match class {
            0 => Self::Small,
            1 => Self::Medium,
            _ => Self::Large,
        }
    }

    /// Its number of slots.
    #[inline(always)]
    pub const fn slots(self) -> u32 {
        TABLE_SIZES[self as usize]
    }
}

/// A slot table: its size, and its index among the tables of that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// Which outer array holds it.
    pub size: TableSize,
    /// Where in that array.
    pub index: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u32 = (1 << 24) - 2;

    #[test]
    fn a_word_says_what_it_was_made_from() {
        for (current, previous, epoch) in [(0, 0, 0), (1, 2, 3), (LAST, LAST, 16_383)] {
            let settled = Slot::settled(current);
            assert_eq!((settled.phase(), settled.epoch()), (Phase::Settled, 0));
            assert_eq!(settled.miss(), Miss::Backend(current));
            for previous in [Miss::Backend(previous), Miss::OldTable] {
                let moving = Slot::moving(current, previous, epoch);
                assert_eq!((moving.phase(), moving.epoch()), (Phase::Moving, epoch));
                assert_eq!((moving.current(), moving.miss()), (current, previous));
                assert!(!moving.is_settled());
            }
            let mixed = Slot::mixed(current, epoch);
            assert_eq!((mixed.phase(), mixed.epoch()), (Phase::Mixed, epoch));
            assert_eq!(mixed.miss(), Miss::Backend(current));
        }
    }
}
