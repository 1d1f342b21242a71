//! Probes that go through services: their backends' entries, which are there as long as there is a way, whatever health
//! and operators say of the backend; and the marks of the addresses that they come from, for what backends answer
//! themselves.

use std::net::IpAddr;

use lb_common::abi::{Ipv4Address, Ipv6Address, Service};

use crate::plan::Tables;

use super::{
    backends::probed,
    desired::{Inputs, usable_hop},
    ids::Ids,
};

/// What they need.
pub(super) fn fill(inputs: Inputs<'_>, tables: &mut Tables) {
    for (&id, index) in &inputs.ids.probed {
        if let Some(backend) = probed(inputs, id, index.generation()) {
            tables.backends.insert(index.index(), backend);
        }
    }
    for &source in &inputs.ids.probe_sources {
        let next_hop = inputs.ids.next_hops.get(&source).copied();
        if let Some(next_hop) = next_hop.filter(|_| usable_hop(inputs, source).is_some()) {
            mark(inputs.ids, source, next_hop, tables);
        }
    }
}

fn mark(ids: &Ids, source: IpAddr, next_hop: u32, tables: &mut Tables) {
    match source {
        IpAddr::V4(ip) => {
            let mark = Service::probe(Ipv4Address::from(ip), next_hop);
            if let Some(&position) = ids.positions.ipv4.get(&mark.key()) {
                tables.services.ipv4.insert(position, mark);
            }
        }
        IpAddr::V6(ip) => {
            let mark = Service::probe(Ipv6Address::from(ip), next_hop);
            if let Some(&position) = ids.positions.ipv6.get(&mark.key()) {
                tables.services.ipv6.insert(position, mark);
            }
        }
    }
}
