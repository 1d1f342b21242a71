//! Tables that are held at every point of a plan: the operation waits until whoever holds it lets go.

use std::{cell::RefCell, rc::Rc};

use lb_userspace::{
    kernel::{Error, KernelTables},
    plan::Operation,
};

use super::point::{Kind, Moment};

/// Who is told at each point, and holds the plan there for as long as this takes.
pub trait Latch {
    /// The plan has come to this.
    fn hold(&mut self, kind: Kind, moment: Moment);
}

/// Tables with a latch before each operation, and half-way through those that write several slots, of which
/// packets see any number.
pub struct Latched<T, L> {
    tables: T,
    latch: Rc<RefCell<L>>,
}

impl<T, L> Latched<T, L> {
    /// These tables, with this latch.
    pub fn new(tables: T, latch: Rc<RefCell<L>>) -> Self {
        Self { tables, latch }
    }
}

impl<T: KernelTables, L: Latch> KernelTables for Latched<T, L> {
    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        let kind = Kind::from(operation);
        self.latch.borrow_mut().hold(kind, Moment::Before);
        match halves(operation) {
            Some([first, second]) => {
                self.tables.apply(&first)?;
                self.latch.borrow_mut().hold(kind, Moment::HalfWay);
                self.tables.apply(&second)
            }
            None => self.tables.apply(operation),
        }
    }

    fn wait_for_readers(&mut self) -> Result<(), Error> {
        self.tables.wait_for_readers()
    }
}

/// Every other one of the slots that an operation writes, and the rest.
pub(super) fn halves(operation: &Operation) -> Option<[Operation; 2]> {
    let Operation::SetSlots(id, changes) = operation else {
        return None;
    };
    let half = |first: usize| {
        let changes = changes.iter().skip(first).step_by(2);
        Operation::SetSlots(*id, changes.copied().collect())
    };
    (changes.len() > 1).then(|| [half(0), half(1)])
}
