//! What a notify hook is called with, and what came of it. Pure.

use super::super::{machine::Role, transition::Transition};
use crate::model::Notify;

/// A call of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    notify: Notify,
    role: Role,
    /// The number of the event that it tells.
    event: u64,
    transition: Transition,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Outcome {
    /// It ended as it should.
    #[error("done")]
    Done,
    /// It ended with another status than 0.
    #[error("it ended with status {0}")]
    Failed(i32),
    /// A signal ended it.
    #[error("signal {0} ended it")]
    Signal(i32),
    /// It was killed, since it took too long.
    #[error("it took too long, and was killed")]
    Timeout,
    /// It could not be started.
    #[error("it can't be run: {0}")]
    NotStarted(String),
    /// There was another change before it could begin.
    #[error("the role changed again before it could begin")]
    Skipped,
}

impl Call {
    /// Of the hook of an instance, if it has one and its families agree.
    pub(super) fn of(transition: Transition, event: u64) -> Option<Self> {
        Some(Self {
            notify: transition.config.notify.clone()?,
            role: transition.role()?,
            event,
            transition,
        })
    }

    pub(super) fn instance(&self) -> &str {
        &self.transition.config.name
    }

    pub(super) fn notify(&self) -> &Notify {
        &self.notify
    }

    /// All that it is called with: what the configuration says, and what it is told.
    pub(super) fn arguments(&self) -> Vec<String> {
        let told = [
            self.instance().to_owned(),
            self.role.name().to_owned(),
            self.transition.reason.name().to_owned(),
            self.transition.priority.to_string(),
        ];
        [self.notify.arguments.as_slice(), &told].concat()
    }

    /// What its environment has: the same, and more.
    pub(super) fn environment(&self) -> [(&'static str, String); 9] {
        let Transition {
            config,
            reason,
            priority,
            fault,
            ..
        } = &self.transition;
        let addresses = config.addresses.iter().map(ToString::to_string);
        [
            ("SLUICE_INSTANCE", config.name.clone()),
            ("SLUICE_ROLE", self.role.name().to_owned()),
            ("SLUICE_REASON", reason.name().to_owned()),
            ("SLUICE_PRIORITY", priority.to_string()),
            ("SLUICE_INTERFACE", config.interface.clone()),
            ("SLUICE_VRID", config.vrid.to_string()),
            ("SLUICE_ADDRESSES", addresses.collect::<Vec<_>>().join(" ")),
            ("SLUICE_FAULT", fault.clone().unwrap_or_default()),
            ("SLUICE_EVENT", self.event.to_string()),
        ]
    }
}

impl Outcome {
    /// The names of all of them.
    pub(super) const NAMES: [&'static str; 6] = [
        "done",
        "failed",
        "signal",
        "timeout",
        "not_started",
        "skipped",
    ];

    /// Its name in metrics and views: stable.
    pub(super) fn name(&self) -> &'static str {
        let [done, failed, signal, timeout, not_started, skipped] = Self::NAMES;
        match self {
            Self::Done => done,
            Self::Failed(_) => failed,
            Self::Signal(_) => signal,
            Self::Timeout => timeout,
            Self::NotStarted(_) => not_started,
            Self::Skipped => skipped,
        }
    }
}
