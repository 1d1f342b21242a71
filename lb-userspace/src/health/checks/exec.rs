//! A program, in a process group of its own: its exit status counts, its first line says why. Whoever ends
//! the run ends the whole group.
//!
//! It is started on a thread for such work: a program on a file system that hangs would hang the caller.

use std::{
    os::unix::process::ExitStatusExt,
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

use super::{
    stream::{Ran, local},
    tcp,
};
use crate::{
    health::{
        advice::{Advice, shown},
        outcome::{Failure, Outcome, Phase},
        probing::Progress,
        targets::Target,
    },
    model::probe::Exec,
};

/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes that are kept of what it prints.
const MOST: usize = 4096;

/// How long its output is waited for once it has ended: a process that it left behind may hold it.
const GRACE: Duration = Duration::from_millis(50);

pub(super) async fn run(exec: &Exec, target: Target, progress: &Progress) -> Ran {
    progress.reached(Phase::Running);
    let command = command(exec, target);
    let started = spawn_blocking(move || Group::start(command)).await;
    let mut group = match started {
        Ok(Ok(group)) => group,
        Ok(Err(error)) => return Err(Outcome::Failed(Failure::NotStarted(error.to_string()))),
        Err(error) => return Err(local(&error.to_string())),
    };
    let (status, printed, complained) = group.finish().await?;
    if status.success() {
        return match exec.agent {
            true => tcp::agent(&printed),
            false => Ok(Advice::NONE),
        };
    }
    let words = if printed.is_empty() {
        complained
    } else {
        printed
    };
    let words = shown(&String::from_utf8_lossy(&words));
    Err(Outcome::Failed(match (status.code(), status.signal()) {
        (Some(code), _) => Failure::Exit(code, words),
        (None, signal) => Failure::Signal(signal.unwrap_or_default()),
    }))
}

/// What it is called with; nothing of the agent's own environment.
fn command(exec: &Exec, target: Target) -> Command {
    let mut command = Command::new(&exec.program);
    command
        .args(&exec.arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("SLUICE_ADDRESS", target.ip.to_string());
    if let Some(port) = target.port {
        command.env("SLUICE_PORT", port.to_string());
    }
    command
        .envs(exec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

/// A program and all that it starts, unless that leaves the group.
struct Group(Child);

impl Group {
    fn start(mut command: Command) -> std::io::Result<Self> {
        command.spawn().map(Self)
    }

    /// How it ended, and what it printed as output and as errors.
    async fn finish(&mut self) -> Result<(ExitStatus, Vec<u8>, Vec<u8>), Outcome> {
        let (mut printed, mut complained) = (Vec::new(), Vec::new());
        let (output, errors) = (self.0.stdout.take(), self.0.stderr.take());
        let status = {
            let mut read = pin!(async {
                tokio::join!(drain(output, &mut printed), drain(errors, &mut complained))
            });
            tokio::select! {
                status = self.0.wait() => {
                    // What is not there by then is not waited for.
                    let _ = timeout(GRACE, read).await;
                    status
                }
                _ = &mut read => self.0.wait().await,
            }
        };
        let status = status.map_err(|error| local(&error.to_string()))?;
        Ok((status, printed, complained))
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
