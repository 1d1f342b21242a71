//! The agent: wires configuration, network, kernel and servers together, and decides nothing.
//!
//! ```text
//!  config ──► ids ───────────────┐        slots (history, sweep)
//!  health (checks) ──────────────┤                │
//!  net (next hops, watched) ──► desired tables ──┴──► reconciler ──► maps ◄── packet program
//!     ▲                          │                                                │
//!     └── neighbours wanted ─────┼────────────────────────────────────────────────┘
//!                                └──► view ──► control socket, stats endpoint
//! ```
//!
//! Start: everything that can fail is tried before the program is attached; a start that fails leaves what
//! there was before it, but for offloads that were turned off and addresses that a killed agent left behind, if it came
//! that far. What an agent before it left
//! in the kernel is gone on with (`inherited`), by what is known of it (`record`), or new tables take its place
//! (`older`). Stop: the data plane goes on
//! as it is, whether the agent is told to stop or killed. SIGHUP and the control socket: the
//! configuration is read again, or the one before (`kept`) comes back (`reload`); one that fails leaves
//! everything as it is. Here are its start, its stop and the loop that hears what happens.

mod events;
mod files;
mod floating;
mod health;
mod inherited;
mod interfaces;
mod kept;
mod older;
mod overriding;
mod prepare;
mod probes;
mod record;
mod reload;
mod removals;
mod sampling;
mod steering;
mod tending;
mod tracking;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lb_common::abi::Seed;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tracing::{error, info, warn};

use crate::{
    config::Recorded,
    control,
    kernel::{
        Constants, DataPlane, ExceptionTables, Features, FlowTables, MapTables, ProgramLog,
        WantedNeighbours,
    },
    model::Config,
    net::{IfIndex, LinkChanges, Resolver, Snapshot as NextHops},
    plan::Tables,
    reconcile::Reconciler,
    slots,
    state::{self, Link, Registry, Ways},
    stats::{self, AgentView, Source},
    unix_time::unix_now,
    vrrp::{Routers, Traces},
};

use events::Telling;
use files::Files;
use health::Health;
use inherited::Found;
use kept::KeptConfigurations;
use older::Following;
use overriding::Overriding;
use prepare::Prepared;
use probes::Probes;
use record::Records;
use removals::Removals;
use sampling::Sampling;
use steering::Answering;
use tracking::Tracking;

pub use steering::wanted as wanted_slots;
use view::{Configured, Now, View};

/// How often the agent looks whether slots can go on, and what clients' connections come to.
const TICK: Duration = Duration::from_secs(1);

/// How often recorded flows are swept: a full table takes some tenths of a second.
const FLOW_SWEEP: Duration = Duration::from_secs(10);

/// How long a start waits for next hops before it begins with those that are there.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits where packets go on being forwarded meanwhile.
const LEISURE: Duration = Duration::from_secs(5);

/// What `sluice run` was asked for.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The configuration's main file.
    pub config: PathBuf,
    /// The control socket, if not the configured one.
    pub control: Option<PathBuf>,
}

/// Runs the agent until SIGTERM or SIGINT.
pub fn run(options: RunOptions) -> anyhow::Result<()> {
    allow_open_files();
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(run_on_runtime(options))
}

async fn run_on_runtime(options: RunOptions) -> anyhow::Result<()> {
    let signals = Signals {
        terminate: listen(SignalKind::terminate())?,
        interrupt: listen(SignalKind::interrupt())?,
        hangup: listen(SignalKind::hangup())?,
    };
    let config = std::path::absolute(&options.config).context("finding the configuration")?;
    let prepared = prepare::prepare(&config).await?;
    let control = options
        .control
        .unwrap_or_else(|| prepared.config.agent.control.clone());
    let socket = control::bind(&control)?;
    let stats = prepared.config.agent.stats;
    let stats = TcpListener::bind(stats)
        .await
        .with_context(|| format!("listening on the stats address {stats}"))?;

    let (mut agent, mut plane) = Agent::new(prepared, &config, &control)?;
    let sockets = Sockets {
        control: socket,
        stats,
    };
    let result = match agent.begin(&mut plane).await {
        Ok(()) => agent.serve(&mut plane, signals, sockets).await,
        Err(error) => {
            if agent.begins {
                plane.end()?;
            }
            Err(error)
        }
    };
    agent.give_up().await;
    agent.tracking.stop().await;
    agent.health.stop().await;
    // The kernel would keep the neighbours for nobody.
    agent.resolver.stop().await;
    result.inspect(|()| {
        info!("stopped; packets are forwarded as before until the next start, or `sluice detach`");
    })
}

/// What the agent is told by signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Where clients are listened to.
struct Sockets {
    control: control::Socket,
    stats: TcpListener,
}

/// A running agent, but for the data plane and the servers.
struct Agent {
    view: Arc<View>,
    registry: Registry,
    runner: slots::Runner,
    exceptions: ExceptionTables,
    flows: FlowTables,
    seed: Seed,
    /// Jiffies in a second.
    hertz: u32,
    /// What is written, as far as the agent knows.
    tables: Tables,
    answering: Answering,
    links: BTreeMap<String, Link>,
    resolver: Resolver,
    hops: watch::Receiver<NextHops>,
    ways: Ways,
    health: Health,
    probes: Probes,
    /// What moves addresses between hosts.
    routers: Routers,
    /// What these depend on.
    tracking: Tracking,
    telling: Telling,
    /// What it would leave behind of them, if it were killed.
    traces: Traces,
    overriding: Overriding,
    /// This host's own.
    addresses: watch::Receiver<Arc<BTreeSet<IpAddr>>>,
    link_changes: watch::Receiver<LinkChanges>,
    reconciler: Reconciler<MapTables>,
    /// Who owns which slot, while nothing changes it.
    owners: state::Memo,
    wanted: WantedNeighbours,
    log: ProgramLog,
    kept: KeptConfigurations,
    removals: Removals,
    sampling: Sampling,
    /// What the configuration's files said when they were last read.
    seen: Recorded,
    files: Files,
    /// Whether something is left to write, or to let go of that only the configuration before needed.
    unfinished: bool,
    records: Records,
    following: Following,
    /// What the configuration in use needs of the program.
    features: Features,
    /// What the program was loaded with.
    constants: Constants,
    /// Whether there was nothing in the kernel before.
    begins: bool,
}

impl Agent {
    fn new(prepared: Prepared, config: &Path, control: &Path) -> anyhow::Result<(Self, DataPlane)> {
        let constants = prepared.constants;
        let state = &prepared.config.agent.state;
        let begins = matches!(prepared.found, Found::Nothing);
        let (mut applied, mut slots, mut hops) =
            <(Tables, BTreeMap<_, _>, BTreeMap<_, _>)>::default();
        let mut older = Vec::new();
        let (mut plane, records) = match prepared.found {
            Found::Usable(inherited) => {
                let (set, hertz) = (inherited.set.clone(), inherited.record.hertz);
                let before = inherited
                    .older
                    .iter()
                    .map(|older| older.set.clone())
                    .collect();
                let plane = DataPlane::adopt(prepared.pins, set, before, &constants, hertz)?;
                let records = Records::of(state, inherited.identity, &inherited.record);
                hops = inherited.hops();
                slots = inherited.tables.slots.clone();
                (applied, older) = (inherited.tables, inherited.older);
                (plane, records)
            }
            Found::Older(inherited) => {
                hops = inherited.hops();
                slots = inherited.tables.slots.clone();
                let hertz = inherited.record.hertz;
                older = inherited.into_older();
                let before = older.iter().map(|older| older.set.clone()).collect();
                let plane = DataPlane::follow(prepared.pins, before, &constants, hertz)?;
                (plane, Records::begin(state)?)
            }
            Found::Nothing | Found::Unusable(_) => {
                let plane = DataPlane::begin(prepared.pins, &constants)?;
                (plane, Records::begin(state)?)
            }
        };
        let following = Following::open(&older, &plane)?;
        let program = plane.program();
        let mut maps = program.take_tables()?;
        if records.is_complete() {
            maps.adopt(&applied)?;
        }
        let mut ways = Ways::default();
        ways.follow(hops, |_| Duration::ZERO, Instant::now());
        let resolver = Resolver::start()?;
        resolver.want(addresses(&prepared.in_tables));
        let agent = AgentView {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("SLUICE_COMMIT").into(),
            layout: lb_common::abi::LAYOUT,
            pid: std::process::id(),
            started_unix_seconds: unix_now(),
            uptime_seconds: 0,
            config: config.display().to_string(),
            control: control.display().to_string(),
            stats: prepared.config.agent.stats.to_string(),
            seed_fingerprint: prepared.seed_fingerprint,
            warnings: Vec::new(),
            generation: 1,
            taken_unix_seconds: unix_now(),
            reload_error: None,
            removed: Vec::new(),
        };
        let (overriding, warning) = Overriding::start(&prepared.config.agent.state);
        warning.iter().for_each(|text| warn!("{text}"));
        let mut warnings = prepared.warnings;
        warnings.extend(warning);
        let state = &prepared.config.agent.state;
        let clients = Arc::default();
        let probes = Probes::new(Arc::clone(&clients), program.take_probed_ports()?);
        let health = Health::start(&prepared.config, overriding.said(), state, clients)?;
        let tracking = Tracking::start(&prepared.config, health.snapshots())?;
        let (transitions, told) = mpsc::unbounded_channel();
        let routers = Routers::new(tracking.facts(), transitions, floating::maintenance(state));
        let telling = Telling::start(told, health.snapshots());
        let kept = KeptConfigurations::new(&prepared.config.agent.state);
        let seed = constants.seed;
        let features = prepare::features_of(&prepared.in_tables, &prepared.ids, &prepared.links);
        let folder = prepared.config.agent.state.join("slots");
        let runner = slots::Runner::new(folder, slots);
        let configured = Configured {
            config: prepared.config,
            in_tables: prepared.in_tables,
            ids: prepared.ids,
            warnings,
            generation: 1,
        };
        let view = View {
            configured: Mutex::new(Arc::new(configured)),
            limit: constants.limits.capacity.into(),
            agent,
            started: Instant::now(),
            counters: program.take_counters()?,
            health: health.snapshots(),
            vrrp: routers.views(),
            notified: telling.notified(),
            now: Mutex::new(Now::first(
                overriding.said().clone(),
                prepared.removals.views(),
            )),
        };
        let agent = Self {
            view: Arc::new(view),
            registry: prepared.registry,
            runner,
            exceptions: program.take_exceptions()?,
            flows: program.take_flows()?,
            seed,
            hertz: program.hertz(),
            tables: Tables::default(),
            answering: Answering::new(),
            links: prepared.links,
            hops: resolver.snapshots(),
            ways,
            health,
            probes,
            routers,
            tracking,
            telling,
            traces: Traces::default(),
            overriding,
            addresses: resolver.addresses(),
            link_changes: resolver.link_changes(),
            resolver,
            reconciler: Reconciler::with(maps, applied),
            owners: state::Memo::default(),
            wanted: program.take_wanted()?,
            log: program.take_log()?,
            kept,
            removals: prepared.removals,
            sampling: Sampling::default(),
            seen: prepared.recorded,
            files: Files::default(),
            unfinished: true,
            records,
            following,
            features,
            constants,
            begins,
        };
        Ok((agent, plane))
    }

    /// Writes the tables and has the program run over them. Over tables that there were it runs before they are
    /// written: they may come to hold what the one before does not know; and what may fail is tried before.
    async fn begin(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        self.give_up_what_was_left().await;
        self.probes.make(&self.view.configured().config)?;
        if self.records.is_complete() {
            Self::hand_over(plane)?;
            Self::attach(plane, &self.links)?;
            self.attach_probes(plane)?;
            self.reconcile_first(plane, LEISURE).await?;
        } else {
            let patience = match self.following.is_over() {
                true => PATIENCE,
                false => LEISURE,
            };
            self.reconcile_first(plane, patience).await?;
            self.carry_ahead();
            self.records.complete(plane)?;
            Self::hand_over(plane)?;
            Self::attach(plane, &self.links)?;
            self.attach_probes(plane)?;
        }
        self.follow_none(plane)?;
        self.records.forget_others();
        self.detach_others(plane)
    }

    /// Works until a signal comes.
    async fn serve(
        &mut self,
        plane: &mut DataPlane,
        signals: Signals,
        Sockets { control, stats }: Sockets,
    ) -> anyhow::Result<()> {
        self.keep(&self.seen);
        self.removes(self.removals.clone());
        self.follow_files();
        self.float(plane).await?;
        let (stop, stopped) = watch::channel(());
        let (actions, requests) = control::channel();
        let source: Arc<dyn Source> = Arc::clone(&self.view) as _;
        let servers = [
            tokio::spawn(stats::serve(
                stats,
                Arc::clone(&source),
                until(stopped.clone()),
            )),
            tokio::spawn(control::serve(
                control,
                source,
                actions,
                self.telling.events(),
                until(stopped),
            )),
        ];
        let result = self.work(plane, signals, requests).await;
        // While clients still hear of it.
        self.give_up().await;
        self.stop_sample(plane);
        drop(stop);
        for server in servers {
            server.await.context("a server")?;
        }
        result
    }

    /// Waits a while until every backend's next hop is known, then writes the tables.
    async fn reconcile_first(
        &mut self,
        plane: &mut DataPlane,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let expected = addresses(&self.view.configured().config).len();
        let complete = |hops: &NextHops| {
            hops.values().filter(|hop| hop.next_hop().is_some()).count() == expected
        };
        // Too late is as good: the rest enters as it is resolved.
        let _ = tokio::time::timeout(patience, self.hops.wait_for(complete)).await;
        self.reconcile(plane)
    }

    /// Has backends judged by how their connections began.
    fn observe(&self) -> anyhow::Result<()> {
        let configured = self.view.configured();
        let count = |index| self.view.counters.handshakes(index);
        self.health
            .observe(&configured.config, &configured.ids, count)
    }

    /// Follows the network, and does what is asked of it, until a signal comes.
    async fn work(
        &mut self,
        plane: &mut DataPlane,
        signals: Signals,
        mut requests: control::Requests,
    ) -> anyhow::Result<()> {
        let Signals {
            mut terminate,
            mut interrupt,
            mut hangup,
        } = signals;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // At once: what the agent before counted is not known.
        let mut swept: Option<Instant> = None;
        let mut flows_swept = Instant::now();
        info!(
            "ready: control socket {}, stats {}",
            self.view.agent.control, self.view.agent.stats
        );
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                // Log and view tell how it ended.
                _ = hangup.recv() => drop(self.reload(plane).await),
                () = self.files.changed() => self.files_changed(plane).await,
                Some((action, asker)) = requests.recv() => self.act(plane, action, asker).await,
                () = self.sampling.is_over() => self.end_sample(plane),
                _ = tick.tick() => {
                    let time = swept.is_none_or(|at| at.elapsed() >= steering::SWEEP);
                    if time {
                        swept = Some(Instant::now());
                    }
                    if let Err(error) = self.tend(plane, time) {
                        error!("tending the slots: {error:#}");
                    }
                    if let Err(error) = self.observe() {
                        error!("reading how connections began: {error:#}");
                    }
                    self.tell_data_plane(plane);
                    let due = flows_swept.elapsed() >= FLOW_SWEEP;
                    if due && self.view.behind().is_none() {
                        flows_swept = Instant::now();
                        if let Err(error) = self.sweep_flows(plane) {
                            error!("sweeping flows: {error:#}");
                        }
                    }
                }
                changed = self.hops.changed() => {
                    changed.context("the watch of next hops ended")?;
                    if let Err(error) = self.reconcile(plane) {
                        error!("writing the tables: {error:#}");
                    }
                }
                changed = self.health.changed() => {
                    changed?;
                    if let Err(error) = self.reconcile(plane) {
                        error!("writing the tables: {error:#}");
                    }
                }
                changed = self.addresses.changed() => {
                    changed.context("the watch of this host's addresses ended")?;
                    if let Err(error) = self.host_changed(plane) {
                        error!("marking this host's addresses: {error:#}");
                    }
                }
                changed = self.link_changes.changed() => {
                    changed.context("the watch of this host's devices ended")?;
                    if let Err(error) = self.links_changed(plane).await {
                        error!("following this host's interfaces: {error:#}");
                    }
                }
                wanted = self.wanted.next() => {
                    for (device, address) in wanted.context("reading the program's requests")? {
                        self.resolver.probe(IfIndex(device), address);
                    }
                }
                error = self.log.forward() => return Err(error).context("reading the program's log"),
            }
        }
    }
}

/// The addresses of all backends.
fn addresses(config: &Config) -> BTreeSet<IpAddr> {
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    backends.flat_map(|b| &b.addresses).map(|a| a.ip).collect()
}

/// As many as this process may have: each check under way holds a socket.
fn allow_open_files() {
    let most = getrlimit(Resource::RLIMIT_NOFILE);
    let raised = most.and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!("the limit of open files stays as it is: {error}");
    }
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("listening for signals")
}

/// Is done once the sender is dropped.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
