//! Tables without a kernel, for tests: they hold what was written, and count the writes.

use crate::plan::{Operation, Tables};

use super::{error::Error, tables::KernelTables};

/// Tables that are plain collections.
#[derive(Debug, Default)]
pub struct FakeTables {
    /// What was written, as a whole.
    pub tables: Tables,
    /// Operations applied; for slots, one each.
    pub writes: usize,
    /// Operations that are left until one is refused, if one is to be.
    pub fails_after: Option<usize>,
}

impl KernelTables for FakeTables {
    fn wait_for_readers(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        if let Some(left) = &mut self.fails_after {
            *left = left.checked_sub(1).ok_or(Error::Missing("patience"))?;
        }
        self.writes += match operation {
            Operation::SetSlots(id, _) if !self.tables.slots.contains_key(id) => {
                return Err(Error::NoTable(*id));
            }
            Operation::SetSlots(_, changes) => changes.len(),
            _ => 1,
        };
        self.tables.apply(operation);
        Ok(())
    }
}
