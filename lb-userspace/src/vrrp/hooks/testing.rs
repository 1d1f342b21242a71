//! Transitions that are made up.

use super::{Transition, call::Call};
use crate::{
    model::{Family, Notify},
    vrrp::{instance_tests::config, machine::Reason, machine::Role},
};

/// A change of both families.
pub(super) fn transition(role: Role, priority: u8) -> Transition {
    Transition {
        config: config(&Family::ALL),
        roles: Family::ALL.map(|family| (family, role)).into(),
        reason: Reason::Silence,
        priority,
        fault: None,
    }
}

/// The same with a hook.
pub(super) fn told(role: Role, priority: u8, notify: Notify) -> Transition {
    let mut transition = transition(role, priority);
    transition.config.notify = Some(notify);
    transition
}

/// A call that is told from others by its number.
pub(super) fn call(number: u8) -> Call {
    let notify = Notify {
        program: "/etc/sluice/notify".into(),
        arguments: vec!["--quiet".into()],
        timeout: std::time::Duration::from_secs(30),
    };
    let told = told(Role::Master, number, notify);
    Call::of(told, number.into()).unwrap()
}
