//! Decides when an instance as a whole has changed, and why: its families change one after the other, but within one step
//! of work, and what comes of that is told once. Pure.

use std::collections::BTreeMap;

use super::machine::{Reason, Role};
use crate::{
    events::VrrpEvent,
    model::{Family, Vrrp},
};

/// A change of an instance's role, with all that there is to tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it goes by.
    pub config: Vrrp,
    /// What it is in each of its families now.
    pub roles: BTreeMap<Family, Role>,
    /// Why.
    pub reason: Reason,
    /// This host's priority.
    pub priority: u8,
    /// What keeps it from taking part.
    pub fault: Option<String>,
}

/// What an instance was when that was last told.
#[derive(Debug, Default)]
pub(super) struct Whole {
    told: BTreeMap<Family, Role>,
    why: Option<Reason>,
}

impl Transition {
    /// Its role, if its families agree.
    pub fn role(&self) -> Option<Role> {
        let mut roles = self.roles.values();
        let first = *roles.next()?;
        roles.all(|role| *role == first).then_some(first)
    }

    /// The same as an event.
    pub fn event(&self) -> VrrpEvent {
        let families = self.roles.iter();
        VrrpEvent {
            instance: self.config.name.clone(),
            interface: self.config.interface.clone(),
            vrid: self.config.vrid,
            role: self.role().map_or("apart", Role::name).to_owned(),
            families: families
                .map(|(family, role)| (*family, role.name().to_owned()))
                .collect(),
            reason: self.reason.name().to_owned(),
            priority: self.priority,
            fault: self.fault.clone(),
        }
    }
}

impl Whole {
    /// Takes note of why a family has changed. That it followed the other one is no reason.
    pub(super) fn changes(&mut self, reason: Reason) {
        if self.why.is_none_or(|why| why == Reason::OtherFamily) {
            self.why = Some(reason);
        }
    }

    /// Why its families are not what was told, if so; now it is told. What was never able to take part is unable to.
    pub(super) fn settle(&mut self, roles: &BTreeMap<Family, Role>) -> Option<Reason> {
        let why = self.why.take();
        if self.told == *roles {
            return None;
        }
        self.told.clone_from(roles);
        Some(why.unwrap_or(Reason::Unable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{Backup, Fault, Master};

    fn roles(roles: [Role; 2]) -> BTreeMap<Family, Role> {
        Family::ALL.into_iter().zip(roles).collect()
    }

    #[test]
    fn what_both_families_do_is_told_once_with_its_cause() {
        let mut whole = Whole::default();
        assert_eq!(whole.settle(&roles([Fault; 2])), Some(Reason::Unable));
        assert_eq!(whole.settle(&roles([Fault; 2])), None);
        for reason in [Reason::OtherFamily, Reason::Silence, Reason::OtherFamily] {
            whole.changes(reason);
        }
        assert_eq!(whole.settle(&roles([Master; 2])), Some(Reason::Silence));
        assert_eq!(whole.settle(&roles([Master; 2])), None);
    }

    #[test]
    fn what_was_undone_before_it_could_be_told_is_not() {
        let mut whole = Whole::default();
        whole.changes(Reason::Able);
        assert_eq!(whole.settle(&roles([Backup; 2])), Some(Reason::Able));
        whole.changes(Reason::Silence);
        whole.changes(Reason::HigherPriority);
        assert_eq!(whole.settle(&roles([Backup; 2])), None);
        // Its reason is forgotten with it.
        whole.changes(Reason::Resignation);
        let apart = roles([Master, Backup]);
        assert_eq!(whole.settle(&apart), Some(Reason::Resignation));
    }

    #[test]
    fn families_that_are_not_the_same_are_no_role() {
        let transition = |roles| Transition {
            config: crate::vrrp::instance_tests::config(&Family::ALL),
            roles,
            reason: Reason::Silence,
            priority: 150,
            fault: None,
        };
        assert_eq!(transition(roles([Master; 2])).role(), Some(Master));
        let apart = transition(roles([Master, Backup]));
        assert_eq!(apart.role(), None);
        assert_eq!(apart.event().role, "apart");
    }
}
