//! The agent: wires configuration, network, kernel and servers together, and decides nothing.
//!
//! ```text
//!  config ──► ids ───────────────┐        slots (history, sweep)
//!  net (next hops, watched) ──► desired tables ──┴──► reconciler ──► maps ◄── packet program
//!     ▲                          │                                                │
//!     └── neighbours wanted ─────┼────────────────────────────────────────────────┘
//!                                └──► view ──► control socket, stats endpoint
//! ```
//!
//! Start: everything that can fail is tried before the program is attached; a start that fails
//! leaves nothing behind but offloads that were turned off, if it came that far. Stop: the program
//! is detached, and what it recorded goes; offloads stay off. SIGHUP and the control socket: the
//! configuration is read again, or the one before (`kept`) comes back (`reload`); one that fails leaves
//! everything as it is.

mod files;
mod kept;
mod prepare;
mod reload;
mod steering;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lb_common::abi::Seed;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::MissedTickBehavior,
};
use tracing::{debug, error, info, warn};

use crate::{
    config::Recorded,
    control, flows,
    kernel::{
        self, Attachment, ExceptionTables, FlowTables, MapTables, Mode, Program, ProgramLog,
        WantedNeighbours,
    },
    model::Config,
    net::{IfIndex, Resolver, Snapshot as NextHops, offload, offload::Offload},
    plan::Tables,
    reconcile::Reconciler,
    slots::{self, Jiffies},
    state::{self, Hop, Inputs, Link, Registry, Ways},
    stats::{self, AgentView, Source},
};

use files::Files;
use kept::KeptConfigurations;
use prepare::Prepared;
use steering::{Answering, Sweeper};
use view::{Configured, Now, Served, View};

/// How often the agent looks whether slots can go on.
const TICK: Duration = Duration::from_secs(1);

/// How often recorded flows are swept: a full table takes some tenths of a second.
const FLOW_SWEEP: Duration = Duration::from_secs(10);

/// How long a start waits for next hops before it begins with those that are there.
const PATIENCE: Duration = Duration::from_secs(1);

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

    let mut program = Program::load(&prepared.constants)?;
    let mut agent = Agent::new(&mut program, prepared, &config, &control)?;
    let sockets = Sockets {
        control: socket,
        stats,
    };
    let result = agent.serve(&mut program, signals, sockets).await;
    // Also after a start that failed: the kernel would keep the neighbours for nobody.
    agent.resolver.stop().await;
    result.inspect(|()| info!("stopped"))
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

/// A running agent, but for the program and the servers.
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
    /// This host's own.
    addresses: watch::Receiver<Arc<BTreeSet<IpAddr>>>,
    reconciler: Reconciler<MapTables>,
    /// Who owns which slot, while nothing changes it.
    owners: state::Memo,
    wanted: WantedNeighbours,
    log: ProgramLog,
    kept: KeptConfigurations,
    /// What the configuration's files said when they were last read.
    seen: Recorded,
    files: Files,
    /// Whether something is left to write, or to let go of that only the configuration before needed.
    unfinished: bool,
}

impl Agent {
    fn new(
        program: &mut Program,
        prepared: Prepared,
        config: &Path,
        control: &Path,
    ) -> anyhow::Result<Self> {
        let resolver = Resolver::start()?;
        resolver.want(addresses(&prepared.config));
        let agent = AgentView {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("SLUICE_COMMIT").into(),
            layout: lb_common::abi::LAYOUT,
            pid: std::process::id(),
            started_unix_seconds: view::unix_seconds(),
            uptime_seconds: 0,
            config: config.display().to_string(),
            control: control.display().to_string(),
            stats: prepared.config.agent.stats.to_string(),
            seed_fingerprint: prepared.seed_fingerprint,
            warnings: Vec::new(),
            generation: 1,
            taken_unix_seconds: view::unix_seconds(),
            reload_error: None,
        };
        let kept = KeptConfigurations::new(&prepared.config.agent.state);
        let seed = prepared.constants.seed;
        let runner = slots::Runner::new(prepared.config.agent.state.join("slots"));
        let configured = Configured {
            config: prepared.config,
            ids: prepared.ids,
            warnings: prepared.warnings,
            generation: 1,
        };
        let view = View {
            configured: Mutex::new(Arc::new(configured)),
            limit: prepared.constants.limits.capacity.into(),
            agent,
            started: Instant::now(),
            counters: program.take_counters()?,
            now: Mutex::new(Now::first()),
        };
        Ok(Self {
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
            ways: Ways::default(),
            addresses: resolver.addresses(),
            resolver,
            reconciler: Reconciler::new(program.take_tables()?),
            owners: state::Memo::default(),
            wanted: program.take_wanted()?,
            log: program.take_log()?,
            kept,
            seen: prepared.recorded,
            files: Files::default(),
            unfinished: false,
        })
    }

    /// Attaches the program once the tables are written, and works until a signal comes.
    async fn serve(
        &mut self,
        program: &mut Program,
        signals: Signals,
        Sockets { control, stats }: Sockets,
    ) -> anyhow::Result<()> {
        self.reconcile_first().await?;
        Self::attach(program, &self.links)?;
        self.detach_others(program)?;
        self.keep(&self.seen);
        self.follow_files();
        let (stop, stopped) = watch::channel(());
        let (actions, requests) = control::channel();
        let source: Arc<dyn Source> = Arc::clone(&self.view) as _;
        let servers = [
            tokio::spawn(stats::serve(
                stats,
                Arc::clone(&source),
                until(stopped.clone()),
            )),
            tokio::spawn(control::serve(control, source, actions, until(stopped))),
        ];
        let result = self.work(program, signals, requests).await;
        drop(stop);
        for server in servers {
            server.await.context("a server")?;
        }
        result
    }

    /// Waits a while until every backend's next hop is known, then writes the tables.
    async fn reconcile_first(&mut self) -> anyhow::Result<()> {
        let expected = self.view.configured().ids.next_hops.len();
        let complete = |hops: &NextHops| {
            hops.values().filter(|hop| hop.next_hop().is_some()).count() == expected
        };
        // Too late is as good: the rest enters as it is resolved.
        let _ = tokio::time::timeout(PATIENCE, self.hops.wait_for(complete)).await;
        self.reconcile()
    }

    /// Attaches the program to those of these interfaces that it is not attached to, but for VLAN devices: it
    /// finds their packets on those that they lie over.
    fn attach(program: &mut Program, links: &BTreeMap<String, Link>) -> anyhow::Result<()> {
        let before: BTreeSet<u32> = program.attachments().iter().map(|a| a.ifindex).collect();
        let devices = || {
            let devices = links.iter().filter(|(_, link)| link.vlan.is_none());
            devices.map(|(name, link)| (name.as_str(), link.ifindex))
        };
        for (name, _) in devices().filter(|(_, ifindex)| !before.contains(ifindex)) {
            turn_offloads_off(name)?;
        }
        let attached = program.attach(devices())?;
        if let Err(error) = attached.iter().try_for_each(settle_in) {
            program.detach_all_but(|ifindex| before.contains(&ifindex))?;
            return Err(error);
        }
        Ok(())
    }

    /// Detaches the program from interfaces that are none of ours any more, and has the view show the others.
    fn detach_others(&self, program: &mut Program) -> anyhow::Result<()> {
        let is_ours = |ifindex| self.links.values().any(|link| link.ifindex == ifindex);
        let others = program.attachments().into_iter();
        for Attachment { name, .. } in others.filter(|a| !is_ours(a.ifindex)) {
            info!("detached from {name}");
        }
        program.detach_all_but(is_ours)?;
        let served = view::served(program.attachments(), &self.links);
        for Served { attachment, lower } in &served {
            if let Some(lower) = lower {
                info!("{}: a VLAN device over {lower}", attachment.name);
            }
        }
        self.view.serves(served);
        Ok(())
    }

    /// Brings the tables to what configuration and next hops ask for now.
    fn reconcile(&mut self) -> anyhow::Result<()> {
        let written = self.try_reconcile();
        self.up_to_date(written)
    }

    /// Takes note of whether the kernel has what it should. What it has not is tried again at the next tick, and
    /// shown until then; until then nothing is done that counts on it.
    fn up_to_date(&self, written: anyhow::Result<()>) -> anyhow::Result<()> {
        let error = written.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(error) = self.view.falls_behind(error) {
            error!("{error}");
        }
        written
    }

    fn try_reconcile(&mut self) -> anyhow::Result<()> {
        let snapshot = self.hops.borrow_and_update().clone();
        self.follow_sources(&snapshot);
        let configured = self.view.configured();
        let now = Instant::now();
        let grace = |address| configured.config.grace_at(address);
        self.ways.follow(usable(&snapshot), grace, now);
        let hops = self.ways.hops(now);
        let inputs = Inputs {
            config: &configured.config,
            ids: &configured.ids,
            links: &self.links,
            hops: &hops,
            hertz: self.hertz,
        };
        let desired = state::desired(inputs, &mut self.owners);
        let wanted = steering::wanted(&configured.config, &configured.ids, &desired);
        self.runner.change(wanted, steering::clock());
        (self.tables, self.answering) = (desired.tables, desired.answering);
        let operations = self.write()?;
        info!(
            operations,
            backends = self.tables.backends.len(),
            of = configured.ids.backends.len(),
            "tables written"
        );
        let answering = self.answering.clone();
        self.view.applied(&self.tables, answering, snapshot);
        self.show_slots();
        Ok(())
    }

    /// Writes the tables with the slots as they are now; returns how many operations that took.
    fn write(&mut self) -> Result<usize, kernel::Error> {
        self.tables.slots.extend(self.runner.slots());
        self.tables.old_tables = self.runner.old_tables([self.seed.k0, self.seed.k1]);
        self.reconciler.reconcile(&self.tables)
    }

    /// Moves the phases of slots on, and sweeps the exceptions if it is `time` to.
    fn tend(&mut self, program: &mut Program, time: bool) -> anyhow::Result<()> {
        let catches_up = self.unfinished || self.view.behind().is_some();
        if catches_up && self.catch_up(program).is_err() {
            return Ok(());
        }
        let exceptions = &self.exceptions;
        let now = Instant::now();
        if self.runner.advance(now, |id| exceptions.unrecorded(id))? {
            let written = self.write().map(drop).map_err(Into::into);
            self.up_to_date(written)?;
        }
        if time && (self.runner.is_moving() || self.exceptions.used()? != [0, 0]) {
            self.sweep(program)?;
        }
        let done = self.runner.done_with();
        if !done.is_empty() {
            self.reconciler.wait_for_readers()?;
            done.into_iter()
                .for_each(|table| self.registry.release_table(table));
            self.renumber(&self.registry.clone())?;
        }
        let configured = self.view.configured();
        let grace = |address| configured.config.grace_at(address);
        if self.ways.is_due(grace, now) {
            self.reconcile()?;
        }
        self.show_slots();
        Ok(())
    }

    fn sweep(&mut self, program: &mut Program) -> anyhow::Result<()> {
        let configured = self.view.configured();
        let sweeper = Sweeper {
            config: &configured.config,
            ids: &configured.ids,
            answering: &self.answering,
            seed: self.seed,
            clock: Jiffies {
                now: program.jiffies()?,
                hertz: program.hertz(),
            },
        };
        self.registry.indices_mut().begin(&self.runner.named());
        let swept = sweeper.sweep(
            &mut self.runner,
            &mut self.exceptions,
            &mut self.reconciler,
            &mut self.tables,
        );
        // Words may be settled that are not stored.
        self.unfinished |= swept.is_err();
        let swept = swept?;
        debug!(
            entries = swept.entries,
            deleted = swept.deleted,
            "exceptions swept"
        );
        let mut named = self.runner.named();
        named.extend(&swept.named);
        self.registry.indices_mut().finish(&named);
        self.runner.shorten_logs(steering::clock());
        Ok(())
    }

    /// Deletes flows that have been silent for too long, and counts the others. Once none is left from
    /// before its pool began to cross families, none is looked for.
    fn sweep_flows(&mut self, program: &mut Program) -> anyhow::Result<()> {
        let clock = flows::Clock {
            now: program.jiffies()?,
            hertz: self.hertz,
            timeouts: &self.tables.timeouts,
        };
        let configured = self.view.configured();
        let ids = &configured.ids;
        let is_unmapped = |key: &_, entry: &_| ids.is_unmapped(key, entry);
        let swept = self.flows.sweep(clock, is_unmapped)?;
        debug!(entries = ?swept.entries, deleted = swept.deleted, "flows swept");
        if ids.looks_for_unmapped() && !swept.unmapped {
            self.renumber(&self.registry.without_unmapped())?;
        }
        Ok(())
    }

    /// Gives numbers anew to the same configuration, out of `registry`, and has the tables follow.
    fn renumber(&mut self, registry: &Registry) -> anyhow::Result<()> {
        self.number(registry)?;
        self.reconcile()
    }

    /// Takes note of the addresses that the kernel would send from. The last one known stays while
    /// there is no way; where the rest leaves no numbers, those before stay in use.
    fn follow_sources(&mut self, snapshot: &NextHops) {
        let mut sources = self.registry.outer_sources().clone();
        for (&address, resolution) in snapshot.iter() {
            let hop = resolution.next_hop();
            if let Some(source) = hop.and_then(|hop| hop.preferred_source) {
                sources.insert(address, source);
            }
        }
        if sources == *self.registry.outer_sources() {
            return;
        }
        let mut registry = self.registry.clone();
        registry.sends_from(sources);
        if let Err(error) = self.number(&registry) {
            error!("outer headers keep their source addresses: {error:#}");
        }
    }

    fn number(&mut self, registry: &Registry) -> anyhow::Result<()> {
        let configured = self.view.configured();
        let (registry, ids) = registry.assign(&configured.config)?;
        self.registry = registry;
        self.view.configure(Configured {
            ids,
            ..configured.as_ref().clone()
        });
        Ok(())
    }

    /// Takes note of this host's addresses. Where they have no room beside the rest, those before
    /// stay in use.
    fn host_changed(&mut self) -> anyhow::Result<()> {
        let addresses = self.addresses.borrow_and_update().as_ref().clone();
        let mut registry = self.registry.clone();
        registry.host_has(addresses);
        self.renumber(&registry)
    }

    /// Has the view show the slots as they are now.
    fn show_slots(&self) {
        let configured = self.view.configured();
        let now = Instant::now();
        let tables = configured.ids.tables.iter();
        let status = tables.filter_map(|(&key, &id)| Some((key, self.runner.status(id, now)?)));
        let used = self.exceptions.used().unwrap_or_else(|error| {
            warn!("counting exceptions: {error}");
            [0, 0]
        });
        self.view.slots(status, used);
    }

    /// Follows the network, and does what is asked of it, until a signal comes.
    async fn work(
        &mut self,
        program: &mut Program,
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
        let mut swept = Instant::now();
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
                _ = hangup.recv() => drop(self.reload(program).await),
                () = self.files.changed() => self.files_changed(program).await,
                Some((action, asker)) = requests.recv() => asker.tell(self.act(program, action).await),
                _ = tick.tick() => {
                    let time = swept.elapsed() >= steering::SWEEP;
                    if time {
                        swept = Instant::now();
                    }
                    if let Err(error) = self.tend(program, time) {
                        error!("tending the slots: {error:#}");
                    }
                    let due = flows_swept.elapsed() >= FLOW_SWEEP;
                    if due && self.view.behind().is_none() {
                        flows_swept = Instant::now();
                        if let Err(error) = self.sweep_flows(program) {
                            error!("sweeping flows: {error:#}");
                        }
                    }
                }
                changed = self.hops.changed() => {
                    changed.context("the watch of next hops ended")?;
                    if let Err(error) = self.reconcile() {
                        error!("writing the tables: {error:#}");
                    }
                }
                changed = self.addresses.changed() => {
                    changed.context("the watch of this host's addresses ended")?;
                    if let Err(error) = self.host_changed() {
                        error!("marking this host's addresses: {error:#}");
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

/// The next hops that are resolved, as the tables need them.
fn usable(snapshot: &NextHops) -> BTreeMap<IpAddr, Hop> {
    let resolved = snapshot.iter().filter_map(|(&address, resolution)| {
        let hop = resolution.next_hop()?;
        let (ifindex, mac, mtu) = (hop.device.0, hop.mac, hop.mtu);
        let source = hop.preferred_source;
        Some((
            address,
            Hop {
                ifindex,
                mac,
                mtu,
                source,
                lost: None,
            },
        ))
    });
    resolved.collect()
}

/// Says where the program runs on a device, and turns off what it may do before that.
fn settle_in(Attachment { name, mode, .. }: &Attachment) -> anyhow::Result<()> {
    match mode {
        Mode::Native => info!("attached to {name}, in the driver (native)"),
        Mode::Generic(why) => {
            offload::turn_off_gro(name)?;
            info!("{name}: generic-receive-offload is off now");
            warn!("attached to {name}, in the stack (generic: slower), since: {why}");
        }
    }
    Ok(())
}

/// Turns off what a device may do to packets before the program sees them.
fn turn_offloads_off(name: &str) -> anyhow::Result<()> {
    let off = offload::turn_off(name)?;
    if off.any_stuck() {
        bail!(
            "interface {name} strips VLAN tags or merges packets (rxvlan, rx-vlan-stag-hw-parse, lro) \
             and can't be told not to: packets of one VLAN would pass for another's; \
             try `ethtool -K {name} rxvlan off rx-vlan-stag-hw-parse off lro off`"
        );
    }
    for (offload, what) in [
        (off.rx_vlan, "rx-vlan-offload"),
        (off.rx_stag, "rx-vlan-stag-hw-parse"),
        (off.lro, "large-receive-offload"),
    ] {
        if offload == Offload::TurnedOff {
            info!("{name}: {what} is off now, and stays off");
        }
    }
    Ok(())
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("listening for signals")
}

/// Is done once the sender is dropped.
async fn until(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
