//! Health in the agent: has the checks of the configuration in use run, says what the kernel counts of clients'
//! connections, and keeps on disk what backends are, for the
//! next start. Wires, and decides nothing.

use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context as _;
use lb_common::abi::Handshakes;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};
use tracing::{error, warn};

use crate::{
    health::{
        Before, MemberId, Monitor, Observation, Snapshot, Targets,
        checks::{Prober, clients::Clients},
    },
    kernel,
    model::Config,
    overrides::Overrides,
    state::{BackendId, Ids, Standings, Time},
    state_file,
};

/// The checks of an agent.
pub(super) struct Health {
    monitor: Monitor,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    standings: Standings,
    keeper: JoinHandle<()>,
}

impl Health {
    /// Begins with what backends were when an agent before last saw them. Probes through services are sent as `clients`'.
    pub(super) fn start(
        config: &Config,
        overrides: &Overrides,
        state: &Path,
        clients: Arc<Clients>,
    ) -> anyhow::Result<Self> {
        let path = state.join("health.json");
        let before: Option<Before> = state_file::read(&path).unwrap_or_else(|error| {
            warn!("backends begin as their checks say: {error:#}");
            None
        });
        let seed = getrandom::u64().map_err(|error| anyhow::anyhow!("random numbers: {error}"))?;
        let targets = Arc::new(Targets::of(config, overrides));
        let known = before.clone().unwrap_or_default();
        let monitor = Monitor::start(Prober::new(clients), targets, &known, seed);
        Ok(Self {
            keeper: tokio::spawn(keep(path, before, monitor.snapshots())),
            snapshots: monitor.snapshots(),
            monitor,
            standings: Standings::default(),
        })
    }

    /// Has the checks of another configuration run, or other weights heeded.
    pub(super) fn configure(&self, config: &Config, overrides: &Overrides) {
        self.monitor
            .follow(Arc::new(Targets::of(config, overrides)));
    }

    /// Has backends judged by what `count` says of how their connections began, in pools where that counts.
    pub(super) fn observe(
        &self,
        config: &Config,
        ids: &Ids,
        count: impl Fn(u32) -> Result<Handshakes, kernel::Error>,
    ) -> anyhow::Result<()> {
        // Pools that the configuration has no more come after its own.
        let passive = |&&(pool, _, _): &&BackendId| {
            let pool = config.pools.get(pool);
            pool.is_some_and(|pool| pool.health.passive)
        };
        let judged = ids.backends.iter().filter(|(id, _)| passive(id));
        let backends = judged.map(|(&(pool, n, family), &entry)| {
            let pool = &config.pools[pool];
            let id = MemberId {
                pool: pool.name.clone(),
                backend: pool.backends[n].name.clone(),
                family,
            };
            Ok((id, (entry, count(entry.index())?)))
        });
        let backends: BTreeMap<_, _> = backends.collect::<Result<_, kernel::Error>>()?;
        if !backends.is_empty() {
            let at = Instant::now();
            self.monitor.observe(Observation { at, backends });
        }
        Ok(())
    }

    /// Is done once something has changed.
    pub(super) async fn changed(&mut self) -> anyhow::Result<()> {
        let changed = self.snapshots.changed().await;
        changed.context("the health checks ended")
    }

    /// What backends are, for whoever shows it.
    pub(super) fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.monitor.snapshots()
    }

    /// What backends are now.
    pub(super) fn follow(
        &mut self,
        config: &Config,
        overrides: &Overrides,
        time: Time,
    ) -> &Standings {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let grace = |pool: &str| config.grace_in(pool);
        self.standings.follow(&snapshot, overrides, grace, time);
        &self.standings
    }

    /// What they were when this was last asked.
    pub(super) fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Ends all checks, with what they came to on disk.
    pub(super) async fn stop(self) {
        drop(self.snapshots);
        self.monitor.stop().await;
        if let Err(error) = self.keeper.await {
            warn!("what backends are may not be on disk: {error}");
        }
    }
}

/// Has on disk what backends are, until there are no more checks. That it can't be written is no reason to stop.
async fn keep(
    path: PathBuf,
    mut saved: Option<Before>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
) {
    let mut failed = false;
    loop {
        let now = Before::of(&snapshots.borrow_and_update().clone());
        if saved.as_ref() != Some(&now) {
            let (file, what) = (path.clone(), now.clone());
            let written = spawn_blocking(move || state_file::write(&file, &what)).await;
            match written.map_err(Into::into).flatten() {
                Ok(()) => (saved, failed) = (Some(now), false),
                // Told once: backends may go up and down a hundred times a second.
                Err(error) if !mem::replace(&mut failed, true) => {
                    error!("a restart would not know which backends are down: {error:#}");
                }
                Err(_) => {}
            }
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}
