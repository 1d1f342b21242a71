//! `watch = true` in `[agent]`: tells when the configuration's files may have changed. It looks at their
//! folders, since editors and package managers put a new file in the old one's place; whether anything differs,
//! and what to do then, `reload` says.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::StreamExt as _;
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

/// How long nothing must happen before files count as written: several are seldom written at once.
const QUIET: Duration = Duration::from_millis(500);

/// Room for events, bytes: their names are not looked at, but the kernel gives none without room for them.
const EVENTS: usize = 4096;

/// Folders that are watched; none at first.
pub(super) struct FileWatch {
    events: EventStream<[u8; EVENTS]>,
    watches: Watches,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    /// When what happened last has been long enough ago.
    due: Option<Instant>,
}

impl FileWatch {
    /// Watches nothing.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init()?;
        Ok(Self {
            watches: inotify.watches(),
            events: inotify.into_event_stream([0; EVENTS])?,
            folders: BTreeMap::new(),
            due: None,
        })
    }

    /// Watches these folders and no others. One that is no more the folder that it was is watched anew;
    /// one that can't be watched is left out, and said.
    pub(super) fn follow(&mut self, folders: &BTreeSet<PathBuf>) {
        let is_left = |folder: &PathBuf, _: &mut WatchDescriptor| !folders.contains(folder);
        for (_, descriptor) in self.folders.extract_if(.., is_left) {
            // It may be gone, and its watch with it.
            let _ = self.watches.remove(descriptor);
        }
        for folder in folders {
            match self.watches.add(folder, changes()) {
                Ok(descriptor) => drop(self.folders.insert(folder.clone(), descriptor)),
                Err(error) => warn!("{} can't be watched: {error}", folder.display()),
            }
        }
    }

    /// Is done once something has happened in a folder, and then nothing for a while. Nothing is lost if it
    /// is not waited for to the end.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        loop {
            let due = self.due;
            let quiet = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = quiet => {
                    self.due = None;
                    return Ok(());
                }
                event = self.events.next() => {
                    // That a folder is not watched any more is an event, too.
                    let event = event.transpose()?;
                    if event.is_some_and(|event| !event.mask.contains(EventMask::IGNORED)) {
                        self.due = Some(Instant::now() + QUIET);
                    }
                }
            }
        }
    }
}

/// What may be a change of a file.
fn changes() -> WatchMask {
    WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::MOVE
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
}

/// The folders of files, and of what they are links to.
pub(super) fn folders<'a>(files: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let both = files.flat_map(|file| [Some(file.to_owned()), file.canonicalize().ok()]);
    let folders = both
        .flatten()
        .filter_map(|file| Some(file.parent()?.to_owned()));
    folders.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn watching(folder: &Path) -> FileWatch {
        let mut watch = FileWatch::new().unwrap();
        watch.follow(&folders([folder.join("file").as_path()].into_iter()));
        watch
    }

    async fn is_told(watch: &mut FileWatch) -> bool {
        timeout(SOON, watch.changed())
            .await
            .is_ok_and(|told| told.is_ok())
    }

    #[tokio::test]
    async fn a_file_that_is_written_renamed_or_removed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let mut watch = watching(folder.path());
        fs::write(&file, "1").unwrap();
        assert!(is_told(&mut watch).await);
        fs::write(folder.path().join("other"), "2").unwrap();
        fs::rename(folder.path().join("other"), &file).unwrap();
        assert!(is_told(&mut watch).await);
        fs::remove_file(&file).unwrap();
        assert!(is_told(&mut watch).await);
        // All of that together was told once each.
        assert!(timeout(2 * QUIET, watch.changed()).await.is_err());
    }

    #[tokio::test]
    async fn what_a_link_leads_to_is_watched_too() {
        let [links, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let file = folder.path().join("real");
        fs::write(&file, "1").unwrap();
        std::os::unix::fs::symlink(&file, links.path().join("file")).unwrap();
        let mut watch = watching(links.path());
        fs::write(&file, "2").unwrap();
        assert!(is_told(&mut watch).await);
    }

    #[tokio::test]
    async fn a_folder_that_is_put_in_anothers_place_is_watched_anew() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("conf");
        fs::create_dir(&folder).unwrap();
        let mut watch = watching(&folder);
        fs::remove_dir(&folder).unwrap();
        assert!(is_told(&mut watch).await);
        fs::create_dir(&folder).unwrap();
        watch.follow(&BTreeSet::from([folder.clone()]));
        fs::write(folder.join("file"), "1").unwrap();
        assert!(is_told(&mut watch).await);
    }

    #[tokio::test]
    async fn folders_that_are_not_asked_for_any_more_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = watching(folder.path());
        watch.follow(&BTreeSet::new());
        fs::write(folder.path().join("file"), "1").unwrap();
        assert!(timeout(2 * QUIET, watch.changed()).await.is_err());
    }
}
