//! From tables as they were written to the resolved configuration. Decides nothing: what is
//! wrong was reported by `read` and `check`, and makes the result `None`.

mod health;
mod vrrp;

use std::{collections::HashMap, time::Duration};

use super::{
    places::{Item, Places},
    raw::{self, Balancing},
    schema::List,
    source::{At, Place, Sources},
    value::{Down, FlowsASecond, Name, Prefix},
};
use crate::model::{
    Access, Agent, Backend, Config, FlowRate, Gue, Health, NewFlows, OnDown, Pool, PoolIndex,
    ReplyLimits, ServerIds, Service, SourcePrefix, Timeouts, Udp, Weight, default_settle,
};

/// The configuration, if every part of it could be read.
pub(super) fn config(
    agent: &raw::Agent,
    all: Option<&raw::Access>,
    vrrp: &[raw::vrrp::Vrrp],
    balancing: &Balancing,
) -> Option<Config> {
    let pools = balancing
        .pools
        .iter()
        .map(pool)
        .collect::<Option<Vec<_>>>()?;
    let named = pools
        .iter()
        .enumerate()
        .map(|(index, pool)| (pool.name.as_str(), index));
    let named: HashMap<&str, PoolIndex> = named.collect();
    let services = balancing
        .services
        .iter()
        .map(|written| service(written, &named));
    let services = services.collect::<Option<_>>()?;
    Some(Config {
        agent: self::agent(agent)?,
        access: all.and_then(access),
        services,
        pools,
        vrrp: vrrp
            .iter()
            .map(|written| vrrp::vrrp(written, &balancing.services))
            .collect::<Option<_>>()?,
    })
}

fn agent(agent: &raw::Agent) -> Option<Agent> {
    Some(Agent {
        interfaces: agent
            .interfaces
            .values()
            .map(|name| name.0.clone())
            .collect(),
        control: agent.control.as_ref()?.0.clone(),
        stats: agent.stats?,
        state: agent.state.as_ref()?.0.clone(),
        pin: agent.pin.as_ref()?.0.clone(),
        seed: agent.seed.as_ref().map(|seed| seed.value),
        flows: agent.flows?.0,
        backends: agent.backends?.0,
        exceptions: agent.exceptions?.0,
        exception_rate: agent.exception_rate?.0,
        replies: ReplyLimits {
            errors: agent.icmp_rate?.0,
            errors_per_source: agent.icmp_rate_per_source?.0,
            resets: agent.reset_rate?.0,
            resets_per_source: agent.reset_rate_per_source?.0,
        },
        probe_sources: agent
            .probe_sources
            .values()
            .map(|address| address.0)
            .collect(),
        watch: agent.watch?,
        debug: agent.debug?,
    })
}

fn service(service: &raw::Service, pools: &HashMap<&str, PoolIndex>) -> Option<Service> {
    let named = |name: &At<Name>| pools.get(name.value.0.as_str()).copied();
    let settle = settle(service);
    Some(Service {
        name: service.name.as_ref()?.value.0.clone(),
        listen: service.listen.values().copied().collect(),
        pool: named(service.pool.as_ref()?)?,
        scheduler: or(&service.scheduler, Default::default()),
        source_prefix: source_prefix(service.source_prefix.as_ref()),
        tracking: or(&service.tracking, Default::default()),
        affinity: service.affinity.as_ref().map(|at| at.value),
        settle,
        entry_timeout: or(&service.entry_timeout, settle),
        timeouts: service
            .timeouts
            .as_ref()
            .map_or(Timeouts::DEFAULT, timeouts),
        on_down: on_down(service),
        fallback: match &service.fallback {
            Some(name) => Some(named(name)?),
            None => None,
        },
        no_backend: or(&service.no_backend, Default::default()),
        echo: service.echo?,
        mss_clamp: service.mss_clamp.as_ref().map(|at| at.value.0),
        udp: udp(service),
        server_ids: server_ids(service)?,
        access: service.access.as_ref().and_then(access),
        new_flows: service.new_flows.as_ref().map(new_flows),
        removed: false,
    })
}

/// A list, unless nothing is on it.
fn access(written: &raw::Access) -> Option<Access> {
    let prefixes = |list: &List<Prefix>| list.values().map(|prefix| prefix.0).collect();
    let access = Access {
        allow: prefixes(&written.allow),
        deny: prefixes(&written.deny),
    };
    (access != Access::default()).then_some(access)
}

/// Where no burst is named, what a second lets in may come at once.
fn new_flows(written: &raw::NewFlows) -> NewFlows {
    let rate = |at: &Option<At<FlowsASecond>>| {
        let per_second = at.as_ref()?.value.0;
        let burst = written.burst.as_ref().map(|at| at.value.0);
        let burst = burst.unwrap_or(per_second.min(1_000_000));
        Some(FlowRate { per_second, burst })
    };
    let bits = written.source_prefix.as_ref();
    let ipv4 = bits
        .and_then(|bits| bits.ipv4.as_ref())
        .map(|at| at.value.0);
    let ipv6 = bits
        .and_then(|bits| bits.ipv6.as_ref())
        .map(|at| at.value.0);
    NewFlows {
        per_source: rate(&written.per_source),
        total: written.total.as_ref().map(|at| FlowRate {
            per_second: at.value.0,
            burst: at.value.0.min(1_000_000),
        }),
        ipv4_bits: ipv4.unwrap_or(32),
        ipv6_bits: ipv6.unwrap_or(64),
    }
}

pub(super) use health::{check, pace};

/// How long a flow may be silent before it may be moved.
pub(super) fn settle(service: &raw::Service) -> Duration {
    let written = service.settle.value().map(|at| at.value);
    written.unwrap_or_else(|| default_settle(service.listen.values()))
}

fn source_prefix(written: Option<&raw::SourcePrefix>) -> SourcePrefix {
    let SourcePrefix { ipv4, ipv6 } = SourcePrefix::DEFAULT;
    let Some(written) = written else {
        return SourcePrefix::DEFAULT;
    };
    SourcePrefix {
        ipv4: written.ipv4.as_ref().map_or(ipv4, |length| length.value.0),
        ipv6: written.ipv6.as_ref().map_or(ipv6, |length| length.value.0),
    }
}

fn timeouts(written: &raw::Timeouts) -> Timeouts {
    let default = Timeouts::DEFAULT;
    Timeouts {
        handshake: or(&written.handshake, default.handshake),
        established: or(&written.established, default.established),
        closing: or(&written.closing, default.closing),
        reset: or(&written.reset, default.reset),
        udp: or(&written.udp, default.udp),
    }
}

fn on_down(service: &raw::Service) -> OnDown {
    match service.on_down.value().map(|at| at.value) {
        None | Some(Down::Reschedule) => OnDown::Reschedule,
        Some(Down::Reset) => OnDown::Reset,
        Some(Down::Keep) => OnDown::Keep {
            grace: or(&service.down_grace, OnDown::DEFAULT_GRACE),
        },
    }
}

fn udp(service: &raw::Service) -> Udp {
    if or(&service.one_packet, false) {
        Udp::OnePacket
    } else if or(&service.quic, false) {
        Udp::Quic
    } else {
        Udp::Flows
    }
}

/// How connection ids name servers, if they do.
fn server_ids(service: &raw::Service) -> Option<Option<ServerIds>> {
    let Some(written) = &service.quic_lb else {
        return Some(None);
    };
    written.server_id_length.as_ref()?;
    let configuration = written.config_id.as_ref().map_or(0, |id| id.value.0);
    Some(Some(ServerIds { configuration }))
}

/// What was written, or the default.
fn or<T: Copy>(written: &Option<At<T>>, default: T) -> T {
    written.as_ref().map_or(default, |at| at.value)
}

fn pool(pool: &raw::Pool) -> Option<Pool> {
    Some(Pool {
        name: pool.name.as_ref()?.value.0.clone(),
        forward: pool.forward?,
        source: pool.source.values().copied().collect(),
        gue: Gue {
            port: pool
                .gue_port
                .as_ref()
                .map_or(Gue::DEFAULT.port, |port| port.value.0),
            checksum: or(&pool.gue_checksum, Gue::DEFAULT.checksum),
        },
        slots: pool.slots?,
        backends: pool.backends.iter().map(backend).collect::<Option<_>>()?,
        health: match &pool.health {
            Some(written) => health::health(written)?,
            None => Health::default(),
        },
        checks: pool
            .checks
            .iter()
            .map(health::check)
            .collect::<Option<_>>()?,
    })
}

fn backend(backend: &raw::Backend) -> Option<Backend> {
    Some(Backend {
        name: backend.name.as_ref()?.value.0.clone(),
        addresses: backend.address.values().copied().collect(),
        weight: or(&backend.weight, Weight::DEFAULT),
        priority: backend.priority.as_ref().map_or(0, |at| at.value.0),
        max_flows: backend.max_flows.as_ref().map(|at| at.value.0),
        server_id: backend.server_id.value().map(|at| at.value),
    })
}

/// Where the parts stand. The indices are those of [`config`], which keeps every order.
pub(super) fn places(
    agent: &raw::Agent,
    vrrp: &[raw::vrrp::Vrrp],
    balancing: &Balancing,
    sources: &Sources,
) -> Places {
    let mut places: Vec<(Item, Place)> = Vec::new();
    note(&mut places, &agent.interfaces, Item::Interface);
    note(&mut places, &agent.probe_sources, Item::ProbeSource);
    for (vrrp, written) in vrrp.iter().enumerate() {
        let interface = written.interface.iter();
        places.extend(interface.map(|at| (Item::VrrpInterface(vrrp), at.place)));
        for (index, track) in written.track.iter().enumerate() {
            let item = Item::TrackedInterface { vrrp, index };
            places.extend(track.interface.value().map(|at| (item, at.place)));
        }
    }
    for (service, written) in balancing.services.iter().enumerate() {
        note(&mut places, &written.listen, |index| Item::Listen {
            service,
            index,
        });
    }
    for (pool, written) in balancing.pools.iter().enumerate() {
        note(&mut places, &written.source, |index| Item::Source {
            pool,
            index,
        });
        for (backend, written) in written.backends.iter().enumerate() {
            note(&mut places, &written.address, |index| Item::Address {
                pool,
                backend,
                index,
            });
        }
    }
    places
        .into_iter()
        .map(|(item, place)| (item, sources.excerpt(place)))
        .collect()
}

fn note<T>(places: &mut Vec<(Item, Place)>, list: &List<T>, item: impl Fn(usize) -> Item) {
    let listed = list.items.iter().enumerate();
    places.extend(listed.map(|(index, entry)| (item(index), entry.place)));
}
