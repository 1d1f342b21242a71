//! Tables that can be written, and looked at afterwards.

use lb_userspace::{
    kernel::{self, FakeTables, KernelTables, MapTables, TableSet},
    plan::Tables,
};

/// Such tables.
pub trait Held: KernelTables {
    /// What they hold.
    fn held(&self) -> Tables;
}

impl Held for FakeTables {
    fn held(&self) -> Tables {
        self.tables.clone()
    }
}

/// Maps of the kernel's, which are read back.
pub struct KernelHeld {
    maps: MapTables,
    set: TableSet,
}

impl KernelHeld {
    /// The maps of a set.
    pub fn new(maps: MapTables, set: TableSet) -> Self {
        Self { maps, set }
    }
}

impl KernelTables for KernelHeld {
    fn apply(&mut self, operation: &lb_userspace::plan::Operation) -> Result<(), kernel::Error> {
        self.maps.apply(operation)
    }

    fn wait_for_readers(&mut self) -> Result<(), kernel::Error> {
        self.maps.wait_for_readers()
    }
}

impl Held for KernelHeld {
    fn held(&self) -> Tables {
        kernel::read(&self.set).expect("maps that can be read")
    }
}
