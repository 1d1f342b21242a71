//! Everything that a start needs to know before it touches the kernel: a valid configuration, this
//! host's network, the seed, the indices.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use lb_common::abi::{Seed, SourcePorts};
use tracing::warn;

use crate::{
    config::{self, Severity},
    host_facts,
    kernel::Constants,
    model::{Config, Family},
    net::{Host, offload},
    seed,
    state::{self, Ids, Link},
};

/// What a start works with.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) ids: Ids,
    /// Our devices, by name.
    pub(super) links: BTreeMap<String, Link>,
    pub(super) constants: Constants,
    pub(super) seed_fingerprint: String,
    /// What the operator should know, though it does not keep the agent from running.
    pub(super) warnings: Vec<String>,
}

/// Reads the configuration and this host, and checks the one against the other.
pub(super) async fn prepare(path: &Path) -> anyhow::Result<Prepared> {
    let loaded = config::load(path, &config::Disk)?;
    let network = Host::read().await.context("reading this host's network")?;
    let facts = host_facts::read(&loaded.config).await?;
    let mut found = loaded.warnings;
    found.extend(config::host::check(
        &loaded.config,
        &loaded.places,
        &facts,
        Severity::Error,
    ));
    if found
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
    {
        bail!("{}", config::render(&found, config::Palette::Plain));
    }
    let config = loaded.config;
    let mut warnings: Vec<String> = found.iter().map(|found| found.message.clone()).collect();
    warnings.extend(not_forwarding(&network, &config));
    warnings.iter().for_each(|text| warn!("{text}"));

    let ids = Ids::assign(&config)?;
    let links = links(&network, &config)?;
    let ports = source_ports(&network)?;
    let seed = match config.agent.seed {
        Some(seed) => seed,
        None => seed::load_or_make(&config.agent.state)?,
    };
    let constants = Constants {
        seed: Seed::from(seed.0),
        salt: ids.salt,
        ports,
        flows: config.agent.flows,
        debug: config.agent.debug,
    };
    let seed_fingerprint = seed::fingerprint(&seed);
    Ok(Prepared {
        config,
        ids,
        links,
        constants,
        seed_fingerprint,
        warnings,
    })
}

/// The configured interfaces, each made ready for the program.
fn links(network: &Host, config: &Config) -> anyhow::Result<BTreeMap<String, Link>> {
    let mut links = BTreeMap::new();
    for name in &config.agent.interfaces {
        let interface = network
            .interface(name)
            .with_context(|| format!("no interface {name}"))?;
        let Some(mac) = interface.mac else {
            bail!("interface {name} is no Ethernet device: packets there have no MAC addresses");
        };
        let off = offload::turn_off(name)?;
        if off.any_stuck() {
            bail!(
                "interface {name} strips VLAN tags or merges packets (rxvlan, lro) and can't be \
                 told not to: packets of one VLAN would pass for another's; \
                 try `ethtool -K {name} rxvlan off lro off`"
            );
        }
        links.insert(
            name.clone(),
            Link {
                ifindex: interface.index.0,
                mac,
                mtu: interface.mtu,
            },
        );
    }
    Ok(links)
}

fn source_ports(network: &Host) -> anyhow::Result<SourcePorts> {
    let (first, last) = (network.local_ports.first, network.local_ports.last);
    state::source_ports(first, last).with_context(|| {
        format!(
            "net.ipv4.ip_local_port_range is {first} to {last}, which leaves no ports for \
             full-nat: make it smaller"
        )
    })
}

/// A line for each interface that the kernel does not forward from, though services of that
/// family send replies by its routes (`bpf_fib_lookup` answers only where forwarding is on).
fn not_forwarding(network: &Host, config: &Config) -> Vec<String> {
    let tracked = config
        .services
        .iter()
        .filter(|s| config.pools[s.pool].forward.is_tracked());
    let families: Vec<Family> = tracked
        .flat_map(|s| &s.listen)
        .map(|l| Family::of(l.address.ip()))
        .collect();
    let mut lines = Vec::new();
    for name in &config.agent.interfaces {
        let Some(interface) = network.interface(name) else {
            continue;
        };
        for (family, on, sysctl) in [
            (Family::Ipv4, interface.forwarding_ipv4, "ipv4"),
            (Family::Ipv6, interface.forwarding_ipv6, "ipv6"),
        ] {
            if families.contains(&family) && on != Some(true) {
                lines.push(format!(
                    "{family} forwarding is off on {name}: replies of full-nat services that come \
                     in there are dropped (forwarding_disabled); \
                     `sysctl -w net.{sysctl}.conf.{name}.forwarding=1`"
                ));
            }
        }
    }
    lines
}
