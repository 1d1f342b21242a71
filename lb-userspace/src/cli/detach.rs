//! `sluice detach`: ends the data plane that an agent left.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Result, bail};

use crate::{
    kernel::{self, Pins},
    model::DEFAULT_PIN,
};

/// End the data plane that runs without its agent
///
/// The program and its tables stay in the kernel when the agent ends, and forward packets as before. This detaches
/// the program from all interfaces and removes the tables: all connections through them end. While an agent runs it
/// is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice detach\n  \
    sluice detach --pin /sys/fs/bpf/edge --yes")]
pub(super) struct Arguments {
    /// The folder in the BPF file system: `pin` under [agent]
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PIN)]
    pin: PathBuf,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

/// Asks, detaches, and says from what.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(pins) = Pins::existing(&arguments.pin)? else {
        println!(
            "no agent has pinned anything in {}",
            arguments.pin.display()
        );
        return Ok(ExitCode::SUCCESS);
    };
    if !arguments.yes && !confirmed(arguments)? {
        println!("nothing is changed");
        return Ok(ExitCode::FAILURE);
    }
    let detached = kernel::detach(pins)?;
    for attachment in &detached {
        println!("detached from {}", attachment.name);
    }
    println!("the tables in {} are gone", arguments.pin.display());
    Ok(ExitCode::SUCCESS)
}

fn confirmed(arguments: &Arguments) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!(
            "this ends all connections through the data plane: say --yes where nobody can be asked"
        );
    }
    print!(
        "This ends all connections through the data plane in {}. Go on? [y/N] ",
        arguments.pin.display()
    );
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
