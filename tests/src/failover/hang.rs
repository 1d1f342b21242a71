//! An agent that hangs: all of its threads stand still but the one that adverts come from, as if they waited for a lock or a
//! disk that never answers. A debugger holds them.

use std::{
    fs,
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow};
use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

/// The name of the thread that adverts come from.
const VRRP: &str = "vrrp";

/// Threads that stand still, until it is dropped.
pub(super) struct Hang {
    holder: Option<JoinHandle<()>>,
    end: Option<Sender<()>>,
}

impl Hang {
    /// Those of a process.
    pub(super) fn of(process: u32) -> Result<Self> {
        let (end, ended) = channel();
        let (tell, told) = channel();
        // The kernel lets them go once the thread ends that holds them.
        let holder = thread::spawn(move || hold(process, &tell, &ended));
        let hang = Self {
            holder: Some(holder),
            end: Some(end),
        };
        told.recv()
            .unwrap_or_else(|_| Err(anyhow!("it panicked")))
            .context("could not have the agent hang")?;
        Ok(hang)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.end.take();
        // What it panicked about it has said.
        let _ = self.holder.take().map(JoinHandle::join);
    }
}

fn hold(process: u32, tell: &Sender<Result<()>>, ended: &Receiver<()>) {
    // Nobody else hears of it.
    let _ = tell.send(stop_threads(process));
    // Nothing is sent: it ends once nobody could.
    let _ = ended.recv();
}

/// Stops threads until there is none that was not known: they may start others meanwhile.
fn stop_threads(process: u32) -> Result<()> {
    let folder = format!("/proc/{process}/task");
    let mut stopped = Vec::new();
    loop {
        let before = stopped.len();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let thread = number(&path)?;
            if stopped.contains(&thread) {
                continue;
            }
            match stop_unless_vrrp(&path, thread) {
                Ok(true) => stopped.push(thread),
                Ok(false) => {}
                // It has ended meanwhile.
                Err(_) if !path.exists() => {}
                Err(error) => return Err(error),
            }
        }
        if stopped.len() == before {
            return Ok(());
        }
    }
}

/// Whether it did.
fn stop_unless_vrrp(path: &Path, thread: Pid) -> Result<bool> {
    if name(path)? == VRRP {
        return Ok(false);
    }
    ptrace::seize(thread, ptrace::Options::empty())?;
    ptrace::interrupt(thread)?;
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    waitpid(thread, Some(flags)).context("a thread did not stop")?;
    Ok(true)
}

fn number(path: &Path) -> Result<Pid> {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.context("a thread without a number")?.parse()?;
    Ok(Pid::from_raw(number))
}

fn name(path: &Path) -> Result<String> {
    let name = fs::read_to_string(path.join("comm"))?;
    Ok(name.trim_end().to_owned())
}
