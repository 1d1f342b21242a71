//! What instances are at one moment: plain data for views and metrics.

use std::{collections::BTreeMap, time::Instant};

use serde::{Deserialize, Serialize};

use super::{
    instance::{Counters, Instance, Peer},
    machine::Role,
};
use crate::model::Family;

/// An instance of `[[vrrp]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its number.
    pub vrid: u8,
    /// The version of the protocol, 2 or 3.
    pub version: u8,
    /// This host's priority.
    pub priority: u8,
    /// The same, less what tracked things cost.
    pub effective_priority: u8,
    /// The sync group that it is of.
    pub sync_group: Option<String>,
    /// How often adverts are sent, ms.
    pub interval_ms: u64,
    /// The addresses that move, a link-local one first, with the lengths of their prefixes.
    pub addresses: Vec<String>,
    /// What keeps it from taking part.
    pub fault: Option<String>,
    /// What of all that is tracked is not well.
    pub failing: Vec<String>,
    /// Whether a role of its has changed six times in five minutes.
    pub flapping: bool,
    /// What it is in each of its families.
    pub families: Vec<FamilyView>,
    /// What came of the calls of its notify hook, if it has one.
    #[serde(default)]
    pub notify: Option<NotifyView>,
    /// What could not be done, by what: `send`, `receive`, `address`, `announce`.
    pub errors: BTreeMap<String, u64>,
}

/// What came of the calls of a notify hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyView {
    /// How many there were, by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Why the last one failed, if it did.
    pub failure: Option<String>,
}

/// One family of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyView {
    /// The family.
    pub family: Family,
    /// Its role: `fault`, `backup` or `master`.
    pub role: String,
    /// Since when, in seconds since 1970.
    pub since_unix_seconds: u64,
    /// Whom it heard last.
    pub peer: Option<PeerView>,
    /// Adverts sent.
    pub sent: u64,
    /// Of these, resignations.
    pub resignations: u64,
    /// Adverts received and heeded.
    pub received: u64,
    /// Packets that were refused, by reason: those that there were.
    pub refused: BTreeMap<String, u64>,
    /// Adverts of another that had the addresses at the same time.
    pub contested: u64,
    /// Changes of the role.
    pub transitions: Vec<TransitionView>,
}

/// Another host that was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its address.
    pub address: String,
    /// Its priority; 0 if it has resigned.
    pub priority: u8,
    /// How often it sends adverts, ms.
    pub interval_ms: u64,
    /// Whether it has the same addresses.
    pub same_addresses: bool,
}

/// How often a role was taken for a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionView {
    /// The role.
    pub role: String,
    /// The reason.
    pub reason: String,
    /// How often.
    pub count: u64,
}

impl InstanceView {
    /// Of an instance, now. Since when its families are what they are, what keeps it from taking part and what failed, others
    /// know.
    pub fn of(
        instance: &Instance,
        now: Instant,
        since: &BTreeMap<Family, u64>,
        (fault, failing): (Option<String>, &[String]),
        errors: &BTreeMap<&'static str, u64>,
    ) -> Self {
        let config = instance.config();
        let families = || config.families();
        let addresses = families().flat_map(|family| config.in_family(family));
        let errors = errors
            .iter()
            .map(|(what, count)| ((*what).to_owned(), *count));
        Self {
            name: config.name.clone(),
            interface: config.interface.clone(),
            vrid: config.vrid,
            version: match config.version {
                super::packet::Version::V2 => 2,
                super::packet::Version::V3 => 3,
            },
            priority: config.priority,
            effective_priority: instance.priority(),
            sync_group: config.sync_group.clone(),
            interval_ms: millis(config.interval),
            addresses: addresses.map(|address| address.to_string()).collect(),
            fault,
            failing: failing.to_vec(),
            flapping: instance.is_flapping(now),
            families: families()
                .filter_map(|family| {
                    let (counters, peer) = instance.heard(family)?;
                    let since = since.get(&family).copied().unwrap_or_default();
                    let role = instance.role(family);
                    Some(FamilyView::of(family, (role, since), counters, peer))
                })
                .collect(),
            notify: config.notify.as_ref().map(|_| NotifyView::default()),
            errors: errors.collect(),
        }
    }

    /// Its role, or that its families are not the same.
    pub fn role(&self) -> &str {
        match self.families.first() {
            Some(first) if !self.is_apart() => &first.role,
            _ => "apart",
        }
    }

    /// Whether its families are not the same.
    pub fn is_apart(&self) -> bool {
        let roles = self.families.windows(2);
        roles.into_iter().any(|pair| pair[0].role != pair[1].role)
    }
}

impl FamilyView {
    fn of(
        family: Family,
        (role, since_unix_seconds): (Role, u64),
        counters: &Counters,
        peer: Option<&Peer>,
    ) -> Self {
        let Counters {
            sent,
            resignations,
            received,
            refused,
            transitions,
            contested,
        } = counters;
        let refused = refused
            .iter()
            .map(|(why, count)| (why.name().to_owned(), *count));
        let transitions = transitions
            .iter()
            .map(|((role, reason), count)| TransitionView {
                role: role.name().to_owned(),
                reason: reason.name().to_owned(),
                count: *count,
            });
        Self {
            family,
            role: role.name().to_owned(),
            since_unix_seconds,
            peer: peer.map(|peer| PeerView {
                address: peer.address.to_string(),
                priority: peer.priority,
                interval_ms: millis(peer.interval),
                same_addresses: peer.same_addresses,
            }),
            sent: *sent,
            resignations: *resignations,
            received: *received,
            refused: refused.collect(),
            contested: *contested,
            transitions: transitions.collect(),
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
