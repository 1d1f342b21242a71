//! What operators say of backends, over the configuration: takes it, keeps it on disk for the next start before it
//! counts, and says what is left of backends that are drained.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::bail;
use tracing::{info, warn};

use crate::{
    control::{Asked, Overridden},
    events::{OverrideEvent, What},
    kernel::DataPlane,
    model::{BackendAddress, Config},
    overrides::{Change, Overrides, Then},
    select::{Selected, find},
    state_file,
};

use super::Agent;

/// Backends that log and event name; of more, only how many there are.
const TOLD: usize = 8;

/// What operators say, and where it is kept.
pub(super) struct Overriding {
    said: Overrides,
    path: PathBuf,
}

impl Overriding {
    /// What was said to the agents before. A file that can't be read is no reason to serve nobody: what there is to say
    /// of it comes beside.
    pub(super) fn start(state: &Path) -> (Self, Option<String>) {
        let path = state.join("overrides.json");
        let (said, warning) = match state_file::read(&path) {
            Ok(said) => (said.unwrap_or_default(), None),
            Err(error) => {
                let warning = format!("backends are as the configuration says: {error:#}");
                (Overrides::default(), Some(warning))
            }
        };
        (Self { said, path }, warning)
    }

    /// What is said.
    pub(super) fn said(&self) -> &Overrides {
        &self.said
    }

    fn take(&mut self, said: Overrides) -> anyhow::Result<()> {
        state_file::write(&self.path, &said)?;
        self.said = said;
        Ok(())
    }
}

impl Agent {
    /// Does what an operator asks for, and says what backends are then.
    pub(super) fn take_override(
        &mut self,
        plane: &mut DataPlane,
        asked: &Asked,
    ) -> anyhow::Result<Overridden> {
        let configured = self.view.configured();
        let mut said = self.overriding.said().clone();
        let names: BTreeSet<_> = match (&asked.who.target, &asked.who.address) {
            (Some(target), None) => named(&configured.config, &said, target)?,
            (None, Some(address)) => at_address(&configured.config, address)?,
            (None, None) | (Some(_), Some(_)) => bail!("either `target` or `address` is needed"),
        }
        .into_iter()
        .collect();
        if let Change::Drain(drain) = asked.change
            && drain.then != Then::Leave
            && drain.deadline_unix_seconds.is_none()
        {
            bail!("what becomes of flows then needs a deadline");
        }
        for (pool, backend) in &names {
            said.change(pool, backend, asked.change);
        }
        let what = match asked.change {
            Change::Drain(_) => "drained",
            Change::Undrain => "not drained any more",
            Change::Weigh(Some(_)) => "given another weight",
            Change::Weigh(None) => "given its configured weight",
        };
        self.overriding.take(said)?;
        let named = names.iter().take(TOLD);
        self.telling.tell(What::Override(OverrideEvent {
            what: what.to_owned(),
            backends: named.map(|(pool, n)| format!("{pool}/{n}")).collect(),
            count: names.len(),
        }));
        for (pool, backend) in names.iter().take(TOLD) {
            info!("{pool}/{backend} is {what} by an operator");
        }
        if let Some(more @ 1..) = names.len().checked_sub(TOLD) {
            info!("and {more} more");
        }
        self.view.overrides(self.overriding.said().clone());
        self.health
            .configure(&configured.config, self.overriding.said());
        // What can't be written is tried again, and told.
        if let Err(error) = self.reconcile(plane) {
            warn!("{error:#}");
        }
        Ok(Overridden {
            pools: self.view.pools_of(&names),
            warnings: self.view.behind().into_iter().collect(),
        })
    }

    /// Has the view show how many flows drained backends have.
    pub(super) fn count_drained(&mut self) {
        let configured = self.view.configured();
        let said = self.overriding.said();
        let mut flows = BTreeMap::new();
        if said.any_drain() {
            let recorded = self.runner.recorded();
            for (&(pool, n, _), index) in &configured.ids.backends {
                let pool = &configured.in_tables.pools[pool];
                if !said.is_drained(&pool.name, &pool.backends[n].name) {
                    continue;
                }
                let index = index.index();
                let live = self.flows.active(index).unwrap_or_else(|error| {
                    warn!("counting flows: {error}");
                    0
                });
                let seen = recorded.get(&index).copied().unwrap_or(0);
                flows.insert(index, (live, seen));
            }
        }
        self.view.drained(flows);
    }
}

/// Pool and name of the backends that a name means: of one, or of all of a pool. One that there is an override of need
/// not be in the configuration any more.
fn named(config: &Config, said: &Overrides, target: &str) -> anyhow::Result<Vec<(String, String)>> {
    let old = target
        .split_once('/')
        .filter(|(pool, backend)| said.get(pool, backend).is_some());
    if let Some((pool, backend)) = old {
        return Ok(vec![(pool.to_owned(), backend.to_owned())]);
    }
    let pools = config.pools.iter().map(|pool| {
        let names = pool.backends.iter().map(|backend| backend.name.as_str());
        (pool.name.as_str(), names.collect::<Vec<_>>())
    });
    let pools: Vec<_> = pools.collect();
    let Selected { pool, backend } = find(&pools, target)?;
    let (pool, backends) = &pools[pool];
    let names = match backend {
        Some(n) => &backends[n..=n],
        None => &backends[..],
    };
    let name = |backend: &&str| ((*pool).to_owned(), (*backend).to_owned());
    Ok(names.iter().map(name).collect())
}

/// The backends at an address of a host, or at an address and port.
fn at_address(config: &Config, address: &str) -> anyhow::Result<Vec<(String, String)>> {
    let wanted = match (address.parse::<IpAddr>(), address.parse::<SocketAddr>()) {
        (Ok(ip), _) => (ip, None),
        (_, Ok(at)) => (at.ip(), Some(at.port())),
        (Err(_), Err(_)) => {
            bail!("`{address}` is no address; write 198.18.1.11 or 198.18.1.11:8080")
        }
    };
    let is_it =
        |at: &BackendAddress| at.ip == wanted.0 && (wanted.1.is_none() || at.port == wanted.1);
    let names = config.pools.iter().flat_map(|pool| {
        let backends = pool.backends.iter();
        let there = backends.filter(|backend| backend.addresses.iter().any(is_it));
        there.map(|backend| (pool.name.clone(), backend.name.clone()))
    });
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        bail!("no backend is at {address}");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::fixtures;

    #[test]
    fn names_and_addresses_mean_backends() {
        let config = fixtures::config();
        let said = Overrides::default();
        let pool = &config.pools[0];
        let first = &pool.backends[0];
        let all = named(&config, &said, &format!("{}/", pool.name)).unwrap();
        assert_eq!(all.len(), pool.backends.len());
        let path = format!("{}/{}", pool.name, first.name);
        let one = vec![(pool.name.clone(), first.name.clone())];
        assert_eq!(named(&config, &said, &path).unwrap(), one);
        let at = at_address(&config, &first.addresses[0].ip.to_string()).unwrap();
        assert!(at.contains(&one[0]), "{at:?}");
        let error = at_address(&config, "198.18.255.1").unwrap_err();
        assert_eq!(error.to_string(), "no backend is at 198.18.255.1");
        assert!(
            at_address(&config, "host")
                .unwrap_err()
                .to_string()
                .contains("is no address")
        );
    }

    #[test]
    fn what_was_said_of_a_backend_that_is_gone_can_be_undone() {
        let config = fixtures::config();
        let mut said = Overrides::default();
        assert!(named(&config, &said, "web/gone").is_err());
        said.change(
            "web",
            "gone",
            Change::Weigh(Some(crate::model::Weight::DEFAULT)),
        );
        let names = named(&config, &said, "web/gone").unwrap();
        assert_eq!(names, [("web".to_owned(), "gone".to_owned())]);
    }

    #[test]
    fn a_file_that_is_damaged_is_named_and_no_reason_to_serve_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (mut overriding, warning) = Overriding::start(folder.path());
        assert_eq!(warning, None);
        let mut said = Overrides::default();
        said.change(
            "web",
            "a",
            Change::Weigh(Some(crate::model::Weight::DEFAULT)),
        );
        overriding.take(said.clone()).unwrap();
        assert_eq!(Overriding::start(folder.path()).0.said(), &said);
        fs::write(folder.path().join("overrides.json"), "{").unwrap();
        let (overriding, warning) = Overriding::start(folder.path());
        assert_eq!(overriding.said(), &Overrides::default());
        assert!(warning.unwrap().contains("overrides.json can't be read"));
    }
}
