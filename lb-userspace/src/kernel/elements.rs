//! Elements of a hash map, many at a time: aya has no batch operations, and its typed maps need
//! three calls for each element.
//!
//! The only file that calls bpf(2) itself; see linux/bpf.h, `BPF_MAP_LOOKUP_BATCH` and its kin.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr,
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use aya_obj::generated::{bpf_attr, bpf_cmd};
use zerocopy::{FromBytes, Immutable};

use super::error::Error;

/// A hash map whose keys are `K` and values are `V`.
pub(super) struct Elements<K, V> {
    map: RawElements,
    types: PhantomData<fn(K) -> V>,
}

/// A hash map whose keys and values are bytes, as a build of another layout may have made it.
pub(super) struct RawElements {
    map: MapData,
    /// The sizes of a key and a value.
    sizes: (usize, usize),
}

/// Elements that one call asks for at first; the kernel wants room for the fullest bucket.
const BATCH: usize = 4096;

const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

impl<K, V> Elements<K, V>
where
    K: Copy + FromBytes + Immutable + 'static,
    V: Copy + FromBytes + Immutable + 'static,
{
    /// Over this map; `None` if its keys or values have another size.
    pub(super) fn new(map: MapData) -> io::Result<Option<Self>> {
        let map = RawElements::new(map)?;
        let fits = map.sizes == (size_of::<K>(), size_of::<V>());
        let types = PhantomData;
        Ok(fits.then_some(Self { map, types }))
    }

    /// Every element that is there from beginning to end of the call; others may be in it or not.
    pub(super) fn dump(&self) -> io::Result<Vec<(K, V)>> {
        let (keys, values) = self.map.dump()?;
        let keys = keys.chunks_exact(size_of::<K>());
        let elements = keys.zip(values.chunks_exact(size_of::<V>()));
        let read = |(key, value)| {
            let (key, value) = (K::read_from_bytes(key), V::read_from_bytes(value));
            key.ok().zip(value.ok())
        };
        Ok(elements.filter_map(read).collect())
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        let command = bpf_cmd::BPF_MAP_LOOKUP_ELEM;
        let result = self.one(command, key, Some(&mut value), 0);
        Ok(there(result)?.then_some(value))
    }

    /// Gives a key that is there another value; whether it was.
    pub(super) fn replace(&self, key: &K, mut value: V) -> io::Result<bool> {
        let command = bpf_cmd::BPF_MAP_UPDATE_ELEM;
        there(self.one(command, key, Some(&mut value), BPF_EXIST))
    }

    /// Gives a key that is not there a value; whether it was not.
    pub(super) fn insert(&self, key: &K, mut value: V) -> io::Result<bool> {
        let command = bpf_cmd::BPF_MAP_UPDATE_ELEM;
        match self.one(command, key, Some(&mut value), BPF_NOEXIST) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Removes a key; whether it was there.
    pub(super) fn remove(&self, key: &K) -> io::Result<bool> {
        there(self.one(bpf_cmd::BPF_MAP_DELETE_ELEM, key, None, 0))
    }

    fn one(&self, command: bpf_cmd, key: &K, value: Option<&mut V>, flags: u64) -> io::Result<()> {
        let value = value.map_or(ptr::null_mut(), |value| (&raw mut *value).cast());
        self.map
            .one(command, (&raw const *key).cast(), value, flags)
    }
}

impl RawElements {
    /// Over this map.
    pub(super) fn new(map: MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        let sizes = (info.key_size() as usize, info.value_size() as usize);
        Ok(Self { map, sizes })
    }

    /// The sizes of a key and a value, bytes.
    pub(super) fn sizes(&self) -> (usize, usize) {
        self.sizes
    }

    /// The keys, and the values, of every element that is there from beginning to end of the call; others may be
    /// among them or not.
    pub(super) fn dump(&self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (key_size, value_size) = self.sizes;
        let (mut all_keys, mut all_values) = (Vec::new(), Vec::new());
        let mut room = BATCH;
        // Where the kernel left off; opaque, and not larger than a key or 4 bytes.
        let mut cursor = vec![0u8; key_size.max(8)];
        let mut first = true;
        loop {
            let (mut keys, mut values) = (vec![0u8; room * key_size], vec![0u8; room * value_size]);
            let mut attr = attr();
            attr.batch.in_batch = if first { 0 } else { cursor.as_ptr() as u64 };
            attr.batch.out_batch = cursor.as_mut_ptr() as u64;
            attr.batch.keys = keys.as_mut_ptr() as u64;
            attr.batch.values = values.as_mut_ptr() as u64;
            attr.batch.count = room as u32;
            attr.batch.map_fd = self.fd();
            let result = call(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
            // SAFETY: the kernel wrote how many elements it gave.
            let count = unsafe { attr.batch.count } as usize;
            let (done, keep) = match result {
                Ok(()) => (false, true),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOENT) => (true, true),
                    // A bucket holds more: once more from where it was, with more room.
                    Some(libc::ENOSPC) => (false, false),
                    _ => return Err(error),
                },
            };
            if keep {
                keys.truncate(count * key_size);
                values.truncate(count * value_size);
                all_keys.append(&mut keys);
                all_values.append(&mut values);
                first = false;
            } else {
                room *= 2;
            }
            if done {
                return Ok((all_keys, all_values));
            }
        }
    }

    /// The value of a key; none, too, for one of another size.
    pub(super) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let (key_size, value_size) = self.sizes;
        if key.len() != key_size {
            return Ok(None);
        }
        let mut value = vec![0; value_size];
        let command = bpf_cmd::BPF_MAP_LOOKUP_ELEM;
        let result = self.one(command, key.as_ptr(), value.as_mut_ptr(), 0);
        Ok(there(result)?.then_some(value))
    }

    fn one(&self, command: bpf_cmd, key: *const u8, value: *mut u8, flags: u64) -> io::Result<()> {
        let mut attr = attr();
        // SAFETY: plain integers of the union's element part, which the kernel reads.
        unsafe {
            let element = &mut attr.__bindgen_anon_2;
            element.map_fd = self.fd();
            element.key = key as u64;
            element.__bindgen_anon_1.value = value as u64;
            element.flags = flags;
        }
        call(command, &mut attr)
    }

    fn fd(&self) -> u32 {
        self.map.fd().as_fd().as_raw_fd() as u32
    }
}

fn attr() -> bpf_attr {
    // SAFETY: all-zero is a valid value of this union of integers, and what the kernel wants
    // of the parts that a command does not use.
    unsafe { std::mem::zeroed() }
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<()> {
    // SAFETY: the pointers in `attr` are to keys and values of the map's own sizes (checked when it
    // was taken, or asked of it), as many as it says, which live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether a key was there, where that is all that may be wrong.
fn there(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the elements of a map of this name out of a loaded object.
pub(super) fn elements<K, V>(ebpf: &mut Ebpf, name: &'static str) -> Result<Elements<K, V>, Error>
where
    K: Copy + FromBytes + Immutable + 'static,
    V: Copy + FromBytes + Immutable + 'static,
{
    let Some(Map::HashMap(map) | Map::LruHashMap(map)) = ebpf.take_map(name) else {
        return Err(Error::Missing(name));
    };
    Elements::new(map)
        .map_err(reading)?
        .ok_or(Error::Missing(name))
}

/// That reading elements failed.
pub(super) fn reading(error: io::Error) -> Error {
    Error::Elements {
        what: "reading",
        error,
    }
}

/// That changing elements failed.
pub(super) fn writing(error: io::Error) -> Error {
    Error::Elements {
        what: "changing",
        error,
    }
}
