//! A run in order: namespaces, servers, agent, connections, changes, judgement. Whatever ends it,
//! dropping what it owns ends all that it started.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    interrupt, link::End, namespace::Namespace, process::Process, progress::Progress,
    services::Configuration, sluice::Sluice, stage::Stage,
};

use super::{
    client::Order,
    clock,
    ends::{Clients, addresses, serve},
    flood,
    mode::Mode,
    plan::Plan,
    pool::{self, Pool},
    reload,
    script::{Backend, Change, Step},
    site::{CONTROL, Site},
    summary::{Event, Summary},
    verdict::{Death, Verdict},
};

/// Between two looks at the processes and at the number of exceptions.
const LOOK: Duration = Duration::from_millis(250);

/// The programs that a run starts.
pub struct Programs {
    /// `sluice`.
    pub sluice: PathBuf,
    /// `soak`, whose verbs `echo` and `client` are the two ends.
    pub soak: PathBuf,
}

/// What runs, in the order that it is stopped in.
struct Live<'a> {
    flood: Option<Process>,
    /// When that began.
    flooded: Option<Duration>,
    clients: Option<Clients>,
    sluice: Sluice,
    /// By backend; nothing where it was killed.
    servers: Vec<Option<Process>>,
    control: Process,
    site: Site,
    stage: Stage,
    plan: &'a Plan,
    pool: Pool,
    start: Duration,
    events: Vec<Event>,
    deaths: Vec<Death>,
    exceptions: Option<f64>,
}

/// Runs `plan` in `mode`. `title` names namespaces and folder. An error if the run could not be
/// made; what it found is in the summary.
pub fn run(
    title: &str,
    mode: Mode,
    plan: &Plan,
    programs: &Programs,
    progress: &Progress,
) -> Result<Summary> {
    progress.step(&format!("{mode}: namespaces, servers, agent"));
    let mut live = Live::set_up(title, mode, plan, programs)?;
    let Plan {
        connections,
        controls,
        ..
    } = plan;
    progress.step(&format!(
        "{mode}: {connections} connections, {controls} beside"
    ));
    live.open(programs)?;
    if plan.flood {
        progress.step(&format!("{mode}: a flood"));
        live.flood(programs)?;
    }
    progress.step(&format!("{mode}: {} changes", configured(plan)));
    for step in &plan.script {
        live.take(*step)?;
    }
    live.pass(plan.tail)?;
    let flood = live.end_flood()?;
    let clients = live.clients.take().context("no client was started")?;
    let outcome = clients.end()?;
    let reasons = reload::reasons(&live.site.gateway)?;
    live.sluice.stop()?;
    Ok(Summary {
        mode,
        verdict: Verdict::on(&outcome, &live.deaths, live.start, live.flooded),
        changes: configured(plan),
        events: live.events,
        exceptions: live.exceptions,
        flood,
        reasons,
        log: live.sluice.log_end(),
    })
}

fn configured(plan: &Plan) -> usize {
    plan.script
        .iter()
        .filter(|step| step.change.is_configured())
        .count()
}

impl<'a> Live<'a> {
    fn set_up(title: &str, mode: Mode, plan: &'a Plan, programs: &Programs) -> Result<Self> {
        let stage = Stage::set_up(title)?;
        let mut site = Site::set_up(&stage, mode, plan.backends)?;
        site.decapsulate(mode)?;
        let serve = |namespace: &Namespace, name: &str| {
            serve(&programs.soak, namespace, name, stage.folder())
        };
        let named = site.backends.iter().enumerate();
        let servers = named
            .map(|(index, namespace)| serve(namespace, &Backend(index).to_string()).map(Some))
            .collect::<Result<_>>()?;
        let control = serve(&site.control, "control")?;
        let pool = Pool::new(mode, plan.members);
        reload::write(stage.folder(), &pool)?;
        let configured = Configuration::new(stage.folder(), &stage.bpf());
        let text = pool::main_file(mode, &["tcp"], plan.settle, &configured);
        let mut sluice =
            Sluice::start_with(&programs.sluice, &site.gateway, stage.folder(), &text)?;
        sluice.wait_until_ready(&site.gateway)?;
        Ok(Self {
            flood: None,
            flooded: None,
            clients: None,
            sluice,
            servers,
            control,
            site,
            stage,
            plan,
            pool,
            start: clock::now()?,
            events: Vec::new(),
            deaths: Vec::new(),
            exceptions: None,
        })
    }

    /// Starts the client process and waits until its connections are open, or failed to.
    fn open(&mut self, programs: &Programs) -> Result<()> {
        let plan = self.plan;
        // Evenly, until shortly before the last change.
        let changing = plan.changing_time().max(Duration::from_secs(1));
        let late_rate = (f64::from(plan.late) / changing.as_secs_f64()).ceil() as u32;
        let order = Order {
            service: addresses(pool::SERVICE),
            control: addresses(CONTROL),
            connections: (plan.connections, plan.opening),
            late: (plan.late, late_rate.max(1)),
            controls: plan.controls,
            outcome: self.stage.folder().join("outcome.json"),
        };
        let clients = Clients::open(&self.site.client, &programs.soak, order)?;
        self.start = clients.start;
        self.clients = Some(clients);
        Ok(())
    }

    /// Starts the flood.
    fn flood(&mut self, programs: &Programs) -> Result<()> {
        let Site {
            client, gateway, ..
        } = &self.site;
        let macs = [(client, "eth0"), (gateway, "eth0")].map(|(namespace, interface)| {
            let end = End {
                namespace,
                interface,
            };
            end.mac()
        });
        let [from, to] = macs;
        let service = addresses(pool::SERVICE);
        let mut command = self.site.client.command(&programs.soak)?;
        command.arg("flood");
        command.args(flood::Orders::arguments("eth0", [from?, to?], &service));
        let log = self.stage.folder().join("flood.log");
        self.flooded = Some(clock::now()?);
        self.flood = Some(Process::start("flood", command, &log)?);
        Ok(())
    }

    /// Ends the flood, if there is one; tells how many packets a second it sent.
    fn end_flood(&mut self) -> Result<Option<f64>> {
        let Some(mut flood) = self.flood.take() else {
            return Ok(None);
        };
        let ended = flood.stop().and_then(|_| flood::rate(&flood.log()));
        flood.explain(ended).map(Some)
    }

    /// Waits for its time, then makes a change.
    fn take(&mut self, Step { after, change }: Step) -> Result<()> {
        self.pass(after)?;
        let at = clock::now()?;
        self.pool.apply(change);
        match change {
            Change::Kill(backend) => self.kill(backend, at)?,
            Change::Add(_) | Change::Weigh(..) | Change::Remove(_) => {
                reload::reload(&self.sluice, self.stage.folder(), &self.pool).with_context(
                    || format!("{change}; sluice's log:\n{}", self.sluice.log_end()),
                )?;
            }
        }
        self.events.push(Event {
            at: at.saturating_sub(self.start),
            change,
            took: clock::now()?.saturating_sub(at),
        });
        Ok(())
    }

    /// The link first: nobody must hear that the process's sockets are closed.
    fn kill(&mut self, backend: Backend, at: Duration) -> Result<()> {
        self.site.cut(backend)?;
        if let Some(mut server) = self.servers[backend.0].take() {
            server.end_with(nix::sys::signal::Signal::SIGKILL)?;
        }
        self.deaths.push(Death {
            name: backend.to_string(),
            at,
        });
        Ok(())
    }

    /// Lets connections live for a while, and looks at the rest.
    fn pass(&mut self, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        loop {
            interrupt::check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK));
            self.look()?;
        }
    }

    fn look(&mut self) -> Result<()> {
        let servers = self.servers.iter_mut().flatten();
        let clients = self.clients.iter_mut().map(Clients::process);
        let clients = clients.chain(&mut self.flood);
        for process in servers.chain(clients).chain([&mut self.control]) {
            let running = process.expect_running();
            process.explain(running)?;
        }
        let exceptions = reload::exceptions(&self.site.gateway);
        let exceptions =
            exceptions.with_context(|| format!("sluice's log:\n{}", self.sluice.log_end()))?;
        self.exceptions = match (self.exceptions, exceptions) {
            (Some(before), Some(now)) => Some(before.max(now)),
            (before, now) => before.or(now),
        };
        Ok(())
    }
}
