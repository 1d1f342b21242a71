//! Everything that a start needs to know before it touches the kernel: a valid configuration, this
//! host's network, the seed, the indices.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use lb_common::abi::{RecordLimits, Seed, SourcePorts};
use tracing::warn;

use crate::{
    config::{self, Diagnostic, Severity},
    host_facts,
    kernel::Constants,
    model::{Config, Forward, Listen, PoolIndex},
    net::Host,
    seed,
    state::{self, Ids, Link, Registry},
};

/// What a start works with.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) registry: Registry,
    pub(super) ids: Ids,
    /// Our devices, by name.
    pub(super) links: BTreeMap<String, Link>,
    pub(super) constants: Constants,
    pub(super) seed_fingerprint: String,
    /// What the operator should know, though it does not keep the agent from running.
    pub(super) warnings: Vec<String>,
}

/// A configuration that this host can take.
pub(super) struct Checked {
    pub(super) config: Config,
    /// What the operator should know, though it does not keep the agent from running.
    pub(super) warnings: Vec<String>,
    pub(super) network: Host,
}

/// Reads the configuration and this host, and checks the one against the other.
pub(super) async fn check(path: &Path) -> anyhow::Result<Checked> {
    let loaded = config::load(path, &config::Disk)?;
    let network = Host::read().await.context("reading this host's network")?;
    let facts = host_facts::read(&network, &loaded.config).await?;
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
    let line = |found: &Diagnostic| match &found.help {
        Some(help) => format!("{}; `{help}`", found.message),
        None => found.message.clone(),
    };
    let warnings: Vec<String> = found.iter().map(line).collect();
    warnings.iter().for_each(|text| warn!("{text}"));
    Ok(Checked {
        config,
        warnings,
        network,
    })
}

/// Everything that a start needs to know.
pub(super) async fn prepare(path: &Path) -> anyhow::Result<Prepared> {
    let Checked {
        config,
        warnings,
        network,
    } = check(path).await?;
    let mut registry = Registry::default();
    registry.host_has(network.own_addresses());
    let (registry, ids) = registry.assign(&config)?;
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
        limits: RecordLimits {
            capacity: config.agent.exceptions,
            rate: config.agent.exception_rate,
        },
        replies: config.agent.replies,
        nat: has_nat(&config),
        nat_ranges: has_nat_ranges(&config),
        prefixes: has_prefixes(&config),
        debug: config.agent.debug,
    };
    let seed_fingerprint = seed::fingerprint(&seed);
    Ok(Prepared {
        config,
        registry,
        ids,
        links,
        constants,
        seed_fingerprint,
        warnings,
    })
}

/// Whether any pool is in `nat` mode.
pub(super) fn has_nat(config: &Config) -> bool {
    config.pools.iter().any(|pool| pool.forward == Forward::Nat)
}

/// Whether any service in `nat` mode listens on more than single ports.
pub(super) fn has_nat_ranges(config: &Config) -> bool {
    let nat = |pool: PoolIndex| config.pools[pool].forward == Forward::Nat;
    let mut services = config.services.iter();
    services.any(|service| !service.listen.iter().all(Listen::is_exact) && service.pools().any(nat))
}

/// Whether any service listens on a whole prefix.
pub(super) fn has_prefixes(config: &Config) -> bool {
    let mut listens = config.services.iter().flat_map(|service| &service.listen);
    listens.any(Listen::is_prefix)
}

/// The configured interfaces.
fn links(network: &Host, config: &Config) -> anyhow::Result<BTreeMap<String, Link>> {
    let mut links = BTreeMap::new();
    for name in &config.agent.interfaces {
        let interface = network
            .interface(name)
            .with_context(|| format!("no interface {name}"))?;
        let Some(mac) = interface.mac else {
            bail!("interface {name} is no Ethernet device: packets there have no MAC addresses");
        };
        links.insert(
            name.clone(),
            Link {
                ifindex: interface.index.0,
                mac,
                mtu: interface.mtu,
                vlan: None,
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
