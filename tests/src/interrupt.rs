//! SIGINT and SIGTERM as an error: whoever waits finds out, returns, and what it owns is dropped,
//! which is the clean-up.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on SIGINT and SIGTERM no longer end the process; [`check`] reports them.
pub fn watch() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))
            .context("could not register a signal handler")?;
    }
    Ok(())
}

/// Whether one of the signals has come.
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// An error once one of the signals has come.
pub fn check() -> Result<()> {
    if came() {
        bail!("interrupted");
    }
    Ok(())
}
