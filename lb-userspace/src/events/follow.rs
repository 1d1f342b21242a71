//! Where events are told and followed. A follower reads from the log at its own pace: nothing is kept for it, and nobody
//! waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    event::What,
    log::{Batch, Log},
};
use crate::unix_time::unix_now_ms;

/// How many may follow at a time.
pub const MOST_FOLLOWERS: usize = 16;

/// Events that a follower gets at once.
const AT_ONCE: usize = 64;

/// What happened on this host.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Mutex<Log>,
    /// Whether there will be no more: for followers, who are woken.
    over: watch::Sender<bool>,
    free: Arc<Semaphore>,
}

/// Somebody who wants to know what happens.
#[derive(Debug)]
pub struct Follower {
    events: Events,
    over: watch::Receiver<bool>,
    since: u64,
    _place: OwnedSemaphorePermit,
}

/// Nobody else can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_FOLLOWERS} clients follow the events already")]
pub struct TooMany;

impl Events {
    /// None yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            log: Mutex::default(),
            over: watch::Sender::default(),
            free: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
        }))
    }

    /// Tells that something happened just now. The event's number.
    pub fn tell(&self, what: What) -> u64 {
        let sequence = self.log().record(unix_now_ms(), what);
        self.0.over.send_modify(|_| {});
        sequence
    }

    /// Tells that nothing more will.
    pub fn end(&self) {
        self.0.over.send_replace(true);
    }

    /// Those after that number which are kept.
    pub fn since(&self, since: u64) -> Batch {
        self.log().since(since, usize::MAX)
    }

    /// Follows those after that number, or those that are still to come.
    pub fn follow(&self, since: Option<u64>) -> Result<Follower, TooMany> {
        let place = Arc::clone(&self.0.free).try_acquire_owned();
        Ok(Follower {
            _place: place.map_err(|_| TooMany)?,
            over: self.0.over.subscribe(),
            since: self.log().known(since),
            events: self.clone(),
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Follower {
    /// The next ones, once there are any; `None` if there will be none. Nothing is lost if it is not waited for to the end.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            let over = *self.over.borrow_and_update();
            let batch = self.events.log().since(self.since, AT_ONCE);
            if let Some(last) = batch.events.last() {
                self.since = last.sequence;
                return Some(batch);
            }
            if over || self.over.changed().await.is_err() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::events::ReloadEvent;

    fn tell(events: &Events, count: u64) {
        for generation in 1..=count {
            let by = "reload".into();
            events.tell(What::Reload(ReloadEvent { by, generation }));
        }
    }

    async fn next(follower: &mut Follower) -> Option<(u64, Vec<u64>)> {
        let batch = follower.next().await?;
        let numbers = batch.events.iter().map(|event| event.sequence);
        Some((batch.missed, numbers.collect()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_gets_what_comes() {
        let events = Events::new();
        tell(&events, 2);
        let mut all = events.follow(Some(0)).unwrap();
        let mut new = events.follow(None).unwrap();
        let mut other = events.follow(Some(99)).unwrap();
        assert_eq!(next(&mut all).await, Some((0, vec![1, 2])));
        assert_eq!(next(&mut other).await, Some((0, vec![1, 2])));
        let early = timeout(Duration::from_secs(9), next(&mut new)).await;
        assert!(early.is_err(), "{early:?}");
        let wait = tokio::spawn(async move { (next(&mut new).await, next(&mut new).await) });
        tokio::task::yield_now().await;
        tell(&events, 1);
        events.end();
        assert_eq!(wait.await.unwrap(), (Some((0, vec![3])), None));
        // What there was before the end comes before it.
        assert_eq!(next(&mut all).await, Some((0, vec![3])));
        assert_eq!(next(&mut all).await, None);
    }

    #[tokio::test]
    async fn one_that_is_slow_is_told_what_it_lost() {
        let events = Events::new();
        let mut follower = events.follow(None).unwrap();
        tell(&events, 1100);
        let (missed, numbers) = next(&mut follower).await.unwrap();
        assert_eq!((missed, numbers[0], numbers.len()), (76, 77, AT_ONCE));
        let (missed, numbers) = next(&mut follower).await.unwrap();
        assert_eq!((missed, numbers[0]), (0, 141));
    }

    #[test]
    fn only_so_many_follow_at_a_time() {
        let events = Events::new();
        let follow = || events.follow(None);
        let mut all: Vec<_> = (0..MOST_FOLLOWERS).map(|_| follow().unwrap()).collect();
        assert_eq!(follow().unwrap_err(), TooMany);
        all.pop();
        follow().unwrap();
    }
}
