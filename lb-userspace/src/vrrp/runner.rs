//! Runs the instances of a configuration: a task each, which sends and receives adverts, takes and gives up addresses and
//! tells neighbours; what is done and when, `instance` decides. Nothing that fails here ends a task: it is counted, and said
//! once a minute at most.

mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tracing::{info, warn};

use super::snapshot::InstanceView;
use crate::{
    model::{Family, VirtualAddress, Vrrp},
    net::{DeviceWatch, Error, FloatingAddresses, PacketSocket},
};
use task::{Command, Task};

/// How long an instance may take to give its addresses up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Commands that may wait for an instance.
const COMMANDS: usize = 8;

/// What instances are, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Views(Arc<Mutex<BTreeMap<String, InstanceView>>>);

/// The instances that run.
pub struct Routers {
    running: BTreeMap<String, Running>,
    views: Views,
    shared: Option<Shared>,
}

/// What instances share.
#[derive(Clone)]
struct Shared {
    addresses: Arc<FloatingAddresses>,
    frames: Arc<PacketSocket>,
    watch: Arc<DeviceWatch>,
}

struct Running {
    config: Vrrp,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// Removes those of these addresses that an agent before has left behind: it was killed. Others may have them by now.
pub async fn clear(moving: &BTreeSet<VirtualAddress>) -> Result<(), Error> {
    let addresses = FloatingAddresses::open()?;
    let held = addresses.held().await?;
    for (device, address) in held.iter().filter(|(_, address)| moving.contains(address)) {
        info!("{address} on device {device} was left behind, and is given up");
        addresses.give_up(*device, *address).await?;
    }
    Ok(())
}

impl Routers {
    /// None yet.
    pub fn new() -> Self {
        Self {
            running: BTreeMap::new(),
            views: Views::default(),
            shared: None,
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
    pub async fn stop(mut self) {
        end(std::mem::take(&mut self.running)).await;
    }

    async fn begin(&mut self, config: &Vrrp) -> Result<(), Error> {
        let shared = match &self.shared {
            Some(shared) => shared.clone(),
            None => self.shared.insert(Shared::open().await?).clone(),
        };
        let (commands, told) = mpsc::channel(COMMANDS);
        let task = Task::new(config.clone(), shared, told, self.views.clone());
        let running = Running {
            config: config.clone(),
            commands,
            task: tokio::spawn(task.run()),
        };
        self.running.insert(config.name.clone(), running);
        Ok(())
    }
}

impl Default for Routers {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    async fn open() -> Result<Self, Error> {
        Ok(Self {
            addresses: Arc::new(FloatingAddresses::open()?),
            frames: Arc::new(PacketSocket::open().map_err(Error::PacketSocket)?),
            watch: Arc::new(DeviceWatch::start().await?),
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
