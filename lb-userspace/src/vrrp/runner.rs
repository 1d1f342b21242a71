//! Runs the instances of a configuration: a task each, which sends and receives adverts, takes and gives up addresses and
//! tells neighbours; what is done and when, `instance` decides. Nothing that fails here ends a task: it is counted, and said
//! once a minute at most. All tasks are on a thread of their own (`thread`), so that nothing else delays adverts.

mod task;
mod thread;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{info, warn};

use super::{
    group::Member, snapshot::InstanceView, traces::Traces, tracking::Facts, transition::Transition,
};
use crate::{
    model::{Family, Vrrp},
    net::{DeviceWatch, Error, FloatingAddresses, PacketSocket, accept},
};
use task::{Command, Task};
use thread::Thread;

/// How long an instance may take to give its addresses up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Commands that may wait for an instance.
const COMMANDS: usize = 8;

/// What instances are, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Views(Arc<Mutex<BTreeMap<String, InstanceView>>>);

/// Where changes of instances are told; who reads them must not be waited for.
pub type Transitions = mpsc::UnboundedSender<Transition>;

/// The instances that run.
pub struct Routers {
    running: BTreeMap<String, Running>,
    views: Views,
    facts: watch::Receiver<Arc<Facts>>,
    transitions: Transitions,
    maintenance: bool,
    host: Option<Host>,
}

/// Why an instance can't be told to resign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResignError {
    /// There is no such instance.
    #[error("no instance is named `{0}`")]
    Unknown(String),
    /// It has nothing to give up.
    #[error("{0} is not the master")]
    NotMaster(String),
}

/// What instances run on.
struct Host {
    thread: Thread,
    shared: Shared,
}

/// What instances share.
#[derive(Clone)]
struct Shared {
    addresses: Arc<FloatingAddresses>,
    frames: Arc<PacketSocket>,
    watch: Arc<DeviceWatch>,
    facts: watch::Receiver<Arc<Facts>>,
    /// What those that are of sync groups are, by name.
    groups: watch::Sender<BTreeMap<String, Member>>,
}

struct Running {
    config: Vrrp,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// Removes what an agent before has left behind of this: it was killed. Others may have its addresses by now.
pub async fn clear(traces: &Traces) -> Result<(), Error> {
    let addresses = FloatingAddresses::open()?;
    let held = addresses.held().await?;
    let ours = |(_, address): &&(_, _)| traces.addresses.contains(address);
    for (device, address) in held.iter().filter(ours) {
        info!("{address} on device {device} was left behind, and is given up");
        addresses.give_up(*device, *address).await?;
    }
    for table in &traces.tables {
        for family in Family::ALL {
            accept(table, family)?;
        }
    }
    Ok(())
}

impl Routers {
    /// None yet. `facts`: what is known of what may be tracked; `transitions`: where is told what they become. In
    /// maintenance, instances have no addresses.
    pub fn new(
        facts: watch::Receiver<Arc<Facts>>,
        transitions: Transitions,
        maintenance: bool,
    ) -> Self {
        Self {
            running: BTreeMap::new(),
            views: Views::default(),
            facts,
            transitions,
            maintenance,
            host: None,
        }
    }

    /// What they are, for whoever shows it.
    pub fn views(&self) -> Views {
        self.views.clone()
    }

    /// Has the instances of a configuration run. Those that it has no more, or with another identity, give their addresses up
    /// first. Needs a tokio runtime.
    pub async fn follow(&mut self, config: &[Vrrp]) -> Result<(), Error> {
        let stays = |running: &Running| config.iter().any(|new| is_same(&running.config, new));
        let (stay, go) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(_, running)| stays(running));
        self.running = stay;
        end(go).await;
        let names: BTreeSet<&String> = self.running.keys().collect();
        self.views.retain(|name| names.contains(name));
        for new in config {
            match self.running.get_mut(&new.name) {
                Some(running) if running.config == *new => {}
                Some(running) => {
                    running.config = new.clone();
                    let configure = Command::Configure(Box::new(new.clone()));
                    // A task ends only when it is told to.
                    drop(running.commands.send(configure).await);
                }
                None => self.begin(new).await?,
            }
        }
        Ok(())
    }

    /// Has all give their addresses up.
    pub async fn stop(&mut self) {
        end(std::mem::take(&mut self.running)).await;
    }

    /// Whether instances are kept from having addresses.
    pub fn is_in_maintenance(&self) -> bool {
        self.maintenance
    }

    /// Has all give their addresses up and take none, or take part again. Is done once they have heard of it.
    pub async fn maintain(&mut self, on: bool) {
        self.maintenance = on;
        let instances = self.running.values();
        self.tell_each(instances, |done| Command::Maintain(on, done))
            .await;
    }

    /// Has a master and those of its sync group give their addresses up, to whoever takes them; says who did.
    pub async fn resign(&self, name: &str) -> Result<Vec<String>, ResignError> {
        let Some(named) = self.running.get(name) else {
            return Err(ResignError::Unknown(name.to_owned()));
        };
        let group = named.config.sync_group.as_ref();
        let follows = |running: &&Running| {
            let of_group = group.is_some() && running.config.sync_group.as_ref() == group;
            of_group || running.config.name == name
        };
        let instances = self.running.values().filter(follows);
        let resigned = self.tell_each(instances, Command::Resign).await;
        let resigned = resigned
            .into_iter()
            .filter_map(|(name, was_master)| was_master.then_some(name));
        let resigned: Vec<String> = resigned.collect();
        match resigned.is_empty() {
            true => Err(ResignError::NotMaster(name.to_owned())),
            false => Ok(resigned),
        }
    }

    /// Tells instances something, and returns what they answer.
    async fn tell_each<'a, T>(
        &self,
        instances: impl Iterator<Item = &'a Running>,
        command: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> Vec<(String, T)> {
        let mut answers = Vec::new();
        for running in instances {
            let (done, answer) = oneshot::channel();
            // A task ends only when it is told to.
            drop(running.commands.send(command(done)).await);
            answers.push((running.config.name.clone(), answer));
        }
        let mut answered = Vec::new();
        for (name, answer) in answers {
            match timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => answered.push((name, answer)),
                _ => warn!("vrrp {name}: it did not answer within {PATIENCE:?}"),
            }
        }
        answered
    }

    async fn begin(&mut self, config: &Vrrp) -> Result<(), Error> {
        let host = match &mut self.host {
            Some(host) => host,
            none => none.insert(Host::begin(self.facts.clone()).await?),
        };
        let (commands, told) = mpsc::channel(COMMANDS);
        let out = (self.views.clone(), self.transitions.clone());
        let shared = host.shared.clone();
        let task = Task::new(config.clone(), shared, told, out, self.maintenance);
        let running = Running {
            config: config.clone(),
            commands,
            task: host.thread.spawn(task.run()),
        };
        self.running.insert(config.name.clone(), running);
        Ok(())
    }
}

impl Host {
    async fn begin(facts: watch::Receiver<Arc<Facts>>) -> Result<Self, Error> {
        let thread = Thread::start().map_err(Error::Thread)?;
        let shared = thread.spawn(Shared::open(facts));
        let shared = shared
            .await
            .map_err(|error| Error::Thread(error.into()))??;
        Ok(Self { thread, shared })
    }
}

impl Shared {
    /// Opened where the tasks run, whose runtime drives what it holds.
    async fn open(facts: watch::Receiver<Arc<Facts>>) -> Result<Self, Error> {
        Ok(Self {
            addresses: Arc::new(FloatingAddresses::open()?),
            frames: Arc::new(PacketSocket::open().map_err(Error::PacketSocket)?),
            watch: Arc::new(DeviceWatch::start().await?),
            facts,
            groups: watch::Sender::default(),
        })
    }
}

impl Views {
    /// All of them, by name.
    pub fn all(&self) -> Vec<InstanceView> {
        self.lock().values().cloned().collect()
    }

    fn tell(&self, view: InstanceView) {
        self.lock().insert(view.name.clone(), view);
    }

    fn retain(&self, stays: impl Fn(&String) -> bool) {
        self.lock().retain(|name, _| stays(name));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, InstanceView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an instance can go on as another: what peers know it by, and whom it hears, are the same.
fn is_same(before: &Vrrp, after: &Vrrp) -> bool {
    let identity = |vrrp: &Vrrp| {
        let families: Vec<Family> = vrrp.families().collect();
        let is_unicast = !vrrp.unicast_peers.is_empty();
        (vrrp.vrid, vrrp.version, families, is_unicast)
    };
    before.name == after.name
        && before.interface == after.interface
        && identity(before) == identity(after)
}

/// All at once: one after the other they would take too long.
async fn end(running: BTreeMap<String, Running>) {
    let mut tasks = Vec::new();
    for (name, running) in running {
        drop(running.commands);
        tasks.push((name, running.task));
    }
    for (name, task) in tasks {
        if timeout(PATIENCE, task).await.is_err() {
            warn!("vrrp {name}: it did not give its addresses up within {PATIENCE:?}");
        }
    }
}
