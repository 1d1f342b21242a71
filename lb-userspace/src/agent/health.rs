//! Health in the agent: has the checks of the configuration in use run, and keeps on disk what backends are, for the
//! next start. Wires, and decides nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};
use tracing::{error, warn};

use crate::{
    health::{Before, Monitor, Snapshot, Targets, checks::Prober},
    model::Config,
    overrides::Overrides,
    replace::replace,
    state::{Standings, Time},
};

/// The checks of an agent.
pub(super) struct Health {
    monitor: Monitor,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    standings: Standings,
    keeper: JoinHandle<()>,
}

impl Health {
    /// Begins with what backends were when an agent before last saw them.
    pub(super) fn start(
        config: &Config,
        overrides: &Overrides,
        state: &Path,
    ) -> anyhow::Result<Self> {
        let path = state.join("health.json");
        let before = read(&path).unwrap_or_else(|error| {
            warn!("backends begin as their checks say: {error:#}");
            None
        });
        let seed = getrandom::u64().map_err(|error| anyhow::anyhow!("random numbers: {error}"))?;
        let targets = Arc::new(Targets::of(config, overrides));
        let known = before.clone().unwrap_or_default();
        let monitor = Monitor::start(Prober::default(), targets, &known, seed);
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
    loop {
        let now = Before::of(&snapshots.borrow_and_update().clone());
        if saved.as_ref() != Some(&now) {
            let (file, what) = (path.clone(), now.clone());
            let written = spawn_blocking(move || write(&file, &what)).await;
            match written.map_err(Into::into).flatten() {
                Ok(()) => saved = Some(now),
                Err(error) => {
                    error!("a restart would not know which backends are down: {error:#}");
                }
            }
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

/// `None` if there is none.
fn read(path: &Path) -> anyhow::Result<Option<Before>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let read = serde_json::from_str(&text);
    read.with_context(|| format!("{} can't be read", path.display()))
}

fn write(path: &Path, before: &Before) -> anyhow::Result<()> {
    let text = serde_json::to_string(before).context("writing health as JSON")?;
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = folder.and_then(|()| replace(path, &text));
    written.with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Mode, State, testing};

    #[test]
    fn what_backends_are_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/health.json");
        assert_eq!(read(&path).unwrap(), None);
        let states = [("a", State::Up), ("b", State::Held)];
        let before = Before::of(&testing::snapshot("web", Mode::Normal, &states));
        write(&path, &before).unwrap();
        assert_eq!(read(&path).unwrap(), Some(before));
        fs::write(&path, "[").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("health.json can't be read"), "{error}");
    }
}
