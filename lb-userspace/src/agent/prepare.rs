//! Everything that a start needs to know before it touches the kernel: a valid configuration, this
//! host's network, the seed, the indices.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use lb_common::abi::{RecordLimits, Seed, SourcePorts, Tag, Tags};
use tracing::warn;

use crate::{
    config::{self, Diagnostic, Disk, Loaded, Recorded, Report, Severity},
    host_facts,
    kernel::{self, Constants, Features, Pins, Sizes},
    model::{Config, Forward, Listen, PoolIndex},
    net::{Host, VlanStack, VlanTag},
    seed,
    state::{self, Ids, Link, Registry, Vlan},
    unix_time::unix_now,
};

use super::{inherited::Found, removals::Removals};

/// What a start works with.
pub(super) struct Prepared {
    pub(super) config: Config,
    /// The services that it has no more, and the configuration that its tables are made from with these.
    pub(super) removals: Removals,
    pub(super) in_tables: Config,
    pub(super) registry: Registry,
    pub(super) ids: Ids,
    /// Our devices, by name.
    pub(super) links: BTreeMap<String, Link>,
    pub(super) constants: Constants,
    pub(super) seed_fingerprint: String,
    /// What is pinned, held.
    pub(super) pins: Pins,
    /// The tables that are there.
    pub(super) found: Found,
    /// What the operator should know, though it does not keep the agent from running.
    pub(super) warnings: Vec<String>,
    /// The files that the configuration is from.
    pub(super) recorded: Recorded,
}

/// A configuration that this host can take.
pub(super) struct Checked {
    pub(super) config: Config,
    /// What the operator should know, though it does not keep the agent from running.
    pub(super) warnings: Vec<String>,
    pub(super) network: Host,
    /// The files that it is from.
    pub(super) recorded: Recorded,
}

/// Reads this host, and checks a configuration against it.
pub(super) async fn check(loaded: Loaded, recorded: Recorded) -> anyhow::Result<Checked> {
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
        return Err(Report { diagnostics: found }.into());
    }
    let config = loaded.config;
    let line = |found: &Diagnostic| match &found.help {
        Some(help) => format!("{}; `{help}`", found.message),
        None => found.message.clone(),
    };
    let warnings = found.iter().map(line).collect();
    Ok(Checked {
        config,
        warnings,
        network,
        recorded,
    })
}

/// Everything that a start needs to know.
pub(super) async fn prepare(path: &Path) -> anyhow::Result<Prepared> {
    let (loaded, recorded) = config::record(path, &Disk);
    let Checked {
        config,
        mut warnings,
        network,
        recorded,
    } = check(loaded?, recorded).await?;
    let seed = match config.agent.seed {
        Some(seed) => seed,
        None => seed::load_or_make(&config.agent.state)?,
    };
    let seed_fingerprint = seed::fingerprint(&seed);
    let pins = Pins::open(&config.agent.pin)?;
    let sizes = Sizes {
        flows: config.agent.flows,
        backends: config.agent.backends,
        exceptions: config.agent.exceptions,
    };
    let found = Found::look(&pins, &config.agent.state, &seed_fingerprint, sizes)?;
    let (mut registry, mut features) = <(Registry, Features)>::default();
    let mut ports = source_ports(&network)?;
    let mut removals = Removals::begin(&config.agent.state);
    match &found {
        Found::Usable(inherited) | Found::Older(inherited) => {
            let (inherits, warning) =
                Removals::inherited(&config.agent.state, &config, unix_now());
            (removals, warnings) = (inherits, warnings.into_iter().chain(warning).collect());
            registry = inherited.record.registry.clone();
            features = inherited.record.features;
            warnings.extend(other_ports(ports, inherited.record.ports()));
            ports = inherited.record.ports();
        }
        Found::Unusable(why) => warnings.push(format!(
            "the tables of the agent before can't be gone on with, so connections that they keep may end: {why:#}"
        )),
        Found::Nothing => {}
    }
    warnings.iter().for_each(|text| warn!("{text}"));
    registry.host_has(network.own_addresses());
    let in_tables = removals.in_tables(&config);
    let (registry, ids) = registry.assign(&in_tables)?;
    let links = links(&network, &config)?;
    let constants = Constants {
        seed: Seed::from(seed.0),
        salt: ids.salt,
        ports,
        flows: sizes.flows,
        backends: sizes.backends,
        limits: RecordLimits {
            capacity: sizes.exceptions,
            rate: config.agent.exception_rate,
        },
        replies: config.agent.replies,
        features: features.or(features_of(&in_tables, &ids, &links)),
        debug: config.agent.debug,
    };
    Ok(Prepared {
        config,
        removals,
        in_tables,
        registry,
        ids,
        links,
        constants,
        seed_fingerprint,
        pins,
        found,
        warnings,
        recorded,
    })
}

/// That flows go on with other source ports than this host leaves free now.
fn other_ports(free: SourcePorts, are: SourcePorts) -> Option<String> {
    (free != are).then(|| {
        format!(
            "net.ipv4.ip_local_port_range has changed; flows go on with {} source ports from {} on until \
             `sluice detach` before a start",
            are.count, are.first
        )
    })
}

/// What the program has to know of.
pub(super) fn features_of(config: &Config, ids: &Ids, links: &BTreeMap<String, Link>) -> Features {
    Features {
        nat: has_nat(config),
        nat_ranges: has_nat_ranges(config),
        prefixes: has_prefixes(config),
        crossing: ids.has_crossing(),
        vlans: links.values().any(|link| link.vlan.is_some()),
        probes: config.has_probes(),
    }
}

/// Whether any pool is in `nat` mode.
fn has_nat(config: &Config) -> bool {
    config.pools.iter().any(|pool| pool.forward == Forward::Nat)
}

/// Whether any service in `nat` mode listens on more than single ports.
fn has_nat_ranges(config: &Config) -> bool {
    let nat = |pool: PoolIndex| config.pools[pool].forward == Forward::Nat;
    let mut services = config.services.iter();
    services.any(|service| !service.listen.iter().all(Listen::is_exact) && service.pools().any(nat))
}

/// Whether any service listens on a whole prefix.
fn has_prefixes(config: &Config) -> bool {
    let mut listens = config.services.iter().flat_map(|service| &service.listen);
    listens.any(Listen::is_prefix)
}

/// The configured interfaces.
pub(super) fn links(network: &Host, config: &Config) -> anyhow::Result<BTreeMap<String, Link>> {
    let mut links = BTreeMap::new();
    for name in &config.agent.interfaces {
        let link = link(network, name)?.with_context(|| format!("no interface {name}"))?;
        links.insert(name.clone(), link);
    }
    Ok(links)
}

/// An interface; none if there is none of this name.
pub(super) fn link(network: &Host, name: &str) -> anyhow::Result<Option<Link>> {
    let Some(interface) = network.interface(name) else {
        return Ok(None);
    };
    let Some(mac) = interface.mac else {
        bail!("interface {name} is no Ethernet device: packets there have no MAC addresses");
    };
    kernel::check_number(name, interface.index.0)?;
    let stack = network.vlan_stack(interface);
    let mtu = stack.as_ref().map_or(interface.mtu, |stack| stack.mtu);
    let vlan = stack.map(|stack| vlan(name, &stack)).transpose()?;
    let ifindex = interface.index.0;
    Ok(Some(Link {
        ifindex,
        mac,
        mtu,
        vlan,
    }))
}

/// Where the frames of a VLAN device are found. What can't be has been refused by `check`, with its place.
fn vlan(name: &str, stack: &VlanStack<'_>) -> anyhow::Result<Vlan> {
    let bottom = stack
        .bottom
        .with_context(|| format!("no interface of this namespace lies below {name}"))?;
    let tag = |tag: &VlanTag| Tag::new(tag.protocol, tag.id);
    let tags = match stack.tags.as_slice() {
        [only] => Tags::one(tag(only)),
        [outer, inner] => Tags::two(tag(outer), tag(inner)),
        tags => bail!(
            "frames of {name} have {} VLAN tags, more than two",
            tags.len()
        ),
    };
    let bottom = bottom.index.0;
    Ok(Vlan { bottom, tags })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        net::{self, IfIndex, Interface, LinkKind, PortRange},
        state::fixtures,
    };

    fn interface(index: u32, name: &str, vlan: Option<(u32, VlanTag)>) -> Interface {
        let over = |(lower, tag)| net::Vlan {
            lower: Some(IfIndex(lower)),
            tag,
        };
        Interface {
            index: IfIndex(index),
            name: name.into(),
            mac: Some([2, 0, 0, 0, 0, index as u8]),
            mtu: 1500,
            up: true,
            carrier: true,
            kind: LinkKind::Ethernet,
            make: None,
            vlan: vlan.map(over),
            forwarding_ipv4: None,
            forwarding_ipv6: None,
        }
    }

    fn links_of(
        names: &[&str],
        interfaces: Vec<Interface>,
    ) -> anyhow::Result<BTreeMap<String, Link>> {
        let mut config = fixtures::config();
        config.agent.interfaces = names.iter().map(|&name| name.into()).collect();
        let local_ports = PortRange { first: 1, last: 2 };
        let host = Host {
            interfaces,
            addresses: vec![],
            local_ports,
        };
        links(&host, &config)
    }

    #[test]
    fn a_vlan_device_is_found_at_the_bottom_of_its_stack() {
        let [outer, inner] = [(0x88a8, 300), (0x8100, 301)];
        let tag = |(protocol, id)| VlanTag { protocol, id };
        let interfaces = vec![
            interface(2, "eth1", None),
            interface(3, "eth1.300", Some((2, tag(outer)))),
            interface(4, "eth1.300.301", Some((3, tag(inner)))),
        ];
        let links = links_of(&["eth1", "eth1.300.301"], interfaces).unwrap();
        assert_eq!((links["eth1"].vlan, links["eth1"].mtu), (None, 1500));
        let expected = Vlan {
            bottom: 2,
            tags: Tags::two(Tag::new(outer.0, outer.1), Tag::new(inner.0, inner.1)),
        };
        let link = links["eth1.300.301"];
        assert_eq!((link.ifindex, link.vlan), (4, Some(expected)));
        assert_eq!(link.mtu, 1496, "room for the second tag");
    }

    #[test]
    fn numbers_above_what_tables_hold_are_refused() {
        let error = links_of(&["eth1"], vec![interface(70_000, "eth1", None)]).unwrap_err();
        let expected = "interface eth1 has the number 70000, above the 65536 that can be served";
        assert_eq!(error.to_string(), expected);
    }
}
