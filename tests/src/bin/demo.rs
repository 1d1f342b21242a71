//! `demo`: Sluice at work, on one machine and in a minute. Makes a network of namespaces, starts
//! three web servers and `sluice run`, sends requests from many clients, and judges.
//!
//! Exit status 0 only if every request was answered rightly, by backends in the proportion of
//! their weights, and clients, access logs and metrics count the same.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use sluice_tests::{
    addresses::{self, Family},
    interrupt,
    progress::Progress,
    scenario::Scenario,
    services::SERVICES,
    sluice, stage, wait,
};

/// Shows Sluice balancing real HTTP between network namespaces. Needs root.
#[derive(Parser)]
struct Arguments {
    /// The binary to show; by default the one beside the demo.
    #[arg(long, value_name = "PATH")]
    sluice: Option<PathBuf>,
    /// How many requests to send, over all services and families.
    #[arg(long, value_name = "N", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(200..=60_000))]
    requests: u32,
    /// Leave everything running afterwards, until Ctrl-C, and say what to try.
    #[arg(long)]
    keep: bool,
    /// End sluice and its data plane before the requests, to show that the demo notices.
    #[arg(long)]
    detach: bool,
}

/// What namespaces and folder are called by.
const TITLE: &str = "sluice-demo";
/// Size of the uploads.
const UPLOAD: usize = 100_000;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    interrupt::watch()?;
    stage::clean_up_on_panic(TITLE);
    let binary = match &arguments.sluice {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("no {}", path.display()))?,
        None => sluice::binary()?,
    };
    let progress = Progress::new();
    let mut scenario = Scenario::set_up(TITLE, &binary, &progress)?;
    if arguments.detach {
        progress.step("detaching sluice, as asked: everything from here on should fail");
        scenario.sluice().stop()?;
        let pin = scenario.stage().pin();
        sluice::detach(&binary, &scenario.network().gateway, &pin)?;
    }
    let good = judge(&scenario, arguments.requests, &progress)?;
    if arguments.keep {
        explain(&scenario, &binary);
        while !interrupt::came() {
            // Only the signal ends this.
            let _ = wait::until("Ctrl-C", Duration::from_secs(3600), || Ok(None::<()>));
        }
    }
    progress.step("cleaning up");
    if !arguments.detach {
        scenario.sluice().stop()?;
    }
    Ok(good)
}

fn judge(scenario: &Scenario, requests: u32, progress: &Progress) -> Result<bool> {
    progress.step(&format!(
        "{requests} requests, each a connection from another address"
    ));
    let answers = scenario.send(requests, progress)?;
    let report = scenario.report(requests, answers)?;
    println!("{report}");
    let mut problems = report.problems();
    if !report.has_failures() {
        problems.extend(upload_everywhere(scenario, progress)?);
    }
    if problems.is_empty() {
        println!("\nEvery request was answered rightly, and all counts agree.");
        return Ok(true);
    }
    println!("\nThis is wrong:");
    for problem in &problems {
        println!("  {problem}");
    }
    println!("\n{}", scenario.logs());
    Ok(false)
}

/// An upload through each mode and family; returns what went wrong.
fn upload_everywhere(scenario: &Scenario, progress: &Progress) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for service in &SERVICES {
        for family in Family::ALL {
            interrupt::check()?;
            match scenario.upload(service, family, UPLOAD) {
                Ok(backend) => progress.step(&format!(
                    "{UPLOAD} bytes up through {} over {family}: whole at {backend}",
                    service.mode.name()
                )),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
    }
    Ok(problems)
}

fn explain(scenario: &Scenario, binary: &std::path::Path) {
    let stage = scenario.stage();
    let (client, gateway) = (stage.name("client"), stage.name("gateway"));
    let control = stage.folder().join("control.sock");
    println!("\nIt all keeps running. Try, as root, in another terminal:");
    for service in &SERVICES {
        for family in Family::ALL {
            let from = addresses::client(family, 4711);
            let url = match service.address.of(family) {
                std::net::IpAddr::V4(ip) => format!("http://{ip}/?number=1"),
                std::net::IpAddr::V6(ip) => format!("http://[{ip}]/?number=1"),
            };
            println!("  ip netns exec {client} curl --interface {from} '{url}'");
        }
    }
    println!("  ip netns exec {gateway} curl http://127.0.0.1:9633/metrics");
    for verb in ["status", "services", "backends"] {
        println!(
            "  {} {verb} --control {}",
            binary.display(),
            control.display()
        );
    }
    println!(
        "The configuration is {}/sluice.toml.",
        stage.folder().display()
    );
    println!("Ctrl-C ends it and cleans up.");
}
