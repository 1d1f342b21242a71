//! Tables that refuse an operation: before anything of it is done, half-way, or after all of it, as a write does whose
//! answer is lost.

use lb_userspace::{
    kernel::{Error, KernelTables},
    plan::Operation,
};

use super::latched::halves;
use crate::scripts::Held;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing of it is done.
    Undone,
    /// Every other one of its slots is written.
    HalfDone,
    /// All of it is done.
    Done,
}

/// Where a plan fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Operations that go well before it.
    pub after: usize,
    /// How it fails.
    pub way: Way,
}

/// Tables with at most one fault ahead of them.
pub struct Faulty<T> {
    tables: T,
    fault: Option<Fault>,
}

/// Every fault that a plan may have.
pub fn faults(plan: &[Operation]) -> Vec<Fault> {
    let numbered = plan.iter().enumerate();
    let faults = numbered.flat_map(|(after, operation)| {
        let half = halves(operation).map(|_| Way::HalfDone);
        let ways = [Some(Way::Undone), half, Some(Way::Done)];
        let ways = ways.into_iter().flatten();
        ways.map(move |way| Fault { after, way })
    });
    faults.collect()
}

impl<T> Faulty<T> {
    /// These tables, without a fault.
    pub fn new(tables: T) -> Self {
        Self {
            tables,
            fault: None,
        }
    }

    /// The next operations have this fault.
    pub fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }
}

impl<T: KernelTables> KernelTables for Faulty<T> {
    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        let fault = match &mut self.fault {
            Some(Fault { after: 0, way }) => *way,
            Some(Fault { after, .. }) => {
                *after -= 1;
                return self.tables.apply(operation);
            }
            None => return self.tables.apply(operation),
        };
        self.fault = None;
        match (fault, halves(operation)) {
            (Way::Undone, _) => {}
            (Way::HalfDone, Some([first, _])) => self.tables.apply(&first)?,
            (Way::HalfDone, None) | (Way::Done, _) => self.tables.apply(operation)?,
        }
        Err(Error::Missing("patience"))
    }

    fn wait_for_readers(&mut self) -> Result<(), Error> {
        self.tables.wait_for_readers()
    }
}

impl<T: Held> Held for Faulty<T> {
    fn held(&self) -> lb_userspace::plan::Tables {
        self.tables.held()
    }
}
