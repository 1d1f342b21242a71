//! The tables of the files as they are written: every key that a configuration can have is named
//! here, once. No value depends on another yet.
//!
//! A field that is `None` was reported already (or may be left out, where it says so).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    read::Fields,
    schema::{List, Table},
    source::{At, Place},
    value::{AbsolutePath, Flows, Interface, Name, Pattern, SocketPath},
};
use crate::model::{
    BackendAddress, DEFAULT_CONTROL, Forward, Listen, Scheduler, Seed, TableSize, Weight,
};

/// The main file.
pub(super) struct Main {
    pub include: List<Pattern>,
    pub agent: Option<Agent>,
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
    pub interfaces: List<Interface>,
    pub control: Option<SocketPath>,
    pub stats: Option<SocketAddr>,
    pub state: Option<AbsolutePath>,
    pub pin: Option<AbsolutePath>,
    /// May be left out.
    pub seed: Option<At<Seed>>,
    pub flows: Option<Flows>,
    pub debug: Option<bool>,
}

pub(super) struct Service {
    pub name: Option<At<Name>>,
    pub listen: List<Listen>,
    pub pool: Option<At<Name>>,
    pub scheduler: Option<Scheduler>,
}

pub(super) struct Pool {
    pub place: Place,
    pub name: Option<At<Name>>,
    pub forward: Option<Forward>,
    pub source: List<IpAddr>,
    pub slots: Option<TableSize>,
    pub backends: Vec<Backend>,
}

pub(super) struct Backend {
    pub name: Option<At<Name>>,
    pub address: List<BackendAddress>,
    /// May be left out.
    pub weight: Option<At<Weight>>,
}

impl Table for Main {
    const HEADER: &'static str = "the main file";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            include: fields.list("include"),
            agent: fields.required_table("agent"),
            balancing: balancing(fields),
        }
    }
}

impl Table for Included {
    const HEADER: &'static str = "an included file";

    fn read(fields: &mut Fields<'_>) -> Self {
        fields.refuse(&["agent", "include"]);
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
            interfaces: fields.required_list("interfaces"),
            control: fields.or("control", SocketPath(DEFAULT_CONTROL.into())),
            stats: fields.or("stats", stats),
            state: fields.or("state", AbsolutePath("/var/lib/sluice".into())),
            pin: fields.or("pin", AbsolutePath("/sys/fs/bpf/sluice".into())),
            seed: fields.optional("seed"),
            flows: fields.or("flows", Flows(262_144)),
            debug: fields.or("debug", false),
        }
    }
}

impl Table for Service {
    const HEADER: &'static str = "[[service]]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.required("name"),
            listen: fields.required_list("listen"),
            pool: fields.required("pool"),
            scheduler: fields.or("scheduler", Scheduler::default()),
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
            slots: fields.or("slots", TableSize::default()),
            backends: fields.tables("backend"),
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
        }
    }
}
