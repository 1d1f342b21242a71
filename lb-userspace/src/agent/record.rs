//! What must be known of the tables in the kernel to go on with them: whose number is whose. It is on disk
//! before the tables say so; a start takes it only for the tables that it was written for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use lb_common::abi::LAYOUT;
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::{
    kernel::{DataPlane, Features, Identity},
    replace::replace,
    state::Registry,
};

/// The version of records that is written and read.
const VERSION: u32 = 1;

/// What is on disk.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    layout: u32,
    /// How many were written before it for the same tables.
    sequence: u64,
    /// Who wrote it.
    sluice: String,
    /// Jiffies in a second.
    pub(super) hertz: u32,
    /// What may be shown of the hash's key.
    seed_fingerprint: String,
    /// What the program has to know beside the tables.
    pub(super) features: Features,
    pub(super) registry: Registry,
}

impl Record {
    /// The one for these tables, if it can be gone on with.
    pub(super) fn read(
        state: &Path,
        identity: Identity,
        seed_fingerprint: &str,
    ) -> anyhow::Result<Self> {
        let path = path(state, identity.instance);
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        let read = serde_json::from_str(&text);
        let record: Self = read.with_context(|| format!("{} can't be read", path.display()))?;
        if (record.version, record.layout) != (VERSION, LAYOUT) {
            bail!("{} is another version's", path.display());
        }
        // One more: the agent ended before it could say so.
        if !(identity.sequence..=identity.sequence + 1).contains(&record.sequence) {
            bail!("{} is older than the tables", path.display());
        }
        if record.seed_fingerprint != seed_fingerprint {
            bail!("their flows are hashed by another seed");
        }
        Ok(record)
    }
}

/// Where records of an agent's tables go.
pub(super) struct Records {
    folder: PathBuf,
    identity: Identity,
    /// Whether the tables are whole, and bear that name.
    complete: bool,
    saved: Option<(Registry, Features)>,
}

impl Records {
    /// For tables that are made anew.
    pub(super) fn begin(state: &Path) -> anyhow::Result<Self> {
        let mut instance = [0; 8];
        getrandom::fill(&mut instance)
            .map_err(|error| anyhow::anyhow!("random numbers: {error}"))?;
        let identity = Identity {
            instance: u64::from_ne_bytes(instance),
            sequence: 0,
        };
        Ok(Self {
            complete: false,
            ..Self::of(state, identity)
        })
    }

    /// For tables that there are.
    pub(super) fn of(state: &Path, identity: Identity) -> Self {
        Self {
            folder: folder(state),
            identity,
            complete: true,
            saved: None,
        }
    }

    /// Has these numbers on disk before the tables have them. A disk that takes nothing is no reason to serve
    /// nobody: then no start goes on with the tables.
    pub(super) fn keep(
        &mut self,
        plane: &mut DataPlane,
        registry: &Registry,
        features: Features,
        seed_fingerprint: &str,
    ) -> anyhow::Result<()> {
        let is_it = |(held, of): &(Registry, Features)| held == registry && *of == features;
        if self.saved.as_ref().is_some_and(is_it) {
            return Ok(());
        }
        self.identity.sequence += 1;
        let record = Record {
            version: VERSION,
            layout: LAYOUT,
            sequence: self.identity.sequence,
            sluice: format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("SLUICE_COMMIT")),
            hertz: plane.program().hertz(),
            seed_fingerprint: seed_fingerprint.into(),
            features,
            registry: registry.clone(),
        };
        if let Err(error) = self.write(&record) {
            error!("a restart will not find the flows of today: {error:#}");
            // The one on disk is too old by that.
            self.identity.sequence += 2;
        }
        if self.complete {
            plane.advance(self.identity.sequence)?;
        }
        self.saved = Some((record.registry, features));
        Ok(())
    }

    /// Whether the tables are whole.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The tables are written as the last record says.
    pub(super) fn complete(&mut self, plane: &DataPlane) -> anyhow::Result<()> {
        if !self.complete {
            plane.complete(self.identity)?;
            self.complete = true;
        }
        Ok(())
    }

    /// Removes the records of other tables.
    pub(super) fn forget_others(&self) {
        let own = self.path();
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let others = files.map(|file| file.path()).filter(|path| *path != own);
        // What stays is never read.
        others.for_each(|path| drop(fs::remove_file(path)));
    }

    fn write(&self, record: &Record) -> anyhow::Result<()> {
        let path = self.path();
        let text = serde_json::to_string(record).context("writing numbers as JSON")?;
        let written = fs::create_dir_all(&self.folder).and_then(|()| replace(&path, &text));
        written.with_context(|| format!("writing {}", path.display()))
    }

    fn path(&self) -> PathBuf {
        self.folder.join(file(self.identity.instance))
    }
}

fn folder(state: &Path) -> PathBuf {
    state.join("tables")
}

fn file(instance: u64) -> String {
    format!("{instance:016x}.json")
}

fn path(state: &Path, instance: u64) -> PathBuf {
    folder(state).join(file(instance))
}
