//! A process that runs beside the test, its output in a file, stopped by its id with its owner.

use std::{
    fs,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a process may take to stop before it is killed: the kernel ends no verification half-way.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long its start may take, at the end of which it may refuse: the kernel verifies several programs.
const START: Duration = Duration::from_secs(60);

/// A running process.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, both of its outputs in `log`. It gets a process group of its own: a
    /// Ctrl-C on the terminal is for the harness, which then stops things in order.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file =
            File::create(log).with_context(|| format!("could not make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("could not copy a descriptor")?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {name} ({:?})", command.get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .context("could not ask for a process's state")?
        {
            Some(status) => bail!("{} ended ({status})", self.name),
            None => Ok(()),
        }
    }

    /// Adds the end of the log to an error.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| format!("{}'s log:\n{}\n", self.name, self.log_end()))
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    /// The last lines that it wrote.
    pub fn log_end(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("could not send {signal} to {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits for that; kills it, and fails, if it takes too long.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.end_with(Signal::SIGTERM)
    }

    /// The same with a signal of the caller's choice.
    pub fn end_with(&mut self, signal: Signal) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(signal)?;
        self.wait(&format!("{signal}"), PATIENCE)
    }

    /// Waits until it has ended by itself; kills it, and fails, if it takes too long.
    pub fn expect_end(&mut self) -> Result<ExitStatus> {
        self.wait("its start", START)
    }

    fn wait(&mut self, since: &str, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        // Not `wait::until`: clean-up goes on when the harness was interrupted.
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!(
            "{} did not end within {} s of {since}",
            self.name,
            patience.as_secs()
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("clean-up: {error:#}");
        }
    }
}
