//! `[[vrrp]]` as it is written.

use std::time::Duration;

use crate::{
    config::{
        read::Fields,
        schema::{List, Table, Written},
        source::At,
        value::{Interface, Name},
        vrrp::{HostPriority, LinkLocal, Password, Peer, Vrid},
    },
    model::{Checksum, Version, VirtualAddress},
};

/// All but name, interface, number and addresses may be left out.
pub(in crate::config) struct Vrrp {
    pub name: Option<At<Name>>,
    pub interface: Option<At<Interface>>,
    pub vrid: Option<At<Vrid>>,
    pub priority: Option<At<HostPriority>>,
    pub interval: Written<Duration>,
    pub version: Written<Version>,
    pub addresses: List<VirtualAddress>,
    pub link_local: Option<At<LinkLocal>>,
    pub preempt: Option<At<bool>>,
    pub preempt_delay: Option<At<Duration>>,
    pub refresh: Option<Duration>,
    pub unicast_peers: List<Peer>,
    pub checksum: Option<At<Checksum>>,
    pub password: Option<At<Password>>,
}

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
            refresh: fields.or("refresh", Duration::from_secs(60)),
            unicast_peers: fields.list("unicast_peers"),
            checksum: fields.optional("checksum"),
            password: fields.optional("password"),
        }
    }
}

impl Vrrp {
    /// The version, unless it can't be read.
    pub(in crate::config) fn version(&self) -> Option<Version> {
        match &self.version {
            Written::Not => Some(Version::V3),
            Written::Broken => None,
            Written::As(at) => Some(at.value),
        }
    }
}
