//! How much of a processor a process has had: waits for one until it has used its share, then asks it
//! to end. The clock on the wall says nothing of that where others want the same cores.

use std::{
    process::{Child, ExitStatus},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    time::clock_getcpuclockid,
    unistd::Pid,
};

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Waits until `child` has used `share`, then asks it by SIGUSR1 to end, and waits for that; less long
/// if it ends by itself. Returns how it ended, and what it was last seen to have used.
pub(super) fn wait(mut child: Child, share: Duration) -> Result<(ExitStatus, Duration)> {
    let id = Pid::from_raw(child.id().try_into().context("the id of the target")?);
    let mut used = Duration::ZERO;
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait().context("waiting for the target")? {
            return Ok((status, used));
        }
        used = processor_time(id)?;
        if used >= share && !asked {
            // It is ours and not waited for yet: the number is nobody else's.
            kill(id, Signal::SIGUSR1).context("asking the target to end")?;
            asked = true;
        }
        thread::sleep(PERIOD);
    }
}

/// What all threads of the process have used so far.
fn processor_time(id: Pid) -> Result<Duration> {
    let clock = clock_getcpuclockid(id).context("looking for the clock of the target")?;
    let time = clock.now().context("reading the clock of the target")?;
    Ok(Duration::from(time))
}
