//! `[[vrrp]]`, with every default filled in.

use std::time::Duration;

use super::or;
use crate::{
    config::raw::vrrp::Vrrp as Written,
    model::{Checksum, Vrrp},
};

/// How often the one that has the addresses says so, where nothing else is said (RFC 9568, section 6.1).
const INTERVAL: Duration = Duration::from_secs(1);

/// The priority, likewise.
const PRIORITY: u8 = 100;

pub(super) fn vrrp(written: &Written) -> Option<Vrrp> {
    let vrid = written.vrid.as_ref()?.value.0;
    let mut addresses = written.addresses.values();
    let has_ipv6 = addresses.any(|address| address.ip.is_ipv6());
    let link_local = written.link_local.as_ref();
    let link_local = link_local.map_or_else(|| Vrrp::default_link_local(vrid), |at| at.value.0);
    let delay = or(&written.preempt_delay, Duration::ZERO);
    Some(Vrrp {
        name: written.name.as_ref()?.value.0.clone(),
        interface: written.interface.as_ref()?.value.0.clone(),
        vrid,
        priority: written.priority.as_ref().map_or(PRIORITY, |at| at.value.0),
        interval: written.interval.value().map_or(INTERVAL, |at| at.value),
        version: written.version()?,
        addresses: written.addresses.values().copied().collect(),
        link_local: has_ipv6.then_some(link_local),
        preempt: or(&written.preempt, true).then_some(delay),
        refresh: written.refresh?,
        unicast_peers: written.unicast_peers.values().map(|peer| peer.0).collect(),
        checksum: or(&written.checksum, Checksum::PseudoHeader),
        password: written.password.as_ref().map(|at| at.value.0.clone()),
    })
}
