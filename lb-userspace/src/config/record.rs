//! The files of a configuration as they were read, to load the same again: later, when they have
//! changed (a rollback), or elsewhere (`sluice plan` has the agent judge files that it need not be able
//! to read).

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Loaded, Report,
    files::{Files, MatchError},
    load,
};

/// Files as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    main: PathBuf,
    texts: BTreeMap<PathBuf, String>,
    /// What each pattern named.
    matches: BTreeMap<String, Vec<PathBuf>>,
}

/// Loads a configuration, and returns what was read for it, whether or not it can be used.
pub fn record(path: &Path, files: &impl Files) -> (Result<Loaded, Report>, Recorded) {
    let recording = Recording {
        files,
        seen: RefCell::new(Recorded {
            main: path.to_owned(),
            ..Recorded::default()
        }),
    };
    let loaded = load(path, &recording);
    (loaded, recording.seen.into_inner())
}

impl Recorded {
    /// The main file.
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// All of them, and the patterns that named them, as paths. The main file is one of them also where
    /// it can't be read.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let folder = self.main.parent().unwrap_or(Path::new("")).to_owned();
        let patterns = self.matches.keys().map(move |pattern| folder.join(pattern));
        let others = self.texts.keys().filter(|file| **file != self.main);
        [&self.main]
            .into_iter()
            .chain(others)
            .cloned()
            .chain(patterns)
    }

    /// Loads them as they were.
    pub fn load(&self) -> Result<Loaded, Report> {
        load(&self.main, self)
    }
}

impl Files for Recorded {
    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.texts.get(path).cloned();
        text.ok_or_else(|| io::Error::other("it is not among the files that were recorded"))
    }

    fn matching(&self, _folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, MatchError> {
        // All patterns are those of the main file, so there is one folder.
        Ok(self.matches.get(pattern).cloned().unwrap_or_default())
    }
}

/// Files that take note of what is read of them.
struct Recording<'a, F> {
    files: &'a F,
    seen: RefCell<Recorded>,
}

impl<F: Files> Files for Recording<'_, F> {
    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.files.read(path)?;
        let mut seen = self.seen.borrow_mut();
        seen.texts.insert(path.to_owned(), text.clone());
        Ok(text)
    }

    fn matching(&self, folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, MatchError> {
        let found = self.files.matching(folder, pattern)?;
        let mut seen = self.seen.borrow_mut();
        seen.matches.insert(pattern.to_owned(), found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Disk;

    const MAIN: &str = "include = [\"pools.d/*.toml\"]\n\
        [agent]\ninterfaces = [\"eth0\"]\n\
        [[service]]\nname = \"web\"\nlisten = [\"198.18.0.1:80/tcp\"]\npool = \"web\"\n";
    const POOL: &str = "[[pool]]\nname = \"web\"\nforward = \"dsr\"\n\
        [[pool.backend]]\nname = \"a\"\naddress = \"198.18.1.1\"\n";

    #[test]
    fn what_was_recorded_loads_the_same_when_the_files_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("sluice.toml");
        std::fs::create_dir(folder.path().join("pools.d")).unwrap();
        std::fs::write(&main, MAIN).unwrap();
        std::fs::write(folder.path().join("pools.d/web.toml"), POOL).unwrap();
        let (loaded, recorded) = record(&main, &Disk);
        let loaded = loaded.unwrap();
        assert_eq!(loaded.config.pools[0].backends.len(), 1);
        drop(folder);
        let text = serde_json::to_string(&recorded).unwrap();
        let read: Recorded = serde_json::from_str(&text).unwrap();
        assert_eq!(read, recorded);
        assert_eq!((read.main(), read.load().unwrap()), (&*main, loaded));
    }

    #[test]
    fn what_is_wrong_was_read_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("sluice.toml");
        std::fs::write(&main, "include = [\"more/*.toml\"]\nwrong").unwrap();
        let (loaded, recorded) = record(&main, &Disk);
        assert!(loaded.is_err());
        assert_eq!(recorded.texts.len(), 1);
        std::fs::remove_file(&main).unwrap();
        let (loaded, recorded) = record(&main, &Disk);
        assert!(loaded.is_err());
        assert_eq!(recorded.paths().collect::<Vec<_>>(), [main]);
    }
}
