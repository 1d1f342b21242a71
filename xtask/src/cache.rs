//! Where tools lie that are fetched or built once for a user, by their versions.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};

/// The folder of all of them.
pub(crate) fn folder() -> Result<PathBuf> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = named.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: no place for tools")?;
    Ok(cache.join("sluice"))
}
