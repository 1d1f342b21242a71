//! The folder in the BPF file system that belongs to one agent: what is pinned there outlives it. One agent
//! holds it at a time. What of it is used again, and when it goes, others decide.
//!
//! ```text
//! /sys/fs/bpf/sluice/          locked while an agent runs
//!   links/3-native             the program on device 3, in its driver
//!   8-1/                       a set of tables: of layout 8, the first one
//!     identity                 which set it is; pinned once all of it is there
//!     maps/BACKENDS            what the programs of a set share
//!     slots/65537-0            slot tables, by size and index
//!     programs/1/              a program, what it goes on to by tail call, and its ring buffers
//!       loaded                 what it was loaded from; pinned once all of it is there
//!     older                    a link to the set that this one takes the place of, until it has all flows of that
//! ```
//!
//! Names hold no dots: the kernel reserves those (`bpf_lookup`, kernel/bpf/inode.c).

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io, iter,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData, MapError, MapInfo};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use lb_common::abi::{LAYOUT, TableId, TableSize};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{constants::Sizes, error::Error, program::shared_maps};

/// Where attachments are pinned. It is there in every folder of an agent.
const LINKS: &str = "links";

/// The link to the set that another one takes the place of.
const OLDER: &str = "older";

/// What the program that packets meet first is pinned as.
pub(super) const PROGRAM: &str = "sluice";

/// Which set a folder is.
const IDENTITY: &str = "identity";

/// What a program was loaded from.
const LOADED: &str = "loaded";

/// An agent's folder, held.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    _lock: Flock<File>,
}

/// A set of tables that were made together, and what shares them.
#[derive(Clone, Debug)]
pub struct TableSet {
    folder: PathBuf,
    /// The version of `lb_common::abi` that it is of.
    pub layout: u32,
    number: u32,
}

/// Which set of tables it is, and how far what is known of it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// No other set has this number.
    pub instance: u64,
    /// The last record of its numbers that the tables may be ahead of.
    pub sequence: u64,
}

impl Pins {
    /// Makes the folder, if it is not there, and holds it until dropped. A BPF file system's own root is refused:
    /// that is everybody's.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let is_bpf = |path: &Path| {
            let system = statfs(path).map_err(|errno| pinning(path, io::Error::from(errno)))?;
            Ok::<bool, Error>(system.filesystem_type() == BPF_FS_MAGIC)
        };
        let above = root.parent().unwrap_or(root);
        let existing = above.ancestors().find(|path| path.is_dir());
        if !is_bpf(existing.unwrap_or(Path::new("/")))? {
            return Err(Error::NoBpfFileSystem { path: root.into() });
        }
        make(root)?;
        Self::hold(root)
    }

    /// The folder, if an agent has made it, held until dropped.
    pub fn existing(root: &Path) -> Result<Option<Self>, Error> {
        match root.join(LINKS).is_dir() {
            true => Self::open(root).map(Some),
            false => Ok(None),
        }
    }

    fn hold(root: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| pinning(root, error);
        let folder = File::open(root).map_err(failed)?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                // It may have been removed by who held it before.
                let (held, there) = (lock.metadata(), fs::metadata(root));
                if held.map_err(failed)?.ino() != there.map_err(failed)?.ino() {
                    let error = io::Error::other("another process has just removed it; try again");
                    return Err(failed(error));
                }
                let pins = Self {
                    root: root.into(),
                    _lock: lock,
                };
                make(&pins.links())?;
                Ok(pins)
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(Error::Held {
                path: root.into(),
                holder: holder(root),
            }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The newest set that is whole, of this build's layout if there is one, or what is about to take its place;
    /// and those before it that it has not all flows of, from the newest on. Those that were never finished are
    /// removed.
    pub fn set(&self) -> Result<Option<(TableSet, Vec<TableSet>)>, Error> {
        let mut whole = Vec::new();
        for set in self.sets()? {
            match set.is_whole() {
                true => whole.push(set),
                false => set.remove()?,
            }
        }
        whole.sort_by_key(|set| (set.layout == LAYOUT, set.number));
        let older = |set: &TableSet| {
            let name = set.older()?;
            let is_it = |other: &TableSet| other.folder.file_name() == Some(&name);
            let mut before = whole.iter().filter(|other| other.number < set.number);
            before.find(|other| is_it(other))
        };
        let follower = |set: &TableSet| {
            let follows =
                |other: &TableSet| older(other).map(|older| older.number) == Some(set.number);
            whole.iter().find(|other| follows(other))
        };
        let newest = iter::successors(whole.last(), |set| follower(set)).last();
        let Some(newest) = newest else {
            return Ok(None);
        };
        let before = iter::successors(older(newest), |set| older(set));
        Ok(Some((newest.clone(), before.cloned().collect())))
    }

    /// A new set, of this build's layout; nothing is in it yet.
    pub fn new_set(&self) -> Result<TableSet, Error> {
        let last = self.sets()?.last().map_or(0, |set| set.number);
        let number = last + 1;
        let set = TableSet {
            folder: self.root.join(format!("{LAYOUT}-{number}")),
            layout: LAYOUT,
            number,
        };
        for folder in [&set.folder, &set.maps(), &set.slots(), &set.programs()] {
            make(folder)?;
        }
        Ok(set)
    }

    /// Removes all sets but these.
    pub(super) fn keep_only(&self, kept: &[&TableSet]) -> Result<(), Error> {
        let is_kept = |set: &TableSet| kept.iter().any(|kept| kept.folder == set.folder);
        let others = self.sets()?.into_iter();
        others
            .filter(|set| !is_kept(set))
            .try_for_each(|set| set.remove())
    }

    /// Removes all that an agent puts there, and the folder if nothing else is in it. What runs on devices must be
    /// detached before.
    pub(super) fn remove(self) -> Result<(), Error> {
        self.sets()?.iter().try_for_each(TableSet::remove)?;
        remove_all(&self.links())?;
        match fs::remove_dir(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(pinning(&self.root, error))
            }
            _ => Ok(()),
        }
    }

    /// Where attachments are pinned.
    pub(super) fn links(&self) -> PathBuf {
        self.root.join(LINKS)
    }

    /// All sets, from the oldest to the newest.
    fn sets(&self) -> Result<Vec<TableSet>, Error> {
        let mut sets = Vec::new();
        for name in names(&self.root)? {
            let parts = name.split_once('-');
            let parts = parts.and_then(|(layout, n)| Some((layout.parse().ok()?, n.parse().ok()?)));
            if let Some((layout, number)) = parts {
                sets.push(TableSet {
                    folder: self.root.join(name),
                    layout,
                    number,
                });
            }
        }
        sets.sort_by_key(|set| set.number);
        Ok(sets)
    }
}

impl TableSet {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Where a map of it is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Where a slot table is pinned.
    pub(super) fn slot_table(&self, id: TableId) -> PathBuf {
        self.slots()
            .join(format!("{}-{}", id.size.slots(), id.index))
    }

    /// The slot tables that are pinned.
    pub(super) fn slot_tables(&self) -> Result<Vec<TableId>, Error> {
        let of_slots = |slots: u32| {
            let mut sizes = TableSize::ALL.into_iter();
            sizes.find(|size| size.slots() == slots)
        };
        let id = |name: String| {
            let (slots, index) = name.split_once('-')?;
            let (size, index) = (of_slots(slots.parse().ok()?)?, index.parse().ok()?);
            Some(TableId { size, index })
        };
        Ok(names(&self.slots())?.into_iter().filter_map(id).collect())
    }

    /// A folder for one more program of this set.
    pub(super) fn new_program(&self) -> Result<PathBuf, Error> {
        let taken = names(&self.programs())?.into_iter();
        let last: u32 = taken
            .filter_map(|name| name.parse().ok())
            .max()
            .unwrap_or(0);
        let folder = self.programs().join((last + 1).to_string());
        make(&folder)?;
        Ok(folder)
    }

    /// Says that all of a program is pinned in its folder, and what it was loaded from.
    pub(super) fn complete_program(folder: &Path, loaded: [u64; 2]) -> Result<(), Error> {
        pin_words(folder, LOADED, loaded)
    }

    /// The folder of the program that was loaded from this, if there is one.
    pub(super) fn program_loaded_from(&self, loaded: [u64; 2]) -> Result<Option<PathBuf>, Error> {
        for name in names(&self.programs())? {
            let folder = self.programs().join(name);
            let path = folder.join(LOADED);
            if path.exists() && pinned_words(&path)? == loaded {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    /// The program that runs over it, or has to be asked while another set takes its place: the oldest that is
    /// pinned, since one that is put in its place is pinned before.
    pub fn program(&self) -> Result<PathBuf, Error> {
        let numbers = names(&self.programs())?.into_iter();
        let oldest = numbers.filter_map(|name| name.parse::<u32>().ok()).min();
        let path = self.programs().join(oldest.unwrap_or(0).to_string());
        let path = path.join(PROGRAM);
        match path.exists() {
            true => Ok(path),
            false => Err(pinning(&path, io::Error::from(io::ErrorKind::NotFound))),
        }
    }

    /// Says that this set takes the place of another one, and has not all flows of that yet.
    pub(super) fn follow(&self, older: &Self) -> Result<(), Error> {
        let (path, name) = (self.folder.join(OLDER), older.folder.file_name());
        let target = Path::new("..").join(name.unwrap_or_default());
        symlink(target, &path).map_err(|error| pinning(&path, error))
    }

    /// Says that this set has all that there was.
    pub(super) fn follow_none(&self) -> Result<(), Error> {
        unpin(&self.folder.join(OLDER))
    }

    /// The name of the set that it takes the place of, and has not all flows of.
    fn older(&self) -> Option<OsString> {
        let target = fs::read_link(self.folder.join(OLDER)).ok()?;
        target.file_name().map(Into::into)
    }

    /// Removes what all programs have pinned but that of this folder.
    pub(super) fn keep_only_program(&self, kept: &Path) -> Result<(), Error> {
        let programs = names(&self.programs())?.into_iter();
        let programs = programs.map(|name| self.programs().join(name));
        programs
            .filter(|folder| folder != kept)
            .try_for_each(|folder| remove_all(&folder))
    }

    /// Says that the set is whole, and which it is.
    pub fn complete(&self, identity: Identity) -> Result<(), Error> {
        let words = [identity.instance, identity.sequence];
        pin_words(&self.folder, IDENTITY, words)
    }

    /// Says how far what is known of it has come.
    pub fn advance(&self, sequence: u64) -> Result<(), Error> {
        let path = self.folder.join(IDENTITY);
        let failed = |error| pinning(&path, error);
        let mut array = words(MapData::from_pin(&path).map_err(failed)?).map_err(failed)?;
        array.set(1, sequence, 0).map_err(failed)
    }

    fn is_whole(&self) -> bool {
        self.folder.join(IDENTITY).exists()
    }

    /// Which set it is.
    pub fn identity(&self) -> Result<Identity, Error> {
        let [instance, sequence] = pinned_words(&self.folder.join(IDENTITY))?;
        Ok(Identity { instance, sequence })
    }

    /// Whether its maps are what programs of this build work on, but for the sizes that a configuration says.
    pub fn check(&self) -> Result<(), Error> {
        let sized = self.sizes()?.of_maps().map(|(name, _)| name);
        for (name, map) in shared_maps()? {
            let path = self.map(&name);
            let info = MapInfo::from_pin(&path);
            let info = info.map_err(|error| pinning(&path, error))?;
            let kind = info.map_type().map_or(0, |kind| kind as u32);
            let is = [kind, info.key_size(), info.value_size(), info.max_entries()];
            let mut wanted = [
                map.map_type(),
                map.key_size(),
                map.value_size(),
                map.max_entries(),
            ];
            if sized.contains(&name.as_str()) {
                wanted[3] = is[3];
            }
            if is != wanted {
                let path = path.clone();
                return Err(Error::Misfit { path, is, wanted });
            }
        }
        Ok(())
    }

    /// Its sizes.
    pub fn sizes(&self) -> Result<Sizes, Error> {
        let entries = |name| {
            let info = MapInfo::from_pin(self.map(name));
            let info = info.map_err(|error| Error::Map { map: name, error })?;
            Ok::<u32, Error>(info.max_entries())
        };
        Ok(Sizes {
            flows: entries("FLOWS_V4")?,
            backends: entries("BACKENDS")?,
            exceptions: entries("EXCEPTIONS_V4")?,
        })
    }

    fn maps(&self) -> PathBuf {
        self.folder.join("maps")
    }

    fn slots(&self) -> PathBuf {
        self.folder.join("slots")
    }

    fn programs(&self) -> PathBuf {
        self.folder.join("programs")
    }

    /// Its identity first: what is left of it is none.
    fn remove(&self) -> Result<(), Error> {
        unpin(&self.folder.join(IDENTITY))?;
        remove_all(&self.folder)
    }
}

/// Pins two words in a folder, all at once.
fn pin_words(folder: &Path, name: &str, values: [u64; 2]) -> Result<(), Error> {
    let definition = aya_obj::Map::new_from_params(
        BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<u64>() as u32,
        2,
        0,
    );
    let path = folder.join(name);
    let failed = |error| pinning(&path, error);
    let mut array =
        words(MapData::create(definition, name, None).map_err(failed)?).map_err(failed)?;
    for (index, value) in (0..).zip(values) {
        array.set(index, value, 0).map_err(failed)?;
    }
    let pinned = array.pin(&path);
    pinned.map_err(|error| pinning(&path, error))
}

/// The two words that are pinned there.
fn pinned_words(path: &Path) -> Result<[u64; 2], Error> {
    let failed = |error| pinning(path, error);
    let array = words(MapData::from_pin(path).map_err(failed)?).map_err(failed)?;
    let word = |index| array.get(&index, 0).map_err(failed);
    Ok([word(0)?, word(1)?])
}

/// An array of words.
fn words(map: MapData) -> Result<Array<MapData, u64>, MapError> {
    Map::from_map_data(map).and_then(Array::try_from)
}

/// That something at a path in the folder did not work.
pub(super) fn pinning(path: &Path, error: impl std::error::Error + 'static) -> Error {
    let first: &dyn std::error::Error = &error;
    let causes = iter::successors(Some(first), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    Error::Pin {
        path: path.into(),
        error: causes.join(": "),
    }
}

/// Makes a folder for its owner alone, unless it is there.
fn make(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| pinning(path, error))
}

/// What is in a folder; a folder that is not there has nothing in it.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |error: io::Error| pinning(folder, error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        let name = entry.map_err(failed)?.file_name();
        Ok(name.to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Takes a pin away, if it is there.
pub(super) fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pinning(path, error)),
        _ => Ok(()),
    }
}

fn remove_all(folder: &Path) -> Result<(), Error> {
    fs::remove_dir_all(folder).map_err(|error| pinning(folder, error))
}

/// The process that holds a folder, if the kernel says so (proc_locks(5)).
fn holder(folder: &Path) -> Option<u32> {
    let inode = fs::metadata(folder).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let held = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (kind, pid, file) = (fields.next()?, fields.nth(2)?, fields.next()?);
        let is_it = kind == "FLOCK" && file.rsplit(':').next() == Some(&inode);
        is_it.then(|| pid.parse().ok()).flatten()
    };
    locks.lines().find_map(held)
}
