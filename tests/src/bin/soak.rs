//! `soak`: long runs at full size, each with a name; `cargo xtask soak` starts them. CI runs the
//! same code smaller, as tests.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use sluice_tests::{
    checks, conservation,
    failover::{self, Event, Interval, Product},
    interrupt,
    live::{self, FloodOrders, Mode, Order, Plan, Programs},
    oracle::{Met, check},
    pair,
    progress::Progress,
    restart::{self, Size},
    slots::{soak, trace::Load},
    sluice, stage,
};

/// Runs Sluice at full size for a while, and judges.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What there is, and how long it takes
    List,
    /// Run one
    Run(Run),
    /// The server of a backend, as runs start it
    #[command(hide = true)]
    Echo {
        name: String,
        addresses: Vec<SocketAddr>,
    },
    /// The flood, as runs start it
    #[command(hide = true)]
    Flood(FloodOrders),
    /// The clients, as runs start them
    #[command(hide = true)]
    Client { order: PathBuf },
}

#[derive(clap::Args)]
struct Run {
    /// Which
    name: String,
    /// The binary to run; by default the one beside this one
    #[arg(long, value_name = "PATH")]
    sluice: Option<PathBuf>,
    /// `restart`: the build of another layout; by default the one beside this one
    #[arg(long, value_name = "PATH")]
    next: Option<PathBuf>,
    /// Write the summary there, too
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// `connections`, `flood`, `pair`, `restart`: only this mode; may be given several times
    #[arg(long, value_name = "MODE")]
    mode: Vec<Mode>,
    /// `conservation`, `restart`: what an earlier run did
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// `connections`: change nothing
    #[arg(long)]
    static_pool: bool,
    /// `restart`: only reload, and leave the agent alive
    #[arg(long)]
    reloads_only: bool,
    /// `failover`: only this event; may be given several times
    #[arg(long, value_name = "EVENT")]
    event: Vec<Event>,
    /// `failover`: only this interval; may be given several times
    #[arg(long, value_name = "INTERVAL")]
    interval: Vec<Interval>,
    /// `failover`: only `sluice`, or only `keepalived`
    #[arg(long, value_name = "PRODUCT")]
    product: Vec<Product>,
    /// `failover`: how often each event happens
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
}

/// A run with a name.
struct Soak {
    name: &'static str,
    about: &'static str,
    /// How long it takes, about.
    length: fn(&Run) -> Duration,
    /// Runs it and tells what it finds; whether all was well.
    run: fn(&Run, &mut Summary) -> Result<bool>,
}

/// All of them.
const SOAKS: [Soak; 9] = [
    Soak {
        name: "checks",
        about: "10,000 health checks a second, a tenth of them of servers that hang: at most one core, none late",
        length: |_| checks::Size::FULL.length(),
        run: check_health,
    },
    Soak {
        name: "connections",
        about: "10,000 live connections in every mode while backends come, go and die: none may break",
        length: |run| plan(run).length() * modes(run).len() as u32,
        run: connections,
    },
    Soak {
        name: "conservation",
        about: "5,000,000 packets, sound, hostile and random: each must be accounted for",
        length: |_| CONSERVATION,
        run: conserve,
    },
    Soak {
        name: "failover",
        about: "an address between two hosts, one of which fails, 70 times in every way: how long is it unserved",
        length: |run| matrix(run).length(),
        run: fail_over,
    },
    Soak {
        name: "flood",
        about: "live connections under a flood of others' SYNs and ACKs, and the same without",
        length: |run| 2 * Plan::middling().length() * modes(run).len() as u32,
        run: flood,
    },
    Soak {
        name: "pair",
        about: "1,000 live connections in every mode through two gateways, one of which is lost and comes back",
        length: |run| pair::Size::FULL.length() * cases(run).len() as u32,
        run: lose_one_of_a_pair,
    },
    Soak {
        name: "restart",
        about: "numbered packets in every mode while the agent is killed 100 times: none may be missing",
        length: |run| size(run).length() * modes(run).len() as u32,
        run: restart,
    },
    Soak {
        name: "slots",
        about: "the slot machine: every order of events, and simulated hours of 43,000 flows",
        length: |_| SLOTS,
        run: slots,
    },
    Soak {
        name: "oracle",
        about: "random packets and changes through the packet path and a plain model: no difference",
        length: |_| ORACLE,
        run: oracle,
    },
];

/// How long `conservation` takes on two cores.
const CONSERVATION: Duration = Duration::from_secs(120);

/// How long `slots` takes on two cores.
const SLOTS: Duration = Duration::from_secs(120);

/// How long `oracle` takes.
const ORACLE: Duration = Duration::from_secs(600);

/// What namespaces and folders are called by.
const TITLE: &str = "sluice-soak";

fn main() -> ExitCode {
    match run(&Arguments::parse().what) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: &What) -> Result<bool> {
    match what {
        What::List => {
            list();
            Ok(true)
        }
        What::Run(run) => run_named(run),
        What::Echo { name, addresses } => live::run_echo(name, addresses).map(|()| true),
        What::Flood(orders) => live::run_flood(orders).map(|()| true),
        What::Client { order } => {
            let text = fs::read(order).with_context(|| format!("no {}", order.display()))?;
            let order: Order = serde_json::from_slice(&text)?;
            live::run_client(&order).map(|()| true)
        }
    }
}

fn list() {
    let all = Run {
        name: String::new(),
        sluice: None,
        next: None,
        output: None,
        mode: Vec::new(),
        seed: None,
        static_pool: false,
        reloads_only: false,
        event: Vec::new(),
        interval: Vec::new(),
        product: Vec::new(),
        runs: None,
    };
    for Soak {
        name,
        about,
        length,
        ..
    } in &SOAKS
    {
        println!("{name:14}{:>8}   {about}", minutes(length(&all)));
    }
}

fn run_named(run: &Run) -> Result<bool> {
    let mut named = SOAKS.iter().filter(|soak| soak.name == run.name);
    let soak = named
        .next()
        .with_context(|| format!("no soak {:?}: `soak list` lists them", run.name))?;
    interrupt::watch()?;
    stage::clean_up_on_panic(TITLE);
    println!("{}: about {}", soak.name, minutes((soak.length)(run)));
    let mut summary = Summary {
        text: String::new(),
        file: run.output.clone(),
    };
    let good = (soak.run)(run, &mut summary)?;
    if let Some(file) = &run.output {
        println!("The summary is in {}.", file.display());
    }
    Ok(good)
}

/// What was found so far: printed and written as it comes, so that a run that is interrupted has not
/// been for nothing.
struct Summary {
    text: String,
    file: Option<PathBuf>,
}

impl Summary {
    fn tell(&mut self, part: &str) -> Result<()> {
        println!("{part}");
        self.text += part;
        let Some(file) = &self.file else {
            return Ok(());
        };
        fs::write(file, &self.text).with_context(|| format!("could not write {}", file.display()))
    }

    /// Tells what a run in one mode found, and whether that was good. The other modes are of interest
    /// whatever it was.
    fn tell_of(&mut self, mode: Mode, found: Result<(String, bool)>) -> Result<bool> {
        let (told, good) = match found {
            Ok(found) => found,
            Err(error) => {
                interrupt::check()?;
                (format!("{mode}: could not be run: {error:#}\n"), false)
            }
        };
        self.tell(&told)?;
        Ok(good)
    }
}

fn connections(run: &Run, summary: &mut Summary) -> Result<bool> {
    live_connections(run, &[plan(run)], summary)
}

fn flood(run: &Run, summary: &mut Summary) -> Result<bool> {
    let quiet = Plan::middling();
    live_connections(run, &[quiet.clone(), quiet.flooded()], summary)
}

/// Live connections by each plan, in each mode.
fn live_connections(run: &Run, plans: &[Plan], summary: &mut Summary) -> Result<bool> {
    let programs = programs(run)?;
    let progress = Progress::new();
    let mut good = true;
    let runs = modes(run).into_iter();
    for (mode, plan) in runs.flat_map(|mode| plans.iter().map(move |plan| (mode, plan))) {
        let found = live::run(TITLE, mode, plan, &programs, &progress);
        let found = found.map(|found| (found.to_string(), found.is_good()));
        good &= summary.tell_of(mode, found)?;
    }
    Ok(good)
}

fn restart(run: &Run, summary: &mut Summary) -> Result<bool> {
    let size = size(run);
    let live::Programs { sluice, soak } = programs(run)?;
    let next = match &run.next {
        Some(path) => path.clone(),
        None => sluice::next()?,
    };
    let programs = restart::Programs { sluice, next, soak };
    let progress = Progress::new();
    let mut good = true;
    for mode in modes(run) {
        let found = restart::run(TITLE, mode, &size, &size.script(), &programs, &progress);
        let found = found.map(|found| (found.to_string(), found.is_good()));
        good &= summary.tell_of(mode, found)?;
    }
    Ok(good)
}

fn lose_one_of_a_pair(run: &Run, summary: &mut Summary) -> Result<bool> {
    let (programs, progress) = (programs(run)?, Progress::new());
    let mut good = true;
    for case in cases(run) {
        let found = pair::run(TITLE, case, pair::Size::FULL, &programs, &progress);
        let found = found.map(|found| (found.to_string(), found.is_good()));
        good &= summary.tell_of(case.mode, found)?;
    }
    Ok(good)
}

/// What is done to pairs in the modes that were asked for.
fn cases(run: &Run) -> Vec<pair::Case> {
    modes(run)
        .into_iter()
        .flat_map(pair::Case::of_mode)
        .collect()
}

fn programs(run: &Run) -> Result<Programs> {
    Ok(Programs {
        sluice: agent(run)?,
        soak: std::env::current_exe().context("where am I?")?,
    })
}

fn agent(run: &Run) -> Result<PathBuf> {
    match &run.sluice {
        Some(path) => Ok(path.clone()),
        None => sluice::binary(),
    }
}

fn check_health(_: &Run, summary: &mut Summary) -> Result<bool> {
    let found = checks::run(checks::Size::FULL)?;
    summary.tell(&format!("checks: {found}\n"))?;
    Ok(found.is_well())
}

fn conserve(run: &Run, summary: &mut Summary) -> Result<bool> {
    let seed = seed(run);
    let plan = conservation::Plan {
        packets: 5_000_000,
        seed,
    };
    summary.tell(&format!("conservation, --seed {seed}\n"))?;
    let ledger = conservation::run(TITLE, plan, &agent(run)?, &Progress::new())?;
    summary.tell(&ledger.to_string())?;
    Ok(ledger.problems().is_empty())
}

fn fail_over(run: &Run, summary: &mut Summary) -> Result<bool> {
    let agent = agent(run)?;
    let mut good = true;
    summary.tell(&failover::heading())?;
    failover::run(TITLE, &matrix(run), &agent, &Progress::new(), |row| {
        let (told, is_good) = match row {
            Ok(row) => (row.to_string(), row.is_good()),
            Err(error) => (format!("could not be run: {error:#}\n"), false),
        };
        good &= is_good;
        summary.tell(&told)
    })?;
    Ok(good)
}

/// What was asked for of `failover`, or all of it.
fn matrix(run: &Run) -> failover::Plan {
    let full = failover::Plan::full();
    failover::Plan {
        events: some_of(&run.event, full.events),
        intervals: some_of(&run.interval, full.intervals),
        products: some_of(&run.product, full.products),
        runs: run.runs,
    }
}

/// What was asked for, or all.
fn some_of<T: Clone>(asked: &[T], all: Vec<T>) -> Vec<T> {
    if asked.is_empty() {
        all
    } else {
        asked.to_vec()
    }
}

/// The seed that was asked for, or one that no run had before.
fn seed(run: &Run) -> u64 {
    run.seed.unwrap_or_else(|| {
        let since = UNIX_EPOCH.elapsed();
        since.map_or(0, |since| since.as_nanos() as u64)
    })
}

fn slots(_: &Run, summary: &mut Summary) -> Result<bool> {
    let soak = soak::soak(Load::FULL);
    summary.tell(&soak.to_string())?;
    Ok(soak.holds())
}

fn oracle(_: &Run, summary: &mut Summary) -> Result<bool> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (start, first) = (Instant::now(), since.as_nanos() as u64);
    let mut met = Met::default();
    while start.elapsed() < ORACLE {
        interrupt::check()?;
        // A difference says its seed itself.
        if let Err(wrong) = check(first.wrapping_add(met.stories), &mut met) {
            summary.tell(&wrong)?;
            return Ok(false);
        }
    }
    summary.tell(&met.to_string())?;
    Ok(met.missing().is_empty())
}

fn plan(run: &Run) -> Plan {
    let full = Plan::full();
    if run.static_pool {
        full.without_changes()
    } else {
        full
    }
}

fn size(run: &Run) -> Size {
    let full = Size::full(seed(run));
    if run.reloads_only {
        full.without_ends()
    } else {
        full
    }
}

fn modes(run: &Run) -> Vec<Mode> {
    some_of(&run.mode, Mode::ALL.into())
}

fn minutes(time: Duration) -> String {
    format!("{:.0} min", (time.as_secs_f64() / 60.0).ceil())
}
