//! The logs of slot tables on disk: one file a table, in a folder of the agent's state. Only I/O;
//! what stands in them is `log`'s.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::replace::replace;

/// A table's log.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
}

impl LogFile {
    /// The log of a table by this name, in `folder`.
    pub(super) fn of(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.log"));
        Self { path }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it; `None` if there is none.
    pub(super) fn read(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a line, which is on the disk when this returns.
    pub(super) fn append(&self, line: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }

    /// Puts another text in its place, whole or not at all. The folder is made if it is not there.
    pub(super) fn replace(&self, text: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        replace(&self.path, text)
    }

    /// Removes it.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}
