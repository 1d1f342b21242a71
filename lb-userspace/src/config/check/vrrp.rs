//! `[[vrrp]]`: what a version of the protocol can say, and what no two instances can have.

use std::{collections::HashMap, net::IpAddr, ops::Deref, time::Duration};

use humantime::format_duration;

use super::{health::whole_path, keys::idle, repeated, taken, tracked};
use crate::{
    config::{
        diagnostic::{Code, Finding},
        raw::{
            Agent, Balancing, Service,
            vrrp::{Vrrp, listened},
        },
        schema::Written,
        source::{At, Place},
        suggest::closest,
        value::{Interface, Name},
        vrrp::{Moving, Peer, Vrid},
    },
    model::{Family, Version, VirtualAddress},
    vrrp::machine::OWNER,
};

/// As many addresses of a family as an advert has room for, a link-local one aside: it counts them in one octet.
const MOST: usize = 254;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn check(
    agent: Option<&Agent>,
    vrrp: &[Vrrp],
    balancing: &Balancing,
    findings: &mut Vec<Finding>,
) {
    interfaces(agent, vrrp, balancing, findings);
    for entry in vrrp.iter().flat_map(|vrrp| &vrrp.addresses.items) {
        if let Moving::Service(name) = &entry.value {
            service(entry.place, name, &balancing.services, findings);
        }
    }
    let instances: Vec<Instance<'_>> = vrrp
        .iter()
        .map(|written| Instance {
            written,
            moving: written.moving(&balancing.services),
        })
        .collect();
    routers(&instances, findings);
    addresses(&instances, findings);
    for instance in &instances {
        version(instance, findings);
        interval(instance, findings);
        idle_keys(instance, findings);
        owner(instance, findings);
        peers(instance, findings);
        sources(instance, findings);
        count(instance, findings);
        tracked::check(instance.written, findings);
        if let Some(notify) = &instance.notify {
            whole_path(notify, findings);
        }
    }
}

/// An instance, and the addresses that it moves.
struct Instance<'a> {
    written: &'a Vrrp,
    moving: Vec<At<VirtualAddress>>,
}

impl Deref for Instance<'_> {
    type Target = Vrrp;

    fn deref(&self) -> &Vrrp {
        self.written
    }
}

/// A service whose addresses move is there, and has addresses: a prefix is none.
fn service(at: Place, name: &Name, services: &[Service], findings: &mut Vec<Finding>) {
    let names = || services.iter().filter_map(|service| service.name.as_ref());
    if !names().any(|known| known.value == *name) {
        let meant = closest(&name.0, names().map(|name| name.value.0.as_str()));
        let message = format!("no service is named `{}`", name.0);
        let finding = Finding::error(Code::UnknownService, at, message);
        let expected = <Moving as crate::config::schema::Value>::EXPECTED;
        findings.push(finding.expected(expected).suggest(meant));
    }
    if let Some(listen) = listened(services, name).find(|listen| listen.is_prefix()) {
        let message = format!("service `{}` listens on a prefix, {listen}", name.0);
        let finding = Finding::error(Code::KeyConflict, at, message);
        findings.push(finding.expected("a service that listens on single addresses"));
    }
}

/// Only a host that balances nothing, and has addresses that move, needs no program on any interface.
fn interfaces(
    agent: Option<&Agent>,
    vrrp: &[Vrrp],
    balancing: &Balancing,
    findings: &mut Vec<Finding>,
) {
    let Some(list) = agent.map(|agent| &agent.interfaces) else {
        return;
    };
    let empty = list.place.filter(|_| list.whole && list.items.is_empty());
    let none_needed = balancing.services.is_empty() && !vrrp.is_empty();
    if let Some(place) = empty.filter(|_| !none_needed) {
        let message = "`interfaces` is empty";
        let expected = <Interface as crate::config::schema::Value>::EXPECTED;
        let finding = Finding::error(Code::EmptyList, place, message);
        findings.push(finding.expected(format!("at least one entry: {expected}")));
    }
}

/// No two instances on one interface have a number in common, nor a name.
fn routers(vrrp: &[Instance<'_>], findings: &mut Vec<Finding>) {
    for (again, first) in repeated(vrrp.iter().filter_map(|vrrp| vrrp.name.as_ref())) {
        let message = format!("another instance is named `{}`", again.value.0);
        let (code, expected) = (Code::DuplicateName, "a name of its own");
        findings.push(taken(code, again.place, first, message, expected));
    }
    let mut routers: HashMap<(&str, u8, Family), Place> = HashMap::new();
    for instance in vrrp {
        let (Some(interface), Some(vrid)) = (&instance.interface, &instance.vrid) else {
            continue;
        };
        let Vrid(number) = vrid.value;
        let has = |family: &Family| instance.addresses_of(*family).next().is_some();
        let mut families = Family::ALL.into_iter().filter(has);
        let before = families.find_map(|family| {
            let router = (interface.value.0.as_str(), number, family);
            let first = *routers.entry(router).or_insert(vrid.place);
            (first != vrid.place).then_some((family, first))
        });
        if let Some((family, first)) = before {
            let name = &interface.value.0;
            let message =
                format!("another instance on {name} has the number {number} for {family}");
            let (code, expected) = (Code::DuplicateName, "a number of its own on this interface");
            findings.push(taken(code, vrid.place, first, message, expected));
        }
    }
}

/// Each address moves once.
fn addresses(vrrp: &[Instance<'_>], findings: &mut Vec<Finding>) {
    let mut seen = HashMap::new();
    for address in vrrp.iter().flat_map(|vrrp| &vrrp.moving) {
        let first = *seen.entry(address.value.ip).or_insert(address.place);
        if first != address.place {
            let message = format!("{} is named twice", address.value.ip);
            let (code, expected) = (Code::DuplicateAddress, "each address once");
            findings.push(taken(code, address.place, first, message, expected));
        }
    }
}

/// Version 2 has no IPv6; version 3 no passwords (RFC 9568, section 9).
fn version(instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    match (instance.version(), &instance.version) {
        (Some(Version::V2), Written::As(version)) => {
            let mut ipv6 = instance.addresses_of(Family::Ipv6);
            if let Some(address) = ipv6.next() {
                let message = format!("{} in version 2, which has no IPv6", address.value.ip);
                let finding = Finding::error(Code::KeyConflict, address.place, message)
                    .expected("addresses of IPv4")
                    .related(version.place, "the version");
                findings.push(finding.help("an instance of its own, of version 3, for IPv6"));
            }
        }
        (Some(Version::V3), _) => {
            if let Some(password) = &instance.password {
                let message = "a password in version 3, which has none";
                let finding = Finding::error(Code::KeyConflict, password.place, message);
                findings.push(finding.expected("`version = 2` beside it"));
            }
        }
        _ => {}
    }
}

/// What the wire can say: hundredths of a second in 12 bits, or seconds in 8.
fn interval(instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let (Some(version), Some(interval)) = (instance.version(), instance.interval.value()) else {
        return;
    };
    let (unit, most, expected) = match version {
        Version::V2 => (SECOND, 255, "whole seconds in version 2, from 1s to 255s"),
        Version::V3 => (
            Duration::from_millis(10),
            4095,
            "a multiple of 10ms, from 10ms to 40s 950ms",
        ),
    };
    let asked = interval.value;
    let whole = asked.as_nanos().is_multiple_of(unit.as_nanos());
    if !whole || asked < unit || asked > unit * most {
        let message = format!("an advert every {} can't be", format_duration(asked));
        let finding = Finding::error(Code::BadValue, interval.place, message);
        findings.push(finding.expected(expected));
    }
}

fn idle_keys(instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let is_off = |at: &Option<At<bool>>| at.as_ref().is_some_and(|at| !at.value);
    if let Some(delay) = instance.preempt_delay.as_ref()
        && is_off(&instance.preempt)
    {
        let why = "`preempt = false` never takes addresses";
        findings.push(idle("preempt_delay", delay.place, why));
    }
    let lacks = |family| {
        let whole = instance.addresses.whole;
        whole && instance.addresses_of(family).next().is_none()
    };
    if let (Some(accept), Some(priority)) = (&instance.accept, &instance.priority)
        && (!accept.value && priority.value.0 == OWNER)
    {
        let why = "whose own the addresses are takes what is for them";
        findings.push(idle("accept", accept.place, why));
    }
    if let Some(address) = instance.link_local.as_ref()
        && lacks(Family::Ipv6)
    {
        let why = "the instance has no address of IPv6";
        findings.push(idle("link_local", address.place, why));
    }
    if let (Some(checksum), Some(version)) = (&instance.checksum, instance.version())
        && (version == Version::V2 || lacks(Family::Ipv4))
    {
        let why = "it is about version 3 over IPv4";
        findings.push(idle("checksum", checksum.place, why));
    }
    if let Some(timeout) = instance.notify_timeout.as_ref()
        && instance.notify.is_none()
    {
        findings.push(idle(
            "notify_timeout",
            timeout.place,
            "there is no `notify`",
        ));
    }
}

/// Whose own the addresses are has them whenever it can (RFC 9568, section 6.4.2).
fn owner(instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let priority = instance.priority.as_ref();
    let Some(priority) = priority.filter(|at| at.value.0 == OWNER) else {
        return;
    };
    let preempt = instance.preempt.as_ref().filter(|preempt| !preempt.value);
    let preempt = preempt.map(|at| ("preempt = false", at.place));
    let delay = instance.preempt_delay.as_ref();
    let delay = delay.map(|at| ("preempt_delay", at.place));
    if let Some((key, place)) = preempt.or(delay) {
        let message = format!("`{key}` beside the priority 255");
        let finding = Finding::error(Code::KeyConflict, place, message)
            .expected("a priority of 254 at most")
            .related(
                priority.place,
                "whose own the addresses are takes them at once",
            );
        findings.push(finding);
    }
}

/// Each family's adverts have somebody to go to.
fn peers(instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let peers = &instance.unicast_peers;
    for (again, first) in repeated(peers.items.iter()) {
        let message = format!("{} is named twice", again.value.0);
        let (code, expected) = (Code::DuplicateAddress, "each host once");
        findings.push(taken(code, again.place, first, message, expected));
    }
    let Some(list) = peers.place.filter(|_| peers.whole) else {
        return;
    };
    if peers.items.is_empty() {
        let finding = Finding::error(Code::EmptyList, list, "`unicast_peers` is empty");
        let expected = "at least one host; without the key adverts go to all on the network";
        findings.push(finding.expected(expected));
        return;
    }
    let own = instance.moving.iter();
    for peer in &peers.items {
        let family = Family::of(peer.value.0);
        let moves = own.clone().find(|own| own.value.ip == peer.value.0);
        if let Some(address) = moves {
            let message = format!("{} moves between hosts, and names none", peer.value.0);
            let finding = Finding::error(Code::AddressConflict, peer.place, message)
                .expected("an address that stays with the host");
            findings.push(finding.related(address.place, "it moves"));
        } else if instance.addresses.whole && instance.addresses_of(family).next().is_none() {
            let message = format!("{} is of {family}, and no address is", peer.value.0);
            let finding = Finding::error(Code::KeyConflict, peer.place, message);
            findings.push(finding.expected("hosts of the families in `addresses`"));
        }
    }
    for family in Family::ALL {
        let mut hosts = peers.values().map(|peer| Family::of(peer.0));
        if let Some(address) = instance.addresses_of(family).next()
            && !hosts.any(|host| host == family)
        {
            let message = format!("no host of {family} in `unicast_peers`");
            let finding = Finding::error(Code::KeyConflict, list, message)
                .expected("hosts of each family in `addresses`")
                .related(address.place, "its adverts would go to nobody");
            findings.push(finding);
        }
    }
}

/// Where adverts come from stays here, and is one address of each family. Over IPv6 and to the group, a link-local one
/// (RFC 9568, section 5.1.2.1).
fn sources(instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    let sources = &instance.unicast_source;
    if let Some(list) = sources
        .place
        .filter(|_| sources.items.is_empty() && sources.whole)
    {
        let finding = Finding::error(Code::EmptyList, list, "`unicast_source` is empty");
        let expected = "an address of this host; without the key it is looked for";
        findings.push(finding.expected(expected));
    }
    let family = |at: &At<Peer>| Family::of(at.value.0);
    for (n, source) in sources.items.iter().enumerate() {
        let before = sources.items[..n]
            .iter()
            .find(|at| family(at) == family(source));
        if let Some(first) = before {
            let message = format!("another address of {}", family(source));
            let (code, expected) = (Code::KeyConflict, "one of each family");
            findings.push(taken(code, source.place, first.place, message, expected));
        } else {
            findings.extend(source_refused(instance, source));
        }
    }
}

fn source_refused(instance: &Instance<'_>, source: &At<Peer>) -> Option<Finding> {
    let ip = source.value.0;
    let family = Family::of(ip);
    let is_owner = instance
        .priority
        .as_ref()
        .is_some_and(|at| at.value.0 == OWNER);
    let mut moving = instance.moving.iter();
    if let Some(address) = moving.find(|own| own.value.ip == ip && !is_owner) {
        let message = format!("{ip} moves between hosts, and adverts would come from it");
        let finding = Finding::error(Code::AddressConflict, source.place, message)
            .expected("an address that stays with this host");
        return Some(finding.related(address.place, "it moves"));
    }
    if instance.addresses.whole && instance.addresses_of(family).next().is_none() {
        let message = format!("{ip} is of {family}, and no address is");
        let finding = Finding::error(Code::KeyConflict, source.place, message);
        return Some(finding.expected("addresses of the families in `addresses`"));
    }
    let is_link_local = match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if !is_link_local && instance.unicast_peers.place.is_none() {
        let message = format!("adverts to all on the network can't come from {ip}");
        let finding = Finding::error(Code::KeyConflict, source.place, message);
        return Some(finding.expected("a link-local address, or `unicast_peers` beside it"));
    }
    None
}

fn count(instance: &Instance<'_>, findings: &mut Vec<Finding>) {
    for family in Family::ALL {
        if let Some(address) = instance.addresses_of(family).nth(MOST) {
            let message = format!("more than {MOST} addresses of {family}");
            let finding = Finding::error(Code::TooLarge, address.place, message);
            findings.push(finding.expected("fewer in one instance"));
        }
    }
}

impl Instance<'_> {
    fn addresses_of(&self, family: Family) -> impl Iterator<Item = &At<VirtualAddress>> {
        let all = self.moving.iter();
        all.filter(move |address| Family::of(address.value.ip) == family)
    }
}
