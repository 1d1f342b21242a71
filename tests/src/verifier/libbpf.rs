//! The few functions of libbpf that load an object and keep the verifier's log. The library is the one that
//! iproute2 brings; it is looked for at run time, so that nothing of ours needs it to build.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    io, ptr,
    ptr::NonNull,
};

use anyhow::{Context, Result};
use libloading::{Library, Symbol};

const LIBRARY: &str = "libbpf.so.1";

/// `BPF_LOG_STATS`: the figures alone (include/linux/bpf_verifier.h).
const FIGURES: u32 = 4;

/// More than the figures take, and than the end of what a refused program's log says.
const LOG_SIZE: usize = 4096;

/// A program that the kernel took, for as long as this takes to return.
pub(super) struct Loaded {
    /// Of its function.
    pub(super) name: String,
    /// What the verifier wrote.
    pub(super) log: String,
}

/// Opaque to us: `struct bpf_object`.
type Object = NonNull<c_void>;
/// `struct bpf_program`.
type Program = NonNull<c_void>;

/// Loads an ELF object, with all its programs and maps, and unloads it again.
///
/// # Errors
///
/// There is no libbpf, it can't read the object, or the kernel refuses one of the programs; the reason, libbpf
/// prints.
pub(super) fn load(object: &[u8]) -> Result<Vec<Loaded>> {
    let libbpf = Libbpf::open()?;
    let opened = libbpf.read(object)?;
    let loaded = libbpf.load(opened);
    // SAFETY: it is open, and not used any more.
    unsafe { (libbpf.close)(opened.as_ptr()) };
    loaded
}

/// Its functions (libbpf.h), with which the library stays loaded until the process ends.
struct Libbpf {
    open: unsafe extern "C" fn(*const c_void, usize, *const c_void) -> Option<Object>,
    next_program: unsafe extern "C" fn(*const c_void, *const c_void) -> Option<Program>,
    name: unsafe extern "C" fn(*const c_void) -> *const c_char,
    set_log_level: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    set_log_buf: unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> c_int,
    load: unsafe extern "C" fn(*mut c_void) -> c_int,
    close: unsafe extern "C" fn(*mut c_void),
}

impl Libbpf {
    fn open() -> Result<Self> {
        // SAFETY: it has no initialisers that ask anything of us.
        let library = unsafe { Library::new(LIBRARY) }
            .with_context(|| format!("loading {LIBRARY}, which comes with iproute2"))?;
        let library = Box::leak(Box::new(library));
        // SAFETY: all have the types that libbpf.h declares, unchanged through major version 1.
        unsafe {
            Ok(Self {
                open: function(library, "bpf_object__open_mem")?,
                next_program: function(library, "bpf_object__next_program")?,
                name: function(library, "bpf_program__name")?,
                set_log_level: function(library, "bpf_program__set_log_level")?,
                set_log_buf: function(library, "bpf_program__set_log_buf")?,
                load: function(library, "bpf_object__load")?,
                close: function(library, "bpf_object__close")?,
            })
        }
    }

    fn read(&self, object: &[u8]) -> Result<Object> {
        // SAFETY: the text is read during the call alone; no options are given.
        unsafe { (self.open)(object.as_ptr().cast(), object.len(), ptr::null()) }
            .ok_or_else(io::Error::last_os_error)
            .context("libbpf can't read the object")
    }

    fn load(&self, object: Object) -> Result<Vec<Loaded>> {
        let mut programs = Vec::new();
        let mut last = None;
        loop {
            let before = last.map_or(ptr::null(), |program: Program| {
                program.as_ptr().cast_const()
            });
            // SAFETY: the object is open, and the one before is one of its programs.
            last = unsafe { (self.next_program)(object.as_ptr(), before) };
            let Some(program) = last else { break };
            let mut log = vec![0_u8; LOG_SIZE];
            // SAFETY: the log's memory is not moved before the object is loaded, which is the last use of it.
            let set = unsafe {
                (self.set_log_level)(program.as_ptr(), FIGURES)
                    | (self.set_log_buf)(program.as_ptr(), log.as_mut_ptr().cast(), log.len())
            };
            anyhow::ensure!(set == 0, "libbpf takes no buffer for a log");
            programs.push((program, log));
        }
        // SAFETY: it is open, and was not loaded before.
        let status = unsafe { (self.load)(object.as_ptr()) };
        if status != 0 {
            let logs = programs.iter().map(|(_, log)| text(log));
            return Err(io::Error::from_raw_os_error(-status))
                .context(logs.collect::<String>())
                .context("the kernel refuses the object");
        }
        let loaded = programs.into_iter().map(|(program, log)| Loaded {
            // SAFETY: the name is the program's, which is there until the object is closed.
            name: unsafe { CStr::from_ptr((self.name)(program.as_ptr())) }
                .to_string_lossy()
                .into_owned(),
            log: text(&log),
        });
        Ok(loaded.collect())
    }
}

/// A function of a library.
///
/// # Safety
///
/// It has the type `T`.
unsafe fn function<T: Copy>(library: &Library, name: &str) -> Result<T> {
    // SAFETY: that is asked of the caller.
    let symbol: Symbol<T> = unsafe { library.get(name.as_bytes()) }
        .with_context(|| format!("{LIBRARY} has no {name}"))?;
    Ok(*symbol)
}

/// What was written into a buffer, up to its first zero.
fn text(buffer: &[u8]) -> String {
    let written = CStr::from_bytes_until_nul(buffer).unwrap_or_default();
    written.to_string_lossy().into_owned()
}
