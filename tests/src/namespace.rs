//! A network namespace: made, entered by threads and processes, deleted with its owner.
//!
//! Nothing here uses `ip netns exec`, which would hide /sys/fs/bpf behind a fresh /sys.

use std::{fs, fs::File, os::unix::process::CommandExt, process::Command, thread};

use anyhow::{Context, Result, anyhow};
use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl, signal::Signal},
};

use crate::command::{ip, read_ip};

/// A network namespace with a name in /run/netns.
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes `name`, with lo up, no duplicate address detection (it would take seconds) and no
    /// reverse path filter (replies take another way than requests here).
    pub fn create(name: &str) -> Result<Self> {
        ip(&format!("netns add {name}"))?;
        let file = File::open(format!("/run/netns/{name}"));
        let namespace = match file {
            Ok(file) => Self {
                name: name.to_owned(),
                file,
            },
            Err(error) => {
                delete(name);
                return Err(error).with_context(|| format!("could not open namespace {name}"));
            }
        };
        namespace.ip("link set lo up")?;
        for set in ["all", "default"] {
            namespace.sysctl(&format!("ipv6/conf/{set}/accept_dad"), "0")?;
            namespace.sysctl(&format!("ipv6/conf/{set}/accept_ra"), "0")?;
            namespace.sysctl(&format!("ipv4/conf/{set}/rp_filter"), "0")?;
            namespace.sysctl(&format!("ipv4/conf/{set}/send_redirects"), "0")?;
        }
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        ip(&format!("-n {} {arguments}", self.name))
    }

    /// Runs `ip` in it and returns what that prints.
    pub fn read_ip(&self, arguments: &str) -> Result<String> {
        read_ip(&format!("-n {} {arguments}", self.name))
    }

    /// Sets `key` below /proc/sys/net.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.run(|| {
            fs::write(format!("/proc/sys/net/{key}"), value)
                .with_context(|| format!("could not set net/{key} to {value} in {}", self.name))
        })
    }

    /// Lets it forward packets of both families.
    pub fn forward_packets(&self) -> Result<()> {
        self.sysctl("ipv4/ip_forward", "1")?;
        self.sysctl("ipv6/conf/all/forwarding", "1")
    }

    /// Moves the calling thread into it, for good. For threads that live for one task.
    pub fn enter(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("could not enter namespace {}", self.name))
    }

    /// Runs `task` in it, in a thread of its own; sockets made there stay in the namespace.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter()?;
                task()
            });
            inside
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a task in {} panicked", self.name)))
        })
    }

    /// A command that will run in it, with this process's mounts. The process dies with the
    /// *thread* that starts it, also when that one is killed.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let file = self
            .file
            .try_clone()
            .context("could not copy a namespace's descriptor")?;
        let mut command = Command::new(program);
        let prepare = move || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes two system calls, on a descriptor that
        // it owns, and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        Ok(command)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Deletes a namespace by name; complains on stderr if that fails, since it is clean-up.
pub fn delete(name: &str) {
    if let Err(error) = ip(&format!("netns delete {name}")) {
        eprintln!("clean-up: {error:#}");
    }
}
