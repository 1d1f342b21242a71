//! The slot word: who owns a slot now, who owned it before, and how far a change has come.
//!
//! ```text
//!  63        50 49   48 47            24 23             0
//! +------------+-------+----------------+----------------+
//! |   epoch    | phase |    previous    |    current     |
//! +------------+-------+----------------+----------------+
//! ```
//! Changed only by an aligned 8-byte store, so a reader sees the old word or the new one. The
//! only phase yet is 0, settled: every flow of the slot belongs to `current`, and none is looked
//! up.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One slot of a pool's table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Slot(u64);

impl Slot {
    /// A slot without a backend.
    pub const EMPTY: Self = Self(0);

    const INDEX_BITS: u32 = 24;
    const INDEX_MASK: u64 = (1 << Self::INDEX_BITS) - 1;

    /// A slot whose flows all belong to the backend of index `current` (below 2²⁴; 0: none).
    pub const fn settled(current: u32) -> Self {
        Self(current as u64 & Self::INDEX_MASK)
    }

    /// Index of the backend that new flows get, 0 for none.
    #[inline(always)]
    pub fn current(self) -> u32 {
        (self.0 & Self::INDEX_MASK) as u32
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
