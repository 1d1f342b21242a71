//! What addresses that move depend on, in the agent: has the checks run that are no pool's, looks for files, gathers what
//! pools, checks, files and the data plane are, and keeps instances told. Wires, and decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};
use tracing::warn;

use super::Agent;
use crate::{
    canary::Canary,
    health::{
        Before, MemberTargets, Monitor, PoolTargets, Run, Snapshot, State, Target, Targets,
        checks::Prober,
    },
    kernel::DataPlane,
    model::{BackendAddress, Check, Config, Health, Tracked, Weight},
    vrrp::{Checked, DataPlaneFact, Facts},
};

/// How often files are looked for.
const LOOK: Duration = Duration::from_millis(200);

/// How long a reload waits until something is known of what it has tracked anew.
const PATIENCE: Duration = Duration::from_secs(1);

/// What checks that are no pool's are called where they need a pool's name.
const CHECKS: &str = "tracked";

/// What is tracked, and what is known of it.
pub(super) struct Tracking {
    checks: Monitor,
    wanted: watch::Sender<Arc<Wanted>>,
    data_plane: watch::Sender<Option<DataPlaneFact>>,
    facts: watch::Receiver<Arc<Facts>>,
    task: JoinHandle<()>,
    /// How many packets were run through the program to see what it makes of them.
    canaries: usize,
}

/// What is tracked, but for what is looked at anyway.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wanted {
    checks: Vec<Check>,
    files: BTreeSet<PathBuf>,
    data_plane: bool,
}

impl Agent {
    /// Says what is wrong with the data plane, and that the agent is there to say so.
    pub(super) fn tell_data_plane(&mut self, plane: &mut DataPlane) {
        if !self.tracking.has_data_plane() {
            return;
        }
        let fact = DataPlaneFact {
            trouble: self.trouble(plane),
            at: Instant::now(),
        };
        self.tracking.data_plane.send_replace(Some(fact));
    }

    /// What is wrong with it, if anything.
    fn trouble(&mut self, plane: &mut DataPlane) -> Option<String> {
        let configured = self.view.configured();
        let config = &configured.config;
        // Each runs the program that it runs already. An attachment that is no more is told, and forgotten.
        if let Err(error) = plane.hand_over() {
            return Some(format!("the program is not attached: {error}"));
        }
        let attached: BTreeSet<u32> = plane.attachments().iter().map(|a| a.ifindex).collect();
        for name in &config.agent.interfaces {
            match self.links.get(name) {
                None => return Some(format!("there is no interface {name}")),
                Some(link) if !attached.contains(&link.ifindex) => {
                    return Some(format!("{name} runs no packet program"));
                }
                Some(_) => {}
            }
        }
        if let Some(error) = self.view.behind() {
            return Some(format!("tables can't be written: {error}"));
        }
        if config.services.is_empty() {
            return None;
        }
        if self.tables.listening.is_empty() {
            return Some("the tables are empty".to_owned());
        }
        let hops = self.hops.borrow();
        if !hops.values().any(|hop| hop.next_hop().is_some()) {
            return Some("no backend's next hop is known".to_owned());
        }
        drop(hops);
        self.try_canary(plane, &attached)
    }

    /// What is wrong with what the program makes of a packet, if anything.
    fn try_canary(&mut self, plane: &mut DataPlane, attached: &BTreeSet<u32>) -> Option<String> {
        let turn = self.tracking.canaries;
        self.tracking.canaries = turn.wrapping_add(1);
        let canary = Canary::of_turn(&self.tables, attached, self.seed, turn)?;
        match plane.program().try_frame(canary.ifindex, &canary.frame) {
            Ok((verdict, frame)) => canary.trouble(verdict, &frame),
            Err(error) => Some(format!("a canary could not be sent: {error}")),
        }
    }
}

impl Tracking {
    /// Begins. `pools` are what is known of backends.
    pub(super) fn start(
        config: &Config,
        pools: watch::Receiver<Arc<Snapshot>>,
    ) -> anyhow::Result<Self> {
        let wanted = Wanted::of(config);
        let seed = getrandom::u64().map_err(|error| anyhow::anyhow!("random numbers: {error}"))?;
        let targets = Arc::new(wanted.targets());
        let prober = Prober::new(Arc::default());
        let checks = Monitor::start(prober, targets, &Before::default(), seed);
        let (wanted, told) = watch::channel(Arc::new(wanted));
        let (data_plane, said) = watch::channel(None);
        let mut gatherer = Gatherer {
            pools,
            checks: checks.snapshots(),
            wanted: told,
            data_plane: said,
            files: BTreeSet::new(),
        };
        let (publish, facts) = watch::channel(Arc::new(gatherer.facts()));
        Ok(Self {
            checks,
            wanted,
            data_plane,
            facts,
            task: tokio::spawn(gatherer.run(publish)),
            canaries: 0,
        })
    }

    /// What is known, for whoever depends on it.
    pub(super) fn facts(&self) -> watch::Receiver<Arc<Facts>> {
        self.facts.clone()
    }

    /// Tracks what another configuration does, and waits a while until something is known of all of it.
    pub(super) async fn follow(&mut self, config: &Config) {
        let wanted = Wanted::of(config);
        self.checks.follow(Arc::new(wanted.targets()));
        self.wanted.send_replace(Arc::new(wanted.clone()));
        let is_known = |facts: &Arc<Facts>| {
            let mut checks = wanted.checks.iter();
            checks.all(|check| facts.checks.iter().any(|known| known.check == *check))
        };
        let known = timeout(PATIENCE, self.facts.wait_for(is_known)).await;
        if known.is_err() {
            warn!("nothing is known yet of some of what is tracked");
        }
    }

    /// Whether anything depends on the data plane.
    fn has_data_plane(&self) -> bool {
        self.wanted.borrow().data_plane
    }

    /// Ends.
    pub(super) async fn stop(self) {
        self.task.abort();
        self.checks.stop().await;
    }
}

impl Wanted {
    fn of(config: &Config) -> Self {
        let mut wanted = Self::default();
        for track in config.vrrp.iter().flat_map(|vrrp| &vrrp.track) {
            match &track.subject {
                Tracked::Check(check) if !wanted.checks.contains(check) => {
                    wanted.checks.push(check.as_ref().clone());
                }
                Tracked::File { path, .. } => drop(wanted.files.insert(path.clone())),
                Tracked::DataPlane => wanted.data_plane = true,
                Tracked::Check(_) | Tracked::Interface(_) | Tracked::Pool { .. } => {}
            }
        }
        wanted
    }

    /// The checks, as those of a pool with a backend for each.
    fn targets(&self) -> Targets {
        if self.checks.is_empty() {
            return Targets::default();
        }
        let members = self.checks.iter().enumerate().filter_map(|(n, check)| {
            let ip = check.address?;
            let target = Target {
                ip,
                port: check.port,
                service: None,
            };
            Some(MemberTargets {
                backend: name(n),
                address: BackendAddress {
                    ip,
                    port: check.port,
                },
                weight: Weight::DEFAULT,
                priority: 0,
                runs: vec![Run {
                    probe: Arc::new(check.probe.clone()),
                    target,
                    pace: check.pace,
                }],
            })
        });
        let pool = PoolTargets {
            name: CHECKS.to_owned(),
            health: Health::default(),
            members: members.collect(),
            groups: BTreeMap::new(),
        };
        Targets { pools: vec![pool] }
    }
}

/// What the check of this number is called where it needs a backend's name.
fn name(n: usize) -> String {
    format!("check{}", n + 1)
}

/// Gathers what is known.
struct Gatherer {
    pools: watch::Receiver<Arc<Snapshot>>,
    checks: watch::Receiver<Arc<Snapshot>>,
    wanted: watch::Receiver<Arc<Wanted>>,
    data_plane: watch::Receiver<Option<DataPlaneFact>>,
    /// Those that are there.
    files: BTreeSet<PathBuf>,
}

impl Gatherer {
    async fn run(mut self, publish: watch::Sender<Arc<Facts>>) {
        loop {
            self.look_for_files().await;
            let facts = Arc::new(self.facts());
            publish.send_if_modified(|known| {
                let differs = *known != facts;
                *known = facts;
                differs
            });
            let has_files = !self.wanted.borrow().files.is_empty();
            tokio::select! {
                Ok(()) = self.pools.changed() => {}
                Ok(()) = self.checks.changed() => {}
                Ok(()) = self.wanted.changed() => {}
                Ok(()) = self.data_plane.changed() => {}
                () = sleep(LOOK), if has_files => {}
                else => return,
            }
        }
    }

    /// Not on this thread: a file system may hang.
    async fn look_for_files(&mut self) {
        let wanted = Arc::clone(&self.wanted.borrow());
        if wanted.files.is_empty() {
            return self.files.clear();
        }
        let look = move || {
            let files = wanted.files.iter();
            files.filter(|path| path.exists()).cloned().collect()
        };
        if let Ok(files) = spawn_blocking(look).await {
            self.files = files;
        }
    }

    fn facts(&mut self) -> Facts {
        let pools = self.pools.borrow_and_update();
        let healthy = pools.pools.iter().map(|(name, pool)| {
            let members = pool.members.iter();
            let up = members.filter(|(_, member)| member.state == State::Up);
            let names: BTreeSet<&String> = up.map(|((backend, _), _)| backend).collect();
            (name.clone(), u32::try_from(names.len()).unwrap_or(u32::MAX))
        });
        Facts {
            pools: healthy.collect(),
            checks: self
                .wanted
                .borrow_and_update()
                .checked(&self.checks.borrow_and_update()),
            files: self.files.clone(),
            data_plane: self.data_plane.borrow_and_update().clone(),
        }
    }
}

impl Wanted {
    /// What is known of the checks.
    fn checked(&self, snapshot: &Snapshot) -> Vec<Checked> {
        let Some(pool) = snapshot.pools.get(CHECKS) else {
            return Vec::new();
        };
        let checks = self.checks.iter().enumerate();
        let checked = checks.filter_map(|(n, check)| {
            let name = name(n);
            let mut members = pool.members.iter();
            let (_, member) = members.find(|((backend, _), _)| *backend == name)?;
            // Of another configuration, which had others of these numbers.
            let view = member.checks.first()?;
            if view.probe != check.probe.to_string() {
                return None;
            }
            let down = (member.state != State::Up).then(|| {
                let cause = view.cause.clone();
                cause.unwrap_or_else(|| "it has not succeeded yet".to_owned())
            });
            Some(Checked {
                check: check.clone(),
                down,
            })
        });
        checked.collect()
    }
}
