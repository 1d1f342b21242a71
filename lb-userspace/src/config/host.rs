//! What a valid configuration meets on this host: are the interfaces there, do packets to its
//! addresses come here. Pure: the caller gathers the facts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use super::vlans::{Bottom, VlanDevice};
use super::{
    diagnostic::{Code, Diagnostic, Severity},
    places::{Item, Places},
    suggest::closest,
    vlans,
};
use crate::model::{Config, Family, Forward, Tracked, lies_in, whole};

/// What the kernel says about this host.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The names of its interfaces.
    pub interfaces: BTreeSet<String>,
    /// Those that are VLAN devices, by name.
    pub vlans: BTreeMap<String, VlanDevice>,
    /// The addresses on its interfaces, lo included.
    pub addresses: BTreeSet<IpAddr>,
    /// The prefixes that it takes for its own by a route of type `local`.
    pub local_routes: Vec<Prefix>,
    /// The interfaces and families where packets that come in are not forwarded.
    pub not_forwarding: BTreeSet<(String, Family)>,
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Any address in it.
    pub address: IpAddr,
    /// How many bits count.
    pub length: u8,
}

impl Prefix {
    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        lies_in(address, (self.address, self.length))
    }
}

impl HostFacts {
    /// Whether packets to an address end on this host.
    fn owns(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
            || self
                .local_routes
                .iter()
                .any(|route| route.contains(address))
    }
}

/// Everything about a configuration that this host isn't ready for. `severity` is that of what
/// keeps it from running; a service or source address that isn't here is a warning always.
pub fn check(
    config: &Config,
    places: &Places,
    facts: &HostFacts,
    severity: Severity,
) -> Vec<Diagnostic> {
    let mut found = interfaces(config, places, facts, severity);
    found.extend(vrrp_interfaces(config, places, facts, severity));
    found.extend(tracked_interfaces(config, places, facts));
    found.extend(vlans::check(config, places, facts, severity));
    found.extend(own_addresses(config, places, facts));
    found.extend(forwarding(config, places, facts));
    found.extend(backends(config, places, facts, severity));
    found.extend(probe_sources(config, places, facts, severity));
    found
}

fn interfaces(
    config: &Config,
    places: &Places,
    facts: &HostFacts,
    severity: Severity,
) -> Vec<Diagnostic> {
    let names = config.agent.interfaces.iter().enumerate();
    let missing = names.filter(|(_, name)| !facts.interfaces.contains(*name));
    let diagnostics = missing.map(|(index, name)| {
        let item = Item::Interface(index);
        missing_interface(name, item, places, facts, severity)
    });
    diagnostics.collect()
}

/// One that is tracked may come later; until then it counts as one that is not well.
fn tracked_interfaces(config: &Config, places: &Places, facts: &HostFacts) -> Vec<Diagnostic> {
    let instances = config.vrrp.iter().enumerate();
    let tracked = instances.flat_map(|(vrrp, instance)| {
        let track = instance.track.iter().enumerate();
        track.filter_map(move |(index, track)| match &track.subject {
            Tracked::Interface(name) => Some((Item::TrackedInterface { vrrp, index }, name)),
            _ => None,
        })
    });
    let missing = tracked.filter(|(_, name)| !facts.interfaces.contains(*name));
    let diagnostics =
        missing.map(|(item, name)| missing_interface(name, item, places, facts, Severity::Warning));
    diagnostics.collect()
}

/// Adverts go nowhere without it.
fn vrrp_interfaces(
    config: &Config,
    places: &Places,
    facts: &HostFacts,
    severity: Severity,
) -> Vec<Diagnostic> {
    let names = config.vrrp.iter().map(|vrrp| &vrrp.interface).enumerate();
    let missing = names.filter(|(_, name)| !facts.interfaces.contains(*name));
    let diagnostics = missing.map(|(index, name)| {
        let item = Item::VrrpInterface(index);
        missing_interface(name, item, places, facts, severity)
    });
    diagnostics.collect()
}

fn missing_interface(
    name: &str,
    item: Item,
    places: &Places,
    facts: &HostFacts,
    severity: Severity,
) -> Diagnostic {
    let known = facts.interfaces.iter().map(|name| format!("`{name}`"));
    let known: Vec<_> = known.collect();
    let message = format!("this host has no interface `{name}`");
    diagnostic(severity, Code::MissingInterface, places, item, message)
        .expected(format!("one of {}", known.join(", ")))
        .suggest(closest(name, facts.interfaces.iter().map(String::as_str)))
}

/// Replies that come back through this host find the clients by the kernel's routes, which it looks
/// up only for packets that it would forward (`bpf_fib_lookup`).
fn forwarding(config: &Config, places: &Places, facts: &HostFacts) -> Vec<Diagnostic> {
    let replied = config.services.iter().filter(|service| {
        let mut modes = service.pools().map(|pool| config.pools[pool].forward);
        modes.any(Forward::replies_return)
    });
    let listens = replied.flat_map(|service| &service.listen);
    let families: BTreeSet<Family> = listens.map(|l| Family::of(l.address.ip())).collect();
    let names = config.agent.interfaces.iter().enumerate();
    let off = names.flat_map(|(index, name)| {
        let off = families.iter().map(move |family| (index, name, *family));
        off.filter(|(_, name, family)| facts.not_forwarding.contains(&((*name).clone(), *family)))
    });
    let diagnostics = off.map(|(index, name, family)| {
        let message = format!(
            "{family} forwarding is off on {name}: replies of full-nat and nat services that come \
             in there are dropped (forwarding_disabled)"
        );
        let sysctl = match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let item = Item::Interface(index);
        diagnostic(
            Severity::Warning,
            Code::NotForwarding,
            places,
            item,
            message,
        )
        .help(format!(
            "sysctl -w net.{sysctl}.conf.{}.forwarding=1",
            in_sysctl(name)
        ))
    });
    diagnostics.collect()
}

/// What this host has itself, it would take for its own when a backend answers.
fn probe_sources(
    config: &Config,
    places: &Places,
    facts: &HostFacts,
    severity: Severity,
) -> Vec<Diagnostic> {
    let sources = config.probe_sources().iter().enumerate();
    let own = sources.filter(|(_, source)| facts.owns(**source));
    let diagnostics = own.map(|(index, source)| {
        let message = format!("{source} in `probe_sources` is an address of this host");
        let (code, item) = (Code::AddressConflict, Item::ProbeSource(index));
        diagnostic(severity, code, places, item, message)
            .expected("an address that no host has".to_owned())
    });
    diagnostics.collect()
}

/// An interface's name as sysctl(8) takes it in a key, whose dots stand for slashes and the other way
/// round.
fn in_sysctl(name: &str) -> String {
    name.replace('.', "/")
}

/// The addresses that packets must reach this host by: services' and sources', but for those that move.
fn own_addresses(config: &Config, places: &Places, facts: &HostFacts) -> Vec<Diagnostic> {
    let listens = config
        .services
        .iter()
        .enumerate()
        .flat_map(|(service, written)| {
            let listens = written.listen.iter().enumerate();
            listens.map(move |(index, l)| (Item::Listen { service, index }, l.network()))
        });
    let sources = config.pools.iter().enumerate().flat_map(|(pool, written)| {
        // Nobody answers to an outer header's many addresses.
        let sources = written.source.iter().enumerate();
        let sources = sources.filter(|(_, source)| source.entropy == 0);
        sources.map(move |(index, source)| {
            let network = (source.ip, whole(source.ip));
            (Item::Source { pool, index }, network)
        })
    });
    let moving = config.vrrp.iter().flat_map(|vrrp| &vrrp.addresses);
    let moving: BTreeSet<IpAddr> = moving.map(|address| address.ip).collect();
    // Of a prefix, the first address stands for all.
    let foreign = listens
        .chain(sources)
        .filter(|(_, (ip, _))| !facts.owns(*ip) && !moving.contains(ip));
    let diagnostics = foreign.map(|(item, (ip, length))| {
        let message = format!("packets to {ip} don't end on this host");
        let help = if length == whole(ip) {
            format!("ip address add {ip} dev lo")
        } else {
            format!("ip route add local {ip}/{length} dev lo")
        };
        diagnostic(
            Severity::Warning,
            Code::ForeignAddress,
            places,
            item,
            message,
        )
        .expected("an address on lo or an interface, or one with a local route")
        .help(help)
    });
    diagnostics.collect()
}

/// XDP sees what arrives from outside: a backend on this host would get nothing.
fn backends(
    config: &Config,
    places: &Places,
    facts: &HostFacts,
    severity: Severity,
) -> Vec<Diagnostic> {
    let addresses = config.pools.iter().enumerate().flat_map(|(pool, written)| {
        written
            .backends
            .iter()
            .enumerate()
            .flat_map(move |(backend, written)| {
                let addresses = written.addresses.iter().enumerate();
                addresses.map(move |(index, a)| {
                    (
                        Item::Address {
                            pool,
                            backend,
                            index,
                        },
                        a.ip,
                    )
                })
            })
    });
    let own = addresses.filter(|(_, ip)| facts.owns(*ip));
    let diagnostics = own.map(|(item, ip)| {
        let message = format!("backend address {ip} is this host's own");
        diagnostic(severity, Code::OwnBackend, places, item, message)
            .expected("the address of another host")
    });
    diagnostics.collect()
}

pub(super) fn diagnostic(
    severity: Severity,
    code: Code,
    places: &Places,
    item: Item,
    message: String,
) -> Diagnostic {
    Diagnostic {
        at: places.at(item).cloned(),
        ..Diagnostic::new(severity, code, message)
    }
}
