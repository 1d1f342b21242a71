//! Another configuration while the agent runs, from its files, from the one before, or only to say what it
//! would change: read and checked as at a start, numbered beside the one in use, then applied. One that
//! fails anywhere before that leaves everything as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use anyhow::bail;
use lb_common::abi::{RecordLimits, TableId};
use tracing::{error, info, warn};

use crate::{
    changes::{self, Changes, Slots, SlotsMoved},
    config::{self, Disk, Recorded},
    control::{Action, Answer, Asker, Planned, Refusal},
    events::{ReloadEvent, ReloadFailedEvent, What},
    kernel::{Constants, DataPlane, Features, Program},
    model::{self, Config, Family, PoolIndex, ServiceIndex},
    state::{self, Hop, Ids, Inputs, Link, Registry},
};

use super::{
    Agent, addresses,
    files::Files,
    prepare::{self, Checked},
    removals::Removals,
    sampling::Leaving,
    view::{self, Configured},
};

/// A configuration with its numbers, and what it changes beside the one in use.
struct Next {
    registry: Registry,
    ids: Ids,
    /// The services that it has no more, and the configuration that its tables are made from with these.
    removals: Removals,
    in_tables: Config,
    /// What there is to say of services that it removes.
    said: Vec<String>,
    /// Our devices, by name.
    links: Links,
    changes: Changes,
    /// Where its flows are that nothing records yet.
    leaving: Vec<Leaving>,
}

type Links = BTreeMap<String, Link>;

impl Agent {
    /// Does what a client of the control socket asks for, and tells it what came of that.
    pub(super) async fn act(&mut self, plane: &mut DataPlane, action: Action, asker: Asker) {
        let ended = match action {
            Action::Reload => self.reload(plane).await.map(Answer::Planned),
            Action::Rollback => self.roll_back(plane).await.map(Answer::Planned),
            Action::Plan(files) => {
                let planned = self.plan(*files).await;
                planned.map(|(planned, _)| Answer::Planned(planned))
            }
            Action::Sample(files, time) => {
                return self.sample(plane, *files, time, asker).await;
            }
            Action::Override(asked) => self.take_override(plane, &asked).map(Answer::Overridden),
            Action::Maintain(on) => self.maintain(on).await.map(Answer::Maintained),
            Action::Resign(instance) => self.resign(&instance).await.map(Answer::Resigned),
        };
        asker.tell(ended.map_err(|error| Refusal::from(&error)));
    }

    /// Reads the configuration again; how that ends goes to the log and the view as well.
    pub(super) async fn reload(&mut self, plane: &mut DataPlane) -> anyhow::Result<Planned> {
        let path = self.view.agent.config.clone();
        let (loaded, recorded) = config::record(path.as_ref(), &Disk);
        self.seen = recorded.clone();
        let checked = match loaded {
            Ok(loaded) => prepare::check(loaded, recorded).await,
            Err(report) => Err(report.into()),
        };
        let taken = checked.and_then(|checked| self.take(plane, checked));
        self.float_anew(plane).await;
        self.told(taken, "reload")
    }

    /// Reads the configuration again if its files say something else than when they were last read, or if
    /// that did not go well.
    pub(super) async fn files_changed(&mut self, plane: &mut DataPlane) {
        let path = &self.view.agent.config;
        let (_, said) = config::record(path.as_ref(), &Disk);
        if said == self.seen && !self.view.has_failed() {
            self.follow_files();
            return;
        }
        info!("the files of the configuration have changed");
        // Log and view tell how it ended.
        drop(self.reload(plane).await);
    }

    /// Watches the files of the configuration, if it says so. While they can't be used, what was watched before
    /// stays so: that is where they may be put right.
    pub(super) fn follow_files(&mut self) {
        if !self.view.configured().config.agent.watch {
            self.files = Files::default();
            return;
        }
        self.files.follow(self.seen.paths());
        if !self.view.has_failed() {
            self.files.leave_others(self.seen.paths());
        }
    }

    /// Goes back to the configuration before, as its files were then.
    async fn roll_back(&mut self, plane: &mut DataPlane) -> anyhow::Result<Planned> {
        let Some(previous) = self.kept.previous()? else {
            bail!("there is no configuration before this one");
        };
        let warning = format!(
            "rolled back: what is in use is not what {} says now, and a reload or a restart takes that",
            self.view.agent.config
        );
        let checked = match previous.load() {
            Ok(loaded) => prepare::check(loaded, previous).await,
            Err(report) => Err(report.into()),
        };
        let taken = checked.and_then(|mut checked| {
            checked.warnings.push(warning);
            self.take(plane, checked)
        });
        self.float_anew(plane).await;
        self.told(taken, "rollback")
    }

    /// What a configuration would change, and where the flows are that nothing records yet.
    pub(super) async fn plan(&self, recorded: Recorded) -> anyhow::Result<(Planned, Vec<Leaving>)> {
        let checked = prepare::check(recorded.load()?, recorded).await?;
        let Next {
            changes,
            said,
            leaving,
            ..
        } = self.next(&checked)?;
        let mut warnings = checked.warnings;
        warnings.extend(said);
        warnings.extend(self.overriding.said().disagreements(&checked.config));
        Ok((Planned { changes, warnings }, leaving))
    }

    /// Has log and view tell how it ended.
    fn told(&mut self, taken: anyhow::Result<Planned>, what: &str) -> anyhow::Result<Planned> {
        match &taken {
            Ok(Planned { warnings, .. }) => {
                let generation = self.view.configured().generation;
                info!(generation, "{what}: another configuration is in use");
                warnings.iter().for_each(|text| warn!("{text}"));
                self.view.reloaded(Ok(generation));
                let by = what.to_owned();
                self.telling
                    .tell(What::Reload(ReloadEvent { by, generation }));
            }
            Err(error) => {
                error!("{what} failed, the configuration before stays in use: {error:#}");
                let error = format!("{error:#}");
                self.view.reloaded(Err(error.clone()));
                let by = what.to_owned();
                self.telling
                    .tell(What::ReloadFailed(ReloadFailedEvent { by, error }));
            }
        }
        self.follow_files();
        taken
    }

    /// Has a configuration take the place of the one in use. Interfaces that are new are attached to before
    /// anything else, since that may fail; their packets pass until the tables know them. After that nothing
    /// is refused any more: what can't be written is tried again.
    fn take(&mut self, plane: &mut DataPlane, checked: Checked) -> anyhow::Result<Planned> {
        let Next {
            registry,
            ids,
            removals,
            in_tables,
            said: removed,
            links,
            changes,
            ..
        } = self.next(&checked)?;
        if let Some(key) = changes.restart.first() {
            bail!("{key} differs: that needs a restart of the agent");
        }
        Self::attach(plane, &links)?;
        let features = prepare::features_of(&in_tables, &ids, &links);
        let made = self.probes.make(&checked.config);
        if let Err(error) =
            made.and_then(|()| self.have_program_for(plane, &checked.config, features))
        {
            self.detach_others(plane)?;
            return Err(error);
        }
        let all = self.links.iter().chain(&links);
        let all = all.map(|(name, link)| (name.clone(), *link)).collect();
        self.view.serves(view::served(plane.attachments(), &all));
        let Checked {
            config,
            mut warnings,
            recorded,
            ..
        } = checked;
        self.resolver.want(addresses(&in_tables));
        self.removes(removals);
        self.health.configure(&config, self.overriding.said());
        let generation = self.view.configured().generation + 1;
        (self.registry, self.links, self.features) = (registry, links, features);
        self.view.configure(Configured {
            config,
            in_tables,
            ids,
            warnings: warnings.clone(),
            generation,
        });
        self.keep(&recorded);
        self.unfinished = true;
        if self.catch_up(plane).is_err() {
            warnings.extend(self.view.behind());
        }
        let configured = self.view.configured();
        let said = self.overriding.said();
        warnings.extend(said.disagreements(&configured.config));
        warnings.extend(removed);
        Ok(Planned { changes, warnings })
    }

    /// Has a program run that knows of what a configuration needs, and of what the one in use does. It takes the
    /// place of the one that runs, between two packets.
    fn have_program_for(
        &mut self,
        plane: &mut DataPlane,
        config: &Config,
        features: Features,
    ) -> anyhow::Result<()> {
        let constants = Constants {
            limits: RecordLimits {
                rate: config.agent.exception_rate,
                ..self.constants.limits
            },
            replies: config.agent.replies,
            features: features.or(self.features_in_tables()),
            debug: config.agent.debug,
            ..self.constants
        };
        if constants == self.constants {
            return Ok(());
        }
        let program = plane.load(&constants)?;
        self.constants = constants;
        self.run(plane, program)?;
        info!("another program runs over the same tables");
        Ok(())
    }

    /// Has another program over the same tables run in the place of the one that does.
    pub(super) fn run(
        &mut self,
        plane: &mut DataPlane,
        mut program: Program,
    ) -> anyhow::Result<()> {
        (self.wanted, self.log) = (program.take_wanted()?, program.take_log()?);
        plane.replace_program(program);
        // Where that fails half-way it is tried again, with all else.
        self.unfinished = true;
        plane.hand_over()?;
        Ok(())
    }

    /// What the tables may need of the program: what it was loaded with while they may hold more than the
    /// configuration in use.
    pub(super) fn features_in_tables(&self) -> Features {
        match self.unfinished {
            true => self.constants.features,
            false => self.features,
        }
    }

    /// Brings interfaces and tables to the configuration in use, and lets go of what only the one before needed.
    pub(super) fn catch_up(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let attached = plane.hand_over().map_err(Into::into);
        let attached = attached.and_then(|_| Self::attach(plane, &self.links));
        let attached = attached.and_then(|()| self.attach_probes(plane));
        self.reconcile(plane)?;
        let detached = self.detach_others(plane);
        self.up_to_date(attached.and(detached))?;
        for table in &self.view.configured().ids.abandoned {
            self.registry.release_table(*table);
        }
        self.unfinished = false;
        Ok(())
    }

    /// Keeps the configuration in use for a rollback. That it can't be kept is no reason not to use it.
    pub(super) fn keep(&self, recorded: &Recorded) {
        if let Err(error) = self.kept.took(recorded) {
            error!("a rollback will not find this configuration: {error:#}");
        }
    }

    /// Numbers a configuration, and says what it would change.
    fn next(&self, checked: &Checked) -> anyhow::Result<Next> {
        let (before, config) = (self.view.configured(), &checked.config);
        let (removals, said) = self.removals_with(config);
        let in_tables = removals.in_tables(config);
        let (registry, ids) = self.registry.assign(&in_tables)?;
        let links = prepare::links(&checked.network, config)?;
        let mut changes = Changes::between(&before.config, config);
        changes.restart = needs_restart(&changes);
        let mut differs = changes.agent.iter();
        if self.probes.are_made() && differs.any(|difference| difference.key == PROBE_SOURCES) {
            changes.restart.push(format!("agent.{PROBE_SOURCES}"));
        }
        let leaving;
        (changes.slots, leaving) = self.slots_moved(&before, (&in_tables, &ids, &links));
        Ok(Next {
            registry,
            ids,
            removals,
            in_tables,
            said,
            links,
            changes,
            leaving,
        })
    }

    /// The services of both configurations that have slots for their flows, where any of those move; and of
    /// those whose flows nothing records yet, which they leave.
    fn slots_moved(
        &self,
        before: &Configured,
        (config, ids, links): (&Config, &Ids, &Links),
    ) -> (Vec<SlotsMoved>, Vec<Leaving>) {
        let hops = self.hops_of((&before.in_tables, config), links);
        let own = self.addresses.borrow().clone();
        let inputs = Inputs {
            config,
            ids,
            own: &own,
            links,
            hops: &hops,
            standings: self.health.standings(),
            hertz: self.hertz,
        };
        let desired = state::desired(inputs, &mut self.owners.clone());
        let (tracked_before, tracked) = (before.config.tracked(), config.tracked());
        let (mut moved, mut leaving) = (Vec::new(), Vec::new());
        for (n, service) in config.services.iter().enumerate() {
            let mut services = before.config.services.iter().filter(|_| !service.removed);
            let Some(was) = services.position(|was| was.name == service.name) else {
                continue;
            };
            let hashed = [service, &before.config.services[was]].map(|service| service.scheduler);
            if !hashed.into_iter().all(model::Scheduler::is_hash_determined) {
                continue;
            }
            for family in Family::ALL {
                let old = lookup(&before.ids, &self.answering, (was, family));
                let new = lookup(ids, &desired.answering, (n, family));
                let (Some((table, old_prefix)), Some((new, prefix))) = (old, new) else {
                    continue;
                };
                let owners = self.runner.owners(table).zip(desired.owners.get(&new));
                let Some((owners, wanted)) = owners else {
                    continue;
                };
                let from = Slots {
                    owners,
                    prefix: old_prefix,
                };
                let to = Slots {
                    owners: wanted.to_vec(),
                    prefix,
                };
                let (share, least) = changes::moved(&from, &to);
                if share > 0.0 {
                    if tracked_before[was].is_none() {
                        leaving.push(Leaving {
                            row: moved.len(),
                            service: before.ids.services[was],
                            family,
                            table,
                            from,
                            to,
                        });
                    }
                    moved.push(SlotsMoved {
                        service: service.name.clone(),
                        family,
                        tracked: tracked_before[was].is_some() && tracked[n].is_some(),
                        share,
                        least,
                        seen: None,
                    });
                }
            }
        }
        (moved, leaving)
    }

    /// Next hops as they are now; addresses that nobody has asked for yet count as reachable.
    fn hops_of(&self, (before, after): (&Config, &Config), links: &Links) -> BTreeMap<IpAddr, Hop> {
        let mut hops = self.ways.hops(Instant::now());
        let known: BTreeSet<IpAddr> = addresses(before);
        let Some(link) = links.values().next() else {
            return hops;
        };
        for address in addresses(after).difference(&known) {
            hops.entry(*address).or_insert(Hop {
                ifindex: link.ifindex,
                mac: [0; 6],
                mtu: link.mtu,
                source: Some(*address),
                lost: None,
            });
        }
        hops
    }
}

/// The table that a service's flows of a family find their slots in, and the prefix that they hash.
fn lookup(
    ids: &Ids,
    answering: &BTreeMap<(ServiceIndex, Family), PoolIndex>,
    (service, family): (ServiceIndex, Family),
) -> Option<(TableId, u8)> {
    let pool = *answering.get(&(service, family))?;
    let prefix = ids.prefix((pool, family), service)?;
    Some((*ids.tables.get(&(pool, family))?, prefix))
}

/// Followed while there is no device that has them.
const PROBE_SOURCES: &str = "probe_sources";

/// Keys of `[agent]`, and of the lists beside it, that a reload follows.
const FOLLOWED: [&str; 11] = [
    "interfaces",
    PROBE_SOURCES,
    "watch",
    "debug",
    "exception_rate",
    "icmp_rate",
    "icmp_rate_per_source",
    "reset_rate",
    "reset_rate_per_source",
    "access.allow",
    "access.deny",
];

/// What differs that is fixed when the agent starts.
fn needs_restart(changes: &Changes) -> Vec<String> {
    let keys = changes
        .agent
        .iter()
        .map(|difference| difference.key.as_str());
    let keys = keys.filter(|key| !FOLLOWED.contains(key));
    keys.map(|key| format!("agent.{key}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures;

    #[test]
    fn what_is_fixed_at_the_start_needs_a_restart_and_nothing_else_does() {
        let before = fixtures::config();
        let restart = |after: &Config| needs_restart(&Changes::between(&before, after));
        let mut after = before.clone();
        after.agent.interfaces.pop();
        after.agent.watch = true;
        after.access = Some(model::Access {
            allow: vec![],
            deny: vec![("198.18.7.0".parse().unwrap(), 24)],
        });
        after.services.pop();
        after.agent.replies.errors += 1;
        after.pools[1].forward = model::Forward::Nat;
        assert_eq!(restart(&after), [""; 0]);
        after.agent.flows += 1;
        assert_eq!(restart(&after), ["agent.flows"]);
    }
}
