//! `sluice services`: a line for each.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    figures::{bytes, count, maybe},
    output::{Format, Look, print, print_json},
    table::{Column, Table, plain},
    wait,
};
use crate::{
    control::{Body, Client},
    stats::ServiceView,
};

/// List the services and their traffic
///
/// Packets and bytes are counted since the agent was started: in from clients, out to clients.
/// Where backends reply to the clients by themselves (ipip), nothing comes out here. A narrow
/// terminal gets fewer columns.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice services\n  \
    sluice services --output json | jq '.services[].counters'")]
pub(super) struct Arguments {
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Prints what the agent says.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let found = wait(client.services())??;
    match arguments.output {
        Format::Json => print_json(&Body::new(found))?,
        Format::Table => print(&text(&found.services, Look::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(services: &[ServiceView], look: Look) -> String {
    if services.is_empty() {
        return "no services\n".to_owned();
    }
    let mut table = Table::new(
        &[
            Column::text("SERVICE"),
            Column::text("LISTEN"),
            Column::text("POOL"),
            Column::text("SCHEDULER").optional(),
            Column::text("FORWARD").optional(),
            Column::figure("PACKETS\nIN"),
            Column::figure("PACKETS\nOUT"),
            Column::figure("BYTES\nIN"),
            Column::figure("BYTES\nOUT"),
            Column::figure("NEW\nFLOWS"),
        ],
        look,
    );
    for service in services {
        let counters = &service.counters;
        table.row(vec![
            plain(&service.name),
            plain(service.listen.join("\n")),
            plain(pools(service)),
            plain(service.scheduler.to_string()),
            plain(service.forward.to_string()),
            plain(count(counters.packets_in)),
            plain(maybe(counters.packets_out, count)),
            plain(bytes(counters.bytes_in)),
            plain(maybe(counters.bytes_out, bytes)),
            plain(count(counters.new_flows)),
        ]);
    }
    table.text()
}

/// The pool, and the fallback with the families that it answers for.
fn pools(service: &ServiceView) -> String {
    let Some(fallback) = &service.fallback else {
        return service.pool.clone();
    };
    let families: Vec<_> = fallback.answers.iter().map(ToString::to_string).collect();
    let now = if families.is_empty() {
        "fallback".to_owned()
    } else {
        format!("answers {}", families.join(", "))
    };
    format!("{}\n{} ({now})", service.pool, fallback.pool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sample;

    #[test]
    fn a_table() {
        crate::cli::tests::assert_text("services", &text(&sample::healthy().services, Look::PLAIN));
        assert_eq!(text(&[], Look::PLAIN), "no services\n");
    }

    #[test]
    fn it_fits_the_terminal() {
        let look = Look {
            width: Some(80),
            ..Look::PLAIN
        };
        let text = text(&sample::healthy().services, look);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        crate::cli::tests::assert_text("services_narrow", &text);
    }
}
