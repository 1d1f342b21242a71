//! `sluice vrrp`: addresses that move between hosts, who has them, and that this host gives them up.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

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
/// which other host was heard last. The priority is what is left of the configured one where something that is
/// tracked is not well.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
    sluice vrrp\n  \
    sluice vrrp --output json | jq -r '.instances[] | select(.fault) | .fault'\n  \
    sluice vrrp resign gateway\n  \
    sluice vrrp maintenance on"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, clap::Args)]
struct List {
    /// How to print
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Resign(Resign),
    Maintenance(Maintenance),
}

/// Have an instance give its addresses up, to whoever takes them
///
/// Those of its sync group do the same. This host does not take them back from who took them, but does when that
/// host is gone.
#[derive(Debug, clap::Args)]
struct Resign {
    /// The instance
    name: String,
    #[command(flatten)]
    list: List,
}

/// Have this host give all its addresses up and take none, until that is undone
///
/// It outlives reloads and restarts of the agent.
#[derive(Debug, clap::Args)]
struct Maintenance {
    /// Whether it begins or ends
    #[arg(value_name = "on|off", value_enum, hide_possible_values = true)]
    to: OnOff,
    #[command(flatten)]
    list: List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnOff {
    On,
    Off,
}

/// Prints what the agent says.
pub(super) fn run(arguments: &Arguments, client: &Client) -> Result<ExitCode> {
    match &arguments.verb {
        None => {
            let found = wait(client.vrrp())??;
            show(&found, &found.instances, &arguments.list)
        }
        Some(Verb::Maintenance(Maintenance { to, list })) => {
            let found = wait(client.maintain(*to == OnOff::On))??;
            show(&found, &found.instances, list)
        }
        Some(Verb::Resign(Resign { name, list })) => {
            let found = wait(client.resign(name))??;
            match list.output {
                Format::Json => print_json(&Body::new(found))?,
                Format::Table => print(&format!("resigned: {}\n", found.instances.join(", ")))?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show(found: &impl Serialize, instances: &[InstanceView], list: &List) -> Result<ExitCode> {
    match list.output {
        Format::Json => print_json(&Body::new(found))?,
        Format::Table => print(&text(instances, Look::of_stdout()))?,
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
                plain(priority(instance)),
                plain(family.family.to_string()),
                role,
                plain(heard(family)),
                plain(addresses(instance, family)),
            ]);
        }
    }
    let troubles = instances.iter().map(troubles);
    table.text() + &troubles.collect::<String>()
}

/// What is left of the configured one, of that.
fn priority(instance: &InstanceView) -> String {
    let (configured, left) = (instance.priority, instance.effective_priority);
    match configured == left {
        true => configured.to_string(),
        false => format!("{left} of {configured}"),
    }
}

/// What keeps it from taking part, what of all that it tracks is not well, whether it flaps, and what came of its hook.
fn troubles(instance: &InstanceView) -> String {
    let flapping = instance
        .flapping
        .then(|| "its role changes again and again".to_owned());
    let of_all = instance
        .fault
        .iter()
        .chain(&instance.failing)
        .chain(&flapping);
    let mut lines: Vec<&String> = Vec::new();
    for line in of_all {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let lines = lines.iter();
    let name = &instance.name;
    let notify = instance.notify.as_ref();
    let failure = notify.and_then(|notify| notify.failure.as_ref());
    let hook = failure.map(|failure| format!("\n{name}: its notify hook failed: {failure}\n"));
    let lines = lines.map(|line| format!("\n{name}: {line}\n"));
    lines.chain(hook).collect()
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
