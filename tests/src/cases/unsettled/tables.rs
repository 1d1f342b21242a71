//! Tables that find slots in other ways than the usual one, and those that replace others.

use std::net::SocketAddr;

use lb_common::abi::{Miss, OldTable, Slot, TableId, TableSize};

use super::super::{
    case::Ends,
    hashes::{flow_hash, slot, source_hash},
    places::{Flavour, Pool},
    world::World,
};

const POOL: Pool = Pool::Ipip;

/// The table in use.
pub(super) const NEW: TableId = TableId {
    size: TableSize::Medium,
    index: 40,
};

/// The seed of the old tables.
const OLD_SEED: [u8; 16] = *b"another old seed";

/// How a table finds a flow's slot.
#[derive(Clone, Copy)]
pub(super) struct Finds {
    /// It.
    pub(super) id: TableId,
    /// The key of its hash.
    pub(super) seed: [u8; 16],
    /// Bits of the client's address that its hash takes; 0: the whole flow.
    pub(super) prefix: u8,
}

impl Finds {
    /// The usual one.
    pub(super) const USUAL: Self = Self {
        id: TableId {
            size: TableSize::Small,
            index: 41,
        },
        seed: OLD_SEED,
        prefix: 0,
    };

    /// The slot of a client's flow.
    pub(super) fn slot(self, flavour: Flavour, client: SocketAddr) -> usize {
        let hash = match self.prefix {
            0 => flow_hash(self.seed, Ends::request(flavour, POOL, client)),
            bits => source_hash(self.seed, client.ip(), bits),
        };
        let slots = match self.id.size {
            TableSize::Small => 1_021,
            TableSize::Medium => 16_381,
            TableSize::Large => 65_537,
        };
        slot(hash, slots)
    }

    /// As the tables hold it.
    pub(super) fn old(self) -> OldTable {
        let whole = u128::from_le_bytes(self.seed);
        OldTable {
            seed: [whole as u64, (whole >> 64) as u64],
            index: self.id.index,
            size: self.id.size as u8,
            prefix: self.prefix,
            present: 1,
            padding: 0,
        }
    }
}

/// [`NEW`], whose slots all move to `current` from the table `old`.
pub(super) fn replace(world: &mut World, flavour: Flavour, old: Finds, current: u32) {
    world.use_table(flavour, POOL, NEW);
    world.old_tables.insert(NEW, old.old());
    world.slots.insert(NEW, vec![from_old(current)]);
}

/// A slot that goes over to `current` from the old table's owner.
pub(super) fn from_old(current: u32) -> Slot {
    Slot::moving(current, Miss::OldTable, 3)
}
