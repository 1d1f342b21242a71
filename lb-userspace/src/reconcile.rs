//! Brings the kernel's tables to the desired state: takes the difference, applies it in order, and
//! remembers what is there.

use crate::{
    kernel::{Error, KernelTables},
    plan::{self, Tables},
};

/// What was written so far, and where.
pub struct Reconciler<K> {
    kernel: K,
    applied: Tables,
}

impl<K: KernelTables> Reconciler<K> {
    /// Starts from empty tables.
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            applied: Tables::default(),
        }
    }

    /// Starts from tables that hold this.
    pub fn with(kernel: K, applied: Tables) -> Self {
        Self { kernel, applied }
    }

    /// Devices may be others under the same number: the kernel has forgotten that redirects go to them.
    pub fn forget_targets(&mut self) {
        self.applied.targets.clear();
    }

    /// Waits until no packet is handled any more that may have seen the tables before this call.
    pub fn wait_for_readers(&mut self) -> Result<(), Error> {
        self.kernel.wait_for_readers()
    }

    /// Applies what differs; returns how many operations that took. What was done before a failure
    /// is remembered, so that the next call starts from there, whatever it is asked for.
    pub fn reconcile(&mut self, desired: &Tables) -> Result<usize, Error> {
        let operations = plan::diff(&self.applied, desired);
        for operation in &operations {
            self.kernel.apply(operation)?;
            self.applied.apply(operation);
        }
        Ok(operations.len())
    }
}

#[cfg(test)]
#[path = "reconcile_tests/mod.rs"]
mod tests;
