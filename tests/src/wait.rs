//! Waiting for a condition, with a deadline; nothing here sleeps and hopes.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::interrupt;

const PAUSE: Duration = Duration::from_millis(10);

/// Asks `probe` until it has something, fails, or `limit` is over. `what` ends the sentence
/// "waited for …".
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        interrupt::check()?;
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        thread::sleep(PAUSE);
    }
}
