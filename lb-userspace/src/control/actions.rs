//! What clients of the control socket may have the agent do. The agent does one thing at a time, so what is
//! asked of it waits in a queue, and who asked waits for the answer, which may come when other things are done.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::api::{Maintained, Overridden, Planned, Refusal, Resigned, Who};
use crate::{config::Recorded, overrides::Change};

/// How many clients may wait to be heard; more are told to come back.
const MOST_WAITING: usize = 16;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Takes the configuration's files as they are now.
    Reload,
    /// Goes back to the configuration before.
    Rollback,
    /// Says what a configuration would change.
    Plan(Box<Recorded>),
    /// The same, once the flows that it would touch have been counted for so long.
    Sample(Box<Recorded>, Duration),
    /// Changes what operators say of backends.
    Override(Asked),
    /// Gives all floating IPs up and takes none, or takes part again.
    Maintain(bool),
    /// Has an instance give its floating IPs up.
    Resign(String),
}

/// A change of what operators say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of which backends.
    pub who: Who,
    /// What is said of them.
    pub change: Change,
}

/// What came of an action that went well.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// What changed, or would.
    Planned(Planned),
    /// What backends are now.
    Overridden(Overridden),
    /// What instances are now.
    Maintained(Maintained),
    /// Who gave their floating IPs up.
    Resigned(Resigned),
}

/// What came of it.
pub type Done = Result<Answer, Refusal>;

/// An action, and who waits for it.
pub type Request = (Action, Asker);

/// Who waits for an action.
#[derive(Debug)]
pub struct Asker(oneshot::Sender<Done>);

impl Asker {
    /// Tells them. They may be gone.
    pub fn tell(self, done: Done) {
        let _ = self.0.send(done);
    }
}

/// The end that asks.
#[derive(Clone, Debug)]
pub struct Actions(mpsc::Sender<Request>);

/// The end that is asked.
pub type Requests = mpsc::Receiver<Request>;

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// Too many wait already.
    #[error("too many requests wait already; try again")]
    Busy,
    /// The agent stops.
    #[error("the agent stops")]
    Stopping,
}

/// A queue of actions.
pub fn channel() -> (Actions, Requests) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    (Actions(sender), receiver)
}

impl Actions {
    /// Has something done, and waits until it is. Not for threads that must not wait.
    pub fn ask(&self, action: Action) -> Result<Done, Unheard> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send((action, Asker(answer)))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Unheard::Busy,
                mpsc::error::TrySendError::Closed(_) => Unheard::Stopping,
            })?;
        answered.blocking_recv().map_err(|_| Unheard::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_gets_the_answer() {
        let (actions, mut requests) = channel();
        let agent = std::thread::spawn(move || {
            let (action, asker) = requests.blocking_recv().unwrap();
            assert_eq!(action, Action::Rollback);
            asker.tell(Err("nothing to go back to".to_owned().into()));
        });
        let done = actions.ask(Action::Rollback).unwrap();
        assert_eq!(done.unwrap_err().error, "nothing to go back to");
        agent.join().unwrap();
        assert_eq!(actions.ask(Action::Reload), Err(Unheard::Stopping));
    }

    #[test]
    fn no_more_wait_than_are_heard_in_time() {
        let (actions, requests) = channel();
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| {
                let actions = actions.clone();
                std::thread::spawn(move || actions.ask(Action::Reload))
            })
            .collect();
        while requests.len() < MOST_WAITING {
            std::thread::yield_now();
        }
        assert_eq!(actions.ask(Action::Reload), Err(Unheard::Busy));
        drop(requests);
        for client in waiting {
            assert_eq!(client.join().unwrap(), Err(Unheard::Stopping));
        }
    }
}
