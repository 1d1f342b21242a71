//! `sluice backends`: a line for each address of each backend.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    drain,
    figures::{bytes, count, maybe, share},
    health,
    output::{Format, Look, print, print_json},
    select::{backends, select},
    table::{Column, Mood, Table, moody, plain},
    wait,
};
use crate::{
    control::{Body, Client, Pools},
    stats::{AddressView, BackendView, NextHopView, PoolView},
};

/// List the backends, their health, their share of new flows, and their traffic
///
/// A backend's share is that of its pool's slots. An address is `ok` if packets are sent there;
/// `last next hop` if they are, but its neighbour no longer answers; `no next hop` if they can't be
/// sent; `down` or `held down` if its checks or its clients' connections say so; `drained` if an operator does; why is said below the
/// table. A weight `20 of 100` is what an operator, slow start or an agent leaves of it. With a name, also the checks and where the packets leave. A
/// narrow terminal gets fewer columns.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice backends\n  \
    sluice backends web             all of pool web (web/ if a backend is called web too)\n  \
    sluice backends web/web1        one backend\n  \
    sluice backends web1            likewise, if only one pool has a web1\n  \
    sluice backends web --history   what happened to its backends lately\n  \
    sluice backends --output json | jq '.pools[].backends[] | {name, share}'")]
pub(super) struct Arguments {
    /// Only this pool or backend
    #[arg(value_name = "POOL|POOL/BACKEND|BACKEND")]
    name: Option<String>,
    /// When backends went up and down lately, and why
    #[arg(long)]
    history: bool,
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Prints what the agent says.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let Pools { mut pools } = wait(client.pools())??;
    let look = Look::of_stdout();
    let mut details = String::new();
    if let Some(name) = &arguments.name {
        pools = select(pools, name)?;
        details = health::checks(&pools, look) + &next_hops(&pools, look);
    }
    match arguments.output {
        Format::Json => print_json(&Body::new(Pools { pools }))?,
        Format::Table if arguments.history => print(&health::history(&pools, look))?,
        Format::Table => print(&(text(&pools, look) + &details))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(pools: &[PoolView], look: Look) -> String {
    if pools.iter().all(|pool| pool.backends.is_empty()) {
        return "no backends\n".to_owned();
    }
    let mut table = Table::new(
        &[
            Column::text("POOL"),
            Column::text("BACKEND"),
            Column::text("ADDRESS"),
            Column::text("STATE"),
            Column::figure("WEIGHT").optional(),
            Column::figure("SHARE"),
            Column::figure("PACKETS\nIN"),
            Column::figure("PACKETS\nOUT").optional(),
            Column::figure("BYTES\nIN").optional(),
            Column::figure("BYTES\nOUT").optional(),
            Column::figure("NEW\nFLOWS"),
        ],
        look,
    );
    for (pool, backend) in backends(pools) {
        rows(&mut table, pool, backend);
    }
    table.text() + &reasons(pools)
}

/// One row for each address; all but the first show nothing else.
fn rows(table: &mut Table, pool: &PoolView, backend: &BackendView) {
    let counters = &backend.counters;
    let drained = backend.overridden.is_some_and(|said| said.drain.is_some());
    let mut addresses = backend.addresses.iter().map(|address| {
        let (mood, word) = match state(address) {
            (Mood::Good, _) | (_, NOT_IN_USE) if drained => (Mood::Poor, "drained"),
            other => other,
        };
        (plain(&address.address), moody(mood, word))
    });
    let (address, state) = addresses.next().unwrap_or_else(|| (plain(""), plain("")));
    table.row(vec![
        plain(&pool.name),
        plain(&backend.name),
        address,
        state,
        plain(health::weight(backend)),
        plain(share(backend.share)),
        plain(count(counters.packets_in)),
        plain(maybe(counters.packets_out, count)),
        plain(bytes(counters.bytes_in)),
        plain(maybe(counters.bytes_out, bytes)),
        plain(count(counters.new_flows)),
    ]);
    for (address, state) in addresses {
        table.row(vec![plain(""), plain(""), address, state]);
    }
}

/// Of an address whose backend is in no table, though there is a way.
const NOT_IN_USE: &str = "not in use";

fn state(address: &AddressView) -> (Mood, &'static str) {
    let health = address.health.as_ref().and_then(health::state);
    match (address.in_tables, address.next_hop.is_resolved()) {
        (_, true) if let Some(health) = health => health,
        (true, true) => (Mood::Good, "ok"),
        (true, false) => (Mood::Poor, "last next hop"),
        (false, true) => (Mood::Poor, NOT_IN_USE),
        (false, false) => (Mood::Bad, "no next hop"),
    }
}

/// Why addresses have no next hop or are down, a line each.
fn reasons(pools: &[PoolView]) -> String {
    let lines = backends(pools).flat_map(|(pool, backend)| {
        backend
            .addresses
            .iter()
            .filter_map(move |address| match &address.next_hop {
                NextHopView::Resolved { .. } => None,
                NextHopView::Unresolved { reason } => Some(format!(
                    "{}/{}: no next hop for {}: {reason}\n",
                    pool.name, backend.name, address.address
                )),
            })
    });
    let lines = lines.collect::<String>() + &health::reasons(pools) + &overrides(pools);
    if lines.is_empty() {
        lines
    } else {
        format!("\n{lines}")
    }
}

/// What operators say, a line each.
fn overrides(pools: &[PoolView]) -> String {
    let said = backends(pools).filter_map(|(pool, backend)| {
        let said = backend.overridden?;
        let left = backend
            .remaining
            .map(|left| format!(": {}", drain::remaining(&left)));
        Some(format!(
            "{}/{}: {said} by an operator{}\n",
            pool.name,
            backend.name,
            left.unwrap_or_default()
        ))
    });
    said.collect()
}

/// Where the packets to each address leave.
fn next_hops(pools: &[PoolView], look: Look) -> String {
    let columns = ["ADDRESS", "DEVICE", "NEXT HOP"].map(Column::text);
    let mut table = Table::new(&[&columns[..], &[Column::figure("MTU")]].concat(), look);
    let addresses = backends(pools).flat_map(|(_, backend)| &backend.addresses);
    for address in addresses {
        let cells = match &address.next_hop {
            NextHopView::Resolved { device, mac, mtu } => {
                [device, mac, &mtu.to_string()].map(plain)
            }
            NextHopView::Unresolved { reason: _ } => ["–"; 3].map(plain),
        };
        table.row([vec![plain(&address.address)], cells.to_vec()].concat());
    }
    format!("\n{}", table.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::tests::assert_text, stats::sample};

    #[test]
    fn a_table() {
        let pools = sample::troubled().pools;
        assert_text("backends", &text(&pools, Look::PLAIN));
        assert_eq!(text(&[], Look::PLAIN), "no backends\n");
    }

    #[test]
    fn it_fits_the_terminal() {
        let look = Look {
            width: Some(80),
            ..Look::PLAIN
        };
        let text = text(&sample::healthy().pools, look);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert_text("backends_narrow", &text);
    }

    #[test]
    fn next_hops_are_shown_on_request() {
        assert_text(
            "backends_next_hops",
            &next_hops(&sample::troubled().pools, Look::PLAIN),
        );
    }
}
