//! Where the text of `core` comes from: the rust-src component, else the source pages in
//! rust-docs, which rustup installs by default and which hold the same text.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::pages;

/// Which component the text was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The sources themselves.
    RustSrc,
    /// The pages of the documentation that show them.
    RustDocs,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RustSrc => "rust-src",
            Self::RustDocs => "rust-docs",
        })
    }
}

/// Finds or makes a folder laid out as rust-src's `library` in so far as `core` needs it. `scratch`
/// takes what has to be written.
pub(crate) fn collect(toolchain: &Path, scratch: &Path) -> Result<(Origin, PathBuf)> {
    if let Some(found) = installed(toolchain, scratch)? {
        return Ok(found);
    }
    // Its own messages (no network, no rustup) would only hide what we say below.
    let _ = Command::new("rustup")
        .args(["component", "add", "rust-src"])
        .output();
    installed(toolchain, scratch)?.context(
        "no source text of `core` for this compiler: run `rustup component add rust-src` (or rust-docs)",
    )
}

fn installed(toolchain: &Path, scratch: &Path) -> Result<Option<(Origin, PathBuf)>> {
    let library = toolchain.join("lib/rustlib/src/rust/library");
    if library.join("core/src/lib.rs").is_file() {
        return Ok(Some((Origin::RustSrc, library)));
    }
    let pages = toolchain.join("share/doc/rust/html/src/core");
    if !pages.join("lib.rs.html").is_file() {
        return Ok(None);
    }
    let library = scratch.join("library");
    write_texts(&pages, &library)?;
    write_empty_documents(&library)?;
    Ok(Some((Origin::RustDocs, library)))
}

/// Writes the text of every page below `pages` to where rust-src has it.
fn write_texts(pages: &Path, library: &Path) -> Result<()> {
    for page in files(pages, "html")? {
        let name = page.strip_prefix(pages)?.with_extension("");
        let html = read(&page)?;
        let text = pages::text(&html).with_context(|| {
            format!(
                "{} is not a source page as rustdoc writes them",
                page.display()
            )
        })?;
        write(&folder_of(&name, library).join(&name), &text)?;
    }
    Ok(())
}

/// `core` includes two other crates by path, from beside itself.
fn folder_of(name: &Path, library: &Path) -> PathBuf {
    if name.starts_with("portable-simd") || name.starts_with("stdarch") {
        library.to_path_buf()
    } else {
        library.join("core/src")
    }
}

/// Doc comments include Markdown files, which no page shows. They must exist; empty ones do.
fn write_empty_documents(library: &Path) -> Result<()> {
    for source in files(library, "rs")? {
        let text = read(&source)?;
        let folder = source.parent().context("a file has a folder")?;
        for name in documents(&text) {
            let path = resolved(&folder.join(name));
            if !path.starts_with(library) {
                bail!(
                    "{} includes {name}, outside of {}",
                    source.display(),
                    library.display()
                );
            }
            if !path.exists() {
                write(&path, "")?;
            }
        }
    }
    Ok(())
}

/// The string literals in `text` that look like the path of a Markdown file.
fn documents(text: &str) -> BTreeSet<&str> {
    let is_path = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
    };
    text.split('"')
        .filter(|part| part.len() > 3 && part.ends_with(".md") && is_path(part))
        .collect()
}

/// `path` with `.` and `..` worked out by name: the folders between need not exist.
fn resolved(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => result.push(part),
        }
    }
    result
}

/// Every file below `folder` whose name ends in `.extension`.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_among_other_strings() {
        let text = r#"#[doc = include_str!("docs/add.md")] "a b.md" "x.rs" "../c.md""#;
        assert_eq!(
            documents(text).into_iter().collect::<Vec<_>>(),
            ["../c.md", "docs/add.md"]
        );
    }

    #[test]
    fn parent_folders_are_worked_out_by_name() {
        assert_eq!(
            resolved(Path::new("/a/b/../../c/./d.md")),
            Path::new("/c/d.md")
        );
    }

    #[test]
    fn the_two_crates_beside_core_keep_their_place() {
        let library = Path::new("/l");
        assert_eq!(
            folder_of(Path::new("stdarch/crates/a.rs"), library),
            Path::new("/l")
        );
        assert_eq!(
            folder_of(Path::new("num/mod.rs"), library),
            Path::new("/l/core/src")
        );
    }
}
