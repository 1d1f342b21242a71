//! What a namespace's devices count.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
};

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// A namespace's devices: what /proc/net/dev says of them.
pub(crate) struct Devices {
    file: File,
}

/// What a device counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// Frames that came in.
    pub(crate) received: u64,
    /// Frames that were lost on the way out, or in by an error. (What the kernel has no use for
    /// counts as dropped on the way in; that is no loss.)
    pub(crate) lost: u64,
}

impl Devices {
    /// Those of a namespace.
    pub(crate) fn open(namespace: &Namespace) -> Result<Self> {
        let file = namespace
            .run(|| File::open("/proc/thread-self/net/dev").context("no /proc/net/dev"))?;
        Ok(Self { file })
    }

    /// What one of them counts.
    pub(crate) fn read(&mut self, interface: &str) -> Result<Device> {
        let text = self.text()?;
        let found = text.lines().filter_map(device);
        let mut found = found.filter(|(name, _)| *name == interface);
        let (_, device) = found
            .next()
            .with_context(|| format!("no {interface} in /proc/net/dev"))?;
        Ok(device)
    }

    /// Frames that any of them lost.
    pub(crate) fn lost(&mut self) -> Result<u64> {
        let text = self.text()?;
        let devices = text.lines().filter_map(device);
        Ok(devices.map(|(_, device)| device.lost).sum())
    }

    fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// A line: a name, eight counts of what is received (bytes, packets, errors, dropped, …), eight of what is
/// sent. Headings are none.
fn device(line: &str) -> Option<(&str, Device)> {
    let (name, counts) = line.split_once(':')?;
    let counts = counts.split_whitespace().map(str::parse);
    let counts: Vec<u64> = counts.collect::<Result<_, _>>().ok()?;
    let device = Device {
        received: *counts.get(1)?,
        lost: counts.get(2)? + counts.get(10)? + counts.get(11)?,
    };
    Some((name.trim(), device))
}
