//! Two hosts that share an address, and a client that asks whoever has it; and one event after the other.

use std::{
    net::Ipv4Addr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::{lan::Lan, slots::trace::Dice, wait};

use super::{
    cables::Cables,
    event::Event,
    gateways::Gateways,
    hang::Hang,
    interval::Interval,
    outcome::Outcome,
    owners::Owners,
    probe::Probe,
    router::{BACKUP, MASTER, Product, Router},
};

/// The address that moves, as it is configured.
pub(super) const ADDRESS: &str = "198.18.0.10/24";
pub(super) const IP: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);

/// The hosts: who has the address, who takes it over, who asks, and whom gateways forward to.
const FIRST: u8 = 1;
const SECOND: u8 = 2;
const CLIENT: u8 = 3;
pub(super) const BACKEND: u8 = 4;

/// How long who does not serve has not answered. Who serves has, however busy this machine is.
const QUIET: Duration = Duration::from_millis(100);
/// How long what has happened is looked at once it is over.
const TAIL: Duration = Duration::from_millis(400);
/// How long anything may take beside what the interval says.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is waited for a host that does not serve, beside four times what the interval says.
const NEVER: Duration = Duration::from_secs(15);

/// All of it. What watches ends before what it watches.
pub(super) struct Site<'a> {
    /// Host 1 hangs.
    hang: Option<Hang>,
    probe: Probe,
    owners: Owners,
    cables: Cables,
    first: Router<'a>,
    second: Router<'a>,
    _gateways: Gateways,
    lan: &'a Lan,
    interval: Interval,
    dice: Dice,
}

/// What a run comes to: the event, and its end where that is of interest.
pub(super) type Outcomes = (Outcome, Option<Outcome>);

impl<'a> Site<'a> {
    /// Hosts of a network.
    pub(super) const HOSTS: u8 = 4;

    /// Starts everything in a network.
    pub(super) fn start(
        lan: &'a Lan,
        product: Product,
        interval: Interval,
        binary: &'a Path,
    ) -> Result<Self> {
        let owners = Owners::watch(lan, &[FIRST, SECOND], ADDRESS)?;
        let start =
            |host, priority| Router::start(product, interval, lan, (host, priority), binary);
        let gateways = Gateways::set_up(lan, &[FIRST, SECOND], BACKEND)?;
        let hosts = [FIRST, SECOND].map(|host| (host, lan.host(host)));
        let backend = match product {
            Product::Sluice => Some(lan.host(BACKEND)),
            Product::Keepalived => None,
        };
        Ok(Self {
            hang: None,
            first: start(FIRST, MASTER)?,
            second: start(SECOND, BACKUP)?,
            probe: Probe::start(lan.host(CLIENT), &hosts, backend, IP)?,
            owners,
            cables: Cables::of(lan.switch())?,
            _gateways: gateways,
            lan,
            interval,
            dice: Dice::new(1),
        })
    }

    /// Has an event happen once all is well, and makes good what it has done.
    pub(super) fn suffer(&mut self, event: Event) -> Result<Outcomes> {
        let suffered = self.settle(event.calm()).and_then(|()| {
            let away = self.watch(SECOND, event.releases(), |site| site.begin(event))?;
            // Both are what they are for a while.
            self.pass(3 * self.interval.time());
            let Some(name) = event.end() else {
                self.end(event)?;
                return Ok((away, None));
            };
            let back = self.watch(FIRST, true, |site| site.end(event));
            Ok((away, Some(back.context(name)?)))
        });
        suffered.with_context(|| {
            let (first, second) = (self.first.log(), self.second.log());
            format!("{event}; host 1 says:\n{first}\nhost 2 says:\n{second}\n")
        })
    }

    /// Waits until host 1 has the address and serves, and host 2 neither, for so long.
    fn settle(&mut self, calm: Duration) -> Result<()> {
        let limit = PATIENCE + 10 * self.interval.time();
        let mut since = None;
        wait::until("host 1 to be the master", limit, || {
            if !self.is_well()? {
                since = None;
                return Ok(None);
            }
            let since = *since.get_or_insert_with(Instant::now);
            Ok((since.elapsed() > calm).then_some(()))
        })?;
        // At any moment between two adverts.
        let fraction = self.dice.below(1000);
        self.pass(2 * self.interval.time() + self.interval.time() * fraction / 1000);
        Ok(())
    }

    fn is_well(&self) -> Result<bool> {
        let now = Instant::now();
        let since = now.checked_sub(QUIET).unwrap_or(now);
        Ok(self.owners.has(FIRST)
            && !self.owners.has(SECOND)
            && self.first.is_master()? == Some(true)
            && self.second.is_master()? == Some(false)
            && self.probe.answered(FIRST, since)
            && !self.probe.answered(SECOND, since))
    }

    /// Has something happen, and notes what a client notices until a host serves, and, if the other one is to release the
    /// address, until it has.
    fn watch(
        &mut self,
        server: u8,
        releases: bool,
        happens: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Outcome> {
        let other = if server == FIRST { SECOND } else { FIRST };
        self.probe.forget();
        let event = Instant::now();
        happens(self)?;
        let limit = NEVER + 4 * self.interval.down(BACKUP);
        let done = |site: &Self| {
            site.probe.answered(server, event) && !(releases && site.owners.has(other))
        };
        while !done(self) && event.elapsed() < limit {
            self.pass(Duration::from_millis(2));
        }
        self.pass(TAIL);
        let (log, now) = (self.probe.log(), Instant::now());
        let mut outcome = Outcome::of(event, now, server, &log);
        if releases {
            outcome = outcome.with_owners(event, now, &self.owners.changes());
        }
        if outcome.served.is_none() {
            // Who comes next would still look for the address where it no longer is.
            self.lan.host(CLIENT).ip("neighbour flush dev eth0")?;
        }
        Ok(outcome)
    }

    fn begin(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Killed => self.first.kill(),
            Event::Suspended => self.first.signal(Signal::SIGSTOP),
            Event::Cut => self.cables.cut(FIRST),
            Event::Stopped => self.first.ask_to_stop(),
            Event::Split => self.cables.isolate(FIRST),
            Event::Tracked => self.first.lose_tracked(),
            Event::Hung => {
                self.hang = Some(self.first.hang()?);
                Ok(())
            }
            Event::Maintenance => self.first.maintain(true),
            Event::Resigned => self.first.resign(),
        }
    }

    fn end(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Killed | Event::Stopped => self.first.start_again(),
            Event::Suspended => self.first.signal(Signal::SIGCONT),
            Event::Cut => self.cables.repair(FIRST),
            Event::Split => self.cables.join(FIRST),
            Event::Tracked => self.first.mend_tracked(),
            Event::Hung => {
                self.hang = None;
                Ok(())
            }
            Event::Maintenance => self.first.maintain(false),
            // Who has resigned takes nothing back by itself.
            Event::Resigned => self.second.resign(),
        }
    }

    fn pass(&self, time: Duration) {
        thread::sleep(time);
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        // One that is suspended could not be stopped. One that has ended can't be told.
        let _ = self.first.signal(Signal::SIGCONT);
    }
}
