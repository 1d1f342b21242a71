//! `cargo xtask VERB`: what there is to do with this tree beside writing it. One file a verb; each
//! does the set-up that it needs, so that a fresh clone needs one command.
//!
//! Depends on no product crate, so that it builds before the BPF tools exist.

mod bench;
mod cache;
mod ci;
mod demo;
mod dependencies;
mod docs;
mod executable;
mod faults;
mod fuzz;
mod guest;
mod next;
mod packages;
mod previous;
mod process;
mod root;
mod setup;
mod soak;
mod test;
mod verify;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Sets up, tests, shows and checks Sluice.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Setup(setup::Arguments),
    Test(test::Arguments),
    Demo(demo::Arguments),
    Bench(bench::Arguments),
    Soak(soak::Arguments),
    Faults(faults::Arguments),
    Docs(docs::Arguments),
    Verify(verify::Arguments),
    Guest(guest::Arguments),
    Next(next::Arguments),
    Ci(ci::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    let workspace = Workspace::locate()?;
    match verb {
        Verb::Setup(arguments) => setup::run(&workspace, &arguments),
        Verb::Test(arguments) => test::run(&workspace, &arguments),
        Verb::Demo(arguments) => demo::run(&workspace, &arguments),
        Verb::Bench(arguments) => bench::run(&workspace, &arguments),
        Verb::Soak(arguments) => soak::run(&workspace, &arguments),
        Verb::Faults(arguments) => faults::run(&workspace, &arguments),
        Verb::Docs(arguments) => docs::run(&workspace, &arguments),
        Verb::Verify(arguments) => verify::run(&workspace, &arguments),
        Verb::Guest(arguments) => guest::run(&workspace, &arguments),
        Verb::Next(arguments) => next::run(&workspace, &arguments),
        Verb::Ci(arguments) => ci::run(&workspace, &arguments),
    }
}
