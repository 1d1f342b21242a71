//! `bench packet`: what a packet costs in this kernel. See `sluice_tests::bench`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use sluice_tests::{
    bench::{self, Options},
    stage,
};

/// Measures Sluice. Needs root.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What a packet costs, beside floors
    Packet(Packet),
}

#[derive(clap::Args)]
struct Packet {
    /// How many packets to time for each case
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    packets: u32,
    /// Write the figures there, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let What::Packet(arguments) = Arguments::parse().what;
    match packet(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn packet(arguments: &Packet) -> Result<()> {
    stage::clean_up_on_panic(bench::TITLE);
    let options = Options {
        packets: arguments.packets,
    };
    println!("{}", options.announcement());
    let report = bench::run(options)?;
    println!("{report}");
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", report.json());
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
