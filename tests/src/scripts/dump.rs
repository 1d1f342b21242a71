//! Tables and operations in words, a line each: what changes a packet's way, by the numbers that the tables have.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use lb_common::abi::{
    Address, Backend, Fate, Forward, HopWord, Ipv4Address, Ipv6Address, NextHop, Phase, Reverse,
    Service, ServiceKind, ServiceTraits, Slot, TableId,
};
use lb_userspace::plan::{OfFamily, Operation, Tables};

/// All that the tables hold.
pub(super) fn text(tables: &Tables) -> String {
    let lines = [
        lines(&tables.devices, |n, device| {
            format!("device {n}: number {}, {}", device.ifindex, mac(device.hop))
        }),
        lines(&tables.next_hops, |n, hop| next_hop(*n, hop)),
        lines(&tables.sources.ipv4, |n, a| {
            format!("source IPv4 {n}: {}", ip(*a))
        }),
        lines(&tables.sources.ipv6, |n, a| {
            format!("source IPv6 {n}: {}", ip(*a))
        }),
        lines(&tables.backends, |n, one| backend(*n, one)),
        lines(&tables.loads, |n, load| {
            format!(
                "load {n}: weight {}, at most {} flows",
                load.weight, load.max_flows
            )
        }),
        lines(&tables.reverses.ipv4, |n, one| reverse(*n, one)),
        lines(&tables.reverses.ipv6, |n, one| reverse(*n, one)),
        lines(&tables.slots, |id, slots| slot_table(*id, slots)),
        services(tables),
    ];
    lines.concat()
}

/// What an operation does.
pub(super) fn operation(operation: &Operation) -> String {
    match operation {
        Operation::SetNextHop(n, hop) => next_hop(*n, hop),
        Operation::SetBackend(n, one) => backend(*n, one),
        Operation::SetSlots(id, changes) => {
            format!("slots {}: {} written", table(*id), changes.len())
        }
        Operation::CreateTable(id) => format!("slots {}: made", table(*id)),
        Operation::RemoveTable(id) => format!("slots {}: removed", table(*id)),
        Operation::SetService(_, OfFamily::Ipv4(one)) => service(one),
        Operation::SetService(_, OfFamily::Ipv6(one)) => service(one),
        other => {
            let text = format!("{other:?}");
            let name = text.split('(').next().unwrap_or_default();
            name.to_owned()
        }
    }
}

fn lines<K, V>(table: &BTreeMap<K, V>, line: impl Fn(&K, &V) -> String) -> String {
    let lines = table.iter().map(|(key, value)| line(key, value) + "\n");
    lines.collect()
}

fn next_hop(n: u32, hop: &NextHop) -> String {
    match hop.hop.device() {
        0 => format!("next hop {n}: none"),
        device => format!(
            "next hop {n}: device {device}, {}, MTU {}",
            mac(hop.hop),
            hop.mtu
        ),
    }
}

fn backend(n: u32, one: &Backend) -> String {
    let address = match one.version() {
        4 => ip(one.address::<Ipv4Address>()),
        _ => ip(one.address::<Ipv6Address>()),
    };
    let forward = match one.forward() {
        Some(Forward::FullNat) => "full-nat",
        Some(Forward::Nat) => "nat",
        Some(Forward::Dsr) => "dsr",
        Some(Forward::Ipip) => "ipip",
        Some(Forward::Gue) => "gue",
        None => "no mode",
    };
    let (hop, generation) = (one.next_hop(), one.generation());
    let dead = match (one.is_alive(), one.fate()) {
        (true, _) => "",
        (false, Fate::Service) => ", dead",
        (false, Fate::Reset) => ", dead, flows are reset",
        (false, Fate::Drop) => ", dead, flows are dropped",
    };
    let port = u16::from_be_bytes(one.port([0; 2]));
    format!(
        "backend {n}: {forward} to {address} port {port} by next hop {hop}, generation {generation}{dead}"
    )
}

fn reverse<A: Address>(n: u32, one: &Reverse<A>) -> String {
    let from = SocketAddr::new(ip(one.address), u16::from_be_bytes(one.port));
    format!("replies {n}: of backend {} leave from {from}", one.backend)
}

/// How many slots each backend has; those that are not settled apart.
fn slot_table(id: TableId, slots: &[Slot]) -> String {
    let mut counts: BTreeMap<(u32, bool), usize> = BTreeMap::new();
    for slot in slots {
        let settled = slot.phase() == Phase::Settled;
        *counts.entry((slot.current(), settled)).or_default() += 1;
    }
    let counts = counts.into_iter().map(|((owner, settled), count)| {
        let of = match owner {
            0 => "nobody's".to_owned(),
            owner => format!("of backend {owner}"),
        };
        format!("{count} {of}{}", if settled { "" } else { ", not settled" })
    });
    format!(
        "slots {}: {}",
        table(id),
        counts.collect::<Vec<_>>().join(", ")
    )
}

/// Services and marks, in the order of their addresses, since their places are hashes.
fn services(tables: &Tables) -> String {
    let ipv4 = tables.services.ipv4.values().map(service);
    let ipv6 = tables.services.ipv6.values().map(service);
    let mut lines: Vec<String> = ipv4.chain(ipv6).map(|line| line + "\n").collect();
    lines.sort();
    lines.concat()
}

fn service<A: Address>(one: &Service<A>) -> String {
    let key = one.key();
    let (address, port) = (ip(key.address()), u16::from_be_bytes(key.port()));
    let end = SocketAddr::new(address, port);
    let traits = one.traits();
    match one.kind() {
        ServiceKind::Empty => "a service's place: empty".into(),
        ServiceKind::Service => {
            let recorded = if traits.has(ServiceTraits::TRACKED) {
                ", tracked"
            } else {
                ""
            };
            let protocol = key.protocol();
            let (id, slots) = (one.id(), table(one.table()));
            format!("{end} protocol {protocol}: service {id}, slots {slots}{recorded}")
        }
        ServiceKind::Source => format!("{address}: a source address"),
        ServiceKind::Own if one.next_hop() != 0 => {
            format!(
                "{address}: probes come from here, by next hop {}",
                one.next_hop()
            )
        }
        ServiceKind::Own => format!("{address}: this host's own"),
        ServiceKind::Reverse => {
            format!(
                "{end}: replies {} of service {}",
                one.reverse_index(),
                one.id()
            )
        }
        ServiceKind::Group => format!("{address}: group {}", one.group_index()),
    }
}

fn table(id: TableId) -> String {
    format!("{:?} {}", id.size, id.index)
}

fn mac(hop: HopWord) -> String {
    hop.mac().0.map(|byte| format!("{byte:02x}")).join(":")
}

fn ip<A: Address>(address: A) -> IpAddr {
    // One of IPv4 is a mapped one there.
    IpAddr::V6(Ipv6Addr::from(address.to_wide())).to_canonical()
}
