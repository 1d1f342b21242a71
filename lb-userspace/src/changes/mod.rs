//! What one configuration changes beside another, for people to read before it happens (`sluice plan`) or
//! after (`sluice reload`): what is added, changed and removed, which flows may find another backend, and
//! what needs a restart. Pure. It decides nothing: what becomes of the tables is `plan`'s.
//!
//! ```text
//! keys   what an item says, key by key, as the file does
//! slots  how much of each service moves, beside the least possible, and which flows do
//! ```

mod keys;
mod slots;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Config;

pub use slots::{Seen, Slots, SlotsMoved, goes, left, moved};

/// What a configuration changes beside another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// `[agent]`, and lists for all services.
    pub agent: Vec<Difference>,
    /// Services.
    pub services: Vec<Change>,
    /// Pools, but for their backends.
    pub pools: Vec<Change>,
    /// Backends, by `pool/backend`.
    pub backends: Vec<Change>,
    /// Addresses that move between hosts.
    #[serde(default)]
    pub vrrp: Vec<Change>,
    /// Slots of services that go to another backend.
    pub slots: Vec<SlotsMoved>,
    /// What differs and only counts from the agent's next start on.
    pub restart: Vec<String>,
}

/// An item that is new, gone or different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Kind {
    /// It is new.
    Added,
    /// It says something else.
    Changed {
        /// What.
        differences: Vec<Difference>,
    },
    /// It is gone.
    Removed,
}

impl Change {
    /// Of an item by its name.
    pub(crate) fn new(name: impl Into<String>, kind: Kind) -> Self {
        let name = name.into();
        Self { name, kind }
    }
}

/// A key that says something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// What it says.
    #[serde(flatten)]
    pub said: Said,
}

impl Difference {
    /// Of a key with one value.
    pub(crate) fn of_value(key: &str, from: impl Into<String>, to: impl Into<String>) -> Self {
        let said = Said::Value {
            from: from.into(),
            to: to.into(),
        };
        let key = key.into();
        Self { key, said }
    }

    /// Of a list.
    pub(crate) fn of_list(key: &str, added: Vec<String>, removed: Vec<String>) -> Self {
        let said = Said::List { added, removed };
        let key = key.into();
        Self { key, said }
    }
}

/// What a key said and says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// One value, with defaults filled in.
    Value {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// Entries of a list.
    List {
        /// That are new.
        added: Vec<String>,
        /// That are gone.
        removed: Vec<String>,
    },
}

impl Changes {
    /// What `after` says otherwise than `before`. `slots` and `restart` are for others to fill in.
    pub fn between(before: &Config, after: &Config) -> Self {
        Self {
            agent: differences(keys::agent(before), keys::agent(after)),
            services: changes(keys::services(before), keys::services(after)),
            pools: changes(keys::pools(before), keys::pools(after)),
            backends: changes(keys::backends(before), keys::backends(after)),
            vrrp: changes(keys::vrrp(before), keys::vrrp(after)),
            slots: Vec::new(),
            restart: Vec::new(),
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Items by name: first what is new or different, in the order of the configuration, then what is gone.
fn changes(before: keys::Items, after: keys::Items) -> Vec<Change> {
    let mut before: BTreeMap<String, keys::Keys> = before.into_iter().collect();
    let mut changes = Vec::new();
    for (name, keys) in after {
        let kind = match before.remove(&name) {
            None => Kind::Added,
            Some(was) => {
                let differences = differences(was, keys);
                if differences.is_empty() {
                    continue;
                }
                Kind::Changed { differences }
            }
        };
        changes.push(Change::new(name, kind));
    }
    let gone = before.into_keys();
    changes.extend(gone.map(|name| Change::new(name, Kind::Removed)));
    changes
}

/// Keys that differ. Both have the same ones.
fn differences(before: keys::Keys, after: keys::Keys) -> Vec<Difference> {
    let pairs = before.into_iter().zip(after);
    let differing = pairs.filter_map(|((key, was), (_, is))| difference(key, was, is));
    differing.collect()
}

/// How a key differs, if it does.
fn difference(key: &str, was: keys::Value, is: keys::Value) -> Option<Difference> {
    match (was, is) {
        (keys::Value::List(was), keys::Value::List(is)) => {
            let (added, removed) = (without(&is, &was), without(&was, &is));
            let differs = !added.is_empty() || !removed.is_empty();
            differs.then(|| Difference::of_list(key, added, removed))
        }
        (was, is) if was == is => None,
        (was, is) => Some(Difference::of_value(key, was.text(), is.text())),
    }
}

/// The entries of one list that another has not.
fn without(list: &[String], other: &[String]) -> Vec<String> {
    let other: std::collections::BTreeSet<&String> = other.iter().collect();
    let entries = list.iter().filter(|entry| !other.contains(entry));
    entries.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Forward, Scheduler, Weight},
        state::fixtures::{backend, config, pool, service},
    };

    #[test]
    fn a_configuration_changes_nothing_beside_itself() {
        assert!(Changes::between(&config(), &config()).is_empty());
    }

    #[test]
    fn the_order_of_items_and_lists_is_no_change() {
        let (before, mut after) = (config(), config());
        after.pools[0].backends.reverse();
        after.services.reverse();
        after.agent.interfaces.reverse();
        assert!(Changes::between(&before, &after).is_empty());
    }

    #[test]
    fn what_differs_is_named_by_its_key() {
        let (before, mut after) = (config(), config());
        let name = before.services[0].name.clone();
        after.services[0].scheduler = Scheduler::LeastConnections;
        after.services[0].mss_clamp = Some(1400);
        let added: Vec<String> = vec!["198.18.0.99:99/tcp".into()];
        after.services[0].listen.push(added[0].parse().unwrap());
        let changes = Changes::between(&before, &after);
        let differences = vec![
            Difference::of_list("listen", added, vec![]),
            Difference::of_value("scheduler", "maglev", "least-connections"),
            Difference::of_value("mss_clamp", "none", "1400"),
        ];
        let expected = [Change::new(&name, Kind::Changed { differences })];
        assert_eq!(changes.services, expected);
        assert_eq!((changes.pools, changes.backends), (vec![], vec![]));
    }

    #[test]
    fn backends_are_changed_apart_from_their_pools() {
        let (before, mut after) = (config(), config());
        let (pool_name, backends) = (after.pools[0].name.clone(), &mut after.pools[0].backends);
        let names: Vec<String> = backends
            .iter()
            .map(|b| format!("{pool_name}/{}", b.name))
            .collect();
        backends[0].weight = Weight::new(7).unwrap();
        backends.remove(1);
        backends.push(backend("new", 100, &["198.18.1.77:80"]));
        let changes = Changes::between(&before, &after);
        let weight = before.pools[0].backends[0].weight.value().to_string();
        let differences = vec![Difference::of_value("weight", &weight, "7")];
        let expected = [
            Change::new(&names[0], Kind::Changed { differences }),
            Change::new(format!("{pool_name}/new"), Kind::Added),
            Change::new(&names[1], Kind::Removed),
        ];
        assert_eq!(changes.backends, expected);
        assert_eq!((changes.pools, changes.services), (vec![], vec![]));
    }

    #[test]
    fn items_come_and_go() {
        let (before, mut after) = (config(), config());
        after.pools.push(pool("more", Forward::Dsr, &[], vec![]));
        after
            .services
            .push(service("more", 2, &["198.18.0.30:80/tcp"]));
        let changes = Changes::between(&before, &after);
        assert_eq!(changes.services, [Change::new("more", Kind::Added)]);
        assert_eq!(changes.pools, [Change::new("more", Kind::Added)]);
        let back = Changes::between(&after, &before);
        assert_eq!(back.services, [Change::new("more", Kind::Removed)]);
        assert_eq!(back.pools, [Change::new("more", Kind::Removed)]);
    }
}
