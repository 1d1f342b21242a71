//! A run in order: windows of packets, each small enough for every queue on its way, and at the end
//! the counts.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{
    devices::{Device, Devices},
    interrupt,
    link::End,
    metrics::Metrics,
    progress::Progress,
    sluice::{self, Sluice},
    stage::Stage,
    wire::{Buffer, Wire},
};

use super::{
    ledger::{Ledger, Told},
    site::{self, Site},
    sound,
    traffic::{Side, Traffic},
};

/// A quarter of what a veth's ring holds.
const WINDOW: u64 = 64;
/// How long a window may take until the gateway's devices have counted it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing may arrive before all has.
const QUIET: Duration = Duration::from_millis(300);
/// How many frames that are not sound are told of.
const TOLD: usize = 10;

/// What a run sends.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many packets.
    pub packets: u64,
    /// Which: the same number gives the same.
    pub seed: u64,
}

/// Sends packets through `binary`. `title` names namespaces and folder. An error if the run could not
/// be made; what it found is in the ledger.
pub fn run(title: &str, plan: Plan, binary: &Path, progress: &Progress) -> Result<Ledger> {
    progress.step("namespaces, agent");
    let stage = Stage::set_up(title)?;
    let site = Site::set_up(&stage)?;
    let text = site::configuration(stage.folder(), &stage.bpf());
    let mut sluice = Sluice::start_with(binary, &site.gateway, stage.folder(), &text)?;
    sluice.wait_until_unresolved(&site.gateway, site::UNRESOLVED)?;
    site.silence()?;
    thread::sleep(QUIET);
    progress.step(&format!("{} packets", plan.packets));
    let before = Told::read(&scrape(&site)?);
    let mut run = Run::open(&site, plan.seed)?;
    while run.ledger.sent < plan.packets {
        interrupt::check()?;
        run.window()?;
    }
    run.settle()?;
    let told = Told::read(&scrape(&site)?);
    let ledger = Ledger {
        told: told.since(&before),
        ..run.ledger
    };
    sluice.stop()?;
    Ok(ledger)
}

fn scrape(site: &Site) -> Result<Metrics> {
    sluice::scrape(&site.gateway)
}

/// The sockets and counters of a run.
struct Run {
    clients: Wire,
    backends: Wire,
    /// Behind the program, on either interface.
    passed: [Wire; 2],
    devices: Devices,
    /// What the gateway's devices had counted before.
    before: [Device; 2],
    traffic: Traffic,
    buffer: Buffer,
    ledger: Ledger,
    turn: u64,
}

impl Run {
    fn open(site: &Site, seed: u64) -> Result<Self> {
        let end = |namespace, interface| End {
            namespace,
            interface,
        };
        let (front, back) = (end(&site.gateway, "eth0"), end(&site.gateway, "eth1"));
        let mut devices = Devices::open(&site.gateway)?;
        Ok(Self {
            clients: Wire::open(end(&site.clients, "eth0"))?,
            backends: Wire::open(end(&site.backends, "eth0"))?,
            passed: [Wire::open(front)?, Wire::open(back)?],
            before: [devices.read("eth0")?, devices.read("eth1")?],
            devices,
            traffic: Traffic::new(seed),
            buffer: Buffer::default(),
            ledger: Ledger::default(),
            turn: 0,
        })
    }

    /// Sends a window from one side, and looks at what has come out. Backends speak in every third.
    fn window(&mut self) -> Result<()> {
        self.turn += 1;
        let (side, wire) = match self.turn % 3 {
            0 => (Side::Backends, &self.backends),
            _ => (Side::Clients, &self.clients),
        };
        for _ in 0..WINDOW {
            let frame = self.traffic.next(side);
            if wire.send(&frame)? {
                self.ledger.sent += 1;
            }
        }
        let begun = Instant::now();
        while self.count()? < self.ledger.sent {
            if begun.elapsed() > PATIENCE {
                bail!("the gateway's devices miss packets: {:?}", self.ledger);
            }
        }
        self.look()?;
        Ok(())
    }

    /// What the gateway's devices have received, and lost.
    fn count(&mut self) -> Result<u64> {
        let mut received = 0;
        let mut lost = 0;
        for (interface, before) in ["eth0", "eth1"].into_iter().zip(self.before) {
            let now = self.devices.read(interface)?;
            received += now.received - before.received;
            lost += now.lost - before.lost;
        }
        self.ledger.devices = received;
        self.ledger.lost = lost;
        Ok(received)
    }

    /// Looks at all that has come out; tells how much that was.
    fn look(&mut self) -> Result<u64> {
        let mut count = 0;
        for (side, wire) in [
            (Side::Clients, &self.clients),
            (Side::Backends, &self.backends),
        ] {
            while let Some(frame) = wire.receive(&mut self.buffer)? {
                count += 1;
                self.traffic.learn(side, frame);
                let ledger = &mut self.ledger;
                match sound::check(side, frame) {
                    Ok(kind) => *ledger.kinds.entry(kind).or_default() += 1,
                    Err(_) if ledger.unsound.len() >= TOLD => {}
                    Err(error) => {
                        let told = format!("at {side:?}: {error:#}: {frame:02x?}");
                        ledger.unsound.push(told);
                    }
                }
            }
        }
        Ok(count)
    }

    /// Waits until nothing more comes out, and reads every count.
    fn settle(&mut self) -> Result<()> {
        loop {
            thread::sleep(QUIET);
            if self.look()? == 0 {
                break;
            }
        }
        self.count()?;
        let mut lost = 0;
        for wire in [&mut self.clients, &mut self.backends] {
            let (seen, missed) = wire.seen()?;
            self.ledger.came_out += seen;
            lost += missed;
        }
        for wire in &mut self.passed {
            // What there is no room for is counted with the rest, which is all that is wanted.
            self.ledger.reached_kernel += wire.seen()?.0;
        }
        self.ledger.lost += lost;
        ensure!(self.ledger.sent > 0, "nothing was sent");
        Ok(())
    }
}
