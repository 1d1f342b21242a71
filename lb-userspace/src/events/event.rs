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
    /// An operator said something of a backend.
    Override(OverrideEvent),
    /// A backend went up or down.
    Backend(BackendEvent),
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

/// What an operator said of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideEvent {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub backend: String,
    /// What it is now, in words: `drained`.
    pub what: String,
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
    /// What it is now: `up` or `down`.
    pub state: String,
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
            Self::Override(event) => {
                let OverrideEvent {
                    pool,
                    backend,
                    what,
                } = event;
                write!(f, "backend {pool}/{backend} is {what} by an operator")
            }
            Self::Backend(event) => {
                let BackendEvent {
                    pool,
                    backend,
                    family,
                    state,
                } = event;
                write!(f, "backend {pool}/{backend} ({family}) is {state}")
            }
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
        ];
        let expected = [
            "vrrp gateway is master: silence (priority 150)",
            "vrrp gateway is apart (IPv4 master, IPv6 backup): silence (priority 150)",
            "vrrp gateway is fault: the interface is down (priority 150)",
            "reload failed: one",
        ];
        assert_eq!(said.map(|what| what.to_string()), expected);
    }
}
