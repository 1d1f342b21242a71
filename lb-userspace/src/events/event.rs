//! What can happen: plain data, as the control socket tells it. A kind has a name, which is stable, and fields of its own.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::model::Family;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: from 1 on since the agent's start.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// The role of an instance of `[[vrrp]]` changed.
    Vrrp(VrrpEvent),
    /// Another configuration is in use.
    Reload(ReloadEvent),
    /// One could not be taken.
    ReloadFailed(ReloadFailedEvent),
    /// An operator said something of backends.
    Override(OverrideEvent),
    /// A backend went up or down.
    Backend(BackendEvent),
    /// An operator keeps this host from having floating IPs, or does so no more.
    Maintenance(MaintenanceEvent),
    /// An operator had instances of `[[vrrp]]` give their addresses up.
    Resign(ResignEvent),
    /// A notify hook failed.
    HookFailed(HookFailedEvent),
}

/// An instance of `[[vrrp]]`, as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpEvent {
    /// Its name.
    pub instance: String,
    /// Its interface.
    pub interface: String,
    /// Its number.
    pub vrid: u8,
    /// Its role: `fault`, `backup`, `master`, or `apart` where its families are not the same.
    pub role: String,
    /// What it is in each of its families.
    pub families: BTreeMap<Family, String>,
    /// Why.
    pub reason: String,
    /// This host's priority.
    pub priority: u8,
    /// What keeps it from taking part.
    pub fault: Option<String>,
}

/// A configuration that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadEvent {
    /// How: `reload` or `rollback`.
    pub by: String,
    /// Counts the configurations since the agent's start.
    pub generation: u64,
}

/// A configuration that was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadFailedEvent {
    /// How: `reload` or `rollback`.
    pub by: String,
    /// Why.
    pub error: String,
}

/// What an operator said of backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideEvent {
    /// What they are now, in words: `drained`.
    pub what: String,
    /// The first of them, each as `POOL/BACKEND`.
    pub backends: Vec<String>,
    /// How many they are.
    pub count: usize,
}

/// A backend at one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendEvent {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub backend: String,
    /// The family of the address.
    pub family: Family,
    /// What it is now: `up`, `down` or `held`.
    pub state: String,
    /// What happened, and why, in words.
    pub why: String,
}

/// What an operator said of all floating IPs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceEvent {
    /// Whether this host takes none.
    pub on: bool,
}

/// Addresses that an operator had given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResignEvent {
    /// Who gave theirs up.
    pub instances: Vec<String>,
}

/// A notify hook that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFailedEvent {
    /// Its instance.
    pub instance: String,
    /// How, as in `sluice_vrrp_notify_total`: `timeout`.
    pub outcome: String,
    /// The same in words.
    pub why: String,
}

impl fmt::Display for What {
    /// In a line, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vrrp(event) => event.fmt(f),
            Self::Reload(ReloadEvent { by, generation }) => {
                write!(f, "{by}: configuration {generation} is in use")
            }
            Self::ReloadFailed(ReloadFailedEvent { by, error }) => {
                let first = error.lines().next().unwrap_or_default();
                write!(f, "{by} failed: {first}")
            }
            Self::Override(event) => event.fmt(f),
            Self::Backend(event) => {
                let BackendEvent {
                    pool,
                    backend,
                    family,
                    state,
                    why,
                } = event;
                write!(f, "backend {pool}/{backend} ({family}) is {state}: {why}")
            }
            Self::Maintenance(MaintenanceEvent { on: true }) => f.write_str("maintenance is on"),
            Self::Maintenance(MaintenanceEvent { on: false }) => f.write_str("maintenance is over"),
            Self::Resign(ResignEvent { instances }) => {
                write!(f, "{}: resigned by an operator", instances.join(", "))
            }
            Self::HookFailed(HookFailedEvent { instance, why, .. }) => {
                write!(f, "vrrp {instance}: its notify hook failed: {why}")
            }
        }
    }
}

impl fmt::Display for OverrideEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.backends.join(", ");
        match self.count.saturating_sub(self.backends.len()) {
            0 => write!(f, "{named}: {} by an operator", self.what),
            more => write!(f, "{named} and {more} more: {} by an operator", self.what),
        }
    }
}

impl fmt::Display for VrrpEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance,
            role,
            reason,
            priority,
            ..
        } = self;
        write!(f, "vrrp {instance} is {role}")?;
        if role == "apart" {
            let families = self.families.iter();
            let families = families.map(|(family, role)| format!("{family} {role}"));
            write!(f, " ({})", families.collect::<Vec<_>>().join(", "))?;
        }
        let reason = self.fault.as_ref().unwrap_or(reason);
        write!(f, ": {reason} (priority {priority})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vrrp(role: &str, families: [&str; 2], fault: Option<&str>) -> What {
        What::Vrrp(VrrpEvent {
            instance: "gateway".into(),
            interface: "eth0".into(),
            vrid: 51,
            role: role.into(),
            families: Family::ALL
                .into_iter()
                .zip(families.map(Into::into))
                .collect(),
            reason: "silence".into(),
            priority: 150,
            fault: fault.map(Into::into),
        })
    }

    #[test]
    fn an_event_is_one_object_of_its_kind() {
        let event = Event {
            sequence: 7,
            unix_ms: 1_700_000_000_123,
            what: vrrp("master", ["master"; 2], None),
        };
        let text = r#"{"sequence":7,"unix_ms":1700000000123,"kind":"vrrp","instance":"gateway","interface":"eth0","vrid":51,"role":"master","families":{"ipv4":"master","ipv6":"master"},"reason":"silence","priority":150,"fault":null}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        assert_eq!(serde_json::from_str::<Event>(text).unwrap(), event);
    }

    #[test]
    fn each_kind_has_a_line_for_people() {
        let said = [
            vrrp("master", ["master"; 2], None),
            vrrp("apart", ["master", "backup"], None),
            vrrp("fault", ["fault"; 2], Some("the interface is down")),
            What::ReloadFailed(ReloadFailedEvent {
                by: "reload".into(),
                error: "one\ntwo".into(),
            }),
            What::Override(OverrideEvent {
                what: "drained".into(),
                backends: vec!["web/web1".into(), "web/web2".into()],
                count: 9,
            }),
            What::Maintenance(MaintenanceEvent { on: true }),
            What::Resign(ResignEvent {
                instances: vec!["a".into(), "b".into()],
            }),
            What::HookFailed(HookFailedEvent {
                instance: "gateway".into(),
                outcome: "failed".into(),
                why: "it ended with status 3".into(),
            }),
        ];
        let expected = [
            "vrrp gateway is master: silence (priority 150)",
            "vrrp gateway is apart (IPv4 master, IPv6 backup): silence (priority 150)",
            "vrrp gateway is fault: the interface is down (priority 150)",
            "reload failed: one",
            "web/web1, web/web2 and 7 more: drained by an operator",
            "maintenance is on",
            "a, b: resigned by an operator",
            "vrrp gateway: its notify hook failed: it ended with status 3",
        ];
        assert_eq!(said.map(|what| what.to_string()), expected);
    }
}
