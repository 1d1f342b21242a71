//! Files of the state folder that hold one value as JSON.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};

use crate::replace::replace;

/// What such a file holds; `None` if there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let read = serde_json::from_str(&text);
    read.with_context(|| format!("{} can't be read", path.display()))
        .map(Some)
}

/// Has it hold a value, whole or not at all.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let named = || format!("writing {}", path.display());
    let text = serde_json::to_string(value).with_context(named)?;
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| replace(path, &text))
        .with_context(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/value.json");
        assert_eq!(read::<u32>(&path).unwrap(), None);
        write(&path, &7).unwrap();
        assert_eq!(read(&path).unwrap(), Some(7));
        fs::write(&path, "[").unwrap();
        let error = format!("{:#}", read::<u32>(&path).unwrap_err());
        assert!(error.contains("value.json can't be read"), "{error}");
    }
}
