//! The switch's ports, which go down and leave the switch while something is measured: by a process that waits for it, so
//! that none has to be started first.

use std::{
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// `ip`, which reads commands. It ends with its owner.
pub(super) struct Cables {
    process: Child,
    commands: ChildStdin,
}

impl Cables {
    /// Those of a switch.
    pub(super) fn of(switch: &Namespace) -> Result<Self> {
        let mut process = Command::new("ip")
            .args(["-netns", switch.name(), "-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("could not start ip")?;
        let commands = process.stdin.take().context("no pipe to ip")?;
        Ok(Self { process, commands })
    }

    /// A host hears nothing more, and sees that.
    pub(super) fn cut(&mut self, host: u8) -> Result<()> {
        self.tell(&format!("link set port{host} down"))
    }

    /// It hears others again.
    pub(super) fn repair(&mut self, host: u8) -> Result<()> {
        self.tell(&format!("link set port{host} up"))
    }

    /// A host hears nothing more, and can't see why.
    pub(super) fn isolate(&mut self, host: u8) -> Result<()> {
        self.tell(&format!("link set port{host} nomaster"))
    }

    /// It is where the others are again.
    pub(super) fn join(&mut self, host: u8) -> Result<()> {
        self.tell(&format!("link set port{host} master lan"))
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        let told = self.commands.write_all(format!("{command}\n").as_bytes());
        told.with_context(|| format!("could not have ip do {command:?}"))
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("clean-up: {error}");
        }
    }
}
