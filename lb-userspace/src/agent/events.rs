//! Events in the agent: hears what becomes of instances of `[[vrrp]]` and of backends, and has it told. Wires, and decides
//! nothing but which backends are not what they were.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    events::{BackendEvent, Events, What},
    health::Snapshot,
    vrrp::{Hooks, Notified, Transition},
};

/// What tells events.
pub(super) struct Telling {
    events: Events,
    notified: Notified,
    /// Until it has been told to stop.
    hooks: Option<Hooks>,
    backends: JoinHandle<()>,
}

impl Telling {
    /// Tells what comes. Needs a tokio runtime.
    pub(super) fn start(
        transitions: mpsc::UnboundedReceiver<Transition>,
        health: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        let (events, notified) = (Events::new(), Notified::default());
        let hooks = Hooks::start(transitions, events.clone(), notified.clone());
        Self {
            backends: tokio::spawn(tell_backends(health, events.clone())),
            hooks: Some(hooks),
            events,
            notified,
        }
    }

    /// The events.
    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    /// What came of hooks, for whoever shows it.
    pub(super) fn notified(&self) -> Notified {
        self.notified.clone()
    }

    /// Tells what happened.
    pub(super) fn tell(&self, what: What) {
        self.events.tell(what);
    }

    /// Ends all of it, once what there was is told.
    pub(super) async fn stop(&mut self) {
        if let Some(hooks) = self.hooks.take() {
            hooks.stop().await;
        }
        self.backends.abort();
        self.events.end();
    }
}

async fn tell_backends(mut health: watch::Receiver<Arc<Snapshot>>, events: Events) {
    let mut before = Arc::clone(&health.borrow_and_update());
    while health.changed().await.is_ok() {
        let after = Arc::clone(&health.borrow_and_update());
        for event in changed(&before, &after) {
            events.tell(What::Backend(event));
        }
        before = after;
    }
}

/// The backends that are not what they were.
fn changed(before: &Snapshot, after: &Snapshot) -> Vec<BackendEvent> {
    let mut changed = Vec::new();
    for (pool, view) in &after.pools {
        let was = before.pools.get(pool);
        // Most pools are as they were.
        if was.is_some_and(|was| Arc::ptr_eq(was, view)) {
            continue;
        }
        let none = BTreeMap::new();
        let was = was.map_or(&none, |was| &was.members);
        for ((backend, family), member) in &view.members {
            let was = was.get(&(backend.clone(), *family));
            if was.is_none_or(|was| was.state == member.state) {
                continue;
            }
            let last = member.history.last();
            changed.push(BackendEvent {
                pool: pool.clone(),
                backend: backend.clone(),
                family: *family,
                state: member.state.to_string(),
                why: last.map_or_else(String::new, |entry| entry.text.clone()),
            });
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        health::{Advice, Entry, MemberView, PoolView, State},
        model::Family,
    };

    /// A member that came to be what it is for that reason.
    fn member(state: State, why: &str) -> Arc<MemberView> {
        let entry = Entry {
            at: SystemTime::UNIX_EPOCH,
            state: state.to_string(),
            text: why.into(),
        };
        Arc::new(MemberView {
            state,
            since: entry.at,
            advice: Advice::default(),
            slow_start: None,
            checks: Vec::new(),
            passive: None,
            history: vec![entry],
        })
    }

    fn pools(members: &[(&str, Family, Arc<MemberView>)]) -> Snapshot {
        let members = members.iter().cloned();
        let members = members.map(|(name, family, member)| ((name.into(), family), member));
        let pool = PoolView {
            members: members.collect(),
            ..PoolView::default()
        };
        Snapshot {
            pools: BTreeMap::from([("web".into(), Arc::new(pool))]),
        }
    }

    #[test]
    fn only_backends_that_went_up_or_down_are_told() {
        let up = || member(State::Up, "it came up");
        let before = pools(&[("web1", Family::Ipv4, up()), ("web1", Family::Ipv6, up())]);
        let after = pools(&[
            ("web1", Family::Ipv4, member(State::Down, "refused")),
            ("web1", Family::Ipv6, member(State::Up, "it is still up")),
            // A configuration has it anew.
            ("web2", Family::Ipv4, member(State::Down, "unknown")),
        ]);
        let down = BackendEvent {
            pool: "web".into(),
            backend: "web1".into(),
            family: Family::Ipv4,
            state: "down".into(),
            why: "refused".into(),
        };
        assert_eq!(changed(&before, &after), [down]);
        assert_eq!(changed(&before, &before), []);
        assert_eq!(changed(&Snapshot::default(), &before), []);
    }
}
