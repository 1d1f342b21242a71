//! `sluice vrrp`: addresses that move between hosts, and who has them.

use std::process::ExitCode;

use anyhow::Result;

use super::{
    output::{Format, Look, print, print_json},
    table::{Column, Mood, Table, moody, plain},
    wait,
};
use crate::{
    control::{Body, Client},
    vrrp::{FamilyView, InstanceView},
};

/// List addresses that move between hosts, and who has them
///
/// A line for each family of each instance of [[vrrp]]: what it is here (master: this host has the addresses), and
/// which other host was heard last.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sluice vrrp\n  \
    sluice vrrp --output json | jq -r '.instances[] | select(.fault) | .fault'")]
pub(super) struct Arguments {
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Prints what the agent says.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    let found = wait(client.vrrp())??;
    match arguments.output {
        Format::Json => print_json(&Body::new(found))?,
        Format::Table => print(&text(&found.instances, Look::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(instances: &[InstanceView], look: Look) -> String {
    if instances.is_empty() {
        return "no addresses that move\n".to_owned();
    }
    let mut table = Table::new(
        &[
            Column::text("INSTANCE"),
            Column::text("INTERFACE"),
            Column::figure("VRID"),
            Column::figure("PRIORITY"),
            Column::text("FAMILY"),
            Column::text("ROLE"),
            Column::text("HEARD LAST"),
            Column::text("ADDRESSES").optional(),
        ],
        look,
    );
    for instance in instances {
        for family in &instance.families {
            let role = match instance.fault {
                Some(_) => moody(Mood::Bad, &family.role),
                None => plain(&family.role),
            };
            table.row(vec![
                plain(&instance.name),
                plain(&instance.interface),
                plain(instance.vrid.to_string()),
                plain(instance.priority.to_string()),
                plain(family.family.to_string()),
                role,
                plain(heard(family)),
                plain(addresses(instance, family)),
            ]);
        }
    }
    let faults = instances.iter().filter_map(|instance| {
        let fault = instance.fault.as_ref()?;
        Some(format!("\n{}: {fault}\n", instance.name))
    });
    table.text() + &faults.collect::<String>()
}

fn heard(family: &FamilyView) -> String {
    let peer = family.peer.as_ref();
    peer.map_or_else(String::new, |peer| match peer.priority {
        0 => format!("{} (has resigned)", peer.address),
        priority => format!("{} (priority {priority})", peer.address),
    })
}

fn addresses(instance: &InstanceView, family: &FamilyView) -> String {
    let of_family = |text: &&String| {
        let ip = text.split('/').next().and_then(|ip| ip.parse().ok());
        ip.map(crate::model::Family::of) == Some(family.family)
    };
    let addresses = instance.addresses.iter().filter(of_family);
    addresses.cloned().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sample;

    #[test]
    fn a_table() {
        let all = [sample::healthy().vrrp, sample::troubled().vrrp].concat();
        crate::cli::tests::assert_text("vrrp", &text(&all, Look::PLAIN));
        assert_eq!(text(&[], Look::PLAIN), "no addresses that move\n");
    }
}
