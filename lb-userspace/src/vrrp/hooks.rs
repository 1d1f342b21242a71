//! Tells what becomes of instances: events, and the hooks that the configuration names. Works beside the instances, which
//! never wait for it: they send what becomes of them here, and go on.
//!
//! ```text
//!  tasks of instances ──Transition──► events
//!                                        └──► queue of the instance ──► its hook, one call at a time
//! ```
//!
//! - `call`: what a hook is called with, and what came of it;
//! - `queue`: which calls are made, and when.

mod call;
mod queue;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    snapshot::{InstanceView, NotifyView},
    transition::Transition,
};
use crate::{
    events::{Events, HookFailedEvent, What},
    process::{Ended, Group, command},
};
use call::{Call, Outcome};
use queue::Queue;

/// How long a call may still take at the end if the last change waits for it.
const GRACE: Duration = Duration::from_secs(2);

/// How long all that is left to tell at the end may take.
const FAREWELL: Duration = Duration::from_secs(10);

/// Lines of a hook's output that are logged.
const LINES: usize = 20;

/// What has changes told.
pub struct Hooks {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What came of the calls of each instance's hook, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Notified(Arc<Mutex<BTreeMap<String, NotifyView>>>);

struct Teller {
    events: Events,
    notified: Notified,
    queues: BTreeMap<String, Queue>,
    calls: JoinSet<Outcome>,
    /// Those under way, by instance.
    under_way: BTreeMap<String, AbortHandle>,
}

impl Hooks {
    /// Tells changes as they come. Needs a tokio runtime.
    pub fn start(
        transitions: mpsc::UnboundedReceiver<Transition>,
        events: Events,
        notified: Notified,
    ) -> Self {
        let teller = Teller {
            events,
            notified,
            queues: BTreeMap::new(),
            calls: JoinSet::new(),
            under_way: BTreeMap::new(),
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(teller.run(transitions, stopped));
        Self { stop, task }
    }

    /// Has the changes that there were told, and waits for that: some seconds at most.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            warn!("changes of VRRP may not have been told: {error}");
        }
    }
}

impl Teller {
    async fn run(
        mut self,
        mut transitions: mpsc::UnboundedReceiver<Transition>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            tokio::select! {
                transition = transitions.recv() => match transition {
                    Some(transition) => self.tell(transition),
                    None => break,
                },
                Some(ended) = self.calls.join_next_with_id() => self.ended(ended),
                _ = &mut stopped => break,
            }
        }
        transitions.close();
        while let Some(transition) = transitions.recv().await {
            self.tell(transition);
        }
        self.farewell().await;
    }

    /// Tells a change: as an event, and the hook if it is one for that.
    fn tell(&mut self, transition: Transition) {
        let event = self.events.tell(What::Vrrp(transition.event()));
        let name = transition.config.name.clone();
        let queue = self.queues.entry(name.clone()).or_default();
        if !transition.role().is_some_and(|role| queue.becomes(role)) {
            return;
        }
        let Some(call) = Call::of(transition, event) else {
            return;
        };
        let skipped = queue.push(call);
        self.skipped(&name, skipped);
        self.go_on(&name);
    }

    /// Begins the next call of an instance's hook, if none is under way.
    fn go_on(&mut self, name: &str) {
        let queue = self.queues.get_mut(name);
        if let Some(call) = queue.and_then(Queue::next) {
            let task = self.calls.spawn(run(call));
            self.under_way.insert(name.to_owned(), task);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            // It was aborted: there was no more time for it.
            Err(error) => (error.id(), Outcome::Timeout),
        };
        let mut under_way = self.under_way.iter();
        let Some((name, _)) = under_way.find(|(_, task)| task.id() == id) else {
            return;
        };
        let name = name.clone();
        self.under_way.remove(&name);
        self.notified.count(&name, &outcome);
        match outcome {
            Outcome::Done => {}
            failure => {
                warn!("vrrp {name}: its hook failed: {failure}");
                self.events.tell(What::HookFailed(HookFailedEvent {
                    instance: name.clone(),
                    outcome: failure.name().to_owned(),
                    why: failure.to_string(),
                }));
            }
        }
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.ended();
        }
        self.go_on(&name);
    }

    fn skipped(&self, name: &str, count: u64) {
        for _ in 0..count {
            self.notified.count(name, &Outcome::Skipped);
        }
        if count > 0 {
            warn!(
                "vrrp {name}: {count} changes were not told its hook: it is slower than they come"
            );
        }
    }

    /// Has the last change of each instance told, in the time that there is.
    async fn farewell(mut self) {
        let names: Vec<String> = self.queues.keys().cloned().collect();
        for name in &names {
            let skipped = self.queues.get_mut(name).map_or(0, Queue::hurry);
            self.skipped(name, skipped);
        }
        let (mut grace, mut over) = (pin!(sleep(GRACE)), pin!(sleep(FAREWELL)));
        let mut patient = true;
        loop {
            tokio::select! {
                ended = self.calls.join_next_with_id() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return,
                },
                () = &mut grace, if patient => {
                    patient = false;
                    self.make_way();
                }
                () = &mut over => break,
            }
        }
        for name in self.under_way.keys() {
            warn!("vrrp {name}: its hook has not ended, and is killed: the agent stops");
        }
    }

    /// Ends calls that the last change waits for.
    fn make_way(&self) {
        let waits = |name: &String| self.queues.get(name).is_some_and(Queue::waits);
        let late = self.under_way.iter().filter(|(name, _)| waits(name));
        late.for_each(|(_, task)| task.abort());
    }
}

impl Notified {
    /// Adds it to views of instances that have a hook.
    pub fn shown_in(&self, mut views: Vec<InstanceView>) -> Vec<InstanceView> {
        let all = self.lock();
        for view in &mut views {
            if let (Some(shown), Some(known)) = (&mut view.notify, all.get(&view.name)) {
                shown.clone_from(known);
            }
        }
        views
    }

    fn count(&self, name: &str, outcome: &Outcome) {
        let mut all = self.lock();
        let view = all.entry(name.to_owned()).or_default();
        *view.outcomes.entry(outcome.name().to_owned()).or_default() += 1;
        match outcome {
            Outcome::Done => view.failure = None,
            Outcome::Skipped => {}
            failure => view.failure = Some(failure.to_string()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, NotifyView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing came of any yet.
impl Default for NotifyView {
    fn default() -> Self {
        let none = Outcome::NAMES.map(|name| (name.to_owned(), 0));
        Self {
            outcomes: none.into(),
            failure: None,
        }
    }
}

/// Runs a hook to its end, or kills it with all that it started.
async fn run(call: Call) -> Outcome {
    let notify = call.notify();
    let mut command = command(&notify.program, &call.arguments());
    command.envs(call.environment());
    let finished = async { Group::start(command).await?.finish().await };
    let ended = match timeout(notify.timeout, finished).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return Outcome::NotStarted(error.to_string()),
        Err(_) => return Outcome::Timeout,
    };
    log(call.instance(), &ended);
    match (ended.status.code(), ended.status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(status), _) => Outcome::Failed(status),
        (None, signal) => Outcome::Signal(signal.unwrap_or_default()),
    }
}

/// What it said, without what a terminal would obey.
fn log(name: &str, ended: &Ended) {
    let said = [&ended.output, &ended.errors].map(|said| String::from_utf8_lossy(said));
    for line in said.iter().flat_map(|said| said.lines()).take(LINES) {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = line.chars().map(plain).collect();
        info!("vrrp {name}: its hook says: {line}");
    }
}
