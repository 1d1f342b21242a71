//! `[[vrrp]]` as it is written.

use std::{collections::HashSet, time::Duration};

use crate::{
    config::{
        probe::Argument,
        read::Fields,
        schema::{List, Table, Written},
        source::{At, Place},
        value::{AbsolutePath, Interface, Name},
        vrrp::{HostPriority, Least, LinkLocal, Moving, Password, Peer, Penalty, Vrid},
    },
    model::{Checksum, Listen, Version, VirtualAddress},
};

use super::{Service, health::Check};

/// All but name, interface, number and addresses may be left out.
pub(in crate::config) struct Vrrp {
    pub name: Option<At<Name>>,
    pub interface: Option<At<Interface>>,
    pub vrid: Option<At<Vrid>>,
    pub priority: Option<At<HostPriority>>,
    pub interval: Written<Duration>,
    pub version: Written<Version>,
    pub addresses: List<Moving>,
    pub link_local: Option<At<LinkLocal>>,
    pub preempt: Option<At<bool>>,
    pub preempt_delay: Option<At<Duration>>,
    pub accept: Option<At<bool>>,
    pub refresh: Option<Duration>,
    pub unicast_peers: List<Peer>,
    pub unicast_source: List<Peer>,
    pub checksum: Option<At<Checksum>>,
    pub password: Option<At<Password>>,
    pub sync_group: Option<At<Name>>,
    pub track: Vec<Track>,
    pub notify: Option<List<Argument>>,
    pub notify_timeout: Option<At<Duration>>,
}

/// One subject, and one of `penalty` and `fault`.
pub(in crate::config) struct Track {
    pub place: Place,
    pub interface: Written<Interface>,
    pub pool: Written<Name>,
    pub at_least: Option<At<Least>>,
    pub check: Option<HostCheck>,
    pub file: Written<AbsolutePath>,
    pub no_file: Written<AbsolutePath>,
    pub data_plane: Written<bool>,
    pub penalty: Written<Penalty>,
    pub fault: Written<bool>,
}

/// A check that is no pool's.
pub(in crate::config) struct HostCheck(pub Check);

impl Table for Vrrp {
    const HEADER: &'static str = "[[vrrp]]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.required("name"),
            interface: fields.required("interface"),
            vrid: fields.required("vrid"),
            priority: fields.optional("priority"),
            interval: fields.written("interval"),
            version: fields.written("version"),
            addresses: fields.required_list("addresses"),
            link_local: fields.optional("link_local"),
            preempt: fields.optional("preempt"),
            preempt_delay: fields.optional("preempt_delay"),
            accept: fields.optional("accept"),
            refresh: fields.or("refresh", Duration::from_secs(60)),
            unicast_peers: fields.list("unicast_peers"),
            unicast_source: fields.list("unicast_source"),
            checksum: fields.optional("checksum"),
            password: fields.optional("password"),
            sync_group: fields.optional("sync_group"),
            track: fields.tables("track"),
            notify: fields.optional_one_or_more("notify"),
            notify_timeout: fields.optional("notify_timeout"),
        }
    }
}

/// What the services of a name listen on: there is one, or a finding.
pub(in crate::config) fn listened<'a>(
    services: &'a [Service],
    name: &'a Name,
) -> impl Iterator<Item = Listen> + 'a {
    let is_meant = |service: &&Service| service.name.as_ref().is_some_and(|at| at.value == *name);
    let meant = services.iter().filter(is_meant);
    meant.flat_map(|service| service.listen.values().copied())
}

impl Table for Track {
    const HEADER: &'static str = "[[vrrp.track]]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            interface: fields.written("interface"),
            pool: fields.written("pool"),
            at_least: fields.optional("at_least"),
            check: fields.optional_table("check"),
            file: fields.written("file"),
            no_file: fields.written("no_file"),
            data_plane: fields.written("data_plane"),
            penalty: fields.written("penalty"),
            fault: fields.written("fault"),
        }
    }
}

impl Table for HostCheck {
    const HEADER: &'static str = "check = { … }";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self(Check::read(fields))
    }
}

impl Vrrp {
    /// The addresses that move, those of services among them, each at the entry that names it. One that several
    /// services listen on is there once.
    pub(in crate::config) fn moving(&self, services: &[Service]) -> Vec<At<VirtualAddress>> {
        let mut moving: Vec<At<VirtualAddress>> = Vec::new();
        for entry in &self.addresses.items {
            let mut add = |value| {
                moving.push(At {
                    value,
                    place: entry.place,
                })
            };
            match &entry.value {
                Moving::Address(address) => add(*address),
                Moving::Service(name) => listened(services, name)
                    .filter(|listen| !listen.is_prefix())
                    .for_each(|listen| {
                        let (ip, length) = listen.network();
                        add(VirtualAddress { ip, length });
                    }),
            }
        }
        let mut seen = HashSet::new();
        let is_named = |place| {
            let entries = self.addresses.items.iter();
            let mut named = entries.filter(|at| matches!(at.value, Moving::Address(_)));
            named.any(|at| at.place == place)
        };
        moving.retain(|at| is_named(at.place) | seen.insert(at.value.ip));
        moving
    }

    /// The version, unless it can't be read.
    pub(in crate::config) fn version(&self) -> Option<Version> {
        match &self.version {
            Written::Not => Some(Version::V3),
            Written::Broken => None,
            Written::As(at) => Some(at.value),
        }
    }
}
