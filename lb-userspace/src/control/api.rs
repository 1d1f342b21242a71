//! What both ends of the control socket agree on: paths, bodies, and the version of all that.
//!
//! A body is one JSON object: `api`, the version that it is written in, beside its content, or
//! beside `error` where a request failed. A field may be added at any time; anything that an older
//! client would misread makes a new [`API`].

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    changes::Changes,
    config::{Diagnostic, Recorded, Report},
    events::Event,
    model::Weight,
    overrides::Then,
    stats::{
        AgentView, ExceptionsView, InterfaceView, PoolView, Problem, Readiness, ServiceView,
        SlotsView, Snapshot, problems,
    },
    vrrp::InstanceView,
};

/// The version of paths and bodies.
pub const API: u32 = 1;

/// Header of every response: the version of the agent's binary.
pub const VERSION_HEADER: &str = "sluice-version";

/// The version of this binary.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A body: its version and its content.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Body<T> {
    api: u32,
    #[serde(flatten)]
    content: T,
}

impl<T> Body<T> {
    /// Content in the version of this binary.
    pub fn new(content: T) -> Self {
        Self { api: API, content }
    }
}

/// What can be read of a body of any version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Any {
    pub(super) api: u32,
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Why a request failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// In words.
    pub error: String,
    /// What is wrong with a configuration, one by one, if that is why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

impl From<String> for Refusal {
    fn from(error: String) -> Self {
        Self {
            error,
            ..Self::default()
        }
    }
}

impl From<&anyhow::Error> for Refusal {
    fn from(error: &anyhow::Error) -> Self {
        let report = error.downcast_ref::<Report>();
        Self {
            error: format!("{error:#}"),
            diagnostics: report.map_or_else(Vec::new, |report| report.diagnostics.clone()),
        }
    }
}

/// `/api/v1/status`: is anything wrong, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent itself.
    pub agent: AgentView,
    /// Whether it does its work.
    pub readiness: Readiness,
    /// All that is wrong, the worst first.
    pub problems: Vec<Problem>,
    /// The interfaces that the packet program is attached to, and VLAN devices over them.
    pub interfaces: Vec<InterfaceView>,
    /// How many addresses of backends have no next hop.
    pub next_hops_unresolved: usize,
    /// What instances of `[[vrrp]]` are.
    #[serde(default)]
    pub vrrp: Vec<VrrpRole>,
    /// How many services there are.
    pub services: usize,
    /// How many pools there are.
    pub pools: usize,
    /// How many backends there are, in all pools.
    pub backends: usize,
    /// Slot tables that are not settled, with the pools that they are of.
    #[serde(default)]
    pub unsettled: Vec<Unsettled>,
    /// Flows that are recorded since their slots are not settled.
    #[serde(default)]
    pub exceptions: ExceptionsView,
}

/// What an instance of `[[vrrp]]` is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpRole {
    /// Its name.
    pub name: String,
    /// Its role: `fault`, `backup`, `master`, or `apart` where its families are not the same.
    pub role: String,
}

/// What the instances are.
fn roles(snapshot: &Snapshot) -> Vec<VrrpRole> {
    let role = |instance: &InstanceView| VrrpRole {
        name: instance.name.clone(),
        role: instance.role().to_owned(),
    };
    snapshot.vrrp.iter().map(role).collect()
}

/// A pool's slot table that is not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// The pool's name.
    pub pool: String,
    /// Its slots.
    #[serde(flatten)]
    pub slots: SlotsView,
}

/// The slot tables that are not settled.
fn unsettled(snapshot: &Snapshot) -> Vec<Unsettled> {
    let tables = snapshot.pools.iter().flat_map(|pool| {
        let of_pool = |slots: &SlotsView| Unsettled {
            pool: pool.name.clone(),
            slots: slots.clone(),
        };
        let moves = pool.slots.iter().filter(|s| s.moving + s.mixed > 0);
        moves.map(of_pool).collect::<Vec<_>>()
    });
    tables.collect()
}

impl From<Snapshot> for Status {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            problems: problems(&snapshot),
            next_hops_unresolved: snapshot.next_hops_unresolved(),
            services: snapshot.services.len(),
            pools: snapshot.pools.len(),
            backends: snapshot.backends().count(),
            unsettled: unsettled(&snapshot),
            vrrp: roles(&snapshot),
            exceptions: snapshot.exceptions,
            agent: snapshot.agent,
            readiness: snapshot.readiness,
            interfaces: snapshot.interfaces,
        }
    }
}

/// `/api/v1/services`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Services {
    /// In the order of the configuration.
    pub services: Vec<ServiceView>,
}

impl From<Snapshot> for Services {
    fn from(Snapshot { services, .. }: Snapshot) -> Self {
        Self { services }
    }
}

/// `/api/v1/backends`: all backends, in their pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pools {
    /// In the order of the configuration.
    pub pools: Vec<PoolView>,
}

impl From<Snapshot> for Pools {
    fn from(Snapshot { pools, .. }: Snapshot) -> Self {
        Self { pools }
    }
}

/// `/api/v1/vrrp`: addresses that move between hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vrrp {
    /// By name.
    pub instances: Vec<InstanceView>,
}

impl From<Snapshot> for Vrrp {
    fn from(Snapshot { vrrp, .. }: Snapshot) -> Self {
        Self { instances: vrrp }
    }
}

/// `/api/v1/reload`, `/api/v1/rollback` and `/api/v1/plan`: what changed, or would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// It.
    pub changes: Changes,
    /// What the operator should know of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The body for `/api/v1/plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanBody {
    /// The files of the configuration.
    #[serde(flatten)]
    pub files: Recorded,
    /// How long to count the flows that it would touch; absent: they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_seconds: Option<u64>,
}

/// How long flows may be counted, seconds.
pub const SAMPLE_SECONDS: RangeInclusive<u64> = 1..=60;

impl PlanBody {
    /// How long to count flows, if they are to be counted.
    pub(super) fn sample(&self) -> Result<Option<Duration>, String> {
        match self.sample_seconds {
            Some(seconds) if !SAMPLE_SECONDS.contains(&seconds) => Err(format!(
                "flows are counted for {} to {} s, not for {seconds} s",
                SAMPLE_SECONDS.start(),
                SAMPLE_SECONDS.end()
            )),
            seconds => Ok(seconds.map(Duration::from_secs)),
        }
    }
}

/// Which backends: those of `target` (a pool, or `POOL/BACKEND`, or a backend's name that is unique) or those at an
/// `address` (of a host, or with a port).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// By address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// The body for `/api/v1/drain`. (That for `/api/v1/undrain` is [`Who`] alone.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainBody {
    /// Which backends.
    #[serde(flatten)]
    pub who: Who,
    /// How long the flows that remain may take; absent: as long as they like.
    #[serde(default)]
    pub deadline_seconds: Option<u64>,
    /// What becomes of them then.
    #[serde(default)]
    pub then: Then,
}

/// The body for `/api/v1/weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightBody {
    /// Which backends.
    #[serde(flatten)]
    pub who: Who,
    /// Their weight; null: the configured one. It must be there.
    #[serde(deserialize_with = "Option::deserialize")]
    pub weight: Option<Weight>,
}

/// `/api/v1/drain`, `/api/v1/undrain` and `/api/v1/weight`: what the backends are now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overridden {
    /// In their pools.
    pub pools: Vec<PoolView>,
    /// What the operator should know of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The body for `/api/v1/maintenance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceBody {
    /// Whether this host is to have no floating IPs.
    pub on: bool,
}

/// `/api/v1/maintenance`: what instances are now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Maintained {
    /// Whether this host has no floating IPs, as an operator wants.
    pub maintenance: bool,
    /// All of them.
    pub instances: Vec<InstanceView>,
}

/// The body for `/api/v1/resign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResignBody {
    /// The instance's name.
    pub instance: String,
}

/// `/api/v1/resign`: who gave their addresses up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resigned {
    /// The instance, and those of its sync group.
    pub instances: Vec<String>,
}

/// `/api/v1/events`: what happened lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// How many before these are kept no more.
    pub missed: u64,
    /// Those that are, oldest first.
    pub events: Vec<Event>,
}

/// A line of `/api/v1/events?follow=true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventLine {
    /// Something that happened.
    Event(Event),
    /// So many events come between the line before and the next one, and are kept no more.
    Gap {
        /// How many.
        missed: u64,
    },
}

/// What a client asks for: something to read (GET), or something to be done (POST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Status,
    Services,
    Backends,
    Vrrp,
    /// What happened lately, or happens.
    Events,
    /// Take the files as they are now.
    Reload,
    /// Go back to the configuration before.
    Rollback,
    /// Say what a configuration would change: [`PlanBody`].
    Plan,
    /// Drain backends: [`DrainBody`].
    Drain,
    /// Drain them no more: [`Who`].
    Undrain,
    /// Give them another weight: [`WeightBody`].
    Weight,
    /// Give all floating IPs up and take none, or take part again: [`MaintenanceBody`].
    Maintenance,
    /// Have an instance give its floating IPs up: [`ResignBody`].
    Resign,
}

impl Resource {
    pub(super) const ALL: [Self; 13] = [
        Self::Status,
        Self::Services,
        Self::Backends,
        Self::Vrrp,
        Self::Events,
        Self::Reload,
        Self::Rollback,
        Self::Plan,
        Self::Drain,
        Self::Undrain,
        Self::Weight,
        Self::Maintenance,
        Self::Resign,
    ];

    /// Its path in this version.
    pub(super) fn path(self) -> String {
        format!("/api/v{API}/{}", self.word())
    }

    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Services => "services",
            Self::Backends => "backends",
            Self::Vrrp => "vrrp",
            Self::Events => "events",
            Self::Reload => "reload",
            Self::Rollback => "rollback",
            Self::Plan => "plan",
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Weight => "weight",
            Self::Maintenance => "maintenance",
            Self::Resign => "resign",
        }
    }
}

/// What a path asks for, or why it is not served.
pub(super) fn resource(path: &str) -> Result<Resource, String> {
    if let Some(found) = Resource::ALL.into_iter().find(|r| r.path() == path) {
        return Ok(found);
    }
    let version = path.strip_prefix("/api/v").and_then(|rest| {
        let version = rest.split('/').next()?;
        version.parse::<u32>().ok()
    });
    Err(match version {
        Some(other) if other != API => {
            format!("this agent (sluice {VERSION}) serves /api/v{API}, not /api/v{other}")
        }
        Some(_) | None => {
            let known: Vec<_> = Resource::ALL.into_iter().map(Resource::path).collect();
            format!("nothing at {path}; there are {}", known.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_back() {
        for asked in Resource::ALL {
            assert_eq!(resource(&asked.path()), Ok(asked));
        }
    }

    #[test]
    fn another_version_is_named_as_such() {
        let error = resource("/api/v2/status").unwrap_err();
        assert!(error.ends_with("serves /api/v1, not /api/v2"), "{error}");
        for path in [
            "/",
            "/api/v1",
            "/api/v1/",
            "/api/v1/x",
            "/api/vx/status",
            "/api/v1/status/",
        ] {
            let error = resource(path).unwrap_err();
            assert!(error.starts_with("nothing at "), "{error}");
        }
    }
}
