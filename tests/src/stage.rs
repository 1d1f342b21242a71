//! What a run has for itself: a name, a folder, a BPF file system; and the sweeping up after runs
//! that were killed too hard to do it themselves.

use std::{
    env, fs,
    os::unix::fs::DirBuilderExt,
    panic,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::geteuid,
};

use crate::namespace;

/// A run's own name, folder and BPF file system, removed with it.
pub struct Stage {
    name: String,
    folder: PathBuf,
}

impl Stage {
    /// `title` says what runs (`sluice-demo`); the name adds the process's id.
    pub fn set_up(title: &str) -> Result<Self> {
        if !geteuid().is_root() {
            bail!("{title} makes network namespaces and loads BPF programs: run it as root");
        }
        sweep(title);
        let name = format!("{title}-{}", process::id());
        let folder = env::temp_dir().join(&name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        let stage = Self { name, folder };
        let bpf = stage.bpf();
        fs::create_dir(&bpf)?;
        mount(
            Some("bpf"),
            &bpf,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("could not mount a bpffs on {}", bpf.display()))?;
        Ok(stage)
    }

    /// The name of something of this run: `sluice-demo-4711-client`.
    pub fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// A folder for files, gone after the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A BPF file system of this run's own.
    pub fn bpf(&self) -> PathBuf {
        self.folder.join("bpf")
    }

    /// Where the agent of this run pins.
    pub fn pin(&self) -> PathBuf {
        self.bpf().join("sluice")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = clear(&self.folder) {
            eprintln!("clean-up: {error:#}");
        }
    }
}

/// Where panics abort, owners are not dropped: lets a panic clean up after this process's run of
/// `title`. Its processes die with it anyway.
pub fn clean_up_on_panic(title: &'static str) {
    if cfg!(panic = "abort") {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            report(panic);
            remove(title, |pid| pid == process::id());
        }));
    }
}

/// Removes namespaces and folders of `title`'s runs whose process is no more.
fn sweep(title: &str) {
    remove(title, |pid| !alive(pid));
}

fn remove(title: &str, of: impl Fn(u32) -> bool) {
    for name in leftovers(Path::new("/run/netns"), title, &of) {
        namespace::delete(&name);
    }
    for name in leftovers(&env::temp_dir(), title, &of) {
        if let Err(error) = clear(&env::temp_dir().join(name)) {
            eprintln!("clean-up of an earlier run: {error:#}");
        }
    }
}

/// Names `TITLE-PID…` in `folder` with a fitting process id.
fn leftovers(folder: &Path, title: &str, of: impl Fn(u32) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| owner(name, title).is_some_and(&of))
        .collect()
}

fn owner(name: &str, title: &str) -> Option<u32> {
    let rest = name.strip_prefix(title)?.strip_prefix('-')?;
    rest.split('-').next()?.parse().ok()
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn clear(folder: &Path) -> Result<()> {
    let bpf = folder.join("bpf");
    // Not mounted: EINVAL; no such folder: ENOENT. Neither is in the way of the removal.
    let _ = umount2(&bpf, MntFlags::MNT_DETACH);
    fs::remove_dir_all(folder).with_context(|| format!("could not remove {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_from_names() {
        assert_eq!(owner("sluice-demo-12-client", "sluice-demo"), Some(12));
        assert_eq!(owner("sluice-demo-12", "sluice-demo"), Some(12));
        assert_eq!(owner("sluice-demo-other-12", "sluice-demo"), None);
        assert_eq!(owner("sluice-demo", "sluice-demo"), None);
    }
}
