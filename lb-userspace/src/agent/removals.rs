//! The services that configurations in use have removed while their recorded flows are not over: which, until when, and
//! out of which configuration. On disk, so that a restart ends none of their flows. What becomes of them is `state`'s to
//! say.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::{
    config::Recorded,
    kernel::DataPlane,
    model::{Config, OnDown, Service},
    state, state_file,
    stats::RemovedView,
    unix_time::unix_now,
};

use super::{Agent, kept::KeptConfigurations};

/// Those that there are.
#[derive(Clone, Default)]
pub(super) struct Removals {
    path: PathBuf,
    all: Vec<Removal>,
}

/// Those that one change of the configuration has removed.
#[derive(Clone)]
struct Removal {
    kept: Kept,
    /// The configuration that had them.
    before: Config,
}

/// What is on disk of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The files of the configuration that had them.
    recorded: Recorded,
    /// Their names, and until when they are here at most, in seconds since 1970.
    services: BTreeMap<String, u64>,
}

impl Removals {
    /// None, where tables are new.
    pub(super) fn begin(state: &Path) -> Self {
        Self {
            path: path(state),
            all: Vec::new(),
        }
    }

    /// What the agents before left. A file that can't be read keeps nobody from being served: what there is to say of it
    /// comes beside.
    fn start(state: &Path) -> (Self, Option<String>) {
        let path = path(state);
        let read = || -> anyhow::Result<Vec<Removal>> {
            let kept: Option<Vec<Kept>> = state_file::read(&path)?;
            let kept = kept.unwrap_or_default().into_iter();
            kept.map(Removal::load).collect()
        };
        match read() {
            Ok(all) => (Self { path, all }, None),
            Err(error) => {
                let warning = format!("recorded flows of removed services end: {error:#}");
                let all = Vec::new();
                (Self { path, all }, Some(warning))
            }
        }
    }

    /// What there is at a start with `config`, over tables of the agent before, which worked by another one perhaps.
    pub(super) fn inherited(state: &Path, config: &Config, unix: u64) -> (Self, Option<String>) {
        let (mut all, warning) = Self::start(state);
        let last = || -> anyhow::Result<_> {
            let recorded = KeptConfigurations::new(state).current()?;
            let Some(recorded) = recorded else {
                return Ok(None);
            };
            let loaded = recorded.load().context("the configuration before")?;
            Ok(Some((loaded.config, recorded)))
        };
        match last() {
            Ok(Some(before)) => all = all.after(before, config, unix),
            Ok(None) => {}
            // What can't be read any more has said so where it was to be gone on with.
            Err(error) => warn!("{error:#}"),
        }
        all.end(unix, |_| false);
        (all, warning)
    }

    /// What there is once `config` takes the place of the configuration `before`, whose files are `recorded`. A service
    /// that is back is not removed any more.
    pub(super) fn after(
        &self,
        (before, recorded): (Config, Recorded),
        config: &Config,
        unix: u64,
    ) -> Self {
        let mut next = self.clone();
        let removed = state::removed(&before, config);
        let services = removed.map(|service| (service.name.clone(), unix + seconds_left(service)));
        let services = services.collect();
        let kept = Kept { recorded, services };
        next.all.push(Removal { kept, before });
        let is_back =
            |service: &Service| config.services.iter().any(|one| one.name == service.name);
        next.retain(|service, _| !is_back(service));
        next
    }

    /// The configuration that the tables are made from.
    pub(super) fn in_tables(&self, config: &Config) -> Config {
        state::with_removed(config, self.services())
    }

    /// Ends those whose time is over, or whose flows all are, as far as that is known; whether there were any.
    pub(super) fn end(&mut self, unix: u64, has_no_flows: impl Fn(&Service) -> bool) -> bool {
        let before = self.services().count();
        self.retain(|service, until| until > unix && !has_no_flows(service));
        self.services().count() < before
    }

    /// Whether the time of any is over.
    pub(super) fn is_due(&self, unix: u64) -> bool {
        let mut all = self.all.iter();
        all.any(|one| one.kept.services.values().any(|&until| until <= unix))
    }

    /// Has the next start know of them.
    pub(super) fn keep(&self) -> anyhow::Result<()> {
        let kept: Vec<&Kept> = self.all.iter().map(|one| &one.kept).collect();
        state_file::write(&self.path, &kept)
    }

    /// Them, for people.
    pub(super) fn views(&self) -> Vec<RemovedView> {
        let view = |service: &Service, until: u64| RemovedView {
            service: service.name.clone(),
            resets: service.on_down == OnDown::Reset,
            until_unix_seconds: until,
        };
        let all = self.all.iter().flat_map(|one| {
            let services = one.services();
            services.map(move |service| view(service, one.kept.services[&service.name]))
        });
        all.collect()
    }

    fn services(&self) -> impl Iterator<Item = (&Config, &Service)> {
        let all = self.all.iter();
        all.flat_map(|one| one.services().map(|service| (&one.before, service)))
    }

    fn retain(&mut self, keeps: impl Fn(&Service, u64) -> bool) {
        for Removal { kept, before } in &mut self.all {
            let service = |name: &String| before.services.iter().find(|one| one.name == *name);
            let stays = |name: &String, until: &mut u64| {
                service(name).is_some_and(|service| keeps(service, *until))
            };
            kept.services.retain(stays);
        }
        self.all.retain(|one| !one.kept.services.is_empty());
    }
}

impl Agent {
    /// The services that are removed once a configuration takes the place of the one in use, and what there is to say of
    /// those that are so by that.
    pub(super) fn removals_with(&self, config: &Config) -> (Removals, Vec<String>) {
        let recorded = self.kept.current().unwrap_or_else(|error| {
            warn!("recorded flows of services that it has no more end: {error:#}");
            None
        });
        let Some(recorded) = recorded else {
            return (self.removals.clone(), Vec::new());
        };
        let before = self.view.configured().config.clone();
        let next = self.removals.after((before, recorded), config, unix_now());
        let known = self.removals.views();
        let news = next.views().into_iter().filter(|one| !known.contains(one));
        let said = news.map(|one| one.to_string()).collect();
        (next, said)
    }

    /// Takes note of the services that are removed. That the next start can't know of them is no reason not to keep their
    /// flows until then.
    pub(super) fn removes(&mut self, removals: Removals) {
        if let Err(error) = removals.keep() {
            error!("a restart will end the flows of removed services: {error:#}");
        }
        self.view.removed(removals.views());
        self.removals = removals;
    }

    /// Ends the services that were removed whose time is over, or that have no flows left to reset, where it is known
    /// how many each service has, by its number.
    pub(super) fn end_removed(
        &mut self,
        plane: &mut DataPlane,
        flows: Option<&BTreeMap<u32, u64>>,
    ) -> anyhow::Result<()> {
        let configured = self.view.configured();
        let services = configured.in_tables.services.iter();
        let numbers: BTreeMap<&str, u32> = services
            .map(|service| service.name.as_str())
            .zip(configured.ids.services.iter().copied())
            .collect();
        let has_none = |service: &Service| {
            let number = numbers.get(service.name.as_str());
            let none = |flows: &BTreeMap<u32, u64>| number.is_none_or(|n| !flows.contains_key(n));
            service.on_down == OnDown::Reset && flows.is_some_and(none)
        };
        let mut left = self.removals.clone();
        if !left.end(unix_now(), has_none) {
            return Ok(());
        }
        self.removes(left);
        self.renumber(plane, &self.registry.clone())
    }
}

impl Removal {
    fn load(kept: Kept) -> anyhow::Result<Self> {
        let loaded = kept.recorded.load();
        let before = loaded.context("the configuration that had them")?.config;
        Ok(Self { kept, before })
    }

    fn services(&self) -> impl Iterator<Item = &Service> {
        let services = self.before.services.iter();
        services.filter(|service| self.kept.services.contains_key(&service.name))
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("removed.json")
}

/// For how long a service is here after it was removed, at most: for as long as its flows stay, or may be silent before
/// they are reset.
fn seconds_left(service: &Service) -> u64 {
    let time = match service.on_down {
        OnDown::Keep { grace } => grace,
        OnDown::Reset | OnDown::Reschedule => service.timeouts.established,
    };
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Disk};

    const WEB: &str =
        "[[service]]\nname = \"web\"\nlisten = [\"198.18.0.1:80/tcp\"]\npool = \"web\"\n";
    const OLD: &str = "[[service]]\nname = \"old\"\nlisten = [\"198.18.0.2:80/tcp\"]\npool = \"web\"\n\
        tracking = \"full\"\non_down = \"keep\"\ndown_grace = \"1500ms\"\n";
    const POOL: &str = "[[pool]]\nname = \"web\"\nforward = \"dsr\"\n\
        [[pool.backend]]\nname = \"a\"\naddress = \"198.18.1.1\"\n";

    fn load(folder: &Path, services: &[&str]) -> (Config, Recorded) {
        let main = folder.join("sluice.toml");
        let agent = "[agent]\ninterfaces = [\"eth0\"]\n";
        std::fs::write(&main, [agent, &services.concat(), POOL].concat()).unwrap();
        let (loaded, recorded) = config::record(&main, &Disk);
        (loaded.unwrap().config, recorded)
    }

    fn names(config: &Config) -> Vec<&str> {
        config
            .services
            .iter()
            .map(|one| one.name.as_str())
            .collect()
    }

    #[test]
    fn a_removed_service_is_there_until_its_time_is_over_also_for_the_next_agent() {
        let folder = tempfile::tempdir().unwrap();
        let (before, recorded) = load(folder.path(), &[WEB, OLD]);
        let (after, later) = load(folder.path(), &[WEB]);
        let (none, warning) = Removals::start(folder.path());
        assert!(none.all.is_empty() && warning.is_none());
        let removals = none.after((before, recorded), &after, 100);
        assert_eq!(names(&removals.in_tables(&after)), ["web", "old"]);
        removals.keep().unwrap();
        let (mut removals, _) = Removals::start(folder.path());
        assert_eq!(removals.views()[0].until_unix_seconds, 102);
        // Another change of the configuration gives it no more time.
        removals = removals.after((after.clone(), later), &after, 101);
        assert!(!removals.is_due(101) && removals.is_due(102));
        assert!(!removals.end(101, |_| false) && removals.end(102, |_| false));
        assert_eq!(names(&removals.in_tables(&after)), ["web"]);
    }

    #[test]
    fn one_that_is_back_or_has_no_flows_is_not_removed_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let (before, recorded) = load(folder.path(), &[WEB, OLD]);
        let (after, later) = load(folder.path(), &[WEB]);
        let (none, _) = Removals::start(folder.path());
        let mut removals = none.after((before.clone(), recorded), &after, 100);
        let back = removals.after((after, later), &before, 100);
        assert!(back.all.is_empty());
        assert!(removals.end(100, |service| service.name == "old") && removals.all.is_empty());
    }

    #[test]
    fn a_damaged_file_is_named_and_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("removed.json"), "[").unwrap();
        let (removals, warning) = Removals::start(folder.path());
        assert!(removals.all.is_empty());
        let warning = warning.unwrap();
        assert!(warning.contains("removed.json can't be read"), "{warning}");
    }
}
