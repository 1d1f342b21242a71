//! What a built object depends on, from the `.d` file that cargo leaves beside it: the sources of
//! the package and of every path dependency.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The sources named in `file`, with the manifests above them and the workspace's own pins.
pub(crate) fn inputs(file: &Path, root: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("reading what the object was built from: {}", file.display()))?;
    let sources = prerequisites(&text);
    let manifests = sources
        .iter()
        .filter_map(|source| manifest_of(source, root));
    let pins = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"].map(|name| root.join(name));
    let all: BTreeSet<_> = manifests
        .chain(pins)
        .chain(sources.iter().cloned())
        .collect();
    Ok(all.into_iter().filter(|path| path.exists()).collect())
}

/// Right side of the rule `object: source source …`, in which `\ ` is a space within a name.
fn prerequisites(text: &str) -> Vec<PathBuf> {
    let Some((_, list)) = text.split_once(": ") else {
        return Vec::new();
    };
    list.lines()
        .next()
        .unwrap_or_default()
        .replace("\\ ", "\0")
        .split_whitespace()
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect()
}

fn manifest_of(source: &Path, root: &Path) -> Option<PathBuf> {
    source
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(root))
        .map(|folder| folder.join("Cargo.toml"))
        .find(|manifest| manifest.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_spaces() {
        let names = prerequisites("/o/lb-ebpf: /a/main.rs /b\\ c/lib.rs\n\nother: x\n");
        assert_eq!(names, [Path::new("/a/main.rs"), Path::new("/b c/lib.rs")]);
    }
}
