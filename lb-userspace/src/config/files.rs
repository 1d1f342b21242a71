//! The files of a configuration: all input and output of this module is here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use glob::{GlobError, PatternError};

/// Where configuration files are read from.
pub trait Files {
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The files in `folder` that a pattern such as `pools.d/*.toml` names, sorted.
    fn matching(&self, folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, MatchError>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

/// An include pattern that can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// The pattern itself is wrong.
    #[error("not a file pattern: {0}")]
    Pattern(#[from] PatternError),
    /// A folder on the way can't be read.
    #[error("can't list {}: {}", .0.path().display(), .0.error())]
    Folder(#[from] GlobError),
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn matching(&self, folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, MatchError> {
        let folder = glob::Pattern::escape(&folder.to_string_lossy());
        // `join` also lets an absolute pattern stand for itself.
        let pattern = Path::new(&folder).join(pattern);
        let mut found = glob::glob(&pattern.to_string_lossy())?.collect::<Result<Vec<_>, _>>()?;
        found.sort();
        Ok(found)
    }
}
