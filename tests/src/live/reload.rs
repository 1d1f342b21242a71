//! Has the agent take a change: the pool's file, a SIGHUP, and the wait until it shows the new
//! weights. And the numbers that a run asks it for.

use std::{collections::BTreeMap, fmt::Display, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    namespace::Namespace,
    sluice::{self, Sluice},
    wait,
};

use super::pool::{self, Pool};

/// How long the agent may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the pool's file whole or not at all: the agent may read it at any time.
pub(crate) fn write(folder: &Path, pool: &impl Display) -> Result<()> {
    let (new, file) = (folder.join("pool.new"), folder.join(pool::FILE));
    fs::write(&new, pool.to_string())
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("could not write {}", file.display()))
}

/// Writes `pool`, and waits until the agent shows it.
pub(crate) fn reload(sluice: &Sluice, folder: &Path, pool: &Pool) -> Result<()> {
    write(folder, pool)?;
    ask(sluice)?;
    wait_until_shown(sluice, pool)
}

/// Has the agent read its files.
pub(crate) fn ask(sluice: &Sluice) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(sluice.id())?);
    kill(pid, Signal::SIGHUP).context("could not send SIGHUP to sluice")
}

/// Waits until the agent shows `pool`.
pub(crate) fn wait_until_shown(sluice: &Sluice, pool: &Pool) -> Result<()> {
    let wanted = pool.weights();
    wait::until("sluice to show the new weights", PATIENCE, || {
        Ok((weights(&sluice.ask("/api/v1/backends")?) == wanted).then_some(()))
    })
}

/// Exceptions that the agent counts now, in both families; nothing if it counts none.
pub(super) fn exceptions(gateway: &Namespace) -> Result<Option<f64>> {
    Ok(sluice::scrape(gateway)?.sum("sluice_exceptions", &[]))
}

/// What it dropped or left to the kernel, by reason.
pub(super) fn reasons(gateway: &Namespace) -> Result<BTreeMap<String, f64>> {
    let metrics = sluice::scrape(gateway)?;
    let mut reasons = BTreeMap::new();
    for family in [
        "sluice_interface_dropped_packets_total",
        "sluice_interface_passed_packets_total",
    ] {
        for sample in metrics.named(family).filter(|sample| sample.value > 0.0) {
            if let Some(reason) = sample.labels.get("reason") {
                *reasons.entry(reason.clone()).or_default() += sample.value;
            }
        }
    }
    Ok(reasons)
}

/// Weights by name, in all pools.
fn weights(shown: &Value) -> BTreeMap<String, u64> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let pools = list(shown, "pools");
    let backends = pools.iter().flat_map(|pool| list(pool, "backends"));
    let named = backends.filter_map(|backend| {
        let name = backend["name"].as_str()?.to_owned();
        Some((name, backend["weight"].as_u64()?))
    });
    named.collect()
}
