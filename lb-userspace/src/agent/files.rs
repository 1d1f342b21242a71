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

/// How long something may go on happening until files count as written all the same.
const LONGEST: Duration = Duration::from_secs(5);

/// Room for events, bytes: their names are not looked at, but the kernel gives none without room for them.
const EVENTS: usize = 4096;

/// The files of the configuration, watched or not; at first, they are not.
#[derive(Default)]
pub(super) struct Files(Option<FileWatch>);

impl Files {
    /// Watches the folders of these files, too. What can't be watched is said, and left.
    pub(super) fn follow(&mut self, files: impl Iterator<Item = PathBuf>) {
        if self.0.is_none() {
            match FileWatch::new() {
                Ok(watch) => self.0 = Some(watch),
                Err(error) => warn!("the configuration's files can't be watched: {error}"),
            }
        }
        if let Some(watch) = &mut self.0 {
            watch.follow(&folders(files));
        }
    }

    /// Watches the folders of these files alone, of those that it watches.
    pub(super) fn leave_others(&mut self, files: impl Iterator<Item = PathBuf>) {
        let folders = folders(files);
        match &mut self.0 {
            Some(_) if folders.is_empty() => self.0 = None,
            Some(watch) => watch.leave_others(&folders),
            None => {}
        }
    }

    /// Is done once something has happened in a folder, and then nothing for a while. Nothing is lost if it
    /// is not waited for to the end.
    pub(super) async fn changed(&mut self) {
        if let Some(watch) = &mut self.0 {
            match watch.changed().await {
                Ok(()) => return,
                Err(error) => warn!("the configuration's files are not watched any more: {error}"),
            }
            self.0 = None;
        }
        std::future::pending().await
    }
}

/// Folders that are watched; none at first.
struct FileWatch {
    events: EventStream<[u8; EVENTS]>,
    watches: Watches,
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    /// When what happens now began.
    since: Option<Instant>,
    /// When what happened last has been long enough ago, or the first of it too long.
    due: Option<Instant>,
}

impl FileWatch {
    /// Watches nothing.
    fn new() -> io::Result<Self> {
        let inotify = Inotify::init()?;
        Ok(Self {
            watches: inotify.watches(),
            events: inotify.into_event_stream([0; EVENTS])?,
            folders: BTreeMap::new(),
            since: None,
            due: None,
        })
    }

    /// Watches these folders, too. What happened in a new one before counts as happening now. One that is no
    /// more the folder that it was is watched anew.
    fn follow(&mut self, folders: &BTreeSet<PathBuf>) {
        for folder in folders {
            match self.watches.add(folder, changes()) {
                Ok(descriptor) => {
                    let before = self.folders.insert(folder.clone(), descriptor.clone());
                    if before.as_ref() != Some(&descriptor) {
                        self.happens();
                        before.into_iter().for_each(|before| self.leave(before));
                    }
                }
                Err(error) => warn!("{} can't be watched: {error}", folder.display()),
            }
        }
    }

    /// Watches no others than these folders.
    fn leave_others(&mut self, folders: &BTreeSet<PathBuf>) {
        let is_other = |folder: &PathBuf, _: &mut WatchDescriptor| !folders.contains(folder);
        let others: Vec<_> = self.folders.extract_if(.., is_other).collect();
        others
            .into_iter()
            .for_each(|(_, descriptor)| self.leave(descriptor));
    }

    /// Ends a watch, unless it is that of another path to the same folder, too.
    fn leave(&mut self, descriptor: WatchDescriptor) {
        if !self.folders.values().any(|kept| *kept == descriptor) {
            // The folder may be gone, and its watch with it.
            let _ = self.watches.remove(descriptor);
        }
    }

    /// Something happens: what is due waits for its end, but not for ever.
    fn happens(&mut self) {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        self.due = Some((now + QUIET).min(since + LONGEST));
    }

    async fn changed(&mut self) -> io::Result<()> {
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
                    (self.since, self.due) = (None, None);
                    return Ok(());
                }
                event = self.events.next() => {
                    // That a folder is not watched any more is an event, too.
                    let event = event.transpose()?;
                    if event.is_some_and(|event| !event.mask.contains(EventMask::IGNORED)) {
                        self.happens();
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

/// The folders of files, of what they are links to, and of what patterns may name: of what is not there,
/// where it would come to be.
fn folders(files: impl Iterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    for file in files {
        let real = file.canonicalize().ok();
        for path in [Some(&file), real.as_ref()].into_iter().flatten() {
            let mut above = path.ancestors().skip(1);
            folders.extend(above.find(|folder| folder.is_dir()).map(Path::to_owned));
        }
        // A pattern's folder may be a pattern, too. What is none names itself.
        let parent = file
            .parent()
            .map(|parent| parent.to_string_lossy().into_owned());
        let named = parent.and_then(|parent| glob::glob(&parent).ok());
        folders.extend(
            named
                .into_iter()
                .flatten()
                .flatten()
                .filter(|path| path.is_dir()),
        );
    }
    folders
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn watching(folder: &Path) -> FileWatch {
        let mut watch = FileWatch::new().unwrap();
        watch.follow(&folders([folder.join("file")].into_iter()));
        // What happened before.
        assert!(is_told(&mut watch).await);
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
        let mut watch = watching(folder.path()).await;
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
        let mut watch = watching(links.path()).await;
        fs::write(&file, "2").unwrap();
        assert!(is_told(&mut watch).await);
    }

    #[tokio::test]
    async fn a_folder_that_is_put_in_anothers_place_is_watched_anew() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("conf");
        fs::create_dir(&folder).unwrap();
        let mut watch = watching(&folder).await;
        fs::remove_dir(&folder).unwrap();
        assert!(is_told(&mut watch).await);
        // Until it is there again, where it will be.
        watch.follow(&folders([folder.join("file")].into_iter()));
        assert!(is_told(&mut watch).await);
        fs::create_dir(&folder).unwrap();
        assert!(is_told(&mut watch).await);
        watch.follow(&folders([folder.join("file")].into_iter()));
        assert!(is_told(&mut watch).await);
        fs::write(folder.join("file"), "1").unwrap();
        assert!(is_told(&mut watch).await);
    }

    #[test]
    fn patterns_of_folders_are_watched_where_folders_come_to_be() {
        let parent = tempfile::tempdir().unwrap();
        let pattern = parent.path().join("pools.d/*/pool.toml");
        let found = || folders([pattern.clone()].into_iter());
        assert_eq!(found(), BTreeSet::from([parent.path().to_owned()]));
        let (pools, web) = (
            parent.path().join("pools.d"),
            parent.path().join("pools.d/web"),
        );
        fs::create_dir_all(&web).unwrap();
        assert_eq!(found(), BTreeSet::from([pools, web]));
    }

    #[tokio::test]
    async fn a_folder_with_two_names_is_watched_until_both_are_left() {
        let [links, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let link = links.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let mut watch = FileWatch::new().unwrap();
        watch.follow(&BTreeSet::from([link.clone(), folder.path().to_owned()]));
        assert!(is_told(&mut watch).await);
        watch.leave_others(&BTreeSet::from([link]));
        fs::write(folder.path().join("file"), "1").unwrap();
        assert!(is_told(&mut watch).await);
    }

    #[tokio::test]
    async fn folders_that_are_not_asked_for_any_more_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = watching(folder.path()).await;
        watch.leave_others(&BTreeSet::new());
        fs::write(folder.path().join("file"), "1").unwrap();
        assert!(timeout(2 * QUIET, watch.changed()).await.is_err());
    }
}
