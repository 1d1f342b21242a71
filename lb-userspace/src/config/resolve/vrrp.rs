//! `[[vrrp]]`, with every default filled in.

use std::{net::Ipv4Addr, time::Duration};

use super::{health, or};
use crate::{
    config::raw::{Service, vrrp as raw},
    model::{Checksum, Cost, Notify, Track, Tracked, Vrrp},
};

/// How often the one that has the addresses says so, where nothing else is said (RFC 9568, section 6.1).
const INTERVAL: Duration = Duration::from_secs(1);

/// The priority, likewise.
const PRIORITY: u8 = 100;

/// So many healthy backends are enough of a tracked pool, likewise.
const LEAST: u32 = 1;

/// How long a notify hook may take, likewise.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn vrrp(written: &raw::Vrrp, services: &[Service]) -> Option<Vrrp> {
    let vrid = written.vrid.as_ref()?.value.0;
    let moving = written.moving(services).into_iter();
    let addresses: Vec<_> = moving.map(|at| at.value).collect();
    let has_ipv6 = addresses.iter().any(|address| address.ip.is_ipv6());
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
        addresses,
        link_local: has_ipv6.then_some(link_local),
        preempt: or(&written.preempt, true).then_some(delay),
        accept: or(&written.accept, true),
        refresh: written.refresh?,
        sources: written.unicast_source.values().map(|own| own.0).collect(),
        unicast_peers: written.unicast_peers.values().map(|peer| peer.0).collect(),
        checksum: or(&written.checksum, Checksum::PseudoHeader),
        password: written.password.as_ref().map(|at| at.value.0.clone()),
        sync_group: written.sync_group.as_ref().map(|at| at.value.0.clone()),
        track: written.track.iter().map(track).collect::<Option<_>>()?,
        notify: notify(written),
    })
}

fn notify(written: &raw::Vrrp) -> Option<Notify> {
    let mut words = written.notify.as_ref()?.values().map(|word| word.0.clone());
    Some(Notify {
        program: words.next()?.into(),
        arguments: words.collect(),
        timeout: or(&written.notify_timeout, NOTIFY_TIMEOUT),
    })
}

fn track(written: &raw::Track) -> Option<Track> {
    Some(Track {
        subject: subject(written)?,
        cost: match written.penalty.value() {
            Some(penalty) => Cost::Penalty(penalty.value.0.get()),
            None => Cost::Fault,
        },
    })
}

fn subject(written: &raw::Track) -> Option<Tracked> {
    let interface = written.interface.value();
    let interface = interface.map(|at| Tracked::Interface(at.value.0.clone()));
    let pool = written.pool.value().map(|at| Tracked::Pool {
        name: at.value.0.clone(),
        at_least: written.at_least.as_ref().map_or(LEAST, |at| at.value.0),
    });
    let check = written.check.as_ref().and_then(|check| {
        let mut check = health::check(&check.0)?;
        check.address.get_or_insert(Ipv4Addr::LOCALHOST.into());
        Some(Tracked::Check(Box::new(check)))
    });
    let files = [(&written.file, true), (&written.no_file, false)];
    let file = files.into_iter().find_map(|(path, present)| {
        let path = path.value()?.value.0.clone();
        Some(Tracked::File { path, present })
    });
    let data_plane = written.data_plane.value().map(|_| Tracked::DataPlane);
    interface.or(pool).or(check).or(file).or(data_plane)
}
