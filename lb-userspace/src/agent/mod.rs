//! The agent: wires configuration, network, kernel and servers together, and decides nothing.
//!
//! ```text
//!  config ──► ids ───────────────┐
//!  net (next hops, watched) ──► desired tables ──► reconciler ──► maps ◄── packet program
//!     ▲                          │                                             │
//!     └── neighbours wanted ─────┼─────────────────────────────────────────────┘
//!                                └──► view ──► control socket, stats endpoint
//! ```
//!
//! Start: everything that can fail is tried before the program is attached; a start that fails
//! leaves nothing behind but offloads that were turned off, if it came that far. Stop: the program
//! is detached, and what it recorded goes; offloads stay off.

mod prepare;
mod view;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{error, info, warn};

use crate::{
    control,
    kernel::{Attachment, MapTables, Mode, Program, ProgramLog, WantedNeighbours},
    model::Config,
    net::{IfIndex, Resolver, Snapshot as NextHops, offload, offload::Offload},
    reconcile::Reconciler,
    state::{self, Hop, Inputs, Link},
    stats::{self, AgentView, Source},
};

use prepare::Prepared;
use view::{Now, View};

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
    let signals = [
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    ];
    let prepared = prepare::prepare(&options.config).await?;
    let control = options
        .control
        .unwrap_or_else(|| prepared.config.agent.control.clone());
    let socket = control::bind(&control)?;
    let stats = prepared.config.agent.stats;
    let stats = TcpListener::bind(stats)
        .await
        .with_context(|| format!("listening on the stats address {stats}"))?;

    let mut program = Program::load(&prepared.constants)?;
    let mut agent = Agent::new(&mut program, prepared, &options.config, &control)?;
    let result = agent.serve(&mut program, signals, socket, stats).await;
    // Also after a start that failed: the kernel would keep the neighbours for nobody.
    agent.resolver.stop().await;
    result.inspect(|()| info!("stopped"))
}

/// A running agent, but for the program and the servers.
struct Agent {
    view: Arc<View>,
    links: BTreeMap<String, Link>,
    resolver: Resolver,
    hops: watch::Receiver<NextHops>,
    /// Addresses that the kernel would send from, by destination.
    sources: BTreeMap<IpAddr, IpAddr>,
    reconciler: Reconciler<MapTables>,
    /// Who owns which slot, while nothing changes it.
    owners: state::Memo,
    wanted: WantedNeighbours,
    log: ProgramLog,
}

impl Agent {
    fn new(
        program: &mut Program,
        prepared: Prepared,
        config: &Path,
        control: &Path,
    ) -> anyhow::Result<Self> {
        let resolver = Resolver::start()?;
        let addresses = |config: &Config| {
            let backends = config.pools.iter().flat_map(|pool| &pool.backends);
            backends.flat_map(|b| &b.addresses).map(|a| a.ip).collect()
        };
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
            warnings: prepared.warnings,
        };
        let view = View {
            config: prepared.config,
            ids: prepared.ids,
            agent,
            started: Instant::now(),
            counters: program.take_counters()?,
            now: Mutex::new(Now::default()),
        };
        Ok(Self {
            view: Arc::new(view),
            links: prepared.links,
            hops: resolver.snapshots(),
            sources: BTreeMap::new(),
            resolver,
            reconciler: Reconciler::new(program.take_tables()?),
            owners: state::Memo::default(),
            wanted: program.take_wanted()?,
            log: program.take_log()?,
        })
    }

    /// Attaches the program once the tables are written, and works until a signal comes.
    async fn serve(
        &mut self,
        program: &mut Program,
        signals: [Signal; 2],
        socket: control::Socket,
        stats: TcpListener,
    ) -> anyhow::Result<()> {
        self.reconcile_first().await?;
        self.attach(program)?;
        let (stop, stopped) = watch::channel(());
        let source: Arc<dyn Source> = Arc::clone(&self.view) as _;
        let servers = [
            tokio::spawn(stats::serve(
                stats,
                Arc::clone(&source),
                until(stopped.clone()),
            )),
            tokio::spawn(control::serve(socket, source, until(stopped))),
        ];
        let result = self.work(signals).await;
        drop(stop);
        for server in servers {
            server.await.context("a server")?;
        }
        result
    }

    /// Waits a while until every backend's next hop is known, then writes the tables.
    async fn reconcile_first(&mut self) -> anyhow::Result<()> {
        let expected = self.view.ids.next_hops.len();
        let complete = |hops: &NextHops| {
            hops.values().filter(|hop| hop.next_hop().is_some()).count() == expected
        };
        // Too late is as good: the rest enters as it is resolved.
        let _ = tokio::time::timeout(PATIENCE, self.hops.wait_for(complete)).await;
        self.reconcile()
    }

    /// Attaches the program to all interfaces.
    fn attach(&self, program: &mut Program) -> anyhow::Result<()> {
        for name in self.links.keys() {
            turn_offloads_off(name)?;
        }
        let devices = self.links.iter();
        let devices = devices.map(|(name, link)| (name.as_str(), link.ifindex));
        let attached = program.attach(devices)?;
        for Attachment { name, mode, .. } in &attached {
            match mode {
                Mode::Native => info!("attached to {name}, in the driver (native)"),
                Mode::Generic(why) => {
                    offload::turn_off_gro(name)?;
                    info!("{name}: generic-receive-offload is off now");
                    warn!("attached to {name}, in the stack (generic: slower), since: {why}");
                }
            }
        }
        self.view.attached(attached);
        Ok(())
    }

    /// Brings the tables to what configuration and next hops ask for now.
    fn reconcile(&mut self) -> anyhow::Result<()> {
        let snapshot = self.hops.borrow_and_update().clone();
        let hops = usable(&snapshot, &mut self.sources);
        let (config, ids) = (&self.view.config, &self.view.ids);
        let inputs = Inputs {
            config,
            ids,
            links: &self.links,
            hops: &hops,
        };
        let desired = state::desired(inputs, &mut self.owners).settled(ids);
        let operations = self.reconciler.reconcile(&desired)?;
        info!(
            operations,
            backends = desired.backends.len(),
            of = ids.backends.len(),
            "tables written"
        );
        self.view.applied(&desired, snapshot);
        Ok(())
    }

    /// Follows the network until a signal comes.
    async fn work(&mut self, [mut terminate, mut interrupt]: [Signal; 2]) -> anyhow::Result<()> {
        info!(
            "ready: control socket {}, stats {}",
            self.view.agent.control, self.view.agent.stats
        );
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                changed = self.hops.changed() => {
                    changed.context("the watch of next hops ended")?;
                    // What fails now is tried again with the next change.
                    if let Err(error) = self.reconcile() {
                        error!("writing the tables: {error:#}");
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

/// The next hops that are resolved, as the tables need them. An address that the kernel would send
/// from is kept as it was first seen, in `sources`: backends that are in the tables don't change.
fn usable(snapshot: &NextHops, sources: &mut BTreeMap<IpAddr, IpAddr>) -> BTreeMap<IpAddr, Hop> {
    let resolved = snapshot.iter().filter_map(|(&address, resolution)| {
        let hop = resolution.next_hop()?;
        if let Some(source) = hop.preferred_source {
            sources.entry(address).or_insert(source);
        }
        let (ifindex, mac, mtu) = (hop.device.0, hop.mac, hop.mtu);
        let source = sources.get(&address).copied();
        Some((
            address,
            Hop {
                ifindex,
                mac,
                mtu,
                source,
            },
        ))
    });
    resolved.collect()
}

/// Turns off what a device may do to packets before the program sees them.
fn turn_offloads_off(name: &str) -> anyhow::Result<()> {
    let off = offload::turn_off(name)?;
    if off.any_stuck() {
        bail!(
            "interface {name} strips VLAN tags or merges packets (rxvlan, lro) and can't be told \
             not to: packets of one VLAN would pass for another's; \
             try `ethtool -K {name} rxvlan off lro off`"
        );
    }
    for (offload, what) in [
        (off.rx_vlan, "rx-vlan-offload"),
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
