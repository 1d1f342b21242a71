//! A run in order: network, servers, both agents, connections; the loss, the return, the judgement. Whatever ends it, dropping
//! what it owns ends all that it started.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    interrupt,
    live::{
        Backend, Change, Order, Programs, Verdict, clock,
        ends::{Clients, addresses, serve},
        pool::{self, Pool},
        site::{CONTROL, Site},
    },
    namespace::Namespace,
    process::Process,
    progress::Progress,
    stage::Stage,
};

use super::{
    case::{Case, Loss, Size, When},
    gateway::{Gateway, Which},
    report::Report,
};

/// Backends with a server, of which the last is added while a run goes on.
const BACKENDS: usize = 4;
/// Connections beside Sluice.
const CONTROLS: u32 = 20;
/// In which time connections open while slots move.
const LATE: Duration = Duration::from_secs(4);
/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(250);
/// All connections have been asked something in this time.
const ROUND: Duration = Duration::from_millis(1500);
/// Within which time of the loss a question has to be asked to meet it.
const GAP: Duration = Duration::from_millis(300);

/// What runs, in the order that it is stopped in.
struct Pair {
    clients: Clients,
    first: Gateway,
    second: Gateway,
    servers: Vec<Process>,
    site: Site,
    _stage: Stage,
}

/// Runs a case. `title` names namespaces and folders. An error if the run could not be made; what it found is in the report.
pub fn run(
    title: &str,
    case: Case,
    size: Size,
    programs: &Programs,
    progress: &Progress,
) -> Result<Report> {
    progress.step(&format!("{case}: namespaces, servers, two agents"));
    let mut pool = Pool::new(case.mode, BACKENDS - 1);
    let mut pair = Pair::set_up(title, case, size, programs, &pool)?;
    pair.pass(ROUND)?;
    if case.when == When::Moving {
        pool.apply(Change::Add(Backend(BACKENDS - 1)));
        for gateway in [&pair.first, &pair.second] {
            gateway.reload(&pool)?;
        }
        pair.pass(LATE + ROUND)?;
    }
    progress.step(&format!("{case}: it happens"));
    let lost = clock::now()?;
    pair.lose(case.loss)?;
    pair.second.wait_until("master")?;
    pair.pass(size.tail)?;
    progress.step(&format!("{case}: it comes back"));
    let back = clock::now()?;
    pair.come_back(case.loss)?;
    pair.pass(size.tail)?;
    let outcome = pair.clients.end()?;
    Ok(Report {
        case,
        served_again: outcome.served_again(lost, GAP),
        verdict: Verdict::on(&outcome, &[], lost, None),
        lasted: back.saturating_sub(lost),
        broken_before: outcome.ended_before(back),
        logs: [&pair.first, &pair.second].map(|gateway| gateway.sluice.log_end()),
    })
}

impl Pair {
    fn set_up(
        title: &str,
        case: Case,
        size: Size,
        programs: &Programs,
        pool: &Pool,
    ) -> Result<Self> {
        let mode = case.mode;
        let stage = Stage::set_up(title)?;
        let mut site = Site::set_up_pair(&stage, mode, BACKENDS)?;
        site.decapsulate(mode)?;
        let serve = |namespace: &Namespace, name: &str| {
            serve(&programs.soak, namespace, name, stage.folder())
        };
        let named = site.backends.iter().enumerate();
        let mut servers = named
            .map(|(index, namespace)| serve(namespace, &Backend(index).to_string()))
            .collect::<Result<Vec<_>>>()?;
        servers.push(serve(&site.control, "control")?);
        let start = |which: Which| {
            let binary = programs.sluice.clone();
            let namespace = namespace(&site, which)?;
            Gateway::start(which, binary, namespace, &stage, (mode, pool))
        };
        let first = start(Which::First)?;
        first.wait_until("master")?;
        let second = start(Which::Second)?;
        second.wait_until("backup")?;
        let late = match case.when {
            When::Settled => 0,
            When::Moving => size.connections / 4,
        };
        let order = Order {
            service: addresses(pool::SERVICE),
            control: addresses(CONTROL),
            connections: (size.connections - late, size.opening),
            late: (late, (late / LATE.as_secs() as u32).max(1)),
            controls: CONTROLS,
            outcome: stage.folder().join("outcome.json"),
        };
        Ok(Self {
            clients: Clients::open(&site.client, &programs.soak, order)?,
            first,
            second,
            servers,
            site,
            _stage: stage,
        })
    }

    /// The first gateway is lost.
    fn lose(&mut self, loss: Loss) -> Result<()> {
        if loss == Loss::Host {
            self.site.set_links(Which::First.name(), "down")?;
        }
        self.first.sluice.kill()
    }

    /// It comes back: as a host that has started does, it has no address that moves before it can be reached.
    fn come_back(&mut self, loss: Loss) -> Result<()> {
        let namespace = namespace(&self.site, Which::First)?;
        self.first.start_again(namespace)?;
        if loss == Loss::Host {
            self.first.wait_until("fault")?;
            self.site.set_links(Which::First.name(), "up")?;
        }
        self.first.wait_until("master")?;
        self.second.wait_until("backup")
    }

    /// Lets connections live for a while, and looks at the rest.
    fn pass(&mut self, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        loop {
            interrupt::check()?;
            for process in self.servers.iter_mut().chain([self.clients.process()]) {
                let running = process.expect_running();
                process.explain(running)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK));
        }
    }
}

/// Where a gateway's agent runs.
fn namespace(site: &Site, which: Which) -> Result<&Namespace> {
    match which {
        Which::First => Ok(&site.gateway),
        Which::Second => site.second.as_ref().context("there is no pair"),
    }
}
