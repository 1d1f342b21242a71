//! Which hosts have the address, and since when: what `ip monitor` says on each.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};

use crate::lan::Lan;

/// An address came to a host, or went from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The host.
    pub(super) host: u8,
    /// Whether it has the address since.
    pub(super) has: bool,
    /// When.
    pub(super) at: Instant,
}

/// The processes that watch. They end with their owner.
pub(super) struct Owners {
    watching: Vec<Child>,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl Owners {
    /// Of an address, written with its prefix length, on these hosts; none of them has it yet.
    pub(super) fn watch(lan: &Lan, hosts: &[u8], address: &'static str) -> Result<Self> {
        let changes = Arc::default();
        let mut owners = Self {
            watching: Vec::new(),
            changes: Arc::clone(&changes),
        };
        for &host in hosts {
            let mut process = Command::new("ip")
                .args(["-netns", lan.host(host).name()])
                .args(["-oneline", "monitor", "address"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("could not start ip")?;
            let lines = process.stdout.take().context("no pipe from ip")?;
            owners.watching.push(process);
            let changes = Arc::clone(&changes);
            thread::spawn(move || note(host, address, lines, &changes));
        }
        Ok(owners)
    }

    /// What has changed since a time; and what was so before.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether a host has the address.
    pub(super) fn has(&self, host: u8) -> bool {
        let changes = self.changes();
        let last = changes.iter().rev().find(|change| change.host == host);
        last.is_some_and(|change| change.has)
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        for process in &mut self.watching {
            if let Err(error) = process.kill().and_then(|()| process.wait()) {
                eprintln!("clean-up: {error}");
            }
        }
    }
}

/// Notes changes until there are no more lines.
fn note(host: u8, address: &str, lines: ChildStdout, changes: &Mutex<Vec<Change>>) {
    for line in BufReader::new(lines).lines().map_while(Result::ok) {
        let at = Instant::now();
        if let Some(has) = change(&line, address) {
            let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
            changes.push(Change { host, has, at });
        }
    }
}

/// Whether a line says that an address came, or that it went.
fn change(line: &str, address: &str) -> Option<bool> {
    let mut words = line.split_whitespace().peekable();
    let has = words.next_if_eq(&"Deleted").is_none();
    words.any(|word| word == address).then_some(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ip_are_understood() {
        let change = |line| change(line, "198.18.0.10/24");
        let came =
            r"2: eth0    inet 198.18.0.10/24 scope global secondary eth0\       valid_lft forever";
        assert_eq!(change(came), Some(true));
        let went = format!("Deleted {came}");
        assert_eq!(change(&went), Some(false));
        assert_eq!(
            change("2: eth0    inet 198.18.0.1/24 scope global eth0"),
            None
        );
    }
}
