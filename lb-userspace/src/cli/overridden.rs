//! What verbs share that change what operators say of backends: whom they are for, and how they end.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    output::{Format, print, print_json},
    select::backends,
};
use crate::{
    control::{Body, Overridden, Who},
    stats::PoolView,
};

/// Which backends.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Target {
    /// A pool, or a backend
    #[arg(value_name = "POOL|POOL/BACKEND|BACKEND")]
    name: Option<String>,
    /// All backends at an address, with or without a port
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
}

impl Target {
    /// The same for the agent.
    pub(super) fn who(&self) -> Who {
        Who {
            target: self.name.clone(),
            address: self.address.clone(),
        }
    }
}

/// Prints what the backends are now.
pub(super) fn show(overridden: &Overridden, format: Format) -> Result<ExitCode> {
    for warning in &overridden.warnings {
        eprintln!("warning: {warning}");
    }
    match format {
        Format::Json => print_json(&Body::new(overridden))?,
        Format::Table => print(&text(&overridden.pools))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(pools: &[PoolView]) -> String {
    let lines = backends(pools).map(|(pool, backend)| {
        let is = match &backend.overridden {
            Some(said) => format!("{said}, over weight {}", backend.weight),
            None => format!("as configured, with weight {}", backend.weight),
        };
        format!("{}/{} is {is}\n", pool.name, backend.name)
    });
    lines.collect()
}
