//! Slot tables in this process's memory: a slot changes by one aligned 8-byte store, which the
//! packet program sees at once and never half.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{MapData, MapError};
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use lb_common::abi::{Slot, TableSize};

use super::{error::Error, pins::pinning};

/// What they are called in the kernel.
const MAP: &str = "slots";

/// A slot table.
pub(super) struct SlotTable {
    map: MapData,
    slots: NonNull<AtomicU64>,
    size: TableSize,
}

// SAFETY: the memory is shared with the kernel anyway, and only accessed atomically.
unsafe impl Send for SlotTable {}

impl SlotTable {
    /// A table whose slots are all empty.
    pub(super) fn new(size: TableSize) -> Result<Self, Error> {
        let definition = aya_obj::Map::new_from_params(
            BPF_MAP_TYPE_ARRAY as u32,
            size_of::<u32>() as u32,
            size_of::<Slot>() as u32,
            size.slots(),
            BPF_F_MMAPABLE,
        );
        let map = MapData::create(definition, MAP, None).map_err(failed)?;
        let slots = map_memory(&map, size)?;
        Ok(Self { map, slots, size })
    }

    /// The one that is pinned there; of this size, or it is refused.
    pub(super) fn open(size: TableSize, path: &Path) -> Result<Self, Error> {
        let map = MapData::from_pin(path).map_err(failed)?;
        let slots = map.info().map_err(failed)?.max_entries();
        if slots != size.slots() {
            let error = io::Error::other(format!("it has {slots} slots"));
            return Err(pinning(path, error));
        }
        let slots = map_memory(&map, size)?;
        Ok(Self { map, slots, size })
    }

    /// Has it outlive this process.
    pub(super) fn pin(&self, path: &Path) -> Result<(), Error> {
        let pinned = self.map.pin(path);
        pinned.map_err(|error| pinning(path, error))
    }

    /// All of its slots as they are.
    pub(super) fn words(&self) -> Vec<Slot> {
        let word = |slot| {
            // SAFETY: the mapping holds this many aligned words and lives as long as `self`.
            let word = unsafe { self.slots.add(slot as usize).as_ref() };
            zerocopy::transmute!(word.load(Ordering::Acquire))
        };
        (0..self.size.slots()).map(word).collect()
    }

    /// The map itself.
    pub(super) fn map(&self) -> &MapData {
        &self.map
    }

    /// Changes a slot. One beyond the table is left out.
    pub(super) fn set(&self, slot: u32, value: Slot) {
        if slot >= self.size.slots() {
            return;
        }
        // SAFETY: the mapping holds this many aligned words and lives as long as `self`.
        let word = unsafe { self.slots.add(slot as usize).as_ref() };
        // Backends are written before the slots that name them, and seen in that order.
        word.store(zerocopy::transmute!(value), Ordering::Release);
    }
}

impl Drop for SlotTable {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own, and nothing borrowed from it is left.
        unsafe { libc::munmap(self.slots.as_ptr().cast(), length(self.size)) };
    }
}

fn failed(error: MapError) -> Error {
    Error::Map { map: MAP, error }
}

fn length(size: TableSize) -> usize {
    size.slots() as usize * size_of::<Slot>()
}

fn map_memory(map: &MapData, size: TableSize) -> Result<NonNull<AtomicU64>, Error> {
    let failed = || Error::Mmap {
        slots: size.slots(),
        error: io::Error::last_os_error(),
    };
    // SAFETY: a new shared mapping of the array's values, at a place of the kernel's choice; the
    // kernel rounds the length up to whole pages.
    let memory = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length(size),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            map.fd().as_fd().as_raw_fd(),
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(failed());
    }
    NonNull::new(memory.cast()).ok_or_else(failed)
}
