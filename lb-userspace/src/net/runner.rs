//! Keeps the resolutions of the wanted destinations current: reads the kernel's state, lets
//! `machine` judge it, publishes what changed and sends its requests; again after each event that
//! matters. Decides nothing itself.
//!
//! A lost socket or lost events only cost a full reading: every pass is one. Until it succeeds the
//! last snapshot stands.
//!
//! When the agent stops, the neighbours that the kernel keeps on our behalf are handed back to its
//! ordinary ageing, not deleted: whatever still forwards through them (a pinned data plane, the
//! host itself) finds them resolved.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{
    error::Error,
    facts::{Event, Facts, Keeper, Link, Neighbourhood, own_addresses},
    machine::{Machine, Request},
    netlink::{Kernel, Netlink},
    resolution::{IfIndex, Snapshot},
};

/// How long events are gathered before the kernel's state is read again.
const GATHER: Duration = Duration::from_millis(20);

/// Pause before a failed reading is tried again.
const BACKOFF: Duration = Duration::from_secs(1);

/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(2);

/// Probes that may wait; more are dropped.
const PROBES: usize = 64;

/// How often the network devices of this host were others, or otherwise, than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkChanges(u64);

/// Keeps the next hops of wanted destinations resolved, in a task of its own.
#[derive(Debug)]
pub struct Resolver {
    wanted: watch::Sender<BTreeSet<IpAddr>>,
    probes: mpsc::Sender<Neighbourhood>,
    snapshots: watch::Receiver<Snapshot>,
    addresses: watch::Receiver<Arc<BTreeSet<IpAddr>>>,
    links: watch::Receiver<LinkChanges>,
    task: JoinHandle<()>,
}

impl Resolver {
    /// Starts in the network namespace of the calling thread. Needs a tokio runtime.
    pub fn start() -> Result<Self, Error> {
        Ok(Self::with(Kernel::listen()?))
    }

    fn with<N: Netlink>(netlink: N) -> Self {
        let (wanted, wants) = watch::channel(BTreeSet::new());
        let (probes, probed) = mpsc::channel(PROBES);
        let (publisher, snapshots) = watch::channel(Snapshot::default());
        let (told, addresses) = watch::channel(Arc::default());
        let (counted, links) = watch::channel(LinkChanges::default());
        let runner = Runner {
            netlink,
            machine: Machine::default(),
            wanted: wants,
            probes: probed,
            snapshots: publisher,
            addresses: told,
            links: counted,
            seen: None,
            refused: BTreeMap::new(),
            deaf: false,
        };
        Self {
            wanted,
            probes,
            snapshots,
            addresses,
            links,
            task: tokio::spawn(runner.run()),
        }
    }

    /// Replaces the wanted destinations.
    pub fn want(&self, destinations: BTreeSet<IpAddr>) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != destinations;
            *wanted = destinations;
            changed
        });
    }

    /// Every change of the resolutions.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// Every change of this host's addresses, as far as packets for them can come from outside:
    /// all but the loopback ones. Before the first reading there are none.
    pub fn addresses(&self) -> watch::Receiver<Arc<BTreeSet<IpAddr>>> {
        self.addresses.clone()
    }

    /// Every change of this host's network devices.
    pub fn link_changes(&self) -> watch::Receiver<LinkChanges> {
        self.links.clone()
    }

    /// Has the kernel resolve one neighbour once, as if it had a packet for it. Nothing is said of
    /// the outcome; where too many probes wait, this one is dropped.
    pub fn probe(&self, device: IfIndex, neighbour: IpAddr) {
        if self.probes.try_send((device, neighbour)).is_err() {
            debug!(%device, %neighbour, "probe dropped: too many wait");
        }
    }

    /// Hands the neighbours back to the kernel and ends.
    pub async fn stop(self) {
        drop(self.wanted);
        if timeout(STOP, self.task).await.is_err() {
            warn!("the neighbours kept for the agent were not handed back within {STOP:?}");
        }
    }
}

/// Why the runner wakes.
enum Wake {
    /// The wanted destinations changed, or events were gathered for long enough, or a deadline of
    /// the machine passed.
    Read,
    /// The kernel announced something, or can't any more.
    Event(Result<Event, Error>),
    Probe(Neighbourhood),
    Stop,
}

struct Runner<N> {
    netlink: N,
    machine: Machine,
    wanted: watch::Receiver<BTreeSet<IpAddr>>,
    probes: mpsc::Receiver<Neighbourhood>,
    snapshots: watch::Sender<Snapshot>,
    addresses: watch::Sender<Arc<BTreeSet<IpAddr>>>,
    links: watch::Sender<LinkChanges>,
    /// The devices of the last reading.
    seen: Option<BTreeMap<IfIndex, Link>>,
    /// Requests that the kernel refused, with the error number, so that each is told once.
    refused: BTreeMap<Neighbourhood, Option<i32>>,
    /// Whether the kernel can't be read at present; told once.
    deaf: bool,
}

impl<N: Netlink> Runner<N> {
    async fn run(mut self) {
        let mut due = Some(now());
        loop {
            match self.wake(due).await {
                Wake::Read => due = self.read().await,
                Wake::Event(Ok(event)) => {
                    if event == Event::Overrun {
                        debug!("netlink events were lost, everything is read anew");
                    }
                    if self.machine.concerns(&event) {
                        let soon = now() + GATHER;
                        due = Some(due.map_or(soon, |due| due.min(soon)));
                    }
                }
                Wake::Event(Err(error)) => due = Some(self.recover(&error)),
                Wake::Probe(place) => self.solicit(place).await,
                Wake::Stop => break,
            }
        }
        self.retire().await;
    }

    async fn wake(&mut self, due: Option<Instant>) -> Wake {
        let due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = self.wanted.changed() => match changed {
                Ok(()) => Wake::Read,
                Err(_) => Wake::Stop,
            },
            () = due => Wake::Read,
            Some(place) = self.probes.recv() => Wake::Probe(place),
            // A closed stream would answer at once, again and again.
            event = self.netlink.event(), if !self.deaf => Wake::Event(event),
        }
    }

    /// One pass; when the next is due if nothing happens.
    async fn read(&mut self) -> Option<Instant> {
        let wanted = self.wanted.borrow_and_update().clone();
        let facts = match self.facts(&wanted).await {
            Ok(facts) => facts,
            Err(error) => return Some(self.recover(&error)),
        };
        self.deaf = false;
        publish(&self.addresses, Arc::new(own_addresses(&facts.addresses)));
        let seen = self.seen.replace(facts.links.clone());
        if seen.is_some_and(|seen| seen != facts.links) {
            self.links.send_modify(|changes| changes.0 += 1);
        }
        let step = self.machine.step(facts, now());
        publish(&self.snapshots, Arc::new(step.resolutions));
        for request in step.requests {
            self.apply(request).await;
        }
        step.deadline
    }

    /// A full reading. Routes come first and links last: a device that a route names must be known.
    async fn facts(&self, wanted: &BTreeSet<IpAddr>) -> Result<Facts, Error> {
        let mut facts = Facts::default();
        for destination in wanted {
            facts
                .routes
                .insert(*destination, self.netlink.route(*destination).await?);
        }
        facts.neighbours = self.netlink.neighbours().await?;
        facts.addresses = self.netlink.addresses().await?;
        facts.links = self.netlink.links().await?;
        Ok(facts)
    }

    async fn apply(&mut self, request: Request) {
        let (Request::Create(place) | Request::Keep(place) | Request::Release(place)) = request;
        match self.netlink.apply(request).await {
            Ok(()) => {
                self.refused.remove(&place);
            }
            Err(error) => {
                if self.refused.insert(place, error.errno()) != Some(error.errno()) {
                    warn!("{error}; next hops that need it stay unresolved");
                }
            }
        }
    }

    /// Opens the sockets anew; when to read again.
    fn recover(&mut self, error: &Error) -> Instant {
        self.tell(error);
        if let Err(error) = self.netlink.reopen() {
            self.tell(&error);
        }
        now() + BACKOFF
    }

    /// Says once for each outage what is wrong.
    fn tell(&mut self, error: &Error) {
        if !self.deaf {
            self.deaf = true;
            warn!("{error}; the next hops stay as they are, trying again every {BACKOFF:?}");
        }
    }

    /// Has the kernel ask one neighbour, unless somebody sees to that entry: the request would end
    /// that (see `encode::solicit`).
    async fn solicit(&mut self, place: Neighbourhood) {
        let entry = match self.netlink.neighbour(place).await {
            Ok(entry) => entry,
            Err(error) => return debug!("{error}"),
        };
        match entry.map(|entry| entry.keeper) {
            Some(Keeper::Fixed | Keeper::Sluice | Keeper::Another) => {}
            kept @ (Some(Keeper::Nobody) | None) => {
                if let Err(error) = self.netlink.solicit(place, kept.is_some()).await {
                    debug!("{error}");
                }
            }
        }
    }

    async fn retire(&mut self) {
        let neighbours = match self.netlink.neighbours().await {
            Ok(neighbours) => neighbours,
            Err(error) => return warn!("{error}; its neighbours stay managed by the kernel"),
        };
        for request in self.machine.retire(neighbours) {
            self.apply(request).await;
        }
    }
}

/// Sends a value if it differs from the last one.
fn publish<T: PartialEq>(to: &watch::Sender<T>, value: T) {
    to.send_if_modified(|held| {
        let changed = *held != value;
        *held = value;
        changed
    });
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
