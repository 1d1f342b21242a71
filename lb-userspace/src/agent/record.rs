//! What must be known of the tables in the kernel to go on with them: whose number is whose. It is on disk
//! before the tables say so; a start takes it only for the tables that it was written for.

use std::{
    fs, mem,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use lb_common::abi::{LAYOUT, SourcePorts};
use serde::{Deserialize, Serialize};
use tracing::error;

use crate::{
    kernel::{DataPlane, Features, Identity},
    layouts::Layouts,
    replace::replace,
    state::Registry,
};

/// The version of records that is written and read.
const VERSION: u32 = 1;

/// What is on disk.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// The layout of the tables.
    pub(super) layout: u32,
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
    /// The first source port of recorded flows, and how many there are.
    ports: (u16, u16),
    /// What the tables' entries look like. Not there: it was written before that was.
    entries: Option<Layouts>,
    pub(super) registry: Registry,
}

impl Record {
    /// The one for these tables, of any layout, if it can be gone on with.
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
        if record.version != VERSION {
            bail!(
                "{} is another version's ({})",
                path.display(),
                record.sluice
            );
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

    /// The source ports of recorded flows.
    pub(super) fn ports(&self) -> SourcePorts {
        let (first, count) = self.ports;
        SourcePorts { first, count }
    }

    /// What the tables' entries look like.
    pub(super) fn layouts(&self) -> Layouts {
        let before = || Layouts::undescribed(self.layout);
        self.entries.clone().unwrap_or_else(before)
    }
}

/// What a record says beside the numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct About<'a> {
    pub(super) seed_fingerprint: &'a str,
    pub(super) hertz: u32,
    pub(super) ports: SourcePorts,
    /// What the tables may need of the program.
    pub(super) features: Features,
}

/// Where records of an agent's tables go.
pub(super) struct Records {
    folder: PathBuf,
    identity: Identity,
    /// Whether the tables are whole, and bear that name.
    complete: bool,
    /// What is on disk, if it is what the tables may have.
    saved: Option<(Registry, Features)>,
    /// Whether the last one could not be written.
    failed: bool,
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
            folder: folder(state),
            identity,
            complete: false,
            saved: None,
            failed: false,
        })
    }

    /// For tables that there are, and are as this record says.
    pub(super) fn of(state: &Path, identity: Identity, record: &Record) -> Self {
        let sequence = record.sequence;
        Self {
            folder: folder(state),
            identity: Identity {
                sequence,
                ..identity
            },
            complete: true,
            saved: Some((record.registry.clone(), record.features)),
            failed: false,
        }
    }

    /// Whether the last record could not be written. Until one is, no start goes on with the tables.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Has these numbers on disk before the tables have them. A disk that takes nothing is no reason to serve
    /// nobody.
    pub(super) fn keep(
        &mut self,
        plane: &DataPlane,
        registry: &Registry,
        about: About<'_>,
    ) -> anyhow::Result<()> {
        let features = about.features;
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
            hertz: about.hertz,
            seed_fingerprint: about.seed_fingerprint.into(),
            features,
            ports: (about.ports.first, about.ports.count),
            entries: Some(Layouts::of_this_build()),
            registry: registry.clone(),
        };
        let failed = mem::replace(&mut self.failed, false);
        self.saved = match self.write(&record) {
            Ok(()) => Some((record.registry, features)),
            Err(error) => {
                if !failed {
                    error!("a restart would not find the flows of now: {error:#}");
                }
                self.failed = true;
                // The one on disk is too old by that.
                self.identity.sequence += 2;
                None
            }
        };
        if self.complete {
            plane.advance(self.identity.sequence)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        instance: 7,
        sequence: 5,
    };

    fn written(state: &Path, change: impl FnOnce(&mut Record)) {
        let mut record = Record {
            version: VERSION,
            layout: LAYOUT,
            sequence: IDENTITY.sequence,
            sluice: "test".into(),
            hertz: 250,
            seed_fingerprint: "seed".into(),
            features: Features::default(),
            ports: (1, 2),
            entries: None,
            registry: Registry::default(),
        };
        change(&mut record);
        fs::create_dir_all(folder(state)).unwrap();
        let text = serde_json::to_string(&record).unwrap();
        fs::write(path(state, IDENTITY.instance), text).unwrap();
    }

    fn read(state: &Path) -> Result<u64, String> {
        let record = Record::read(state, IDENTITY, "seed");
        record
            .map(|record| record.sequence)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_record_is_for_the_tables_that_it_was_written_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert!(read(state).unwrap_err().contains("0000000000000007.json"));
        for (sequence, is_it) in [(4, false), (5, true), (6, true), (7, false)] {
            written(state, |record| record.sequence = sequence);
            assert_eq!(read(state).is_ok(), is_it, "{sequence}");
        }
        written(state, |record| record.version += 1);
        assert!(read(state).unwrap_err().contains("another version"));
        written(state, |record| record.seed_fingerprint.push('x'));
        assert!(read(state).unwrap_err().contains("another seed"));
        fs::write(path(state, IDENTITY.instance), "{").unwrap();
        assert!(read(state).unwrap_err().contains("can't be read"));
    }
}
