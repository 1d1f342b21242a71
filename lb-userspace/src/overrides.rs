//! What operators say of single backends, over what the configuration and health say, until they undo it: drained,
//! or with another weight. Pure; who keeps it on disk is the agent.

use std::{collections::BTreeMap, fmt};

use lb_common::abi::Fate;
use serde::{Deserialize, Serialize};

use crate::model::{Config, Weight};

/// What is said of backends, by pool and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overrides(BTreeMap<String, BTreeMap<String, Override>>);

/// What is said of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Its weight, in place of the configured one.
    pub weight: Option<Weight>,
    /// That it is drained.
    pub drain: Option<Drain>,
}

/// A backend gets no new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Since when, in seconds since 1970.
    pub since_unix_seconds: u64,
    /// When those that remain end, in seconds since 1970; absent: never.
    pub deadline_unix_seconds: Option<u64>,
    /// What becomes of them then.
    pub then: Then,
}

/// What becomes of flows that a drain's deadline finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// They go on
    #[default]
    Leave,
    /// TCP flows are reset
    Reset,
    /// Their packets are dropped
    Drop,
}

/// A change of what is said of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is drained.
    Drain(Drain),
    /// It is not drained any more.
    Undrain,
    /// It has this weight; none: the configured one.
    Weigh(Option<Weight>),
}

/// Backends that are named where a configuration says something else.
const NAMED: usize = 20;

impl Overrides {
    /// What is said of a backend.
    pub fn get(&self, pool: &str, backend: &str) -> Option<&Override> {
        self.0.get(pool)?.get(backend)
    }

    /// Changes what is said of a backend.
    pub fn change(&mut self, pool: &str, backend: &str, change: Change) {
        let backends = self.0.entry(pool.to_owned()).or_default();
        let said = backends.entry(backend.to_owned()).or_default();
        match change {
            // A later deadline does not make the drain begin anew.
            Change::Drain(drain) => {
                let since = said.drain.map(|before| before.since_unix_seconds);
                said.drain = Some(Drain {
                    since_unix_seconds: since.unwrap_or(drain.since_unix_seconds),
                    ..drain
                });
            }
            Change::Undrain => said.drain = None,
            Change::Weigh(weight) => said.weight = weight,
        }
        if *said == Override::default() {
            backends.remove(backend);
        }
        if backends.is_empty() {
            self.0.remove(pool);
        }
    }

    /// The weight of a backend that is configured with this one.
    pub fn weight(&self, pool: &str, backend: &str, configured: Weight) -> Weight {
        let said = self.get(pool, backend);
        said.map_or(configured, |said| said.over(configured))
    }

    /// What becomes of a backend's flows, if they end by this time (seconds since 1970).
    pub fn fate(&self, pool: &str, backend: &str, now: u64) -> Option<Fate> {
        let drain = self.get(pool, backend)?.drain?;
        let fate = drain.then.fate()?;
        let is_over = drain.deadline_unix_seconds.is_some_and(|end| end <= now);
        is_over.then_some(fate)
    }

    /// Whether a deadline came after one time and by another, both in seconds since 1970.
    pub fn is_due(&self, after: u64, by: u64) -> bool {
        let mut drains = self.all().filter_map(|(_, _, said)| said.drain);
        drains.any(|drain| {
            let end = drain.deadline_unix_seconds;
            drain.then != Then::Leave && end.is_some_and(|end| after < end && end <= by)
        })
    }

    /// Whether any backend is drained.
    pub fn any_drain(&self) -> bool {
        self.all().any(|(_, _, said)| said.drain.is_some())
    }

    /// Whether this one is.
    pub fn is_drained(&self, pool: &str, backend: &str) -> bool {
        self.get(pool, backend)
            .is_some_and(|said| said.drain.is_some())
    }

    /// Where a configuration says something else, a line for each; of many, how many more there are.
    pub fn disagreements(&self, config: &Config) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let pools = config.pools.iter();
        let weights: BTreeMap<(&str, &str), Weight> = pools
            .flat_map(|pool| {
                let backends = pool.backends.iter();
                backends.map(|one| ((pool.name.as_str(), one.name.as_str()), one.weight))
            })
            .collect();
        let mut lines = Vec::new();
        let mut more = 0;
        for (pool, backend, said) in self.all() {
            let so = format!("{pool}/{backend} is {said} by an override");
            let line = match weights.get(&(pool, backend)) {
                None => format!("{so}, and the configuration has no such backend"),
                Some(weight) if said.over(*weight) == *weight => continue,
                Some(weight) => {
                    format!("{so}, whatever its `weight = {}` says", weight.value())
                }
            };
            match lines.len() < NAMED {
                true => lines.push(line),
                false => more += 1,
            }
        }
        if more > 0 {
            lines.push(format!(
                "{more} more backends are not what the configuration says, by overrides"
            ));
        }
        lines
    }

    /// All of them: pool, backend, and what is said.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, &Override)> {
        self.0.iter().flat_map(|(pool, backends)| {
            let backends = backends.iter();
            backends.map(move |(backend, said)| (pool.as_str(), backend.as_str(), said))
        })
    }
}

impl Override {
    /// The weight of a backend that is configured with this one.
    pub fn over(self, configured: Weight) -> Weight {
        match self.drain {
            Some(_) => Weight::ZERO,
            None => self.weight.unwrap_or(configured),
        }
    }
}

impl Then {
    fn fate(self) -> Option<Fate> {
        match self {
            Self::Leave => None,
            Self::Reset => Some(Fate::Reset),
            Self::Drop => Some(Fate::Drop),
        }
    }
}

/// What a backend is by it: "drained", "given weight 10".
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.drain, self.weight) {
            (Some(_), None) => f.write_str("drained"),
            (Some(_), Some(weight)) => write!(f, "drained (and given weight {})", weight.value()),
            (None, Some(weight)) => write!(f, "given weight {}", weight.value()),
            (None, None) => f.write_str("as configured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures;

    const WEIGHT: Weight = Weight::DEFAULT;

    fn drain(since: u64, deadline: Option<u64>, then: Then) -> Change {
        Change::Drain(Drain {
            since_unix_seconds: since,
            deadline_unix_seconds: deadline,
            then,
        })
    }

    #[test]
    fn what_is_said_holds_until_it_is_undone() {
        let mut overrides = Overrides::default();
        let ten = Weight::new(10).unwrap();
        overrides.change("web", "a", Change::Weigh(Some(ten)));
        assert_eq!(overrides.weight("web", "a", WEIGHT), ten);
        overrides.change("web", "a", drain(5, None, Then::Leave));
        assert_eq!(overrides.weight("web", "a", WEIGHT), Weight::ZERO);
        assert_eq!(overrides.weight("web", "b", WEIGHT), WEIGHT);
        let text = serde_json::to_string(&overrides).unwrap();
        assert_eq!(serde_json::from_str::<Overrides>(&text).unwrap(), overrides);
        overrides.change("web", "a", Change::Undrain);
        assert_eq!(overrides.weight("web", "a", WEIGHT), ten);
        overrides.change("web", "a", Change::Weigh(None));
        assert_eq!(overrides, Overrides::default());
    }

    #[test]
    fn a_deadline_ends_what_remains() {
        let mut overrides = Overrides::default();
        overrides.change("web", "a", drain(5, Some(15), Then::Reset));
        assert_eq!(overrides.fate("web", "a", 14), None);
        assert_eq!(overrides.fate("web", "a", 15), Some(Fate::Reset));
        assert!(overrides.is_due(14, 15) && !overrides.is_due(15, 16) && !overrides.is_due(0, 14));
        overrides.change("web", "a", drain(9, Some(20), Then::Drop));
        assert_eq!(overrides.fate("web", "a", 20), Some(Fate::Drop));
        let since = overrides.get("web", "a").unwrap().drain.unwrap();
        assert_eq!(since.since_unix_seconds, 5, "it goes on");
        overrides.change("web", "a", drain(9, Some(20), Then::Leave));
        assert_eq!(overrides.fate("web", "a", 30), None);
        assert!(!overrides.is_due(0, 30));
    }

    #[test]
    fn a_configuration_that_says_something_else_is_named() {
        let config = fixtures::config();
        let pool = &config.pools[0];
        let (name, backend) = (pool.name.as_str(), &pool.backends[0]);
        let mut overrides = Overrides::default();
        overrides.change(name, &backend.name, Change::Weigh(Some(backend.weight)));
        assert_eq!(overrides.disagreements(&config), [""; 0]);
        overrides.change(name, &backend.name, drain(5, None, Then::Leave));
        overrides.change(name, "gone", drain(5, None, Then::Leave));
        let lines = overrides.disagreements(&config);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("no such backend")));
        assert!(lines.iter().any(|line| line.contains("drained")));
    }
}
