//! The command line: what the verbs are, and how each ends. One file a verb; a verb prints what
//! the agent or the configuration says and decides nothing about it.
//!
//! Exit status: 0 done, 1 failed (or, for `check`, not valid), 2 the command line itself is wrong.

mod backends;
mod changes;
mod check;
mod detach;
mod docs;
mod drain;
mod events;
mod figures;
mod health;
mod logging;
mod output;
mod overridden;
mod plan;
mod reload;
mod rollback;
mod run;
mod select;
mod services;
mod status;
mod table;
mod undrain;
mod vrrp;
mod weight;

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::LazyLock,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use lb_common::abi::LAYOUT;

use crate::{control::Client, model::DEFAULT_CONTROL};

/// Where the configuration is if nothing says otherwise.
const DEFAULT_CONFIG: &str = "/etc/sluice/sluice.toml";

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("SLUICE_COMMIT"));
    format!("{version} (commit {commit}, layout {LAYOUT})")
});

/// Sluice: a layer-4 load balancer for Linux gateway hosts
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version = VERSION.as_str(),
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Exit status: 0 done, 1 failed, 2 the command line is wrong.\n\
                  Colours: only on a terminal, and not if NO_COLOR is set.",
)]
struct Arguments {
    /// The agent's control socket; outweighs the configuration's [default: /run/sluice/control.sock]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "SLUICE_CONTROL",
        hide_env_values = true
    )]
    control: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Arguments),
    Check(check::Arguments),
    Plan(plan::Arguments),
    Reload(reload::Arguments),
    Rollback(rollback::Arguments),
    Status(status::Arguments),
    Services(services::Arguments),
    Backends(backends::Arguments),
    Drain(drain::Arguments),
    Undrain(undrain::Arguments),
    Weight(weight::Arguments),
    Vrrp(vrrp::Arguments),
    Events(events::Arguments),
    Detach(detach::Arguments),
    Docs(docs::Arguments),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let Arguments { control, verb } = Arguments::parse();
    // An empty SLUICE_CONTROL is as good as none.
    let control = control.filter(|path| !path.as_os_str().is_empty());
    let ended = match &verb {
        Verb::Run(arguments) => run::run(arguments, control),
        Verb::Check(arguments) => check::run(arguments),
        Verb::Plan(arguments) => plan::run(arguments, &client(control)),
        Verb::Reload(arguments) => reload::run(arguments, &client(control)),
        Verb::Rollback(arguments) => rollback::run(arguments, &client(control)),
        Verb::Status(arguments) => status::run(arguments, &client(control)),
        Verb::Services(arguments) => services::run(arguments, &client(control)),
        Verb::Backends(arguments) => backends::run(arguments, &client(control)),
        Verb::Drain(arguments) => drain::run(arguments, &client(control)),
        Verb::Undrain(arguments) => undrain::run(arguments, &client(control)),
        Verb::Weight(arguments) => weight::run(arguments, &client(control)),
        Verb::Vrrp(arguments) => vrrp::run(arguments, &client(control)),
        Verb::Events(arguments) => events::run(arguments, &client(control)),
        Verb::Detach(arguments) => detach::run(arguments),
        Verb::Docs(arguments) => docs::run(arguments),
    };
    ended.unwrap_or_else(|error| {
        output::complain(&error);
        ExitCode::FAILURE
    })
}

fn client(control: Option<PathBuf>) -> Client {
    Client::new(control.as_deref().unwrap_or(Path::new(DEFAULT_CONTROL)))
}

/// Runs what a verb waits for.
fn wait<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the snapshot of that name.
    pub(super) fn assert_text(name: &str, text: &str) {
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn the_definitions_hold() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_names_the_default_socket() {
        use clap::CommandFactory;
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains(DEFAULT_CONTROL));
    }
}
