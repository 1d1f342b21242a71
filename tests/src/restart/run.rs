//! A run in order: network, servers, agent; a phase without mishaps, a phase with them. Whatever ends it,
//! dropping what it owns ends all that it started.

use std::{
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    devices::Devices,
    interrupt,
    live::{
        Mode, Order, Verdict,
        ends::{Clients, addresses, serve},
        pool::SERVICE,
        site::{CONTROL, Site},
    },
    process::Process,
    progress::Progress,
    stage::Stage,
};

use super::{
    agent::Agent,
    report::{Event, Phase, Report},
    script::{BACKENDS, Step},
    sender::{Flows, Sender},
    sink::Sinks,
    size::Size,
    tally::Tally,
};

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(250);
/// How long datagrams may be on their way once no more are sent.
const LAG: Duration = Duration::from_secs(1);
/// How long connections live on after the last mishap.
const TAIL: Duration = Duration::from_secs(2);

/// The binaries.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `sluice`.
    pub sluice: PathBuf,
    /// The same of another layout.
    pub next: PathBuf,
    /// `soak`, whose verbs `echo` and `client` are the two ends of connections.
    pub soak: PathBuf,
}

/// What runs, in the order that it is stopped in.
struct Run<'a> {
    agent: Agent<'a>,
    servers: Vec<Process>,
    sinks: Sinks,
    /// Those of the client, the gateway, the switch and the backends.
    devices: Vec<Devices>,
    flows: Arc<Flows>,
    site: Site,
    stage: Stage,
    size: &'a Size,
    programs: &'a Programs,
    /// The number that is sent next.
    next: u64,
    events: Vec<Event>,
}

/// Runs `script` in `mode`, after the same without it. `title` names namespaces and folder. An error if
/// the run could not be made, also for the reason that packets are lost without mishaps; what it found
/// is in the report.
pub fn run(
    title: &str,
    mode: Mode,
    size: &Size,
    script: &[Step],
    programs: &Programs,
    progress: &Progress,
) -> Result<Report> {
    progress.step(&format!("{mode}: namespaces, servers, agent"));
    let mut run = Run::set_up(title, mode, size, programs)?;
    let Size { rate, calm, .. } = size;
    progress.step(&format!("{mode}: {rate} datagrams a second, no mishaps"));
    let calm = run.phase(*calm, |run, sender, _| run.pass(sender, *calm))?;
    calm.expect_clean(*rate)?;
    progress.step(&format!("{mode}: {} mishaps", script.len()));
    let least = script.iter().map(|step| step.after).sum();
    let upset = run.phase(least, |run, sender, start| {
        run.befall(script, sender, start)
    })?;
    run.agent.settle(&run.site.gateway)?;
    run.agent.stop()?;
    Ok(Report {
        mode,
        seed: size.seed,
        calm,
        upset,
        events: run.events,
        log: run.agent.log_end(),
    })
}

impl<'a> Run<'a> {
    fn set_up(title: &str, mode: Mode, size: &'a Size, programs: &'a Programs) -> Result<Self> {
        let stage = Stage::set_up(title)?;
        let site = Site::set_up(&stage, mode, BACKENDS)?;
        let sinks = Sinks::set_up(&site, mode)?;
        let named = (1..).map(|n| format!("backend{n}"));
        let backends = site.backends.iter().zip(named);
        let servers = backends.chain([(&site.control, "control".to_owned())]);
        let servers = servers
            .map(|(namespace, name)| serve(&programs.soak, namespace, &name, stage.folder()))
            .collect::<Result<_>>()?;
        let on_the_way = [&site.client, &site.gateway, &site.switch];
        let on_the_way = on_the_way.into_iter().chain(&site.backends);
        Ok(Self {
            devices: on_the_way.map(Devices::open).collect::<Result<_>>()?,
            agent: Agent::start(programs, &site.gateway, mode, &stage)?,
            servers,
            sinks,
            flows: Flows::open(&site.client, SERVICE)?,
            site,
            stage,
            size,
            programs,
            next: 0,
            events: Vec::new(),
        })
    }

    /// Packets and connections while `what` happens, which takes `least` or longer.
    fn phase(
        &mut self,
        least: Duration,
        what: impl FnOnce(&mut Self, &Sender, Instant) -> Result<()>,
    ) -> Result<Phase> {
        let (before, lost) = (self.sinks.receipts()?, self.lost()?);
        let clients = self.open(least)?;
        let from = clients.start;
        let start = Instant::now();
        let sender = Sender::start(Arc::clone(&self.flows), self.size.rate, self.next);
        what(self, &sender, start)?;
        self.pass(&sender, TAIL)?;
        let length = start.elapsed();
        let sent = sender.stop()?;
        self.next = sent.end;
        self.await_stragglers(before.first + (sent.end - sent.start))?;
        let receipts = self.sinks.receipts()?.since(before);
        let noted = self.sinks.noted(&sent)?;
        Ok(Phase {
            length,
            first: sent.start,
            devices: self.lost()? - lost,
            tally: Tally::of(sent, &noted, receipts),
            verdict: Verdict::on(&clients.end()?, &[], from, None),
        })
    }

    /// Frames that devices have lost.
    fn lost(&mut self) -> Result<u64> {
        self.devices.iter_mut().map(Devices::lost).sum()
    }

    /// Starts the client process and waits until its connections are open, or failed to.
    fn open(&self, least: Duration) -> Result<Clients> {
        let Size {
            connections,
            controls,
            ..
        } = *self.size;
        // All have opened when the phase ends, even if it takes no longer than that.
        let late = least.as_secs() as u32 * Size::LATE;
        let order = Order {
            service: addresses(SERVICE),
            control: addresses(CONTROL),
            connections: (connections, connections.max(1)),
            late: (late, Size::LATE),
            controls,
            outcome: self.stage.folder().join("outcome.json"),
        };
        Clients::open(&self.site.client, &self.programs.soak, order)
    }

    /// Takes the script's steps.
    fn befall(&mut self, script: &[Step], sender: &Sender, start: Instant) -> Result<()> {
        for step in script {
            let taken = self.take(step, sender, start);
            taken.with_context(|| {
                let before = self.events.last();
                let before = before.map_or("nothing".to_owned(), |event| event.mishap.to_string());
                let (at, log) = (start.elapsed().as_secs_f64(), self.agent.log_end());
                let mishap = step.mishap;
                format!("{mishap}, {at:.1} s, after {before}; sluice's log:\n{log}")
            })?;
        }
        Ok(())
    }

    fn take(&mut self, step: &Step, sender: &Sender, start: Instant) -> Result<()> {
        let Step { after, mishap } = *step;
        if mishap.has_patience() {
            self.agent.settle(&self.site.gateway)?;
        }
        self.pass(sender, after)?;
        self.events.push(Event {
            at: start.elapsed(),
            number: sender.next(),
            mishap,
        });
        self.agent.suffer(mishap, &self.site)
    }

    /// Lets a while pass, and looks at the processes.
    fn pass(&mut self, sender: &Sender, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        loop {
            interrupt::check()?;
            sender.expect_running()?;
            for server in &mut self.servers {
                let running = server.expect_running();
                server.explain(running)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Waits until the sinks have so many, or nothing more can be on its way.
    fn await_stragglers(&self, first: u64) -> Result<()> {
        let deadline = Instant::now() + LAG;
        while self.sinks.receipts()?.first < first && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
