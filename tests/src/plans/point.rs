//! Names of the points in a plan where a test can hold it: an operation's kind, which of its kind in the plan it is, and
//! whether nothing or half of it is done.

use std::fmt;

use lb_userspace::plan::Operation;

/// A point in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// What is done there.
    pub kind: Kind,
    /// Which one of its kind in this plan, from 1 on.
    pub ordinal: usize,
    /// How much of it is done.
    pub moment: Moment,
}

/// How much of an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing; everything before it is.
    Before,
    /// Every other one of the slots that it writes.
    HalfWay,
}

/// What an operation does: one for each of [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A redirect to one of our devices goes elsewhere.
    SetTarget,
    /// One of our devices is another, or gone.
    SetDevice,
    /// Tags lead to another VLAN device, or to none.
    SetVlan,
    /// A next hop moves, is lost or found.
    SetNextHop,
    /// A source address is there.
    SetSource,
    /// A backend is there, or dead.
    SetBackend,
    /// A backend's port answers for a service.
    SetReverse,
    /// A backend is meant to take more or less.
    SetLoad,
    /// A service's flows may be silent for another time.
    SetTimeouts,
    /// A service's segments may have another size.
    SetLargestSegment,
    /// A slot table is made.
    CreateTable,
    /// A slot table replaces another, or has replaced it.
    SetOldTable,
    /// A slot table goes.
    RemoveTable,
    /// Slots change their owners or phases.
    SetSlots,
    /// Connection ids name another backend.
    SetServer,
    /// Our own addresses are others.
    SetOwn,
    /// An access list says something else.
    SetAccess,
    /// A service's limits are others.
    SetLimits,
    /// A prefix is listened on, or not any more.
    SetListening,
    /// A block of ports leads to another service.
    SetPorts,
    /// A service that ports lead to is there, another, or gone.
    SetNumbered,
    /// A service is there, another, or gone.
    SetService,
}

impl From<&Operation> for Kind {
    fn from(operation: &Operation) -> Self {
        match operation {
            Operation::SetTarget(..) => Self::SetTarget,
            Operation::SetDevice(..) => Self::SetDevice,
            Operation::SetVlan(..) => Self::SetVlan,
            Operation::SetNextHop(..) => Self::SetNextHop,
            Operation::SetSource(..) => Self::SetSource,
            Operation::SetBackend(..) => Self::SetBackend,
            Operation::SetReverse(..) => Self::SetReverse,
            Operation::SetLoad(..) => Self::SetLoad,
            Operation::SetTimeouts(..) => Self::SetTimeouts,
            Operation::SetLargestSegment(..) => Self::SetLargestSegment,
            Operation::CreateTable(..) => Self::CreateTable,
            Operation::SetOldTable(..) => Self::SetOldTable,
            Operation::RemoveTable(..) => Self::RemoveTable,
            Operation::SetSlots(..) => Self::SetSlots,
            Operation::SetServer(..) => Self::SetServer,
            Operation::SetOwn(..) => Self::SetOwn,
            Operation::SetAccess(..) => Self::SetAccess,
            Operation::SetLimits(..) => Self::SetLimits,
            Operation::SetListening(..) => Self::SetListening,
            Operation::SetPorts(..) => Self::SetPorts,
            Operation::SetNumbered(..) => Self::SetNumbered,
            Operation::SetService(..) => Self::SetService,
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::HalfWay => "half-way through",
        };
        write!(f, "{moment} {:?} {}", self.kind, self.ordinal)
    }
}
