//! What each item of a configuration says, key by key, in the file's own words, with defaults filled in.

mod health;

use std::{fmt::Display, time::Duration};

use crate::model::{
    Access, Agent, Backend, BackendAddress, Checksum, Config, FlowRate, Gue, NewFlows, NoBackend,
    OnDown, Pool, PoolIndex, ReplyLimits, Service, SourcePrefix, Timeouts, Tracking, Udp, Version,
    Vrrp,
};

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// One thing.
    One(String),
    /// A list, whose order means nothing.
    List(Vec<String>),
}

impl Value {
    /// In words.
    pub(super) fn text(self) -> String {
        match self {
            Self::One(text) => text,
            Self::List(entries) => entries.join(", "),
        }
    }
}

/// All keys of an item: the same ones, in the same order, of each item of a kind.
pub(super) type Keys = Vec<(&'static str, Value)>;

/// Items by name.
pub(super) type Items = Vec<(String, Keys)>;

/// `[agent]` and the access lists of all services.
pub(super) fn agent(config: &Config) -> Keys {
    let Agent {
        interfaces,
        control,
        stats,
        state,
        pin,
        seed,
        flows,
        backends,
        exceptions,
        exception_rate,
        replies,
        probe_sources,
        watch,
        debug,
    } = &config.agent;
    let ReplyLimits {
        errors,
        errors_per_source,
        resets,
        resets_per_source,
    } = replies;
    let mut keys = vec![
        ("interfaces", list(interfaces)),
        ("control", one(control.display())),
        ("stats", one(stats)),
        ("state", one(state.display())),
        ("pin", one(pin.display())),
        // A secret, but for whether it is another one.
        (
            "seed",
            option(seed.map(|seed| crate::seed::fingerprint(&seed))),
        ),
        ("flows", one(flows)),
        ("backends", one(backends)),
        ("exceptions", one(exceptions)),
        ("exception_rate", one(exception_rate)),
        ("icmp_rate", one(errors)),
        ("icmp_rate_per_source", one(errors_per_source)),
        ("reset_rate", one(resets)),
        ("reset_rate_per_source", one(resets_per_source)),
        ("probe_sources", list(probe_sources)),
        ("watch", one(watch)),
        ("debug", one(debug)),
    ];
    keys.extend(access(config.access.as_ref()));
    keys
}

/// All services.
pub(super) fn services(config: &Config) -> Items {
    let services = config.services.iter();
    let keys = |s: &Service| (s.name.clone(), service(config, s));
    services.map(keys).collect()
}

/// All pools, without their backends.
pub(super) fn pools(config: &Config) -> Items {
    let pools = config.pools.iter();
    pools.map(|p| (p.name.clone(), pool(p))).collect()
}

/// All backends, named with their pools.
pub(super) fn backends(config: &Config) -> Items {
    let backends = config.pools.iter().flat_map(|pool| {
        let named = |b: &Backend| (format!("{}/{}", pool.name, b.name), backend(b));
        pool.backends.iter().map(named)
    });
    backends.collect()
}

/// All addresses that move between hosts, by instance.
pub(super) fn vrrp(config: &Config) -> Items {
    let instances = config.vrrp.iter();
    instances.map(|v| (v.name.clone(), instance(v))).collect()
}

fn service(config: &Config, service: &Service) -> Keys {
    let Service {
        name: _,
        listen,
        pool,
        scheduler,
        source_prefix,
        tracking,
        affinity,
        settle,
        entry_timeout,
        timeouts,
        on_down,
        fallback,
        no_backend,
        echo,
        mss_clamp,
        udp,
        server_ids,
        access: lists,
        new_flows,
        removed: _,
    } = service;
    let name = |pool: PoolIndex| config.pools[pool].name.clone();
    let (down, grace) = match on_down {
        OnDown::Reschedule => ("reschedule", None),
        OnDown::Reset => ("reset", None),
        OnDown::Keep { grace } => ("keep", Some(*grace)),
    };
    let mut keys = vec![
        ("listen", list(listen)),
        ("pool", one(name(*pool))),
        ("scheduler", one(scheduler)),
        ("source_prefix", prefix(*source_prefix)),
        (
            "tracking",
            one(match tracking {
                Tracking::Auto => "auto",
                Tracking::Full => "full",
            }),
        ),
        ("affinity", option(affinity.map(time))),
        ("settle", one(time(*settle))),
        ("entry_timeout", one(time(*entry_timeout))),
    ];
    keys.extend(times(*timeouts));
    keys.extend([
        ("on_down", one(down)),
        ("down_grace", option(grace.map(time))),
        ("fallback", option(fallback.map(name))),
        (
            "no_backend",
            one(match no_backend {
                NoBackend::Reject => "reject",
                NoBackend::Drop => "drop",
            }),
        ),
        ("echo", one(echo)),
        ("mss_clamp", option(*mss_clamp)),
        ("one_packet", one(*udp == Udp::OnePacket)),
        ("quic", one(*udp == Udp::Quic)),
        (
            "quic_lb.config_id",
            option(server_ids.map(|ids| ids.configuration)),
        ),
    ]);
    keys.extend(access(lists.as_ref()));
    keys.extend(limits(*new_flows));
    keys
}

fn times(timeouts: Timeouts) -> Keys {
    let Timeouts {
        handshake,
        established,
        closing,
        reset,
        udp,
    } = timeouts;
    vec![
        ("timeouts.handshake", one(time(handshake))),
        ("timeouts.established", one(time(established))),
        ("timeouts.closing", one(time(closing))),
        ("timeouts.reset", one(time(reset))),
        ("timeouts.udp", one(time(udp))),
    ]
}

fn access(lists: Option<&Access>) -> Keys {
    let none = Access::default();
    let Access { allow, deny } = lists.unwrap_or(&none);
    let networks = |prefixes: &[crate::model::Network]| {
        let text = prefixes.iter().map(|(ip, bits)| format!("{ip}/{bits}"));
        Value::List(text.collect())
    };
    vec![
        ("access.allow", networks(allow)),
        ("access.deny", networks(deny)),
    ]
}

fn limits(new_flows: Option<NewFlows>) -> Keys {
    let rate = |rate: fn(&NewFlows) -> Option<FlowRate>| {
        let rate = new_flows.as_ref().and_then(rate);
        option(rate.map(|FlowRate { per_second, burst }| {
            format!("{per_second} a second, {burst} at once")
        }))
    };
    let sources = new_flows.map(|limits| SourcePrefix {
        ipv4: limits.ipv4_bits,
        ipv6: limits.ipv6_bits,
    });
    vec![
        ("new_flows.per_source", rate(|limits| limits.per_source)),
        ("new_flows.total", rate(|limits| limits.total)),
        (
            "new_flows.source_prefix",
            sources.map_or_else(|| option(None::<u8>), prefix),
        ),
    ]
}

fn pool(pool: &Pool) -> Keys {
    let Pool {
        name: _,
        forward,
        source,
        gue,
        slots,
        backends: _,
        health,
        checks,
    } = pool;
    let Gue { port, checksum } = gue;
    let mut keys = vec![
        ("forward", one(forward)),
        ("source", list(source)),
        ("gue_port", one(port)),
        ("gue_checksum", one(checksum)),
        ("slots", one(slots.slots())),
    ];
    keys.extend(self::health::health(health));
    keys.push(("check", self::health::checks(checks)));
    keys
}

fn backend(backend: &Backend) -> Keys {
    let Backend {
        name: _,
        addresses,
        weight,
        priority,
        max_flows,
        server_id,
    } = backend;
    let addresses = addresses.iter().map(BackendAddress::to_string);
    vec![
        ("address", Value::List(addresses.collect())),
        ("weight", one(weight.value())),
        ("priority", one(priority)),
        ("max_flows", option(*max_flows)),
        ("server_id", option(*server_id)),
    ]
}

fn instance(instance: &Vrrp) -> Keys {
    let Vrrp {
        name: _,
        interface,
        vrid,
        priority,
        interval,
        version,
        addresses,
        link_local,
        preempt,
        accept,
        refresh,
        unicast_peers,
        sources,
        checksum,
        password,
        sync_group,
        track,
        notify,
    } = instance;
    let words = notify.as_ref().map(|notify| {
        let program = [notify.program.display().to_string()];
        [&program, notify.arguments.as_slice()].concat()
    });
    let timeout = notify.as_ref().map(|notify| time(notify.timeout));
    vec![
        ("interface", one(interface)),
        ("vrid", one(vrid)),
        ("priority", one(priority)),
        ("interval", one(time(*interval))),
        (
            "version",
            one(match version {
                Version::V2 => 2,
                Version::V3 => 3,
            }),
        ),
        ("addresses", list(addresses)),
        ("link_local", option(*link_local)),
        ("preempt", one(preempt.is_some())),
        ("preempt_delay", option(preempt.map(time))),
        ("accept", one(accept)),
        ("refresh", one(time(*refresh))),
        ("unicast_peers", list(unicast_peers)),
        ("unicast_source", list(sources)),
        (
            "checksum",
            one(match checksum {
                Checksum::Packet => "packet",
                Checksum::PseudoHeader => "pseudo-header",
            }),
        ),
        // No secret: every host on the network hears it.
        ("password", option(password.as_ref())),
        ("sync_group", option(sync_group.as_ref())),
        ("track", list(track)),
        ("notify", list(&words.unwrap_or_default())),
        ("notify_timeout", option(timeout)),
    ]
}

fn prefix(SourcePrefix { ipv4, ipv6 }: SourcePrefix) -> Value {
    one(format!("IPv4 {ipv4}, IPv6 {ipv6}"))
}

fn one(value: impl Display) -> Value {
    Value::One(value.to_string())
}

fn option(value: Option<impl Display>) -> Value {
    value.map_or_else(|| one("none"), one)
}

fn list<T: Display>(entries: &[T]) -> Value {
    Value::List(entries.iter().map(T::to_string).collect())
}

fn time(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}
