//! The tables of the files as they are written: every key that a configuration can have is named
//! here, once; those about health in `health`, those of addresses that move in `vrrp`. No value depends on another yet.
//!
//! A field that is `None` was reported already (or may be left out, where it says so).

pub(super) mod health;
pub(super) mod vrrp;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use lb_common::abi::DEFAULT_BACKENDS;

use super::{
    number::{
        Backends, Burst, ConfigId, ExceptionRate, Exceptions, Flows, Ipv4Length, Ipv6Length,
        MaxFlows, Port, Priority, ReplyRate, SegmentSize, ServerIdLength,
    },
    probe::CheckAddress,
    read::Fields,
    schema::{List, Table, Written},
    source::{At, Place},
    value::{AbsolutePath, Down, FlowsASecond, Interface, Name, Pattern, Prefix, SocketPath},
};
use crate::model::{
    BackendAddress, DEFAULT_CONTROL, DEFAULT_PIN, Forward, Listen, NoBackend, Scheduler, Seed,
    ServerId, Source, TableSize, Tracking, Weight,
};

/// The main file.
pub(super) struct Main {
    pub include: List<Pattern>,
    pub agent: Option<Agent>,
    /// May be left out.
    pub access: Option<Access>,
    pub vrrp: Vec<vrrp::Vrrp>,
    pub balancing: Balancing,
}

/// Services and pools: what every file can hold.
#[derive(Default)]
pub(super) struct Balancing {
    pub services: Vec<Service>,
    pub pools: Vec<Pool>,
}

/// An included file.
pub(super) struct Included(pub Balancing);

pub(super) struct Agent {
    /// May be empty.
    pub interfaces: List<Interface>,
    pub control: Option<SocketPath>,
    pub stats: Option<SocketAddr>,
    pub state: Option<AbsolutePath>,
    pub pin: Option<AbsolutePath>,
    /// May be left out.
    pub seed: Option<At<Seed>>,
    pub flows: Option<Flows>,
    pub backends: Option<Backends>,
    pub exceptions: Option<Exceptions>,
    pub exception_rate: Option<ExceptionRate>,
    pub icmp_rate: Option<ReplyRate>,
    pub icmp_rate_per_source: Option<ReplyRate>,
    pub reset_rate: Option<ReplyRate>,
    pub reset_rate_per_source: Option<ReplyRate>,
    /// May be left out.
    pub probe_sources: List<CheckAddress>,
    pub watch: Option<bool>,
    pub debug: Option<bool>,
}

/// All but name, addresses and pool may be left out.
pub(super) struct Service {
    pub place: Place,
    pub name: Option<At<Name>>,
    pub listen: List<Listen>,
    pub pool: Option<At<Name>>,
    pub scheduler: Option<At<Scheduler>>,
    pub source_prefix: Option<SourcePrefix>,
    pub tracking: Option<At<Tracking>>,
    pub affinity: Option<At<Duration>>,
    pub settle: Written<Duration>,
    pub entry_timeout: Option<At<Duration>>,
    pub timeouts: Option<Timeouts>,
    pub on_down: Written<Down>,
    pub down_grace: Option<At<Duration>>,
    pub fallback: Option<At<Name>>,
    pub no_backend: Option<At<NoBackend>>,
    pub echo: Option<bool>,
    pub mss_clamp: Option<At<SegmentSize>>,
    pub one_packet: Option<At<bool>>,
    pub quic: Option<At<bool>>,
    pub quic_lb: Option<QuicLb>,
    pub access: Option<Access>,
    pub new_flows: Option<NewFlows>,
}

pub(super) struct QuicLb {
    pub place: Place,
    /// May be left out.
    pub config_id: Option<At<ConfigId>>,
    pub server_id_length: Option<At<ServerIdLength>>,
}

/// Both may be left out.
pub(super) struct Access {
    pub allow: List<Prefix>,
    pub deny: List<Prefix>,
}

/// All may be left out.
pub(super) struct NewFlows {
    pub place: Place,
    pub per_source: Option<At<FlowsASecond>>,
    pub total: Option<At<FlowsASecond>>,
    pub burst: Option<At<Burst>>,
    pub source_prefix: Option<SourcePrefix>,
}

pub(super) struct SourcePrefix {
    pub place: Place,
    pub ipv4: Option<At<Ipv4Length>>,
    pub ipv6: Option<At<Ipv6Length>>,
}

pub(super) struct Timeouts {
    pub place: Place,
    pub handshake: Option<At<Duration>>,
    pub established: Option<At<Duration>>,
    pub closing: Option<At<Duration>>,
    pub reset: Option<At<Duration>>,
    pub udp: Option<At<Duration>>,
}

pub(super) struct Pool {
    pub place: Place,
    pub name: Option<At<Name>>,
    pub forward: Option<Forward>,
    pub source: List<Source>,
    /// May be left out.
    pub gue_port: Option<At<Port>>,
    /// May be left out.
    pub gue_checksum: Option<At<bool>>,
    pub slots: Option<TableSize>,
    pub backends: Vec<Backend>,
    /// May be left out.
    pub health: Option<health::Health>,
    pub checks: Vec<health::Check>,
}

pub(super) struct Backend {
    pub name: Option<At<Name>>,
    pub address: List<BackendAddress>,
    /// May be left out.
    pub weight: Option<At<Weight>>,
    /// May be left out.
    pub priority: Option<At<Priority>>,
    /// May be left out.
    pub max_flows: Option<At<MaxFlows>>,
    pub server_id: Written<ServerId>,
}

impl Table for Main {
    const HEADER: &'static str = "the main file";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            include: fields.list("include"),
            agent: fields.required_table("agent"),
            access: fields.optional_table("access"),
            vrrp: fields.tables("vrrp"),
            balancing: balancing(fields),
        }
    }
}

impl Table for Included {
    const HEADER: &'static str = "an included file";

    fn read(fields: &mut Fields<'_>) -> Self {
        fields.refuse(&["agent", "access", "include", "vrrp"]);
        Self(balancing(fields))
    }
}

fn balancing(fields: &mut Fields<'_>) -> Balancing {
    Balancing {
        services: fields.tables("service"),
        pools: fields.tables("pool"),
    }
}

impl Balancing {
    /// Adds what another file holds.
    pub(super) fn append(&mut self, mut other: Self) {
        self.services.append(&mut other.services);
        self.pools.append(&mut other.pools);
    }
}

impl Table for Agent {
    const HEADER: &'static str = "[agent]";

    fn read(fields: &mut Fields<'_>) -> Self {
        let stats = SocketAddr::from((Ipv4Addr::LOCALHOST, 9633));
        Self {
            interfaces: fields.present_list("interfaces"),
            control: fields.or("control", SocketPath(DEFAULT_CONTROL.into())),
            stats: fields.or("stats", stats),
            state: fields.or("state", AbsolutePath("/var/lib/sluice".into())),
            pin: fields.or("pin", AbsolutePath(DEFAULT_PIN.into())),
            seed: fields.optional("seed"),
            flows: fields.or("flows", Flows(262_144)),
            backends: fields.or("backends", Backends(DEFAULT_BACKENDS)),
            exceptions: fields.or("exceptions", Exceptions(65_536)),
            exception_rate: fields.or("exception_rate", ExceptionRate(50_000)),
            icmp_rate: fields.or("icmp_rate", ReplyRate(1000)),
            icmp_rate_per_source: fields.or("icmp_rate_per_source", ReplyRate(20)),
            reset_rate: fields.or("reset_rate", ReplyRate(10_000)),
            reset_rate_per_source: fields.or("reset_rate_per_source", ReplyRate(200)),
            probe_sources: fields.list("probe_sources"),
            watch: fields.or("watch", false),
            debug: fields.or("debug", false),
        }
    }
}

impl Table for Service {
    const HEADER: &'static str = "[[service]]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            name: fields.required("name"),
            listen: fields.required_list("listen"),
            pool: fields.required("pool"),
            scheduler: fields.optional("scheduler"),
            source_prefix: fields.optional_table("source_prefix"),
            tracking: fields.optional("tracking"),
            affinity: fields.optional("affinity"),
            settle: fields.written("settle"),
            entry_timeout: fields.optional("entry_timeout"),
            timeouts: fields.optional_table("timeouts"),
            on_down: fields.written("on_down"),
            down_grace: fields.optional("down_grace"),
            fallback: fields.optional("fallback"),
            no_backend: fields.optional("no_backend"),
            echo: fields.or("echo", true),
            mss_clamp: fields.optional("mss_clamp"),
            one_packet: fields.optional("one_packet"),
            quic: fields.optional("quic"),
            quic_lb: fields.optional_table("quic_lb"),
            access: fields.optional_table("access"),
            new_flows: fields.optional_table("new_flows"),
        }
    }
}

impl Table for QuicLb {
    const HEADER: &'static str = "quic_lb = { … }";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            config_id: fields.optional("config_id"),
            server_id_length: fields.required("server_id_length"),
        }
    }
}

impl Table for Access {
    const HEADER: &'static str = "access = { … }";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            allow: fields.list("allow"),
            deny: fields.list("deny"),
        }
    }
}

impl Table for NewFlows {
    const HEADER: &'static str = "new_flows = { … }";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            per_source: fields.optional("per_source"),
            total: fields.optional("total"),
            burst: fields.optional("burst"),
            source_prefix: fields.optional_table("source_prefix"),
        }
    }
}

impl Table for SourcePrefix {
    const HEADER: &'static str = "source_prefix = { … }";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            ipv4: fields.optional("ipv4"),
            ipv6: fields.optional("ipv6"),
        }
    }
}

impl Table for Timeouts {
    const HEADER: &'static str = "[service.timeouts]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            handshake: fields.optional("handshake"),
            established: fields.optional("established"),
            closing: fields.optional("closing"),
            reset: fields.optional("reset"),
            udp: fields.optional("udp"),
        }
    }
}

impl Table for Pool {
    const HEADER: &'static str = "[[pool]]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            name: fields.required("name"),
            forward: fields.or("forward", Forward::default()),
            source: fields.list("source"),
            gue_port: fields.optional("gue_port"),
            gue_checksum: fields.optional("gue_checksum"),
            slots: fields.or("slots", TableSize::default()),
            backends: fields.tables("backend"),
            health: fields.optional_table("health"),
            checks: fields.tables("check"),
        }
    }
}

impl Table for Backend {
    const HEADER: &'static str = "[[pool.backend]]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.required("name"),
            address: fields.one_or_more("address"),
            weight: fields.optional("weight"),
            priority: fields.optional("priority"),
            max_flows: fields.optional("max_flows"),
            server_id: fields.written("server_id"),
        }
    }
}
