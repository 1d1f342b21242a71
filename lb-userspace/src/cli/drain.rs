//! `sluice drain`: backends get no new flows, and what is left of them is watched.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    figures::{duration, things, whole_seconds},
    output::{Format, print, print_json},
    overridden::Target,
    select::backends,
    wait,
};
use crate::{
    control::{Body, Client, ClientError, DrainBody, Overridden, Pools},
    overrides::Then,
    stats::{BackendView, PoolView, RemainingView},
};

/// How often the agent is asked what is left.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an agent may be away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Give backends no new flows, until `sluice undrain`
///
/// Flows that there are stay. Services that record their flows know how many that are; others know those
/// that were seen since the drain began, and after the service's settle time those that are silent count as ended. A
/// drain outlives reloads and restarts of the agent. If it leaves a service without a backend, the service's
/// `no_backend` answers; its `fallback` does only once `--then reset` or `--then drop` has ended the flows.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice drain web/web1 --wait\n  \
    sluice drain --address 198.18.1.11 --deadline 10m --then reset --wait   all backends on a host\n  \
    sluice drain web                                                         a whole pool")]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// How long the flows that remain may take: `10m`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// What becomes of them then
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Then::Leave, requires = "deadline")]
    then: Then,
    /// Wait until nothing is left, or the deadline has come; the exit status is 1 if something is left then
    #[arg(long)]
    wait: bool,
    /// How to print what there is at once
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Asks the agent, prints, and waits if it is to.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let body = DrainBody {
        who: arguments.target.who(),
        deadline_seconds: arguments.deadline.map(whole_seconds),
        then: arguments.then,
    };
    let drained = wait(client.drain(&body))??;
    for warning in &drained.warnings {
        eprintln!("warning: {warning}");
    }
    if !arguments.wait {
        match arguments.output {
            Format::Json => print_json(&Body::new(&drained))?,
            Format::Table => print(&text(&drained.pools))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let ended = watch(&drained, arguments, client)?;
    if arguments.output == Format::Json {
        print_json(&Body::new(&ended))?;
    }
    Ok(match left(&ended.pools).is_nothing() || ends(arguments) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Whether the agent ends what is left at the deadline.
fn ends(arguments: &Arguments) -> bool {
    arguments.deadline.is_some() && arguments.then != Then::Leave
}

/// A line for each backend.
fn text(pools: &[PoolView]) -> String {
    let lines = backends(pools).map(|(pool, backend)| {
        let rest = backend
            .remaining
            .map_or_else(String::new, |left| remaining(&left));
        format!("{}/{} is drained: {rest}\n", pool.name, backend.name)
    });
    lines.collect()
}

/// What is left, in words.
pub(super) fn remaining(left: &RemainingView) -> String {
    if left.is_nothing() {
        return "nothing is left".to_owned();
    }
    let tracked = left.tracked.map(|n| {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        format!("{} live", things(n, "flow"))
    });
    let seen = left.seen.map(|n| {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        format!("{} seen since", things(n, "flow"))
    });
    let settles = left
        .settle_seconds
        .map(|seconds| format!("silent ones count as ended in {}", duration(seconds)));
    let parts: Vec<_> = tracked.into_iter().chain(seen).chain(settles).collect();
    parts.join(", ")
}

/// What is left of all of them together.
fn left(pools: &[PoolView]) -> RemainingView {
    let views = backends(pools).filter_map(|(_, backend)| backend.remaining);
    views.fold(
        RemainingView {
            tracked: None,
            seen: None,
            settle_seconds: None,
        },
        |sum, one| RemainingView {
            tracked: added(sum.tracked, one.tracked),
            seen: added(sum.seen, one.seen),
            settle_seconds: sum.settle_seconds.max(one.settle_seconds),
        },
    )
}

fn added(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
    }
}

/// Pool and name of backends.
type Names = BTreeSet<(String, String)>;

/// Follows what is left until nothing is, or the deadline has come and what it asks for is done.
fn watch(drained: &Overridden, arguments: &Arguments, client: &Client) -> Result<Overridden> {
    let name =
        |(pool, backend): (&PoolView, &BackendView)| (pool.name.clone(), backend.name.clone());
    let names: Names = backends(&drained.pools).map(name).collect();
    let mut shown = Progress::new(arguments.output == Format::Table);
    let mut now = drained.clone();
    let deadline = arguments.deadline.map(|time| Instant::now() + time);
    let mut heard = Instant::now();
    loop {
        let left = left(&now.pools);
        shown.show(&left);
        let over = deadline.is_some_and(|end| Instant::now() >= end);
        let done = over && (!ends(arguments) || !backends(&now.pools).any(|(_, one)| is_used(one)));
        if left.is_nothing() || done {
            shown.end();
            return Ok(now);
        }
        thread::sleep(PAUSE);
        // A drain outlives a restart of the agent, which takes a moment.
        let mut pools = match wait(client.pools())? {
            Ok(Pools { pools }) => pools,
            Err(ClientError::NoAgent { .. }) if heard.elapsed() < PATIENCE => continue,
            Err(error) => return Err(error.into()),
        };
        heard = Instant::now();
        for pool in &mut pools {
            let is_one = |backend: &BackendView| (pool.name.clone(), backend.name.clone());
            pool.backends
                .retain(|backend| names.contains(&is_one(backend)));
        }
        pools.retain(|pool| !pool.backends.is_empty());
        if let Some(why) = undrained(&pools, &names) {
            shown.end();
            bail!(why);
        }
        now.pools = pools;
    }
}

/// Whether packets are sent to a backend.
fn is_used(backend: &BackendView) -> bool {
    backend.addresses.iter().any(|address| address.in_tables)
}

/// Why waiting is in vain: a backend is not there, or not drained.
fn undrained(pools: &[PoolView], names: &Names) -> Option<String> {
    let there: BTreeMap<(&str, &str), &BackendView> = backends(pools)
        .map(|(pool, backend)| ((pool.name.as_str(), backend.name.as_str()), backend))
        .collect();
    names.iter().find_map(|(pool, name)| {
        let why = match there.get(&(pool.as_str(), name.as_str())) {
            None => "in the configuration",
            Some(one) if one.overridden.is_none_or(|said| said.drain.is_none()) => "drained",
            Some(_) => return None,
        };
        Some(format!("{pool}/{name} is not {why} any more"))
    })
}

/// A bar on a terminal, lines elsewhere; nothing where JSON is wanted.
struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    most: u64,
    last: String,
}

impl Progress {
    fn new(shows: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let bar = (shows && terminal).then(|| {
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self {
            lines: shows && !terminal,
            bar,
            most: 0,
            last: String::new(),
        }
    }

    fn show(&mut self, left: &RemainingView) {
        let words = remaining(left);
        self.most = self.most.max(left.flows());
        if let Some(bar) = &self.bar {
            bar.set_length(self.most.max(1));
            bar.set_position(self.most - left.flows());
            bar.set_message(words);
        } else if self.lines && words != self.last {
            eprintln!("{words}");
            self.last = words;
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(tracked: Option<u64>, seen: Option<u64>, settle: Option<u64>) -> RemainingView {
        RemainingView {
            tracked,
            seen,
            settle_seconds: settle,
        }
    }

    #[test]
    fn what_is_left_is_said_in_words() {
        for (left, expected) in [
            (view(Some(0), None, None), "nothing is left"),
            (view(Some(1), None, None), "1 flow live"),
            (
                view(Some(2), Some(7), Some(90)),
                "2 flows live, 7 flows seen since, silent ones count as ended in 1 min 30 s",
            ),
            (
                view(None, Some(0), Some(5)),
                "0 flows seen since, silent ones count as ended in 5 s",
            ),
        ] {
            assert_eq!(remaining(&left), expected);
        }
    }
}
