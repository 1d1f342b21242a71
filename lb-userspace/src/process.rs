//! Programs that the agent runs for operators (checks, notify hooks): each in a process group of its own, with nothing of
//! the agent's environment, and little of its output kept. Whoever ends a run ends the whole group. What is run, when, and
//! what its end means is others' business.
//!
//! A program is started on a thread for such work: one on a file system that hangs would hang the caller.

use std::{
    io,
    path::Path,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::spawn_blocking,
    time::timeout,
};

/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes that are kept of what it prints.
const MOST: usize = 4096;

/// How long its output is waited for once it has ended: a process that it left behind may hold it.
const GRACE: Duration = Duration::from_millis(50);

/// A program and all that it starts, unless that leaves the group.
pub(crate) struct Group(Child);

/// How a program ended.
pub(crate) struct Ended {
    /// Its exit status, or the signal that ended it.
    pub(crate) status: ExitStatus,
    /// The beginning of what it printed as output,
    pub(crate) output: Vec<u8>,
    /// and as errors.
    pub(crate) errors: Vec<u8>,
}

/// What a program is called with; nothing of the agent's own environment.
pub(crate) fn command(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

impl Group {
    /// Starts a program. Who does not wait for that ends it.
    pub(crate) async fn start(mut command: Command) -> io::Result<Self> {
        let started = spawn_blocking(move || command.spawn().map(Self)).await;
        started.map_err(io::Error::other).flatten()
    }

    /// Waits for its end.
    pub(crate) async fn finish(&mut self) -> io::Result<Ended> {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let status = {
            let mut read = pin!(async {
                tokio::join!(drain(stdout, &mut output), drain(stderr, &mut errors))
            });
            tokio::select! {
                status = self.0.wait() => {
                    // What is not there by then is not waited for.
                    let _ = timeout(GRACE, read).await;
                    status
                }
                _ = &mut read => self.0.wait().await,
            }
        }?;
        Ok(Ended {
            status,
            output,
            errors,
        })
    }
}

impl Ended {
    /// What it said: its output, or its errors if it has no output.
    pub(crate) fn words(&self) -> String {
        let said = match self.output.is_empty() {
            true => &self.errors,
            false => &self.output,
        };
        String::from_utf8_lossy(said).into_owned()
    }
}

/// Reads to the end, and keeps the beginning.
async fn drain(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else {
        return;
    };
    let mut part = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut part).await {
        let room = MOST.saturating_sub(kept.len());
        kept.extend_from_slice(&part[..length.min(room)]);
    }
}

/// Only while it is not waited for to its end: the number may be another's after that.
impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            // It may just have ended.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Looks at processes.

    use std::{
        path::Path,
        time::{Duration, Instant},
    };

    use nix::{sys::signal::kill, unistd::Pid};

    /// Whether a process is there and no zombie.
    pub(crate) fn lives(id: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('Z'));
        kill(Pid::from_raw(id), None).is_ok() && state == Some(false)
    }

    /// Waits for something, not for ever.
    pub(crate) async fn wait_until(mut done: impl FnMut() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "it did not come to that"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The number that a file holds.
    pub(crate) fn number_in(file: &Path) -> Option<i32> {
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }
}
