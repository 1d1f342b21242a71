//! One clock for all processes of a run: time since this machine was started.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

/// How long the machine has been up.
pub(crate) fn now() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).context("could not read the clock")?;
    Ok(time.into())
}
