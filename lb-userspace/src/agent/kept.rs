//! The configuration in use and the one before it, on disk, as their files were: what a rollback goes back
//! to, whatever became of the files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{config::Recorded, replace::replace, state_file};

/// Both of them.
#[derive(Debug)]
pub(super) struct KeptConfigurations {
    current: PathBuf,
    previous: PathBuf,
}

impl KeptConfigurations {
    /// In a folder of the agent's state.
    pub(super) fn new(state: &Path) -> Self {
        let folder = state.join("configurations");
        Self {
            current: folder.join("current.json"),
            previous: folder.join("previous.json"),
        }
    }

    /// Takes note of the configuration in use: the one that was, if it was another, is the one before.
    pub(super) fn took(&self, recorded: &Recorded) -> anyhow::Result<()> {
        let text = serde_json::to_string(recorded).context("writing the configuration as JSON")?;
        let current = text_of(&self.current)?;
        if current.as_ref() == Some(&text) {
            return Ok(());
        }
        let named = |path: &Path| format!("writing {}", path.display());
        if let Some(folder) = self.current.parent() {
            fs::create_dir_all(folder).with_context(|| named(folder))?;
        }
        // The one before first: whenever this is cut short, what was in use is still there.
        if let Some(current) = current {
            replace(&self.previous, &current).with_context(|| named(&self.previous))?;
        }
        replace(&self.current, &text).with_context(|| named(&self.current))
    }

    /// The configuration that was in use last, if there was one.
    pub(super) fn current(&self) -> anyhow::Result<Option<Recorded>> {
        state_file::read(&self.current)
    }

    /// The configuration before the one in use, if there was one.
    pub(super) fn previous(&self) -> anyhow::Result<Option<Recorded>> {
        state_file::read(&self.previous)
    }
}

/// A file's text, damaged or not; `None` if there is no file.
fn text_of(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Disk};

    const CONFIG: &str = "[agent]\ninterfaces = [\"eth0\"]\n\
        [[service]]\nname = \"web\"\nlisten = [\"198.18.0.1:80/tcp\"]\npool = \"web\"\n\
        [[pool]]\nname = \"web\"\nforward = \"dsr\"\n\
        [[pool.backend]]\nname = \"a\"\naddress = \"198.18.1.1\"\n";

    #[test]
    fn the_one_before_is_there_until_there_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("sluice.toml");
        let recorded = |weight: u32| {
            fs::write(&main, format!("{CONFIG}weight = {weight}\n")).unwrap();
            config::record(&main, &Disk).1
        };
        let [one, two, three] = [1, 2, 3].map(recorded);
        let kept = KeptConfigurations::new(&folder.path().join("state"));
        assert_eq!(kept.previous().unwrap(), None);
        kept.took(&one).unwrap();
        kept.took(&one).unwrap();
        assert_eq!(kept.previous().unwrap(), None);
        kept.took(&two).unwrap();
        kept.took(&two).unwrap();
        assert_eq!(kept.previous().unwrap(), Some(one.clone()));
        // A rollback, and back again.
        kept.took(&one).unwrap();
        assert_eq!(kept.previous().unwrap(), Some(two));
        kept.took(&three).unwrap();
        assert_eq!(kept.previous().unwrap(), Some(one));
    }

    #[test]
    fn a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptConfigurations::new(folder.path());
        fs::create_dir(folder.path().join("configurations")).unwrap();
        fs::write(&kept.previous, "x").unwrap();
        let error = format!("{:#}", kept.previous().unwrap_err());
        assert!(error.contains("previous.json can't be read"), "{error}");
    }
}
