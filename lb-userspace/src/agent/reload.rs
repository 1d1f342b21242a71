//! Another configuration while the agent runs, from its files, from the one before, or only to say what it
//! would change: read and checked as at a start, numbered beside the one in use, then applied. One that
//! fails anywhere before that leaves everything as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    time::Instant,
};

use anyhow::bail;
use lb_common::abi::TableId;
use tracing::{error, info};

use crate::{
    changes::{self, Changes, Slots, SlotsMoved},
    config::{self, Disk, Recorded},
    control::{Action, Done, Refusal},
    kernel::Program,
    model::{self, Config, Family, PoolIndex, ServiceIndex},
    state::{self, Hop, Ids, Inputs, Link, Registry},
};

use super::{
    Agent, addresses, files,
    prepare::{self, Checked, has_nat, has_nat_ranges, has_prefixes, has_vlans},
    view::Configured,
};

/// A configuration with its numbers, and what it changes beside the one in use.
struct Next {
    registry: Registry,
    ids: Ids,
    /// Our devices, by name.
    links: Links,
    changes: Changes,
}

type Links = BTreeMap<String, Link>;

impl Agent {
    /// Does what a client of the control socket asks for.
    pub(super) async fn act(&mut self, program: &mut Program, action: Action) -> Done {
        let ended = match action {
            Action::Reload => self.reload(program).await,
            Action::Rollback => self.roll_back(program).await,
            Action::Plan(files) => self.plan(&files).await,
        };
        ended.map_err(|error| Refusal::from(&error))
    }

    /// Reads the configuration again; what is wrong with it goes to the log and the view as well.
    pub(super) async fn reload(&mut self, program: &mut Program) -> anyhow::Result<Changes> {
        let (path, before) = (self.view.agent.config.clone(), self.generation());
        let checked = prepare::check(path.as_ref(), &Disk).await;
        let taken = checked.and_then(|checked| {
            self.seen = checked.recorded.clone();
            self.take(program, checked)
        });
        self.follow_files();
        self.told(before, taken, "reload")
    }

    /// Reads the configuration again if its files say something else than when they were last read, or if
    /// that did not go well.
    pub(super) async fn files_changed(&mut self, program: &mut Program) {
        let path = &self.view.agent.config;
        let is_seen = |said: Recorded| said == self.seen && !self.view.has_failed();
        if config::record(path.as_ref(), &Disk).is_ok_and(|(_, said)| is_seen(said)) {
            self.follow_files();
            return;
        }
        info!("the files of the configuration have changed");
        // Log and view tell how it ended.
        drop(self.reload(program).await);
    }

    /// Watches the files of the configuration, if it says so.
    pub(super) fn follow_files(&mut self) {
        let paths: Vec<_> = match self.view.configured().config.agent.watch {
            true => self.seen.paths().collect(),
            false => Vec::new(),
        };
        let folders = files::folders(paths.iter().map(PathBuf::as_path));
        self.watch.follow(&folders);
    }

    /// Goes back to the configuration before, as its files were then.
    async fn roll_back(&mut self, program: &mut Program) -> anyhow::Result<Changes> {
        let before = self.generation();
        let Some(previous) = self.kept.previous()? else {
            bail!("there is no configuration before this one");
        };
        let warning = format!(
            "rolled back: what is in use is not what {} says now, and a reload or a restart takes that",
            self.view.agent.config
        );
        let checked = prepare::check(previous.main(), &previous).await;
        let taken = checked.and_then(|mut checked| {
            checked.warnings.push(warning);
            self.take(program, checked)
        });
        self.told(before, taken, "rollback")
    }

    /// How many configurations were taken.
    fn generation(&self) -> u64 {
        self.view.configured().generation
    }

    /// What a configuration would change.
    async fn plan(&self, files: &Recorded) -> anyhow::Result<Changes> {
        let checked = prepare::check(files.main(), files).await?;
        Ok(self.next(&checked)?.changes)
    }

    /// Has log and view tell how it ended, given how many configurations there had been before. One that was taken
    /// may still have failed to be written: then the view has that.
    fn told(
        &self,
        before: u64,
        taken: anyhow::Result<Changes>,
        what: &str,
    ) -> anyhow::Result<Changes> {
        match &taken {
            Err(error) if self.generation() == before => {
                error!("{what} failed, the configuration before stays in use: {error:#}");
                self.view.reloaded(Err(format!("{error:#}")));
            }
            Ok(_) | Err(_) => {
                let generation = self.generation();
                info!(generation, "{what}: another configuration is in use");
                self.view.reloaded(Ok(generation));
            }
        }
        taken
    }

    /// Has a configuration take the place of the one in use. Interfaces that are new are attached to before
    /// anything is written, since that may fail; their packets pass until the tables know them.
    fn take(&mut self, program: &mut Program, checked: Checked) -> anyhow::Result<Changes> {
        let Next {
            registry,
            ids,
            links,
            changes,
        } = self.next(&checked)?;
        if let Some(key) = changes.restart.first() {
            bail!("{key} differs: that needs a restart of the agent");
        }
        Self::attach(program, &links)?;
        let Checked {
            config,
            warnings,
            recorded,
            ..
        } = checked;
        let abandoned = ids.abandoned.clone();
        self.resolver.want(addresses(&config));
        let generation = self.generation() + 1;
        (self.registry, self.links) = (registry, links);
        self.view.configure(Configured {
            config,
            ids,
            warnings,
            generation,
        });
        self.reconcile()?;
        self.detach_others(program)?;
        abandoned
            .into_iter()
            .for_each(|table| self.registry.release_table(table));
        self.keep(&recorded);
        Ok(changes)
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
        let (registry, ids) = self.registry.assign(config)?;
        let links = prepare::links(&checked.network, config)?;
        let mut changes = Changes::between(&before.config, config);
        let restart = needs_restart((&before.config, &self.links), (config, &links));
        changes.restart = restart.map(str::to_owned).collect();
        changes.slots = self.slots_moved(&before, (config, &ids, &links));
        Ok(Next {
            registry,
            ids,
            links,
            changes,
        })
    }

    /// The services of both configurations that have slots for their flows, where any of those move.
    fn slots_moved(
        &self,
        before: &Configured,
        (config, ids, links): (&Config, &Ids, &Links),
    ) -> Vec<SlotsMoved> {
        let hops = self.hops_of((&before.config, config), links);
        let inputs = Inputs {
            config,
            ids,
            links,
            hops: &hops,
            hertz: self.hertz,
        };
        let desired = state::desired(inputs, &mut self.owners.clone());
        let tracked = config.tracked();
        let mut moved = Vec::new();
        for (n, service) in config.services.iter().enumerate() {
            let mut services = before.config.services.iter();
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
                let (Some((old, old_prefix)), Some((new, prefix))) = (old, new) else {
                    continue;
                };
                let Some((owners, wanted)) = self.runner.owners(old).zip(desired.owners.get(&new))
                else {
                    continue;
                };
                let old = Slots {
                    owners: &owners,
                    prefix: old_prefix,
                };
                let new = Slots {
                    owners: wanted,
                    prefix,
                };
                let (share, least) = changes::moved(&old, &new);
                if share > 0.0 {
                    moved.push(SlotsMoved {
                        service: service.name.clone(),
                        family,
                        tracked: tracked[n].is_some(),
                        share,
                        least,
                    });
                }
            }
        }
        moved
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

/// What differs that is fixed when the agent starts.
fn needs_restart(
    (before, links_before): (&Config, &Links),
    (after, links_after): (&Config, &Links),
) -> impl Iterator<Item = &'static str> {
    let model::Agent {
        // Attached to and detached from by a reload.
        interfaces: _,
        control,
        stats,
        state,
        pin,
        seed,
        flows,
        exceptions,
        exception_rate,
        replies,
        // Followed by a reload.
        watch: _,
        debug,
    } = &before.agent;
    let agent = &after.agent;
    let keys = [
        ("agent.control", *control != agent.control),
        ("agent.stats", *stats != agent.stats),
        ("agent.state", *state != agent.state),
        ("agent.pin", *pin != agent.pin),
        ("agent.seed", *seed != agent.seed),
        ("agent.flows", *flows != agent.flows),
        ("agent.exceptions", *exceptions != agent.exceptions),
        (
            "agent.exception_rate",
            *exception_rate != agent.exception_rate,
        ),
        (
            "the rates of ICMP errors and resets",
            *replies != agent.replies,
        ),
        ("agent.debug", *debug != agent.debug),
        (
            "the first or last VLAN device among agent.interfaces",
            has_vlans(links_before) != has_vlans(links_after),
        ),
        (
            "the first or last pool in nat mode",
            has_nat(before) != has_nat(after),
        ),
        (
            "the first or last range of ports or prefix of a service in nat mode",
            has_nat_ranges(before) != has_nat_ranges(after),
        ),
        (
            "the first or last prefix that a service listens on",
            has_prefixes(before) != has_prefixes(after),
        ),
    ];
    let differing = keys.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| key)
}
