//! A program: its exit status counts, its first line says why. Whoever ends the run ends the program and all that it
//! started.

use std::os::unix::process::ExitStatusExt;

use tokio::process::Command;

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
    process::{Group, command},
};

pub(super) async fn run(exec: &Exec, target: Target, progress: &Progress) -> Ran {
    progress.reached(Phase::Running);
    let started = Group::start(called(exec, target)).await;
    let not_started = |error: std::io::Error| Failure::NotStarted(error.to_string());
    let mut group = started.map_err(|error| Outcome::Failed(not_started(error)))?;
    let ended = group.finish().await;
    let ended = ended.map_err(|error| local(&error.to_string()))?;
    if ended.status.success() {
        return match exec.agent {
            true => tcp::agent(&ended.output),
            false => Ok(Advice::NONE),
        };
    }
    let words = shown(&ended.words());
    Err(Outcome::Failed(
        match (ended.status.code(), ended.status.signal()) {
            (Some(code), _) => Failure::Exit(code, words),
            (None, signal) => Failure::Signal(signal.unwrap_or_default()),
        },
    ))
}

fn called(exec: &Exec, target: Target) -> Command {
    let mut command = command(&exec.program, &exec.arguments);
    command.env("SLUICE_ADDRESS", target.ip.to_string());
    if let Some(port) = target.port {
        command.env("SLUICE_PORT", port.to_string());
    }
    command.envs(exec.environment.iter().map(|(name, value)| (name, value)));
    command
}
