//! keepalived with one VRRP instance: a process that takes part, and its parent, which watches it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{namespace::Namespace, process::Process};

/// The main file of the configuration, in its folder.
const FILE: &str = "keepalived.conf";

/// Where it writes the numbers of its processes: the parent, and the child that takes part.
const PIDS: [&str; 2] = ["keepalived.pid", "vrrp.pid"];

/// A running keepalived.
pub struct Keepalived {
    process: Process,
    folder: PathBuf,
}

impl Keepalived {
    /// Starts it with an instance on eth0, of the number 51 and these lines; its files are in `folder`.
    pub fn start(namespace: &Namespace, folder: &Path, lines: &str) -> Result<Self> {
        Self::start_with(namespace, folder, "", lines)
    }

    /// The same with what comes before the instance.
    pub fn start_with(
        namespace: &Namespace,
        folder: &Path,
        before: &str,
        lines: &str,
    ) -> Result<Self> {
        let text = format!(
            "global_defs {{\nrouter_id test\n}}\n{before}\
             vrrp_instance gateway {{\nstate BACKUP\ninterface eth0\nvirtual_router_id 51\n{lines}}}\n"
        );
        fs::write(folder.join(FILE), text)?;
        Ok(Self {
            process: run(namespace, folder)?,
            folder: folder.to_owned(),
        })
    }

    /// Starts it again in place of the process that has ended, with the files as they are.
    pub fn start_again(&mut self, namespace: &Namespace) -> Result<()> {
        // One that was killed has left them behind, and is taken for one that still runs as long as nobody has reaped it.
        for file in PIDS {
            match fs::remove_file(self.folder.join(file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("could not remove {file}"));
                }
                Ok(()) | Err(_) => {}
            }
        }
        self.process = run(namespace, &self.folder)?;
        Ok(())
    }

    /// The last state that it says it has entered: `MASTER`, `BACKUP` or `FAULT`.
    pub fn state(&self) -> Option<String> {
        let log = self.log();
        let mut entered = log
            .lines()
            .filter_map(|line| line.split_once(") Entering "));
        let (_, state) = entered.next_back()?;
        let state = state.split_whitespace().next()?;
        Some(state.to_owned())
    }

    /// All that it said.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Stops it as its unit does.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop().map(drop)
    }

    /// The same, without waiting for its end.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)
    }

    /// Kills it, so that it says nothing more. Its addresses stay.
    pub fn kill(&mut self) -> Result<()> {
        // Its child would be told of its parent's end, and resign; the parent of its child's, and start another.
        self.process.signal(Signal::SIGSTOP)?;
        self.signal_child(Signal::SIGKILL)?;
        self.process.end_with(Signal::SIGKILL).map(drop)
    }

    /// Stops it half-way in whatever it does (SIGSTOP), or lets it go on (SIGCONT).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.signal_child(signal)?;
        self.process.signal(signal)
    }

    fn signal_child(&self, signal: Signal) -> Result<()> {
        let file = self.folder.join(PIDS[1]);
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("could not read {}", file.display()))?;
        let child = Pid::from_raw(text.trim().parse()?);
        kill(child, signal)
            .with_context(|| format!("could not send {signal} to keepalived's child"))
    }
}

fn run(namespace: &Namespace, folder: &Path) -> Result<Process> {
    let mut command = namespace.command("/usr/sbin/keepalived")?;
    command.args([
        "--dont-fork",
        "--log-console",
        "--log-detail",
        "--no-syslog",
        "--vrrp",
    ]);
    for (option, name) in ["--pid", "--vrrp_pid"].into_iter().zip(PIDS) {
        command.arg(option).arg(folder.join(name));
    }
    command.arg("--use-file").arg(folder.join(FILE));
    Process::start("keepalived", command, &folder.join("keepalived.log"))
        .context("keepalived is needed")
}
